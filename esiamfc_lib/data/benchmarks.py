"""The tracking benchmarks, read through the got10k toolkit with its known faults fixed.

got10k 0.1.3 wants every data set complete, downloads what is missing, prints, and fails on some
layouts; the subclasses below keep its knowledge (sequence lists, frame ranges, file formats) and
change that: any subset of the sequences may be present, and what is missing is listed.

Annotation files of the toolkit's benchmarks count pixels from 1; NfS, annotated as corners in
VATIC, from 0. ``sequences`` returns 0-based boxes, ``to_file`` goes back.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from got10k import datasets

from esiamfc_lib.data import geometry
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError

# Number of targets of the complete benchmark.
OFFICIAL = {
    "otb2013": 51, "otb50": 50, "otb2015": 100,
    "vot2013": 16, "vot2014": 25, "vot2015": 60, "vot2016": 60, "vot2017": 60, "vot2018": 60,
    "got10k-val": 180, "got10k-test": 180, "uav123": 123, "dtb70": 70, "tcolor128": 128,
    "nfs30": 100, "nfs240": 100, "lasot": 280,
}  # fmt: skip

FAMILIES = "families.csv"  # of the built-in data, beside the folders of its layouts
FAULTS = (AssertionError, IndexError, KeyError, OSError, ValueError)  # of got10k on a bad file


@dataclass(frozen=True)
class VOTSequence(Sequence):
    """A sequence with the rotated boxes and per-frame labels of the VOT challenges.

    Attributes:
        regions: (n, 4) boxes or (n, 8) corners, as in the file: pixels count from 1.
        labels: name of a challenge → (n,) bool, the frames that show it.
    """

    regions: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    labels: dict[str, np.ndarray] = field(default_factory=dict)


def origin(benchmark: str) -> int:
    """Number of the left-top pixel in the benchmark's files: 1, or 0 for NfS."""
    return 0 if benchmark.startswith("nfs") else 1


def to_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """0-based boxes (n, 4) in the coordinates of the benchmark's files."""
    return geometry.to_one_based(boxes) if origin(benchmark) else np.asarray(boxes, float)


def from_file(boxes: np.ndarray, benchmark: str) -> np.ndarray:
    """Boxes (n, 4) in the coordinates of the benchmark's files → 0-based."""
    return geometry.from_one_based(boxes) if origin(benchmark) else np.asarray(boxes, float)


class OTB(datasets.OTB):
    """OTB: subsets, no download, and folders of one's own in the same layout.

    A root without a single official sequence is a set of one's own: all its sequences count.
    """

    def __init__(self, root: Path, version: str):
        self.root_dir, self.version = str(root), version
        wanted = self._OTB__version_dict[version]
        folders = sorted(file.parent.name for file in root.glob("*/groundtruth*.txt"))
        self.own = not set(folders) & set(wanted)
        chosen = folders if self.own else wanted
        files = [file for name in set(chosen) for file in root.glob(f"{name}/groundtruth*.txt")]
        self.anno_files = [str(f) for f in sorted(files) if f.read_text().strip()]
        self.seq_dirs = [str(Path(file).parent) for file in self.anno_files]
        self.seq_names = self._rename_seqs([Path(folder).name for folder in self.seq_dirs])
        targets = {"Jogging": 2, "Skating2": 2}
        expected = [
            f"{name}.{i + 1}" if name in targets else name
            for name in chosen
            for i in range(targets.get(name, 1))
        ]
        self.missing = sorted(set(expected) - set(self.seq_names)) if not self.own else []

    def attributes(self, index: int) -> tuple[str, ...]:
        return _attributes(Path(self.seq_dirs[index]))


class VOT(datasets.VOT):
    """VOT 2013–2018: frames in the folder of the sequence, or in its ``color`` (from 2018 on).

    The root is the folder of ``list.txt`` or a workspace of the official toolkit, which keeps its
    sequences in ``sequences``.
    """

    def __init__(self, root: Path):
        if not (root / "list.txt").is_file() and (root / "sequences" / "list.txt").is_file():
            root = root / "sequences"
        listed = _listed(root, "*/groundtruth.txt")
        self.root_dir, self.anno_type, self.return_meta = str(root), "default", False
        self.seq_names = [name for name in listed if (root / name / "groundtruth.txt").is_file()]
        self.seq_dirs = [str(root / name) for name in self.seq_names]
        self.missing = sorted(set(listed) - set(self.seq_names))

    def __getitem__(self, index: int) -> tuple[list[str], np.ndarray]:
        folder = Path(self.seq_dirs[index])
        frames = sorted(folder.glob("color/*.jpg")) or sorted(folder.glob("*.jpg"))
        regions = np.loadtxt(folder / "groundtruth.txt", delimiter=",", ndmin=2)
        assert len(frames) == len(regions), f"{len(frames)} frames, {len(regions)} regions"
        assert regions.shape[1] in (4, 8), f"{regions.shape[1]} numbers a line"
        return [str(frame) for frame in frames], regions

    def labels(self, index: int) -> dict[str, np.ndarray]:
        """Challenge → (n,) bool; the reader pads labels that end early with False."""
        folder = Path(self.seq_dirs[index])
        frames = len(self[index][0])
        labels = {}
        for file in sorted([*folder.glob("*.label"), *folder.glob("*.tag")]):
            flags = np.loadtxt(file, ndmin=1)[:frames] > 0
            labels[file.stem] = np.pad(flags, (0, frames - len(flags)))
        return labels


class GOT10k(datasets.GOT10k):
    """GOT-10k val and test: subsets; frames where the target is covered have no ground truth."""

    def __init__(self, root: Path, subset: str):
        root = root / subset
        listed = _listed(root, "*/groundtruth.txt")
        self.root_dir, self.subset, self.return_meta = str(root), subset, False
        self.seq_names = [name for name in listed if (root / name / "groundtruth.txt").is_file()]
        self.seq_dirs = [str(root / name) for name in self.seq_names]
        self.anno_files = [str(root / name / "groundtruth.txt") for name in self.seq_names]
        self.missing = sorted(set(listed) - set(self.seq_names))

    def __getitem__(self, index: int) -> tuple[list[str], np.ndarray]:
        frames, boxes = super().__getitem__(index)
        if len(boxes) == 1:  # the test set gives the first box only
            boxes = np.vstack([boxes, np.full((len(frames) - 1, 4), np.nan)])
        cover = Path(self.seq_dirs[index]) / "cover.label"
        if cover.is_file():
            # A visible share of 0 means that the frame does not count; the first one always does.
            hidden = np.loadtxt(cover, ndmin=1) == 0
            hidden[0] = False
            boxes[hidden] = np.nan
        return frames, boxes

    def attributes(self, index: int) -> tuple[str, ...]:
        folder = Path(self.seq_dirs[index])
        shown = {"cover": lambda values: values < 8, "absence": bool, "cut_by_image": bool}
        found = _attributes(folder)
        for name, marks in shown.items():
            file = folder / f"{name}.label"
            if file.is_file() and np.any(np.vectorize(marks)(np.loadtxt(file, ndmin=1))):
                found = (*found, name)
        return found


class UAV123(datasets.UAV123):
    """UAV123: subsets; the attributes of ``anno/UAV123/att``."""

    # Order of the columns of the attribute files (Mueller et al. 2016, table 2).
    CHALLENGES = (
        "scale variation", "aspect ratio change", "low resolution", "fast motion",
        "full occlusion", "partial occlusion", "out of view", "background clutter",
        "illumination variation", "viewpoint change", "camera motion", "similar object",
    )  # fmt: skip

    def __init__(self, root: Path):
        super().__init__(str(root), "UAV123")
        folders = dict(zip(self.seq_names, self.seq_dirs, strict=True))
        self.seq_names = [name for name, folder in folders.items() if Path(folder).is_dir()]
        self.seq_dirs = [folders[name] for name in self.seq_names]
        annotations = root / "anno" / "UAV123"
        self.anno_files = [str(annotations / f"{name}.txt") for name in self.seq_names]
        self.missing = sorted(set(self.seq_metas["UAV123"]) - set(self.seq_names))

    def _check_integrity(self, root_dir: str, version: str) -> None:
        """The toolkit's check wants more than three entries in the root, and prints."""

    def attributes(self, index: int) -> tuple[str, ...]:
        file = Path(self.anno_files[index]).parent / "att" / f"{self.seq_names[index]}.txt"
        if not file.is_file():
            return ()
        flags = np.loadtxt(file, delimiter=",", ndmin=1)
        return tuple(name for name, flag in zip(self.CHALLENGES, flags, strict=True) if flag)


class DTB70(datasets.DTB70):
    """DTB70: subsets."""

    def __init__(self, root: Path):
        super().__init__(str(root))
        self.missing = []

    def _check_integrity(self, root_dir: str) -> None:
        """Whatever folders are there count."""

    def attributes(self, index: int) -> tuple[str, ...]:
        return _attributes(Path(self.seq_dirs[index]))


class TColor128(datasets.TColor128):
    """TColor128: no download of 7 GB when fewer than 100 sequences are there."""

    def __init__(self, root: Path):
        super().__init__(str(root), download=False)
        self.missing = []

    def _check_integrity(self, root_dir: str) -> None:
        """Whatever folders are there count."""

    def attributes(self, index: int) -> tuple[str, ...]:
        """Names of ``<sequence>_att.txt``, which holds them as a comma-separated line."""
        files = sorted(Path(self.seq_dirs[index]).glob("*_att.txt"))
        return _words(files[0].read_text()) if files else ()


class NfS(datasets.NfS):
    """NfS at 30 or 240 frames a second: subsets."""

    def __init__(self, root: Path, fps: int):
        super().__init__(str(root), fps)
        self.missing = []

    def _check_integrity(self, root_dir: str) -> None:
        """Whatever folders are there count."""

    def attributes(self, index: int) -> tuple[str, ...]:
        return _attributes(Path(self.seq_dirs[index]))


class LaSOT(datasets.LaSOT):
    """LaSOT's 280 test sequences; the toolkit's constructor cannot run at all.

    Frames with the target fully hidden or out of view have no ground truth, as in the benchmark's
    own evaluation.
    """

    def __init__(self, root: Path):
        self.root_dir, self.subset, self.return_meta = str(root), "test", False
        splits = Path(datasets.__file__).with_name("lasot.json").read_text(encoding="utf-8")
        wanted = json.loads(splits)["test"]
        folders = {name: root / name.rpartition("-")[0] / name for name in wanted}
        self.seq_names = [name for name in wanted if folders[name].is_dir()]
        self.seq_dirs = [str(folders[name] / "img") for name in self.seq_names]
        self.anno_files = [str(folders[name] / "groundtruth.txt") for name in self.seq_names]
        self.missing = sorted(set(wanted) - set(self.seq_names))

    def __getitem__(self, index: int) -> tuple[list[str], np.ndarray]:
        frames, boxes = super().__getitem__(index)
        assert len(frames) == len(boxes), f"{len(frames)} frames, {len(boxes)} boxes"
        for file in self._absences(index):
            boxes[np.loadtxt(file, delimiter=",", ndmin=1).ravel() > 0] = np.nan
        return frames, boxes

    def attributes(self, index: int) -> tuple[str, ...]:
        absent = [f for f in self._absences(index) if np.loadtxt(f, delimiter=",").any()]
        return tuple(file.stem for file in absent)

    def _absences(self, index: int) -> list[Path]:
        folder = Path(self.seq_dirs[index]).parent
        files = [folder / f"{name}.txt" for name in ("full_occlusion", "out_of_view")]
        return [file for file in files if file.is_file()]


READERS: dict[str, Callable[[Path], object]] = {
    "otb2013": lambda root: OTB(root, "otb2013"),
    "otb50": lambda root: OTB(root, "tb50"),
    "otb2015": lambda root: OTB(root, "otb2015"),
    **{f"vot{year}": VOT for year in range(2013, 2019)},
    "got10k-val": lambda root: GOT10k(root, "val"),
    "got10k-test": lambda root: GOT10k(root, "test"),
    "uav123": UAV123,
    "dtb70": DTB70,
    "tcolor128": TColor128,
    "nfs30": lambda root: NfS(root, 30),
    "nfs240": lambda root: NfS(root, 240),
    "lasot": LaSOT,
}


def read_benchmark(
    benchmark: str, root: str | Path, limit: int = 0
) -> tuple[list[Sequence], list[str]]:
    """Read the sequences of a benchmark that are present.

    Args:
        benchmark: a name in ``OFFICIAL``.
        root: folder of the benchmark.
        limit: read the first so many only; 0 = all.

    Returns:
        the sequences with 0-based boxes, and the names of the benchmark's sequences that are not
        under ``root`` (known where the toolkit or a ``list.txt`` names them).

    Raises:
        StudyError: an unknown benchmark, no sequence under ``root``, a sequence whose files do not
            fit together.
    """
    if benchmark not in READERS:
        raise StudyError(f"unknown benchmark {benchmark!r}: choose from {', '.join(READERS)}")
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise StudyError(f"{benchmark}: no folder {root}")
    try:
        reader = READERS[benchmark](root)
    except FAULTS as error:
        raise StudyError(f"{benchmark}: {root} is not in its layout ({error})") from None
    if not reader.seq_names:
        raise StudyError(f"{benchmark}: no sequence in its layout under {root}")
    indices = range(len(reader.seq_names))[: limit or None]
    read = [_read(reader, index, benchmark) for index in indices]
    return _with_families(read, root), reader.missing


def total(benchmark: str, present: int, missing: list[str], built_in: bool) -> int:
    """Number of sequences that a complete run has.

    Args:
        benchmark: its name.
        present, missing: number and names of the sequences that ``sequences`` found and missed.
        built_in: the data is made by ``synthetic`` or the user's own, in the benchmark's layout.
    """
    known = present + len(missing)
    return known if built_in else max(known, OFFICIAL[benchmark])


def is_own(benchmark: str, root: str | Path) -> bool:
    """Whether ``root`` only borrows the benchmark's layout: built-in data, or one's own."""
    root = Path(root).expanduser().resolve()
    if benchmark.startswith("otb"):
        return READERS[benchmark](root).own
    return (root.parent / FAMILIES).is_file()


def _with_families(read: list[Sequence], root: Path) -> list[Sequence]:
    """Attributes and families of the built-in data, from the table beside its folders."""
    file = root.parent / FAMILIES
    if not file.is_file():
        return read
    table = pd.read_csv(file, keep_default_na=False, dtype=str)
    known = {row.video: row for row in table.drop_duplicates("video").itertuples()}
    return [
        replace(
            sequence,
            family=known[sequence.name].family,
            attributes=tuple(known[sequence.name].attributes.split()),
        )
        if sequence.name in known
        else sequence
        for sequence in read
    ]


def _read(reader, index: int, benchmark: str) -> Sequence:
    name = reader.seq_names[index]
    try:
        frames, truth = reader[index]
        if isinstance(reader, VOT):
            labels = reader.labels(index)
            boxes = np.apply_along_axis(geometry.polygon_to_box, 1, truth)
            extra = {"regions": truth, "labels": labels}
            attributes = tuple(label for label, flags in labels.items() if flags.any())
        else:
            boxes, extra, attributes = truth, {}, reader.attributes(index)
    except FAULTS as error:
        reason = str(error) or "frames and ground truth differ in number"
        raise StudyError(f"{benchmark}: sequence {name} cannot be read ({reason})") from None
    boxes = from_file(boxes, benchmark)
    # A box without an area marks a frame without ground truth.
    boxes[~((boxes[:, 2] > 0) & (boxes[:, 3] > 0))] = np.nan
    if np.isnan(boxes[0]).any():
        raise StudyError(f"{benchmark}: sequence {name} has no box in its first frame")
    if not Path(frames[0]).is_file():
        raise StudyError(f"{benchmark}: sequence {name} has no frame {frames[0]}")
    kind = VOTSequence if extra else Sequence
    return kind(name, tuple(frames), boxes, attributes=attributes, **extra)


def sequence_digest(sequence: Sequence) -> str:
    """Digest of a sequence's data: names and sizes of its frames, all ground truth.

    The sizes of JPEG files stand for their pixels; reading every frame of a large benchmark would
    take as long as tracking it.
    """
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


def _listed(root: Path, pattern: str) -> list[str]:
    """Names in ``list.txt``; without one, the folders that hold annotations."""
    file = root / "list.txt"
    if file.is_file():
        return file.read_text(encoding="utf-8").split()
    return sorted(found.parent.name for found in root.glob(pattern))


def _attributes(folder: Path) -> tuple[str, ...]:
    """Names in ``attrs.txt`` (OTB's own toolkit) or ``attributes.txt`` of a sequence's folder."""
    for file in (folder / "attrs.txt", folder / "attributes.txt"):
        if file.is_file():
            return _words(file.read_text(encoding="utf-8"))
    return ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in re.split(r"[,;\n]", text) if word.strip())
