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

IMAGES = {".jpg", ".jpeg", ".png", ".bmp"}
BOX_COLOUR = (255, 176, 0)  # RGB
BAR_COLOUR = (100, 143, 255)
TEXT_COLOUR = (255, 255, 255)


@dataclass(frozen=True)
class Source:
    """Where frames come from.

    Attributes:
        frames: uint8 (H, W, 3) RGB, all of one size.
        total: their number; 0 if unknown.
        fps: frames a second of the source; 25 if unknown.
    """

    frames: Iterable[np.ndarray]
    total: int = 0
    fps: float = 25.0


def open_video(name: str) -> Source:
    """A video file, a folder of images (in the order of their names), or a camera's number.

    Raises:
        StudyError: there is no such source, or it gives no frame.
    """
    folder = Path(name)
    if folder.is_dir():
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGES)
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
    """Follow the object; ``out/boxes.txt`` and ``out/tracked.mp4`` grow with every frame.

    Both files are whole whenever the loop ends, by the last frame or by an interruption.

    Args:
        tracker: any.
        source: of ``open_source``.
        box: (4,) 0-based, in the first frame.
        out: folder of the results; made if missing.

    Yields:
        (4,) the box of each frame, the given one first. ``boxes.txt`` has the same boxes, a line
        ``x,y,w,h`` a frame.

    Raises:
        StudyError: no frame; a first box that is none; a video that cannot be written.
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
                weights = getattr(tracker, "fusion_weights", None)
                picture = annotated(image, box, weights, fps)
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
    """A copy of a frame with the box, the branches' weights as bars, and the speed.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: (4,) 0-based.
        weights: (k,) that sum to 1, or None; NaN weights (fusion ``max``) are not drawn.
        fps: frames a second of the tracker in this frame.
    """
    image = np.ascontiguousarray(image).copy()
    unit = max(1.0, min(image.shape[:2]) / 240)  # everything grows with the frame
    thick = max(1, round(1.5 * unit))
    limit = 4 * max(image.shape)  # OpenCV draws in 32-bit integers
    x, y, w, h = np.clip(box, -limit, limit)
    corners = [(round(x), round(y)), (round(x + w - 1), round(y + h - 1))]
    cv2.rectangle(image, *corners, BOX_COLOUR, thick)
    _text(image, f"{fps:.0f} fps", (round(4 * unit), round(14 * unit)), unit)
    if weights is not None and np.isfinite(weights).all():
        bar, full = round(9 * unit), round(60 * unit)
        for i, weight in enumerate(weights):
            top = round(20 * unit) + i * round(11 * unit)
            left = round(14 * unit)
            _text(image, str(i), (round(4 * unit), top + bar), 0.8 * unit)
            right = left + max(1, round(full * weight))
            cv2.rectangle(image, (left, top), (right, top + bar), BAR_COLOUR, -1)
            cv2.rectangle(image, (left, top), (left + full, top + bar), TEXT_COLOUR, 1)
    return image


def _text(image: np.ndarray, text: str, at: tuple[int, int], unit: float) -> None:
    """White on a black outline: readable on any frame."""
    for colour, thick in (((0, 0, 0), 3), (TEXT_COLOUR, 1)):
        width = max(1, round(thick * unit))
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(image, text, at, font, 0.4 * unit, colour, width, cv2.LINE_AA)


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
