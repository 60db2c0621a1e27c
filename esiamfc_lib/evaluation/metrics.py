"""How well boxes agree with the ground truth, by the rules of each benchmark.

The per-frame figures are got10k's own (``rect_iou``, ``center_error``); what is added here are the
rules around them: which frames count, which comparison is strict, which point of a curve is the
score. Boxes are ``x, y, w, h``; a shift of the whole coordinate frame (0- or 1-based) changes no
score, as long as both sides share it.

Rules worth knowing (a perfect tracker does not score 1.0 in success):

===========  =========================================================================
success      share of frames with IoU **>** t, 21 thresholds 0, 0.05 … 1; the score is the
             mean of the curve (AUC), so perfect boxes score 20/21
precision    share of frames with centre error **<=** t, 51 thresholds 0 … 50 px; the score
             is the value at 20 px
normalised   share of frames with a centre error, divided by the true width and height, of at
precision    most 0.20 (LaSOT)
frame 1      counts in OTB, UAV123, DTB70, TColor128, NfS, LaSOT; is left out in GOT-10k
no truth     frames whose ground truth is NaN are left out everywhere
===========  ========================================================================="""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from got10k.utils.metrics import center_error, rect_iou

from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking.base import SequenceTracker

IOU_THRESHOLDS = np.linspace(0, 1, 21)
PIXEL_THRESHOLDS = np.arange(51)
PRECISION_PIXELS = 20
PRECISION_NORMALISED = 0.2
LARGE = 30_000  # pixels; OpenCV draws in 32-bit fixed point
BURN_IN = 10  # frames from an initialisation, which tells the answer: not in VOT's accuracy

# What stands in a VOT result in place of a box.
SKIPPED, INITIALISED, FAILED = 0, 1, 2


@dataclass(frozen=True)
class Scores:
    """One tracker on one sequence, one pass without reset: shares of the ``frames`` that count,
    above each IoU threshold (``success_curve``, (21,)), within 0 … 50 px (``precision_curve``,
    (51,)), within 0.2 of the target's size (``normalised_precision``), with IoU above 0.5 and 0.75
    (``success_rate_…``); and ``average_overlap``, the mean IoU (GOT-10k's AO)."""

    success_curve: np.ndarray
    precision_curve: np.ndarray
    normalised_precision: float
    average_overlap: float
    success_rate_50: float
    success_rate_75: float
    frames: int

    @property
    def success(self) -> float:
        """Area under the success curve."""
        return float(self.success_curve.mean())

    @property
    def precision(self) -> float:
        """Share of frames within 20 px."""
        return float(self.precision_curve[PRECISION_PIXELS])


def score(
    boxes: np.ndarray, truth: np.ndarray, *, skip_first=False, bound: tuple[int, int] | None = None
) -> Scores:
    """Score boxes (n, 4) of a sequence against its ground truth (n, 4), both ``x, y, w, h``. A box
    of NaN counts as a miss; rows of the truth with NaN do not count. GOT-10k leaves frame 1 out,
    where the box was given (``skip_first``), and cuts both boxes to the image first, in got10k's
    way (``bound``: its width and height). A StudyError if the numbers of boxes differ, or if no
    frame has ground truth."""
    boxes, truth = np.array(boxes, float), np.array(truth, float)
    if boxes.shape != truth.shape or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise StudyError(f"{boxes.shape} boxes cannot be scored against {truth.shape} ground truth")
    counted = ~np.isnan(truth).any(axis=1)
    if skip_first:
        counted[0] = False
    boxes, truth = boxes[counted], truth[counted]
    if not len(truth):
        raise StudyError("no frame with ground truth is left to score")
    pixels = center_error(boxes, truth)
    offset = (boxes[:, :2] + boxes[:, 2:] / 2) - (truth[:, :2] + truth[:, 2:] / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = np.hypot(*(offset / truth[:, 2:]).T)  # in true widths and heights
    # cuts its arguments in place: last
    overlaps = np.nan_to_num(rect_iou(boxes, truth, bound=bound), nan=0.0)
    return Scores(
        success_curve=np.greater(overlaps[:, None], IOU_THRESHOLDS).mean(axis=0),
        precision_curve=np.less_equal(pixels[:, None], PIXEL_THRESHOLDS).mean(axis=0),
        normalised_precision=float((normalised <= PRECISION_NORMALISED).mean()),
        average_overlap=float(overlaps.mean()),
        success_rate_50=float((overlaps > 0.5).mean()),
        success_rate_75=float((overlaps > 0.75).mean()),
        frames=len(truth),
    )


def region_overlap(region: np.ndarray, other: np.ndarray, bound: tuple[int, int]) -> float:
    """IoU of two regions, each (4,) ``x, y, w, h`` or (8,) corners ``x1, y1 … x4, y4``, both cut to
    ``bound``, the (width, height) of the image; NaN if nothing is left of the first one, the ground
    truth: the frame does not count. As in the official VOT toolkit, whole pixels are counted:
    corners are rounded, and a region holds the pixels on its edges, a box those from ``x`` to
    ``x + w − 1``."""
    first, second = (_pixels(one, bound) for one in (region, other))
    return (first & second).sum() / (first | second).sum() if first.any() else np.nan


def _pixels(region: np.ndarray, bound: tuple[int, int]) -> np.ndarray:
    """bool (height, width): the pixels of a region; none of one that is not finite."""
    mask = np.zeros(bound[::-1], np.uint8)
    region = np.asarray(region, float)
    if np.isfinite(region).all() and (len(region) == 8 or region[2:].min() > 0):
        if len(region) == 4:
            (x, y), (right, bottom) = region[:2], region[:2] + region[2:] - 1
            region = np.array([x, y, right, y, right, bottom, x, bottom])
        corners = np.clip(np.round(region), -LARGE, LARGE).astype(np.int32)
        cv2.fillPoly(mask, [corners.reshape(4, 2)], 1)
    return mask.astype(bool)


@dataclass(frozen=True)
class SupervisedScores:
    """One tracker on one VOT sequence, with a new start after each of its ``failures``;
    ``accuracy`` is the mean IoU over the ``frames`` that count, NaN if none does: boxes that a
    tracker gave, not soon after its start, to frames with ground truth."""

    accuracy: float
    failures: int
    frames: int


def supervised_score(
    record: list[np.ndarray | int], regions: np.ndarray, bound: tuple[int, int]
) -> SupervisedScores:
    """Accuracy and failures of a supervised VOT run (Kristan et al. 2016, section 3). The record
    has for each frame a box (4,), or ``INITIALISED``, ``FAILED`` or ``SKIPPED``; regions are (n, 4)
    or (n, 8), in the coordinates of the boxes; ``bound`` is the (width, height) of the frames. A
    StudyError if record and regions differ in length."""
    if len(record) != len(regions):
        raise StudyError(f"a VOT record of {len(record)} frames for {len(regions)} regions")
    overlaps, counts_from, failures = [], 0, 0
    for frame, entry in enumerate(record):
        if np.ndim(entry) == 0:
            failures += entry == FAILED
            counts_from = frame + BURN_IN if entry == INITIALISED else counts_from
        elif frame >= counts_from:
            overlaps.append(region_overlap(regions[frame], entry, bound))
    overlaps = [overlap for overlap in overlaps if not np.isnan(overlap)]
    accuracy = float(np.mean(overlaps)) if overlaps else float("nan")
    return SupervisedScores(accuracy, failures, len(overlaps))


def mean_auc(tracker: SequenceTracker, sequences: Iterable[Sequence]) -> float:
    """Mean success of a tracker, here and now: for the choice of an epoch while training."""
    scores = [score(tracker.track_sequence(one)[0], one.boxes) for one in sequences]
    return float(np.mean([one.success for one in scores]))
