"""Reading what is there: videos, benchmarks, and the store of crops.

In reading order: ``geometry`` (boxes and crops: the one place where conventions meet), ``images``
(decoding, encoding), ``sequence`` (frames with boxes), ``vid`` (ILSVRC2015-VID), ``benchmarks``
with ``benchmark_files`` (OTB, VOT, GOT-10k and others), ``roots`` (where they lie), ``store`` with
``store_index`` (the LMDB store that notebook 01 makes), ``exemplars`` (the middle of its crops),
``overlap`` (whether a test sequence is a training video).

Images are uint8 RGB (H, W, 3), boxes 0-based ``x, y, w, h`` in pixels."""

from esiamfc_lib.data.benchmarks import read_benchmark, title, total
from esiamfc_lib.data.exemplars import exemplar, middle_exemplars, thumbnails
from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.data.images import read_image
from esiamfc_lib.data.overlap import refuse_training_videos
from esiamfc_lib.data.roots import Roots, load_roots
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.data.vid import VID, validation_sequences

__all__ = [
    "EXEMPLAR_SIZE", "SEARCH_SIZE", "VID", "CropStore", "Roots", "Sequence", "evenly_spaced",
    "exemplar", "load_roots", "middle_exemplars", "read_benchmark", "read_image",
    "refuse_training_videos", "thumbnails", "title", "total", "validation_sequences",
]  # fmt: skip
