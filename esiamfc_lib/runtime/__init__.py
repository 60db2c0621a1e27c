"""How work runs on this machine: files, code digests, progress bars, processes, devices.

Nothing here knows the method. In reading order: ``files`` (written whole or not at all, digests),
``code`` (which modules a result depends on), ``packages`` (versions), ``bars`` (progress),
``paths`` (relative ones count from the project), ``validation`` (values checked, faults in one
sentence), ``parallel`` (processes, Dask, threads), ``devices`` (CPU, GPU, precision),
``batch_norm`` (of several processes), ``latex`` (tables for a paper)."""

from esiamfc_lib.runtime.bars import Progress, progress
from esiamfc_lib.runtime.files import file_digest
from esiamfc_lib.runtime.packages import versions
from esiamfc_lib.runtime.paths import resolve

__all__ = ["Progress", "file_digest", "progress", "resolve", "versions"]
