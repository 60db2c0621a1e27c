"""Where each tracking benchmark keeps its files, and what they say: one class a layout.

The readers of the got10k toolkit want every data set complete, download what is missing and fail
on some layouts. Those here take any subset of the sequences and list what is missing.
"""

import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from got10k import datasets

FAMILIES = "families.csv"  # of the built-in data, beside the folders of its layouts


class Layout:
    """What most layouts have in common: a folder a sequence, with its frames and ground truth.

    ``files`` has the ground truth of each sequence that is there, ``missing`` the names of others
    that the toolkit or a ``list.txt`` names; ``own``: only the layout is the benchmark's.
    """

    truth = "*/groundtruth.txt"  # from the benchmark's folder
    images = "*.jpg"  # from the folder of the ground truth

    def __init__(self, root: Path):
        self.root, self.missing, self.own = root, [], (root.parent / FAMILIES).is_file()
        self.files = self.find()
        if (root / "list.txt").is_file():
            self.expect((root / "list.txt").read_text(encoding="utf-8").split())

    def find(self) -> dict[str, Path]:
        """All files of ground truth by the names of their sequences."""
        return {file.parent.name: file for file in sorted(self.root.glob(self.truth))}

    def expect(self, names: Iterable[str]) -> None:
        """Keep what is there of ``names``, in their order, and note what is not."""
        self.missing = sorted(set(names) - set(self.files))
        self.files = {name: self.files[name] for name in names if name in self.files}

    def frames(self, name: str) -> list[Path]:
        """Image files, in order."""
        return sorted(self.files[name].parent.glob(self.images))

    def read(self, name: str) -> tuple[list[Path], np.ndarray]:
        """Frames, and (n, 4) boxes or (n, 8) corners as in the file."""
        return self.frames(name), numbers(self.files[name])

    def attributes(self, name: str) -> tuple[str, ...]:
        """Names in ``attrs.txt`` (OTB's own toolkit) or ``attributes.txt``."""
        return words(self.files[name].parent, "attrs.txt", "attributes.txt")


class OTB(Layout):
    """OTB. Without a single official sequence it is a set of one's own: all sequences count."""

    truth, images = "*/groundtruth*.txt", "img/*.jpg"

    def __init__(self, version: str, root: Path):
        super().__init__(root)
        names = set(datasets.OTB._OTB__version_dict[version])
        for two in names & {"Jogging", "Skating2"}:
            names = names - {two} | {f"{two}.1", f"{two}.2"}
        self.own = not names & set(self.files)
        if not self.own:
            self.expect(sorted(names))

    def find(self) -> dict[str, Path]:
        # Human4 comes with an empty file beside the one that counts.
        files = [file for file in sorted(self.root.glob(self.truth)) if file.read_text().strip()]
        targets, seen = Counter(file.parent.name for file in files), Counter()
        found = {}
        for file in files:
            folder = file.parent.name
            seen[folder] += 1
            found[f"{folder}.{seen[folder]}" if targets[folder] > 1 else folder] = file
        return found

    def frames(self, name: str) -> list[Path]:
        first, last = {
            "david": (300, 770), "football1": (1, 74), "freeman3": (1, 460),
            "freeman4": (1, 283), "diving": (1, 215),
        }.get(name.lower(), (1, None))  # fmt: skip
        return super().frames(name)[first - 1 : last]


class VOT(Layout):
    """VOT 2013–2018; the root has ``list.txt``, or ``sequences`` as in the toolkit's workspaces."""

    def __init__(self, root: Path):
        workspace = not (root / "list.txt").is_file() and (root / "sequences/list.txt").is_file()
        super().__init__(root / "sequences" if workspace else root)

    def frames(self, name: str) -> list[Path]:
        # from 2018 on in a folder of their own
        return sorted(self.files[name].parent.glob("color/*.jpg")) or super().frames(name)

    def labels(self, name: str, n: int) -> dict[str, np.ndarray]:
        """Challenge → (n,) bool; labels that end early go on with False."""
        folder, labels = self.files[name].parent, {}
        for file in sorted([*folder.glob("*.label"), *folder.glob("*.tag")]):
            flags = np.loadtxt(file, ndmin=1)[:n] > 0
            labels[file.stem] = np.pad(flags, (0, n - len(flags)))
        return labels


class GOT10k(Layout):
    """GOT-10k val and test; frames where the target is covered have no ground truth."""

    def __init__(self, subset: str, root: Path):
        super().__init__(root / subset)
        self.own = (root.parent / FAMILIES).is_file()

    def read(self, name: str) -> tuple[list[Path], np.ndarray]:
        frames, boxes = super().read(name)
        if len(boxes) == 1:  # the test set gives the first box only
            boxes = np.vstack([boxes, np.full((len(frames) - 1, 4), np.nan)])
        cover = self.files[name].with_name("cover.label")
        if cover.is_file():
            # A visible share of 0 means that the frame does not count; the first one always does.
            hidden = np.loadtxt(cover, ndmin=1) == 0
            hidden[0] = False
            boxes[hidden] = np.nan
        return frames, boxes

    def attributes(self, name: str) -> tuple[str, ...]:
        found = super().attributes(name)
        # The cover counts what can be seen: 8 is all of it.
        for label, usual in (("cover", 8), ("absence", 0), ("cut_by_image", 0)):
            file = self.files[name].with_name(f"{label}.label")
            if file.is_file() and np.any(np.loadtxt(file, ndmin=1) != usual):
                found = (*found, label)
        return found


class UAV123(Layout):
    """UAV123: several sequences are parts of one video."""

    # Order of the columns of the attribute files (Mueller et al. 2016, table 2).
    CHALLENGES = (
        "scale variation", "aspect ratio change", "low resolution", "fast motion",
        "full occlusion", "partial occlusion", "out of view", "background clutter",
        "illumination variation", "viewpoint change", "camera motion", "similar object",
    )  # fmt: skip

    def __init__(self, root: Path):
        self.parts = of_toolkit("uav123.json")["UAV123"]
        super().__init__(root)
        self.expect(sorted(self.parts))

    def find(self) -> dict[str, Path]:
        here = [name for name in self.parts if self.folder(name).is_dir()]
        return {name: self.root / "anno/UAV123" / f"{name}.txt" for name in here}

    def folder(self, name: str) -> Path:
        """Of the whole video."""
        return self.root / "data_seq/UAV123" / self.parts[name]["folder_name"]

    def frames(self, name: str) -> list[Path]:
        first, last = self.parts[name]["start_frame"], self.parts[name]["end_frame"]
        return [self.folder(name) / f"{n:06d}.jpg" for n in range(first, last + 1)]

    def attributes(self, name: str) -> tuple[str, ...]:
        file = self.files[name].parent / "att" / f"{name}.txt"
        flags = numbers(file).ravel() if file.is_file() else np.zeros(len(self.CHALLENGES))
        return tuple(name for name, flag in zip(self.CHALLENGES, flags, strict=True) if flag)


class DTB70(Layout):
    """DTB70: whatever folders are there count."""

    truth, images = "*/groundtruth_rect.txt", "img/*.jpg"


class TColor128(Layout):
    """TColor128: the frames that count, and the attributes, are in files of their own."""

    truth = "*/*_gt.txt"

    def frames(self, name: str) -> list[Path]:
        folder = self.files[name].parent
        first, last = numbers(sorted(folder.glob("*_frames.txt"))[0]).ravel().astype(int)
        return [folder / "img" / f"{n:04d}.jpg" for n in range(first, last + 1)]

    def attributes(self, name: str) -> tuple[str, ...]:
        return words(self.files[name].parent, "*_att.txt")


class NfS(Layout):
    """NfS at 30 or 240 frames a second; annotated at 240."""

    def __init__(self, fps: int, root: Path):
        self.truth = f"*/{fps}/*.txt"
        super().__init__(root)

    def find(self) -> dict[str, Path]:
        return {file.stem: file for file in sorted(self.root.glob(self.truth))}

    def read(self, name: str) -> tuple[list[Path], np.ndarray]:
        frames = sorted((self.files[name].parent / name).glob("*.jpg"))
        corners = np.loadtxt(self.files[name], usecols=(1, 2, 3, 4), ndmin=2)
        boxes = np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])
        if frames and abs(len(boxes) / len(frames) - 8) < 1:
            boxes = boxes[::8]
        if abs(len(boxes) - len(frames)) == 1:
            n = min(len(boxes), len(frames))
            frames, boxes = frames[:n], boxes[:n]
        return frames, boxes


class LaSOT(Layout):
    """LaSOT's 280 test sequences; no ground truth where the target is hidden or out of view."""

    truth, images = "*/*/groundtruth.txt", "img/*.jpg"

    def __init__(self, root: Path):
        super().__init__(root)
        self.expect(of_toolkit("lasot.json")["test"])

    def absences(self, name: str) -> dict[str, np.ndarray]:
        """Kind of absence → (n,) bool."""
        folder = self.files[name].parent
        files = (folder / "full_occlusion.txt", folder / "out_of_view.txt")
        return {file.stem: numbers(file).ravel() > 0 for file in files if file.is_file()}

    def read(self, name: str) -> tuple[list[Path], np.ndarray]:
        frames, boxes = super().read(name)
        for absent in self.absences(name).values():  # as in the benchmark's own evaluation
            boxes[absent] = np.nan
        return frames, boxes

    def attributes(self, name: str) -> tuple[str, ...]:
        return tuple(kind for kind, absent in self.absences(name).items() if absent.any())


def numbers(file: Path) -> np.ndarray:
    """(lines, columns) of a file with tabs, spaces or commas between its numbers."""
    return np.loadtxt(io.StringIO(file.read_text().replace(",", " ")), ndmin=2)


def words(folder: Path, *patterns: str) -> tuple[str, ...]:
    """Names in the first file that is there, separated by commas, semicolons or lines."""
    for file in (file for pattern in patterns for file in sorted(folder.glob(pattern))):
        found = re.split(r"[,;\n]", file.read_text(encoding="utf-8"))
        return tuple(word.strip() for word in found if word.strip())
    return ()


def of_toolkit(name: str) -> dict:
    """A list of sequences that comes with got10k."""
    return json.loads(Path(datasets.__file__).with_name(name).read_text(encoding="utf-8"))
