"""A tracking sequence: what a tracker is run on and scored against."""

from dataclasses import dataclass

import numpy as np

from esiamfc_lib.runtime.files import plain_name


@dataclass(frozen=True)
class Sequence:
    """Frames of one video and the target's box in each of them. ``boxes`` are (n, 4) float64, ``x,
    y, w, h`` in pixels, 0-based: ``x, y`` is the index of the left-top pixel, so a box that covers
    the whole of a W×H image is ``0, 0, W, H``. Rows of NaN mark frames without ground truth. The
    name becomes that of result files: a StudyError unless it is a ``plain_name``, or several with
    slashes between them."""

    name: str  # unique within the benchmark
    frames: tuple[str, ...]  # absolute paths of the image files, in order
    boxes: np.ndarray
    attributes: tuple[str, ...] = ()  # challenges that it shows: occlusion, scale ...
    family: str = ""  # of the object, where it is known (built-in data)

    def __post_init__(self):
        for part in self.name.split("/"):
            plain_name(part, "a sequence's name")

    def __len__(self) -> int:
        return len(self.frames)


def evenly_spaced(n: int, count: int) -> np.ndarray:
    """At most ``count`` positions among ``n``, evenly spaced, both ends included."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int))
