"""The tracking benchmarks by name: their sequences, with 0-based boxes.

The files of most benchmarks count pixels from 1; NfS, annotated as corners in VATIC, from 0.
``read_benchmark`` returns 0-based boxes, ``to_file`` goes back."""

import hashlib
import stat
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.data import benchmark_files as files
from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.data.vid import box_fault
from esiamfc_lib.errors import StudyError, refused

FAULTS = (OSError, StudyError, ValueError)  # of a file that is not what it should be


@dataclass(frozen=True)
class VOTSequence(Sequence):
    """A sequence of a VOT challenge."""

    # (n, 4) boxes or (n, 8) corners, as in the file: pixels count from 1
    regions: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    labels: dict[str, np.ndarray] = field(default_factory=dict)  # challenge → (n,) bool


READERS = {
    "otb2013": (partial(files.OTB, version="otb2013"), 51),
    "otb50": (partial(files.OTB, version="tb50"), 50),
    "otb2015": (partial(files.OTB, version="otb2015"), 100),
    "vot2013": (files.VOT, 16),
    "vot2014": (files.VOT, 25),
    **{f"vot{year}": (files.VOT, 60) for year in range(2015, 2019)},
    "got10k-val": (partial(files.GOT10k, subset="val"), 180),
    "got10k-test": (partial(files.GOT10k, subset="test"), 180),
    "uav123": (files.UAV123, 123),
    "dtb70": (partial(files.Layout, truth="*/groundtruth_rect.txt", images="img"), 70),
    "tcolor128": (files.TColor128, 128),
    "nfs30": (partial(files.NfS, truth="*/30/*.txt"), 100),
    "nfs240": (partial(files.NfS, truth="*/240/*.txt"), 100),
    "lasot": (files.LaSOT, 280),
}
"""Benchmark -> how it is read, and the number of targets that the complete one has."""


def to_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """0-based boxes (n, 4) in the coordinates of the benchmark's files."""
    return np.asarray(boxes, float) if benchmark[:3] == "nfs" else geometry.to_one_based(boxes)


def from_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """Boxes (n, 4) in the coordinates of the benchmark's files → 0-based."""
    return np.asarray(boxes, float) if benchmark[:3] == "nfs" else geometry.from_one_based(boxes)


def read_benchmark(
    benchmark: str, root: str | Path, limit: int = 0
) -> tuple[list[Sequence], list[str]]:
    """The sequences of a benchmark in ``READERS`` that are under ``root``, the first ``limit`` of
    them (0 = all), and the names of those that are not (known where the toolkit or a ``list.txt``
    names them). A StudyError if there is none, or one whose files do not fit together."""
    layout = _layout(benchmark, root)
    if limit < 0 or not layout.files:
        fault = f"no sequence in its layout under {root}" if limit >= 0 else f"a limit of {limit}"
        raise StudyError(f"{benchmark}: {fault}")
    with refused(benchmark, FAULTS):
        read = [_read(layout, name, benchmark) for name in list(layout.files)[: limit or None]]
        return _with_families(read, Path(root).expanduser().resolve()), layout.missing


def total(benchmark: str, present: int, missing: list[str], built_in: bool) -> int:
    """How many sequences a complete run has; ``built_in``: data in the benchmark's layout only."""
    known = present + len(missing)
    return known if built_in else max(known, READERS[benchmark][1])


def title(benchmark: str, root: str | Path) -> str:
    """What tables and figures call the data under ``root``: the benchmark's name (or ``vid-val``);
    where it only borrows that layout, ``built-in, otb2015 layout`` or ``own data, otb2015 layout``.
    """
    if (Path(root).expanduser().resolve().parent / files.FAMILIES).is_file():
        return f"built-in, {benchmark} layout"
    own = benchmark in READERS and _layout(benchmark, root).own
    return f"own data, {benchmark} layout" if own else benchmark


def _layout(benchmark: str, root: str | Path) -> files.Layout:
    if benchmark not in READERS:
        raise StudyError(f"unknown benchmark {benchmark!r}: choose from {', '.join(READERS)}")
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise StudyError(f"{benchmark}: no folder {root}")
    with refused(benchmark, FAULTS):
        return READERS[benchmark][0](root)


def _read(layout: files.Layout, name: str, benchmark: str) -> Sequence:
    frames, regions = layout.read(name)
    boxes = from_file(np.apply_along_axis(geometry.polygon_to_box, 1, regions), benchmark)
    # A box without an area marks a frame without truth; OTB's published scores count it as a miss.
    empty = ~(boxes[:, 2:] > 0).all(axis=1) | np.isnan(boxes).any(axis=1)
    unknown = np.isnan(boxes).any(axis=1) if isinstance(layout, files.OTB) else empty
    boxes[unknown], regions[unknown] = np.nan, np.nan
    fault = "no box" if empty[0] else box_fault(boxes[0], *images.read_size(frames[0]))
    if not fault and empty[1:].all() and benchmark != "got10k-test":
        fault = "ground truth nowhere but"
    if fault:
        raise StudyError(f"{layout.files[name]}: {fault} in its first frame")
    common = name, tuple(map(str, frames)), boxes, layout.attributes(name, len(frames))
    if not isinstance(layout, files.VOT):
        return Sequence(*common)
    return VOTSequence(*common, regions=regions, labels=layout.labels(name, len(frames)))


def _with_families(read: list[Sequence], root: Path) -> list[Sequence]:
    """Attributes and families of the built-in data, from the table beside its folders."""
    file = root.parent / files.FAMILIES
    if not file.is_file():
        return read
    with refused(f"{file} is not the built-in data's table of families"):
        table = pd.read_csv(file, keep_default_na=False, dtype=str).drop_duplicates("video")
        table["attributes"] = table["attributes"].str.split().map(tuple)
        known = table.set_index("video")[["family", "attributes"]].to_dict("index")
    return [replace(sequence, **known.get(sequence.name, {})) for sequence in read]


def sequence_digest(sequence: Sequence) -> str:
    """Digest of a sequence's data: names and sizes of its frames, all ground truth."""
    # Sizes of JPEG files stand for pixels: reading every frame takes as long as tracking it.
    digest = hashlib.sha256(sequence.name.encode())
    for frame in map(Path, sequence.frames):
        with refused(f"{sequence.name}: cannot read {frame}", OSError):
            facts = frame.stat()
        if not (facts.st_size and stat.S_ISREG(facts.st_mode)):
            raise StudyError(f"{sequence.name}: {frame} is empty, or no file")
        digest.update(f"{frame.name}:{facts.st_size};".encode())
    digest.update(np.ascontiguousarray(sequence.boxes).tobytes())
    if isinstance(sequence, VOTSequence):
        digest.update(np.ascontiguousarray(sequence.regions).tobytes())
    return digest.hexdigest()
