"""The supervised protocol of the VOT challenges: a lost tracker is helped up.

Kristan et al., "A novel performance evaluation methodology for single-target trackers", TPAMI 2016.
"""

import time

import numpy as np

from esiamfc_lib.data import images
from esiamfc_lib.data.benchmarks import VOTSequence, to_file
from esiamfc_lib.data.vid import box_fault
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.metrics import FAILED, INITIALISED, SKIPPED, region_overlap
from esiamfc_lib.tracking.base import SequenceTracker

SKIP_AFTER_FAILURE = 5  # frames from the failure to the new start


def track_supervised(
    tracker: SequenceTracker, sequence: VOTSequence
) -> tuple[list[np.ndarray | int], np.ndarray]:
    """Run a tracker; where its box no longer touches the target, start it again 5 frames later. The
    target is its region cut to the frame; where nothing is left of it there is no failure and no
    start. A tracker that is the same in every run needs one run; the challenge's fifteen are for
    those that are not. Gives one entry per frame, a box (4,) in the file's coordinates or a mark of
    ``metrics``; and (n,) seconds per frame without decoding, 0 where the tracker did not run."""
    record, seconds, start_at, bound = [], np.zeros(len(sequence)), 0, None
    for i, frame in enumerate(sequence.frames):
        if i >= start_at:
            image = images.read_image(frame)
            bound = bound or image.shape[1::-1]
            if image.shape[1::-1] != bound:
                raise StudyError(f"{frame} has another size than {sequence.frames[0]}")
            start_at += i == start_at and bool(box_fault(sequence.boxes[i], *bound))
        if i < start_at:
            record.append(SKIPPED)
            continue
        began = time.perf_counter()
        if i == start_at:
            tracker.begin(image, sequence, i)
            entry = INITIALISED
        else:
            entry = to_file(tracker.update(image), "vot")
        seconds[i] = time.perf_counter() - began
        if np.ndim(entry) and region_overlap(sequence.regions[i], entry, bound) == 0:
            entry, start_at = FAILED, i + SKIP_AFTER_FAILURE
        record.append(entry)
    return record, seconds
