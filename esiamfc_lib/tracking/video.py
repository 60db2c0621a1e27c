"""Track one object through a video, a folder of frames or a camera; no window is needed."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking.base import SequenceTracker

BOX_COLOUR = (255, 176, 0)  # RGB
BAR_COLOUR = (100, 143, 255)
TEXT_COLOUR = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Source:
    """Frames, uint8 (H, W, 3) RGB of one size; their number, 0 if unknown; frames a second."""

    frames: Iterable[np.ndarray]
    total: int = 0
    fps: float = 25.0


def open_video(name: str) -> Source:
    """A video file, a folder of images (``images.image_files``), or a camera's number."""
    folder = Path(name)
    if folder.is_dir():
        files = images.image_files(folder)
        if not files:
            raise StudyError(f"no image (jpg, png, bmp) in {folder}")
        return Source((images.read_image(file) for file in files), len(files))
    camera = name.isdigit()
    if not camera and not folder.is_file():
        raise StudyError(f"no video, folder or camera {name!r}")
    capture = cv2.VideoCapture(int(name) if camera else str(folder))
    if not capture.isOpened():
        raise StudyError(f"{'camera ' if camera else ''}{name} cannot be opened as a video")
    total = 0 if camera else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    return Source(_captured(capture), total, capture.get(cv2.CAP_PROP_FPS) or 25.0)


def track_video(
    tracker: SequenceTracker, source: Source, box: np.ndarray, out: Path
) -> Iterator[np.ndarray]:
    """Follow the object from its box (4,), 0-based, in the first frame; yields each frame's box.

    ``out/boxes.txt`` (a line ``x,y,w,h`` a frame) and ``out/tracked.mp4`` grow with every frame,
    and are whole whenever the loop ends, by the last frame or by an interruption.
    """
    out.mkdir(parents=True, exist_ok=True)
    writer = None
    with (out / "boxes.txt").open("w", encoding="utf-8") as lines:
        try:
            for i, image in enumerate(source.frames):
                start = time.perf_counter()
                if i == 0:
                    tracker.init(image, box)
                    writer = _writer(out / "tracked.mp4", image, source.fps)
                else:
                    box = tracker.update(image)
                fps = 1 / (time.perf_counter() - start)
                lines.write(",".join(f"{value:.2f}" for value in box) + "\n")
                picture = annotated(image, box, getattr(tracker, "fusion_weights", None), fps)
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                yield np.asarray(box, float)
        finally:
            if writer:
                writer.release()
    if not writer:
        raise StudyError("the source gives no frame")


def annotated(
    image: np.ndarray, box: np.ndarray, weights: np.ndarray | None, fps: float
) -> np.ndarray:
    """A copy of a frame (uint8 RGB) with the box, the weights as bars, and the frames a second.

    ``weights`` are the branches', (k,) that sum to 1; NaN ones (fusion ``max``) are not drawn.
    """
    image = np.ascontiguousarray(image).copy()
    unit = max(1.0, min(image.shape[:2]) / 240)  # everything grows with the frame

    def scaled(*lengths: float) -> tuple[int, ...]:
        return tuple(round(length * unit) for length in lengths)

    def text(words: str, left: float, base: float, size: float) -> None:
        for colour, width in (((0, 0, 0), 3), (TEXT_COLOUR, 1)):  # readable on any frame
            at, thick = scaled(left, base), max(1, round(width * unit * size / 0.4))
            cv2.putText(image, words, at, FONT, size * unit, colour, thick, cv2.LINE_AA)

    limit = 4 * max(image.shape)  # OpenCV draws in 32-bit integers
    x, y, w, h = np.clip(box, -limit, limit)
    corners = (round(x), round(y)), (round(x + w - 1), round(y + h - 1))
    cv2.rectangle(image, *corners, BOX_COLOUR, max(1, round(1.5 * unit)))
    text(f"{fps:.0f} fps", 4, 14, 0.4)
    if weights is not None and np.isfinite(weights).all():
        for i, weight in enumerate(weights):
            top = 20 + 11 * i
            text(str(i), 4, top + 9, 0.32)
            bar = scaled(14 + max(1 / unit, 60 * weight), top + 9)
            cv2.rectangle(image, scaled(14, top), bar, BAR_COLOUR, -1)
            cv2.rectangle(image, scaled(14, top), scaled(74, top + 9), TEXT_COLOUR, 1)
    return image


def _writer(path: Path, image: np.ndarray, fps: float) -> cv2.VideoWriter:
    size = image.shape[1], image.shape[0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        raise StudyError(f"{path} cannot be written as a video")
    return writer


def _captured(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    try:
        while True:
            there, image = capture.read()
            if not there:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
