"""The tracking benchmarks by name: their sequences, with 0-based boxes.

The files of most benchmarks count pixels from 1; NfS, annotated as corners in VATIC, from 0.
``read_benchmark`` returns 0-based boxes, ``to_file`` goes back.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from esiamfc_lib.data import benchmark_files as files
from esiamfc_lib.data import geometry
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError

FAULTS = (IndexError, KeyError, OSError, ValueError)  # of a file that is not what it should be


@dataclass(frozen=True)
class VOTSequence(Sequence):
    """A sequence of a VOT challenge."""

    # (n, 4) boxes or (n, 8) corners, as in the file: pixels count from 1
    regions: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    labels: dict[str, np.ndarray] = field(default_factory=dict)  # challenge → (n,) bool


class Reader(NamedTuple):
    """How a benchmark is read, and the number of targets that the complete one has."""

    layout: Callable[[Path], files.Layout]
    targets: int


READERS = {
    "otb2013": Reader(partial(files.OTB, "otb2013"), 51),
    "otb50": Reader(partial(files.OTB, "tb50"), 50),
    "otb2015": Reader(partial(files.OTB, "otb2015"), 100),
    "vot2013": Reader(files.VOT, 16),
    "vot2014": Reader(files.VOT, 25),
    **{f"vot{year}": Reader(files.VOT, 60) for year in range(2015, 2019)},
    "got10k-val": Reader(partial(files.GOT10k, "val"), 180),
    "got10k-test": Reader(partial(files.GOT10k, "test"), 180),
    "uav123": Reader(files.UAV123, 123),
    "dtb70": Reader(files.DTB70, 70),
    "tcolor128": Reader(files.TColor128, 128),
    "nfs30": Reader(partial(files.NfS, 30), 100),
    "nfs240": Reader(partial(files.NfS, 240), 100),
    "lasot": Reader(files.LaSOT, 280),
}


def origin(benchmark: str) -> int:
    """Number of the left-top pixel in the benchmark's files: 1, or 0 for NfS."""
    return 0 if benchmark.startswith("nfs") else 1


def to_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """0-based boxes (n, 4) in the coordinates of the benchmark's files."""
    return geometry.to_one_based(boxes) if origin(benchmark) else np.asarray(boxes, float)


def from_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """Boxes (n, 4) in the coordinates of the benchmark's files → 0-based."""
    return geometry.from_one_based(boxes) if origin(benchmark) else np.asarray(boxes, float)


def read_benchmark(
    benchmark: str, root: str | Path, limit: int = 0
) -> tuple[list[Sequence], list[str]]:
    """The sequences of a benchmark in ``READERS`` that are under ``root``, the first ``limit`` of
    them (0 = all), and the names of those that are not (known where the toolkit or a ``list.txt``
    names them). A StudyError if there is none, or one whose files do not fit together.
    """
    layout = _layout(benchmark, root)
    if not layout.files:
        raise StudyError(f"{benchmark}: no sequence in its layout under {root}")
    names = list(layout.files)[: limit or None]
    read = [_read(layout, name, benchmark) for name in names]
    return _with_families(read, Path(root).expanduser().resolve()), layout.missing


def total(benchmark: str, present: int, missing: list[str], built_in: bool) -> int:
    """How many sequences a complete run has; ``built_in``: data in the benchmark's layout only."""
    known = present + len(missing)
    return known if built_in else max(known, READERS[benchmark].targets)


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
    try:
        return READERS[benchmark].layout(root)
    except FAULTS as error:
        raise StudyError(f"{benchmark}: {root} is not in its layout ({error})") from None


def _read(layout: files.Layout, name: str, benchmark: str) -> Sequence:
    try:
        frames, regions = layout.read(name)
        if len(frames) != len(regions) or regions.shape[1] not in (4, 8):
            rows, columns = regions.shape
            raise ValueError(f"{len(frames)} frames, {rows} lines of {columns} numbers")
        attributes, kind, extra = layout.attributes(name), Sequence, {}
        if isinstance(layout, files.VOT):
            labels = layout.labels(name, len(frames))
            attributes = tuple(label for label, flags in labels.items() if flags.any())
            kind, extra = VOTSequence, {"regions": regions, "labels": labels}
    except FAULTS as error:
        raise StudyError(f"{benchmark}: sequence {name} cannot be read ({error})") from None
    boxes = from_file(np.apply_along_axis(geometry.polygon_to_box, 1, regions), benchmark)
    # A box without an area marks a frame without ground truth.
    boxes[~((boxes[:, 2] > 0) & (boxes[:, 3] > 0))] = np.nan
    if np.isnan(boxes[0]).any():
        raise StudyError(f"{benchmark}: sequence {name} has no box in its first frame")
    if not frames[0].is_file():
        raise StudyError(f"{benchmark}: sequence {name} has no frame {frames[0]}")
    return kind(name, tuple(map(str, frames)), boxes, attributes=attributes, **extra)


def _with_families(read: list[Sequence], root: Path) -> list[Sequence]:
    """Attributes and families of the built-in data, from the table beside its folders."""
    file = root.parent / files.FAMILIES
    if not file.is_file():
        return read
    table = pd.read_csv(file, keep_default_na=False, dtype=str)
    known = {
        row.video: {"family": row.family, "attributes": tuple(row.attributes.split())}
        for row in table.drop_duplicates("video").itertuples()
    }
    return [replace(sequence, **known.get(sequence.name, {})) for sequence in read]


def sequence_digest(sequence: Sequence) -> str:
    """Digest of a sequence's data: names and sizes of its frames, all ground truth."""
    # Sizes of JPEG files stand for pixels: reading every frame takes as long as tracking it.
    digest = hashlib.sha256(sequence.name.encode())
    for frame in map(Path, sequence.frames):
        try:
            size = frame.stat().st_size
        except OSError as error:
            raise StudyError(f"{sequence.name}: cannot read {frame}: {error.strerror}") from None
        digest.update(f"{frame.name}:{size};".encode())
    digest.update(np.ascontiguousarray(sequence.boxes).tobytes())
    if isinstance(sequence, VOTSequence):
        digest.update(np.ascontiguousarray(sequence.regions).tobytes())
    return digest.hexdigest()
