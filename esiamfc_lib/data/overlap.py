"""Whether a test sequence is a training video under another name.

Benchmarks borrow from each other: VOT2014 holds videos of OTB, ILSVRC2015-VID those of nobody knows
where. Names tell nothing, so small grey pictures of the frames are compared."""

from collections.abc import Iterable
from contextlib import suppress

import cv2
import numpy as np

from esiamfc_lib.data.images import read_image
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.data.vid import VID
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import progress

SIDE = 24  # of a thumbnail, pixels
FRAMES = 20  # of each video, evenly spaced
# Frames of one video correlate by .96 and more, of two by less than .95 where they have been
# compared: 54 real training videos with 15 test sequences, and the built-in data (.57 at most).
SAME = 0.95


def frame_thumbnails(frames: tuple[str, ...]) -> np.ndarray:
    """(n, 576) float32: at most ``FRAMES`` of the image files, grey, 24 × 24 pixels, with mean 0
    and length 1, so that products are correlations. Zeros where a frame has one colour, and in the
    first row; damaged files are left out."""
    found = [np.zeros(SIDE * SIDE)]
    for i in evenly_spaced(len(frames), FRAMES):
        with suppress(StudyError):  # notebook 01 has counted what is damaged and left it out
            grey = cv2.cvtColor(read_image(frames[i]), cv2.COLOR_RGB2GRAY)
            found.append(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel())
    flat = np.stack(found).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-3)


def refuse_training_videos(sequences: Iterable[Sequence], videos: Iterable[VID]) -> float:
    """Compare every test sequence with every video. Returns the largest correlation of two frames;
    a StudyError that names both where one reaches ``SAME``: scores on that sequence would say
    nothing."""
    tests = {s.name: frame_thumbnails(s.frames) for s in sequences}
    known = [(vid, name) for vid in videos for name in vid.videos]
    largest = 0.0
    for vid, name in progress(known, "training videos", total=len(known), unit="video"):
        own = frame_thumbnails(tuple(map(str, vid.frames(name)[0].values())))
        for test, theirs in tests.items():
            close = float((theirs @ own.T).max())
            if close >= SAME:
                said = f"the test sequence {test} shows the same pictures as the {vid.split} video"
                both = f"{name} in {vid.root} (correlation {close:.3f})"
                raise StudyError(f"{said} {both}: take one of them away")
            largest = max(largest, close)
    return largest
