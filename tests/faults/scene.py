"""A small scene and the folders that users keep such things in, to spoil one thing of each."""

from pathlib import Path

import cv2
import numpy as np
import torch

from esiamfc_lib.networks import SiamFC
from esiamfc_lib.networks.checkpoints import save

BOX = (60, 80, 36, 30)
"""The object in the first frame: left, top (0-based), width, height."""


def scene(count: int = 12, size: tuple[int, int] = (320, 240), seed: int = 0):
    """A patterned object that moves over textured ground: frames RGB uint8, boxes 0-based."""
    width, height = size
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 160, (height // 8, width // 8, 3), np.uint8)
    ground = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    thing = np.kron(rng.integers(0, 256, (5, 6, 3), np.uint8), np.ones((6, 6, 1), np.uint8))
    frames, boxes = [], []
    for i in range(count):
        x, y = BOX[0] + 3 * i, BOX[1] + 2 * i
        frame = ground.copy()
        frame[y : y + 30, x : x + 36] = thing
        frames.append(frame)
        boxes.append((x, y, 36, 30))
    return frames, np.array(boxes, float)


def write(path: Path, frame: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), frame[:, :, ::-1])


def frames(folder: Path, count: int = 12, pattern: str = "{:04d}.jpg", first: int = 1) -> Path:
    """A folder of frames."""
    for i, frame in enumerate(scene(count)[0], first):
        write(folder / pattern.format(i), frame)
    return folder


def table(path: Path, values, comma: str = ",", end: str = "\n") -> Path:
    """Numbers as the lines of a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = end.join(comma.join(f"{v:g}" for v in row) for row in values) + end
    path.write_bytes(text.encode())
    return path


def otb(root: Path, names=("Ball",), count: int = 12, pattern: str = "{:04d}.jpg", first=1) -> Path:
    """The layout of OTB: ``NAME/img``, boxes 1-based in ``NAME/groundtruth_rect.txt``."""
    for name in names:
        frames(root / name / "img", count, pattern, first)
        table(root / name / "groundtruth_rect.txt", scene(count)[1] + [1, 1, 0, 0])
    return root


def vot(root: Path, names=("ball",), count: int = 12, pattern: str = "{:08d}.jpg", first=1) -> Path:
    """The layout of VOT: frames beside ``groundtruth.txt`` of eight numbers, ``list.txt``."""
    x, y, w, h = (scene(count)[1] + [1, 1, 0, 0]).T
    for name in names:
        frames(root / name, count, pattern, first)
        corners = np.stack([x, y, x + w, y, x + w, y + h, x, y + h], axis=1)
        table(root / name / "groundtruth.txt", corners)
    (root / "list.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def got10k(root: Path, names=("GOT-10k_Val_000001",), count: int = 12) -> Path:
    """The layout of GOT-10k's validation set."""
    for name in names:
        folder = frames(root / "val" / name, count, "{:08d}.jpg")
        table(folder / "groundtruth.txt", scene(count)[1] + [1, 1, 0, 0])
        for label, value in (("cover", 8), ("absence", 0), ("cut_by_image", 0)):
            (folder / f"{label}.label").write_text(f"{value}\n" * count)
    (root / "val" / "list.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def network(path: Path, width: float = 0.125) -> Path:
    """A narrow network with fixed random weights."""
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, SiamFC(width).eval())
    return path


def text(name: str, content: str | bytes = "x\n"):
    """What makes a file of these words or bytes, in the folder that it is given."""

    def make(folder):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make
