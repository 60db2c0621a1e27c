"""Where each tracking benchmark keeps its files, and what they say: one class per layout.

The readers of the got10k toolkit want every data set complete, download what is missing and fail
on some layouts. Those here take any subset of the sequences, list what is missing, and name file
and line of a fault (StudyError)."""

import json
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import numpy as np
from got10k import datasets

from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import plain_name, visible

FAMILIES = "families.csv"  # of the built-in data, beside the folders of its layouts
LONGEST_TEXT = 2**24  # bytes: 100,000 frames have less
# Up to 1e24, so that no area overflows.
NUMBER = re.compile(r"[-+]?((\d{1,15}\.?\d*|\.\d+)(e(-\d+|\+?0*\d))?|nan)", re.ASCII | re.I)
OTB_NAMED = re.compile(r"groundtruth(_rect)?(\.\d+)?\.txt")
OTB_PARTS = {  # first and last frame with ground truth, where the folder may hold more
    "David": (300, 770), "Football1": (1, 74), "Freeman3": (1, 460), "Freeman4": (1, 283),
    "Diving": (1, 215),
}  # fmt: skip
Both = tuple[list[Path], np.ndarray]  # frames; boxes (n, 4) or corners (n, 8) as in the file


def of_toolkit(name: str) -> dict:
    """A list of sequences that comes with got10k."""
    return json.loads(Path(datasets.__file__).with_name(name).read_text(encoding="utf-8"))


class Layout:
    """What most layouts have in common: a folder per sequence, with its frames and ground truth.
    ``files`` has the ground truth of each sequence that is there, ``missing`` the names of others
    that the toolkit or a ``list.txt`` names; ``own``: only the layout is the benchmark's."""

    subset = ""  # folder of the sequences, from the benchmark's
    truth = "*/groundtruth.txt"  # from there
    images = ""  # folder of the frames, from that of the ground truth
    columns = (4,)  # numbers in a line of ground truth
    part = slice(None)  # of the line
    named = ("attrs.txt", "attributes.txt")  # attributes: OTB's own toolkit, ours
    names: Iterable[str] = ()  # of all sequences, where the toolkit knows them

    def __init__(self, root: Path, **given):
        vars(self).update(given)  # other values of the attributes above
        self.root, self.own = root / self.subset, (root.parent / FAMILIES).is_file()
        self.missing, self.files = [], {}
        for name, file in self.find():
            if self.files.setdefault(name, file) != file:
                raise StudyError(f"{name} is there twice: {self.files[name]} and {file}")
        listed = self.root / "list.txt"
        if listed.exists() or listed.is_symlink():
            self.expect([plain_name(line, listed) for line in lines(listed) if line])
        if self.names:
            self.expect(self.names)

    def find(self) -> Iterable[tuple[str, Path]]:
        """Names of all sequences, and their files of ground truth."""
        return [(file.parent.name, file) for file in found(self.root, self.truth)]

    def expect(self, names: Iterable[str]) -> None:
        """Keep what is there of ``names``, in their order, and note what is not."""
        self.missing = sorted(set(names) - set(self.files))
        self.files = {name: self.files[name] for name in names if name in self.files}

    def read(self, name: str) -> Both:
        """Frames and as many lines; NaN where there is no ground truth."""
        lines = numbers(self.files[name], self.columns, self.part)
        frames = self.frames(name)
        if gap := gap_in([*map(number_of, frames)]):
            raise StudyError(f"{frames[gap].parent}: no frame just before {frames[gap].name}")
        frames, boxes = self.fitted(name, frames, lines)
        if not frames or len(frames) != len(boxes):
            raise StudyError(f"{self.files[name]}: {len(boxes)} lines for {len(frames)} frames")
        boxes[self.absent(name, len(frames))] = np.nan
        return frames, boxes

    def frames(self, name: str) -> list[Path]:
        """Image files, in order."""
        return frames_in(self.files[name].parent / self.images)

    def fitted(self, name: str, frames: list[Path], boxes: np.ndarray) -> Both:
        """Those of the frames and lines that belong together by the benchmark's own rules."""
        return frames, boxes

    def absent(self, name: str, n: int) -> np.ndarray:
        """(n,) bool: frames that do not count, whatever their box is."""
        return np.zeros(n, bool)

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:
        """Challenge → (n,) bool, where there is a file of it."""
        return {}

    def attributes(self, name: str, n: int) -> tuple[str, ...]:
        """Names of the challenges that the sequence shows."""
        shown = [label for label, flags in self.labels(name, n).items() if flags.any()]
        return (*words(self.files[name].parent, *self.named), *shown)


class OTB(Layout):
    """OTB. Without a single official sequence it is a set of one's own: all sequences count."""

    truth, images = "*/groundtruth*.txt", "img"

    def __init__(self, root: Path, version: str):
        super().__init__(root)
        names = set(datasets.OTB._OTB__version_dict[version])
        for two in names & {"Jogging", "Skating2"}:
            names = names - {two} | {f"{two}.1", f"{two}.2"}
        self.own = not names & set(self.files)
        if not self.own:
            self.expect(sorted(names))

    def find(self) -> Iterable[tuple[str, Path]]:
        for folder, every in groupby(found(self.root, self.truth), key=lambda file: file.parent):
            every = list(every)
            files = [file for file in every if OTB_NAMED.fullmatch(file.name)] or every
            if len(files) > 1:  # Human4 comes with an empty file beside the one that counts
                files = [file for file in files if any(lines(file))]
            for i, file in enumerate(files, 1):
                if len(files) > 1 and "." not in file.stem:
                    raise StudyError(f"{folder}: which of {len(files)} files, as {file.name}?")
                yield f"{folder.name}.{i}" if len(files) > 1 else folder.name, file

    def fitted(self, name: str, frames: list[Path], boxes: np.ndarray) -> Both:
        first, last = OTB_PARTS.get(name, (2, 0))
        return frames[first - 1 : last] if len(boxes) == last - first + 1 else frames, boxes


class VOT(Layout):
    """VOT 2013–2018; the root has ``list.txt``, or ``sequences`` as in the toolkit's workspaces."""

    columns = (4, 8)

    def __init__(self, root: Path):
        workspace = not (root / "list.txt").is_file() and (root / "sequences/list.txt").is_file()
        super().__init__(root / "sequences" if workspace else root)

    def frames(self, name: str) -> list[Path]:
        # from 2018 on in a folder of their own
        return frames_in(self.files[name].parent / "color") or super().frames(name)

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:  # may end early: then False
        files = sorted(found(self.files[name].parent, "*.label", "*.tag"))
        return {file.stem: per_frame(file, n, short=True) > 0 for file in files}


class GOT10k(Layout):
    """GOT-10k val and test; frames where the target is covered have no ground truth."""

    def fitted(self, name: str, frames: list[Path], boxes: np.ndarray) -> Both:
        if self.subset == "test" and len(boxes) == 1:  # it gives the first box only
            boxes = np.vstack([boxes, np.full((len(frames) - 1, 4), np.nan)])
        return frames, boxes

    def absent(self, name: str, n: int) -> np.ndarray:
        # A visible share of 0 means that the frame does not count; the first one always does.
        (cover,) = found(self.files[name].parent, "cover.label") or [None]
        return (np.arange(n) > 0) & (per_frame(cover, n) == 0 if cover else False)

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:
        # The cover counts what can be seen: 8 is all of it.
        usual = {"cover.label": 8, "absence.label": 0, "cut_by_image.label": 0}
        files = found(self.files[name].parent, *usual)
        return {file.stem: per_frame(file, n) != usual[file.name] for file in files}


class UAV123(Layout):
    """UAV123: several sequences are parts of one video."""

    # Order of the columns of the attribute files (Mueller et al. 2016, table 2).
    CHALLENGES = (
        "scale variation", "aspect ratio change", "low resolution", "fast motion",
        "full occlusion", "partial occlusion", "out of view", "background clutter",
        "illumination variation", "viewpoint change", "camera motion", "similar object",
    )  # fmt: skip
    parts = of_toolkit("uav123.json")["UAV123"]
    names = sorted(parts)

    def find(self) -> Iterable[tuple[str, Path]]:
        videos, truths = self.root / "data_seq/UAV123", self.root / "anno/UAV123"
        here = [name for name in self.names if (videos / self.parts[name]["folder_name"]).is_dir()]
        return [(name, truths / f"{name}.txt") for name in here]

    def frames(self, name: str) -> list[Path]:
        part = self.parts[name]
        video = self.root / "data_seq/UAV123" / part["folder_name"]
        return numbered(video, part["start_frame"], part["end_frame"])

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:
        names, files = self.CHALLENGES, found(self.files[name].parent, f"att/{name}.txt")
        flags = [flag for file in files for flag in per_frame(file, len(names))]
        return {name: np.full(n, flag > 0) for name, flag in zip(names, flags, strict=False)}


class TColor128(Layout):
    """TColor128: the frames that count, and the attributes, are in files of their own."""

    truth, named = "*/*_gt.txt", ("*_att.txt",)

    def frames(self, name: str) -> list[Path]:
        folder = self.files[name].parent
        for file in found(folder, "*_frames.txt"):
            return numbered(folder / "img", *per_frame(file, 2))
        raise StudyError(f"{folder} has no *_frames.txt, which says what frames count")


class NfS(Layout):
    """NfS at 30 or 240 frames per second; annotated at 240. each line holds the number of its
    frame, from 0. One frame or line less at the end is a property of the benchmark."""

    columns, part = (5,), slice(1, 6)  # corners and number

    def find(self) -> Iterable[tuple[str, Path]]:
        files = found(self.root, self.truth)
        return [(f.stem, f) for f in files if f.with_suffix("").is_dir() or f.stem in f.parts]

    def frames(self, name: str) -> list[Path]:
        return frames_in(self.files[name].with_suffix(""))

    def fitted(self, name: str, frames: list[Path], rows: np.ndarray) -> Both:
        rows = rows[np.argsort(rows[:, 4], kind="stable")]
        boxes = np.hstack([rows[:, :2], rows[:, 2:4] - rows[:, :2]])
        whole = len(boxes) in (len(frames), 8 * len(frames)) or not gap_in(rows[:, 4])
        if whole and frames and abs(len(boxes) / len(frames) - 8) < 1:
            boxes = boxes[::8]
        first = rows[:1, 4] if len(boxes) < len(frames) else [number_of(f) - 1 for f in frames[:1]]
        last = whole and abs(len(boxes) - len(frames)) == 1 and max(first, default=1) <= 0
        n = min(len(boxes), len(frames))
        return (frames[:n], boxes[:n]) if last else (frames, boxes)


class LaSOT(Layout):
    """LaSOT's 280 test sequences; no ground truth where the target is hidden or out of view."""

    truth, images = "*/*/groundtruth.txt", "img"
    names = of_toolkit("lasot.json")["test"]

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:
        files = found(self.files[name].parent, "full_occlusion.txt", "out_of_view.txt")
        return {file.stem: per_frame(file, n) > 0 for file in files}

    def absent(self, name: str, n: int) -> np.ndarray:  # as in the benchmark's own evaluation
        labels = self.labels(name, n)
        for label, flags in labels.items():
            if flags[0] or flags[1:].all():
                which = "the first frame" if flags[0] else "all frames but the first"
                file = self.files[name].with_name(f"{label}.txt")
                raise StudyError(f"{file}: no ground truth where a flag is not 0, as in {which}")
        return np.any([*labels.values(), np.zeros(n, bool)], axis=0)


def found(folder: Path, *patterns: str) -> list[Path]:
    """Visible files below a folder whose paths fit a pattern, sorted, pattern by pattern."""
    files = (file for pattern in patterns for file in sorted(folder.glob(pattern)))
    return [file for file in files if all(map(visible, file.relative_to(folder).parts))]


def frames_in(folder: Path) -> list[Path]:
    """A folder's JPEG files, else its other images, in the order of their numbers."""
    return images.image_files(folder, images.JPEG) or images.image_files(folder)


def number_of(frame: Path) -> int:
    """The number at the end of a file's name; 0 without one."""
    return int(re.search(r"\d*$", frame.stem)[0] or 0)


def gap_in(numbers: Iterable[float]) -> int:
    """Place of the first number after a gap in those that count up by one, or 0: lines and frames
    belong together by their places, so one less in the middle would shift all later ones."""
    steps = np.diff(np.array([*numbers], float))
    return int(np.argmax(steps > 1)) + 1 if {1} < set(steps.clip(1, 2)) else 0


def numbered(folder: Path, first: float, last: float) -> list[Path]:
    """The frames from one number to another, all of which must be there."""
    frames = {number_of(file): file for file in frames_in(folder)}
    part = [frame for number, frame in frames.items() if first <= number <= last]
    if len(part) != last - first + 1:
        raise StudyError(f"{folder}: {len(part)} frames of those from {first:g} to {last:g}")
    return part


def lines(file: Path) -> list[str]:
    """The lines of a text as any editor writes it, without blanks around them."""
    with refused(f"{file} is not UTF-8 text", UnicodeDecodeError):
        text = images.read_bytes(file, LONGEST_TEXT).decode("utf-8-sig")
    return [line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def numbers(file: Path, columns: tuple[int, ...] = (), part=slice(None), mixed=False) -> np.ndarray:
    """(lines, columns) of a file of numbers with commas, or tabs and blanks, between them; empty
    lines, and those that begin with #, do not count. The ``part`` of a line has as many numbers as
    ``columns`` allow (if given) and as the others, or else only NaN. Lines that differ, if they may
    (``mixed``), end with NaN."""
    table = []
    for i, line in enumerate(lines(file), 1):
        if not line or line.startswith("#"):
            continue
        bare = line.partition('"')[0]  # a name in quotes may have commas
        fields = re.split(r"\s*,\s*", line.removesuffix(",")) if "," in bare else line.split()
        row = [float(field) for field in fields[part] if NUMBER.fullmatch(field)]
        unknown = bool(row) and np.isnan(row).all()
        fits = not columns or len(row) in columns or unknown
        if len(row) < len(fields[part]) or not fits:
            said = f"{file}, line {i}: {len(row)} numbers in {line[:50]!r}"
            wanted = f"where {' or '.join(map(str, columns)) or 'only such'} are expected"
            how = "(commas or blanks between them, points as decimal marks)"
            raise StudyError(f"{said}, {wanted} {how}")
        columns = columns if mixed or unknown else (len(row),)
        table.append(row)
    width = max(columns, default=1)
    return np.array([(row + width * [np.nan])[:width] for row in table]).reshape(-1, width)


def per_frame(file: Path, n: int, short: bool = False) -> np.ndarray:
    """The ``n`` numbers of a file (n,), in one line or in many; ``short``: it may end early."""
    values = numbers(file).ravel()
    if np.isnan(values).any():
        raise StudyError(f"{file}: NaN among its numbers")
    if len(values) != n and not (short and len(values) < n):
        raise StudyError(f"{file}: {len(values)} values where {n} are expected")
    return np.pad(values, (0, n - len(values)))


def words(folder: Path, *patterns: str) -> tuple[str, ...]:
    """Names in the first file that is there, separated by commas, semicolons or lines."""
    for file in found(folder, *patterns):
        parts = re.split(r"[,;\n]", "\n".join(lines(file)))
        return tuple(part.strip() for part in parts if part.strip())
    return ()
