"""Write the sequences of the built-in data in the layouts of all benchmarks."""

import itertools
from pathlib import Path

import numpy as np

from esiamfc_lib.data.geometry import to_one_based
from esiamfc_lib.data.sequence import Sequence


def _frames(folder: Path, sequence: Sequence, pattern: str, count: int = 0, first: int = 1) -> None:
    """Links to the sequence's frames; played again from the start where more are wanted."""
    folder.mkdir(parents=True)
    frames = itertools.islice(itertools.cycle(sequence.frames), count or len(sequence))
    for i, frame in enumerate(frames, first):
        (folder / pattern.format(i)).symlink_to(frame)


def _boxes(sequence: Sequence, count: int = 0) -> np.ndarray:
    return to_one_based(np.resize(sequence.boxes, (count or len(sequence), 4)))


def uav123(root: Path, sequences: list[Sequence]) -> None:
    # The toolkit knows the frame ranges: uav6 is 1 to 109, uav2 1 to 133, uav5 1 to 139.
    names = {"uav6": 109, "uav2": 133, "uav5": 139}
    annotations = root / "anno" / "UAV123"
    (annotations / "att").mkdir(parents=True)
    for (name, count), sequence in zip(names.items(), sequences, strict=False):
        _frames(root / "data_seq" / "UAV123" / name, sequence, "{:06d}.jpg", count)
        boxes = _boxes(sequence, count)
        boxes[5] = np.nan
        np.savetxt(annotations / f"{name}.txt", boxes, fmt="%g", delimiter=",")
        flags = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        np.savetxt(annotations / "att" / f"{name}.txt", [flags], fmt="%d", delimiter=",")


def dtb70(root: Path, sequences: list[Sequence]) -> None:
    for sequence in sequences:
        _frames(root / sequence.name / "img", sequence, "{:05d}.jpg")
        file = root / sequence.name / "groundtruth_rect.txt"
        np.savetxt(file, _boxes(sequence), fmt="%g", delimiter=",")


def tcolor128(root: Path, sequences: list[Sequence]) -> None:
    for sequence in sequences:
        folder = root / sequence.name
        _frames(folder / "img", sequence, "{:04d}.jpg", first=11)
        (folder / f"{sequence.name}_frames.txt").write_text(f"11,{10 + len(sequence)}\n")
        np.savetxt(folder / f"{sequence.name}_gt.txt", _boxes(sequence), fmt="%g", delimiter=",")


def nfs(root: Path, sequences: list[Sequence], fps: int) -> None:
    for sequence in sequences:
        folder = root / sequence.name / str(fps)
        _frames(folder / sequence.name, sequence, "{:05d}.jpg")
        corners = np.hstack([sequence.boxes[:, :2], sequence.boxes[:, :2] + sequence.boxes[:, 2:]])
        lines = [
            "0 " + " ".join(f"{v:g}" for v in row) + f' {i} 0 0 0 "object"'
            for i, row in enumerate(corners)
        ]
        (folder / f"{sequence.name}.txt").write_text("\n".join(lines) + "\n")


def lasot(root: Path, sequences: list[Sequence]) -> None:
    for name, sequence in zip(
        ("airplane-1", "airplane-9", "basketball-1"), sequences, strict=False
    ):
        folder = root / name.split("-")[0] / name
        _frames(folder / "img", sequence, "{:08d}.jpg")
        np.savetxt(folder / "groundtruth.txt", _boxes(sequence), fmt="%g", delimiter=",")
        hidden = np.zeros((1, len(sequence)), int)
        np.savetxt(folder / "out_of_view.txt", hidden, fmt="%d", delimiter=",")
        hidden[0, 3] = 1
        np.savetxt(folder / "full_occlusion.txt", hidden, fmt="%d", delimiter=",")


def got10k_test(root: Path, sequences: list[Sequence]) -> None:
    names = [f"GOT-10k_Test_{i + 1:06d}" for i in range(len(sequences))]
    for name, sequence in zip(names, sequences, strict=True):
        _frames(root / "test" / name, sequence, "{:08d}.jpg")
        first = _boxes(sequence)[:1]
        np.savetxt(root / "test" / name / "groundtruth.txt", first, fmt="%g", delimiter=",")
    (root / "test" / "list.txt").write_text("\n".join(names) + "\n")


def vot_color(root: Path, sequences: list[Sequence]) -> None:
    """The layout since 2018: frames in ``color``."""
    for sequence in sequences:
        _frames(root / sequence.name / "color", sequence, "{:08d}.jpg")
        x, y, w, h = _boxes(sequence).T
        corners = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
        np.savetxt(root / sequence.name / "groundtruth.txt", corners, fmt="%.4f", delimiter=",")
    (root / "list.txt").write_text("\n".join(s.name for s in sequences) + "\n")


def official_otb(root: Path, sequences: list[Sequence]) -> None:
    """Two official names; one of them with the two targets that it has."""
    for name, sequence in zip(("Basketball", "Jogging"), sequences, strict=False):
        _frames(root / name / "img", sequence, "{:04d}.jpg")
        files = ["groundtruth_rect.1.txt", "groundtruth_rect.2.txt"]
        for file in files if name == "Jogging" else ["groundtruth_rect.txt"]:
            np.savetxt(root / name / file, _boxes(sequence), fmt="%g", delimiter="\t")
