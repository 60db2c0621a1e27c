"""What every tracker here is: one of got10k's that also runs whole sequences."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from got10k.trackers import Tracker
from PIL import Image

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError, refused

LARGEST = 10  # widths and heights of the frame that a box may have


def rgb(image: np.ndarray | Image.Image) -> np.ndarray:
    """A frame as uint8 (H, W, 3) RGB, a grey one too; ``StudyError`` if it is no image."""
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray):
        raise StudyError(f"a frame is an array or a PIL image, not {image!r:.80}")
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise StudyError(f"a frame is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] != 3:
        raise StudyError(f"a frame has 1 or 3 channels, not {image.shape[2]}")
    return image


def checked_box(box: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The box as float64 (4,); ``StudyError`` unless it is four finite numbers, has a pixel each
    way, and lies in the frame at least partly: boxes of another frame or in other coordinates often
    do not."""
    with refused(f"a box is four numbers x, y, w, h, not {box!r:.80}", (TypeError, ValueError)):
        box, frame = np.asarray(box, dtype=np.float64).ravel(), np.array(image.shape[1::-1])
    if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < 1).any():
        expected = "four finite numbers, with an area of 1×1 pixels or more"
        raise StudyError(f"a box is {expected}, not {box.tolist()}")
    outside = (box[:2] >= frame) | (box[:2] + box[2:] <= 0) | (box[2:] > LARGEST * frame)
    if outside.any():
        size = "×".join(map(str, frame))
        raise StudyError(f"the box {box.tolist()} is none in a frame of {size} pixels")
    return box


class SequenceTracker(Tracker):
    """A got10k tracker that also runs a whole ``Sequence``."""

    def __init__(self, name: str):
        super().__init__(name, is_deterministic=True)

    def begin(self, image: np.ndarray, sequence: Sequence, i: int = 0) -> None:
        """``init`` in frame ``i`` of a sequence, named by faults. A box just beside the frame, as
        a perturbed one of an object that leaves may be, is moved to the frame's edge."""
        box, frame = sequence.boxes[i].copy(), np.array(image.shape[1::-1])
        near = np.clip(box[:2], 1 - box[2:], frame - 1)
        box[:2] = np.where(np.abs(near - box[:2]) < box[2:] / 2, near, box[:2])
        with refused(sequence.frames[i], StudyError):
            self.init(image, box)

    def track_sequence(
        self, sequence: Sequence, on_frame: Callable[[int, np.ndarray], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Start from the box of the first frame and follow it to the end. Returns (n, 4) 0-based
        boxes, the first one as given, and (n,) seconds per frame, without decoding. ``on_frame``
        gets the index and the image of each frame after it, for pictures. Raises ``StudyError``
        for an unreadable frame, one of another size, or a first box that is none."""
        boxes, seconds = np.empty((len(sequence), 4)), np.empty(len(sequence))
        decoded = map(images.read_image, sequence.frames)
        for i, image in enumerate(images.of_one_size(sequence.frames, decoded)):
            start = time.perf_counter()
            if i == 0:
                self.begin(image, sequence)
                boxes[0] = sequence.boxes[0]
            else:
                boxes[i] = self.update(image)
            seconds[i] = time.perf_counter() - start
            if on_frame:
                on_frame(i, image)
        return boxes, seconds


@dataclass(frozen=True)
class RecordedFrame:
    """What a SiamFC tracker saw and answered in one frame, for pictures; boxes are 0-based."""

    index: int
    image: np.ndarray  # uint8 (H, W, 3) RGB
    response: np.ndarray  # before the cosine window
    region: np.ndarray  # the box of the frame that the response covers
    box: np.ndarray  # the tracker's
    truth: np.ndarray  # the sequence's


def record(tracker: SequenceTracker, sequence: Sequence, count: int) -> list[RecordedFrame]:
    """Run a SiamFC tracker over a sequence; keep ``count`` frames from the second to the last."""
    chosen = set(np.linspace(1, len(sequence) - 1, count).round().astype(int).tolist())
    kept = []

    def keep(i: int, image: np.ndarray) -> None:
        if i in chosen:
            seen = tracker.last_response, tracker.last_region, tracker.box
            kept.append(RecordedFrame(i, image, *seen, sequence.boxes[i]))

    tracker.track_sequence(sequence, on_frame=keep)
    return kept


class IdentityTracker(SequenceTracker):
    """Never moves: what every tracker has to beat."""

    def __init__(self, name: str = "Identity"):
        super().__init__(name)

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray) -> None:
        self.box = checked_box(box, rgb(image))

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        return self.box
