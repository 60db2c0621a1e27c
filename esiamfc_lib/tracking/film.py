"""Videos of what was tracked: drawn on, and written so that browsers play them."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from esiamfc_lib.errors import StudyError, refused

ENDINGS = (".mp4", ".webm", ".mkv")  # of what VP9 is put into; browsers play the first two
VP9 = "libvpx-vp9"
# The encoder's settings for video calls: OpenCV cannot set them, and takes over ten times as long.
FAST = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "28", "b": "0"}
COLOURS = ((255, 176, 0), (100, 143, 255), (220, 38, 127), (254, 97, 0), (120, 94, 240))  # RGB
BAR_COLOUR = (100, 143, 255)
TEXT_COLOUR = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Film:
    """A video file to write frames into, all of the size (H, W) of ``image``: VP9, or MPEG-4, which
    no browser plays, where PyAV lacks that. A ``StudyError`` for a name that ends in another way
    than ``ENDINGS``, or a size that no video has; an OSError where the disk is full."""

    def __init__(self, path: Path, image: np.ndarray, fps: float):
        height, width = image.shape[:2]
        codec = VP9 if VP9 in av.codecs_available else "mpeg4"
        if codec != VP9:
            sys.stderr.write("this build of PyAV has no VP9: no browser will play the video\n")
        checked_ending(path)
        with refused(f"frames of {width}×{height} pixels cannot be written as a video", ValueError):
            self._file = av.open(str(path), "w")
            # Four digits, as MPEG-4 takes numerators up to 65535.
            self._stream = self._file.add_stream(codec, rate=Fraction(f"{fps:.4g}"))
            self._stream.width, self._stream.height = width, height
            self._stream.pix_fmt = "yuv420p"
            self._stream.thread_count = 0  # as many as there are cores
            self._stream.bit_rate = round(width * height * min(fps, 60) / 4)  # of MPEG-4
            self._stream.options = FAST if codec == VP9 else {}
            self._file.start_encoding()

    def write(self, image: np.ndarray) -> None:
        """Add a frame, uint8 (H, W, 3) RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds, and the end of the file."""
        self._file.mux(self._stream.encode())
        self._file.close()


def checked_ending(path: Path) -> Path:
    """A video's path; a ``StudyError`` if videos of that kind are not written."""
    if path.suffix.lower() not in ENDINGS:
        raise StudyError(f"{path}: the name of a video ends in {', '.join(ENDINGS)}")
    return path


def frames_in_file(path: Path) -> int:
    """Frames that a video file holds, counted and not taken from its header."""
    with av.open(str(path)) as file:
        return sum(packet.size > 0 for packet in file.demux(video=0))


def annotated(
    image: np.ndarray, boxes: np.ndarray, weights: np.ndarray | None, fps: float
) -> np.ndarray:
    """A copy of a frame (uint8 RGB) with the boxes (n, 4), numbered from 1 if there are several,
    the weights as bars, and the frames a second. ``weights`` are the branches', (k,) that sum to 1;
    NaN ones (fusion ``max``) are not drawn."""
    image = np.ascontiguousarray(image).copy()
    unit = max(1.0, min(image.shape[:2]) / 240)  # everything grows with the frame

    def scaled(*lengths: float) -> tuple[int, ...]:
        return tuple(round(length * unit) for length in lengths)

    def text(words: str, at: tuple[int, ...], size: float) -> None:
        for colour, width in (((0, 0, 0), 3), (TEXT_COLOUR, 1)):  # readable on any frame
            thick = max(1, round(width * unit * size / 0.4))
            cv2.putText(image, words, at, FONT, size * unit, colour, thick, cv2.LINE_AA)

    limit = 4 * max(image.shape)  # OpenCV draws in 32-bit integers
    for i, (x, y, w, h) in enumerate(np.clip(boxes, -limit, limit)):
        corners = (round(x), round(y)), (round(x + w - 1), round(y + h - 1))
        cv2.rectangle(image, *corners, COLOURS[i % len(COLOURS)], max(1, round(1.5 * unit)))
        if len(boxes) > 1:
            text(str(i + 1), (round(x), round(max(y - 3 * unit, 12 * unit))), 0.4)
    text(f"{fps:.3g} fps", scaled(4, 14), 0.4)
    if weights is not None and np.isfinite(weights).all():
        for i, weight in enumerate(weights):
            top = 20 + 11 * i
            text(str(i), scaled(4, top + 9), 0.32)
            bar = scaled(14 + max(1 / unit, 60 * weight), top + 9)
            cv2.rectangle(image, scaled(14, top), bar, BAR_COLOUR, -1)
            cv2.rectangle(image, scaled(14, top), scaled(74, top + 9), TEXT_COLOUR, 1)
    return image
