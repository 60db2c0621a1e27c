"""Track one object through a video, a folder of frames or a camera; no window is needed."""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.base import SequenceTracker

RESULTS = ("boxes.txt", "tracked.mp4")
RATE = 25.0  # frames a second where a source gives none that a video can have
COUNTED = (".avi", ".m4v", ".mov", ".mp4")  # hold the number of their frames; others a duration,
TAIL = 0.1  # to which sound that is longer adds; seconds
BOX_COLOUR = (255, 176, 0)  # RGB
BAR_COLOUR = (100, 143, 255)
TEXT_COLOUR = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Source:
    """Frames, uint8 (H, W, 3) RGB of one size, ended by a ``StudyError`` if some are missing; their
    number, 0 if unknown; frames a second; the path of the file or folder."""

    frames: Iterable[np.ndarray]
    total: int = 0
    fps: float = RATE
    path: str = ""


def open_video(name: str) -> Source:
    """A video file, a folder of images (``images.image_files``), or a camera's number."""
    path = Path(name)
    if name and path.is_dir():
        if not (found := images.image_files(path)):
            endings = ", ".join(sorted(ending[1:] for ending in images.IMAGES))
            raise StudyError(f"no image ({endings}) in {path}")
        _tell_of_gaps(found)
        frames = images.of_one_size(found, map(images.read_image, found))
        return Source(frames, len(found), path=name)
    camera = name.isdecimal() and len(name) < 6 and not path.exists()
    if not camera and (not path.is_file() or path.suffix.lower() in images.IMAGES):
        raise StudyError(f"no video, folder or camera {name!r}")
    _for_opencv(name)
    # A file of many streams, as of action cameras, has thousands of packets between two frames.
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", "1000000")
    capture = cv2.VideoCapture(int(name) if camera else name)
    if not capture.isOpened():
        raise StudyError(f"{'camera ' if camera else ''}{name} cannot be opened as a video")
    count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    total = int(count) if 0 < count < 1e9 and not camera else 0
    fps = fps if 0.01 <= fps <= 1000 else RATE
    return Source(_captured(capture, name, total, fps), total, fps, name)


def track_video(
    tracker: SequenceTracker, source: Source, box: np.ndarray, out: Path
) -> Iterator[np.ndarray]:
    """Follow the object from its box (4,), 0-based, in the first frame; yields each frame's box.
    ``out/boxes.txt`` (a line ``x,y,w,h`` a frame) and ``out/tracked.mp4`` take the place of former
    ones when the loop ends, with all that has been tracked: by the last frame, an interruption, or
    a ``StudyError`` where frames are missing, which says how many there were. Other faults, and a
    video that its writer has not kept whole, leave the former ones; what is no result of tracking,
    the source itself or one of the two without the other, is never replaced."""
    _for_opencv(out)
    boxes, film = (files.writable_file(out / name, source.path) for name in RESULTS)
    if boxes.exists() != film.exists():
        raise StudyError(f"one of {boxes} and {film} is no result: choose another output")
    count, end, writer = 0, None, None
    with (
        files.replacing(boxes) as new_boxes,
        files.replacing(film, film.suffix) as new_film,
        new_boxes.open("w", encoding="utf-8") as lines,
    ):
        try:
            for image in source.frames:
                start = time.perf_counter()
                if writer:
                    box = tracker.update(image)
                else:
                    tracker.init(image, box)
                    writer = _writer(new_film, image, source.fps)
                fps = 1 / (time.perf_counter() - start)
                picture = annotated(image, box, getattr(tracker, "fusion_weights", None), fps)
                writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
                lines.write(",".join(f"{value:.2f}" for value in box) + "\n")
                count += 1
                yield np.asarray(box, float)
        except (StudyError, KeyboardInterrupt, GeneratorExit) as stop:
            end = stop
        finally:
            if writer:
                writer.release()
        if not count:
            raise end or StudyError("the source gives no frame")
        kept = int(cv2.VideoCapture(str(new_film)).get(cv2.CAP_PROP_FRAME_COUNT))
        if kept < count:
            raise StudyError(f"{film} is incomplete: {max(kept, 0)} of {count} frames were written")
    if isinstance(end, StudyError):
        of = f" of {source.total}" * bool(source.total)
        raise StudyError(f"{end}; incomplete: {count}{of} frames are tracked, in {out}") from None
    if end:
        raise end


def annotated(
    image: np.ndarray, box: np.ndarray, weights: np.ndarray | None, fps: float
) -> np.ndarray:
    """A copy of a frame (uint8 RGB) with the box, the weights as bars, and the frames a second.
    ``weights`` are the branches', (k,) that sum to 1; NaN ones (fusion ``max``) are not drawn."""
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
    size, code = image.shape[1::-1], cv2.VideoWriter_fourcc(*"mp4v")
    # Four digits, as the codec takes numerators up to 65535.
    writer = cv2.VideoWriter(str(path), code, float(f"{fps:.4g}"), size)
    if not writer.isOpened():
        raise StudyError(f"frames of {size[0]}×{size[1]} pixels cannot be written as a video")
    return writer


def _for_opencv(path: str | Path) -> None:
    # Its video functions end the process at other names.
    with refused(f"{str(path)!r}: videos need a path in UTF-8", UnicodeEncodeError):
        str(path).encode()


def _tell_of_gaps(found: list[Path]) -> None:
    """Names may be times, or every tenth number: only the user knows whether frames are missing."""
    numbers = [int((re.findall(r"\d+", file.stem) or [0])[-1]) for file in found]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = min((step for step in steps if step > 0), default=0)
    gaps = [i for i, step in enumerate(steps) if step > usual]
    if gaps:
        first, then = found[gaps[0]], found[gaps[0] + 1]
        more = f" ({len(gaps)} such gaps)" * (len(gaps) > 1)
        sys.stderr.write(f"{first} is followed by {then.name}: are frames missing?{more}\n")


def _captured(capture: cv2.VideoCapture, name: str, total: int, fps: float) -> Iterator[np.ndarray]:
    count, seconds = 0, 0.0
    try:
        while (read := capture.read())[0]:
            count, seconds = count + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    # A duration gives too many frames where the rate varies: then the last one's time counts.
    early = name.lower().endswith(COUNTED) or seconds + 1 / fps + TAIL < total / fps
    if count < total and early:
        raise StudyError(f"{name} ends before the {total} frames of its header")
