"""Multi-start evaluation: many short runs from many frames instead of one long run from the first.

One pass over a sequence is decided by one moment: a tracker that slips away in frame 60 has lost
the other 400 as well, and which of two slips is often luck. Here every sequence is cut into
overlapping segments, forward and backward in time (temporal robustness evaluation, TRE, of Wu et
al. 2015, OTB), and the first box of each is moved and scaled a little (their spatial one, SRE).
All trackers get the same segments and boxes, so that their differences stay paired;
``analysis.differences`` says how sure those are. The first frame, where the box is
given, does not count; otherwise the scores are OTB's (``metrics``), for every benchmark."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.config import ControlsParameters
from esiamfc_lib.data import benchmarks, geometry, images, vid
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.data.vid import box_fault
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics, runs
from esiamfc_lib.evaluation.scores import read_boxes
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.spec import TrackerSpec

PLAN = ControlsParameters()
VALIDATION = "vid-val"  # the held-out tracks of a VID root, beside the names of ``benchmarks``
TABLE = "multistart.csv"
SHORT = 2 / 3  # share of a short sequence that a segment covers, so that its starts can differ
COLUMNS = (
    "tracker", "benchmark", "sequence", "start", "direction", "perturbation", "frames", "success",
    "precision", "family",
)  # fmt: skip


@dataclass(frozen=True)
class Segment(Sequence):
    """A part of the sequence named ``source``, in the order in which it is tracked. ``boxes[0]`` is
    the box that the tracker is given, moved and scaled if the start is perturbed; ``start`` is its
    frame's index in the whole sequence, ``direction`` ``forward`` or ``backward`` in time,
    ``perturbation`` the number of the perturbed box of this start, from 0."""

    source: str = ""
    start: int = 0
    direction: str = "forward"
    perturbation: int = 0


def segments(
    sequence: Sequence,
    *,
    starts: int,
    length: int = PLAN.segment_frames,
    backward: bool = True,
    perturbations: int = PLAN.perturbations,
    shift: float = PLAN.perturb,
    scale: float = PLAN.perturb,
    seed: int = 0,
) -> list[Segment]:
    """Cut a sequence into segments.

    The starts are spaced evenly from the first frame to the last one that leaves room for a whole
    segment; backward ones mirror them from the end. A start without ground truth moves to the
    nearest frame that has it. A segment of which less than half the frames have ground truth is
    left out, and so is one that would repeat another.

    Args:
        starts: in each direction, at most: short sequences have fewer.
        length: frames of a segment; in a sequence shorter than 1.5 times that, two thirds of it.
        backward: also from the end to the beginning.
        perturbations: perturbed first boxes for each start; 0: the true one alone.
        shift: the centre moves by at most this share of the width and of the height (uniformly).
        scale: both sides grow or shrink by at most this share, by one factor (log-uniformly
            between 1 / (1 + scale) and 1 + scale). The defaults are the smallest step of SRE.
        seed: of the perturbations. Each depends on nothing but the seed and its place, so that
            other numbers of starts or sequences leave it as it is.

    Gives forward ones first, then by start; none if the sequence has no two frames with truth. A
    StudyError if an argument is out of range."""
    if min(starts, length - 1) < 1 or perturbations < 0 or not (0 <= shift < 0.5 and scale >= 0):
        raise StudyError(
            "multi-start needs starts ≥ 1, segments of ≥ 2 frames, perturbations ≥ 0, shift in "
            f"[0, 0.5) and scale ≥ 0, not {starts}, {length}, {perturbations}, {shift}, {scale}"
        )
    frames = min(length, max(2, round(SHORT * len(sequence))))
    known = ~np.isnan(sequence.boxes).any(axis=1)
    found = []
    for direction in ("forward", "backward")[: 1 + backward]:
        order = np.arange(len(sequence))[:: 1 if direction == "forward" else -1]
        for place in _starts(known[order], starts, frames):
            indices = order[place : place + frames]
            if known[indices[1:]].mean() < 0.5:
                continue
            start = int(indices[0])
            for number in range(max(perturbations, 1)):
                boxes = sequence.boxes[indices].copy()
                if perturbations:
                    # a stream of its own for each; unlike hash(), crc32 is the same everywhere
                    code = zlib.crc32(sequence.name.encode())
                    stream = [seed, code, start, direction == "backward", number]
                    boxes[0] = perturbed(boxes[0], shift, scale, np.random.default_rng(stream))
                name = f"{sequence.name}/{start:05d}-{direction}-{number}"
                data = tuple(sequence.frames[i] for i in indices), boxes, sequence.attributes
                place = sequence.family, sequence.name, start, direction, number
                found.append(Segment(name, *data, *place))
    return found


def perturbed(
    box: np.ndarray, shift: float, scale: float, random: np.random.Generator
) -> np.ndarray:
    """A box (4,) ``x, y, w, h`` near another; arguments as for ``segments``."""
    offset = random.uniform(-shift, shift, 2)
    factor = np.exp(random.uniform(-1, 1) * np.log1p(scale))
    return geometry.box_around(geometry.center(box) + offset * box[2:], box[2:] * factor)


def read_segments(benchmark: str, root: str | Path, limit: int = 0) -> list[Sequence]:
    """Sequences of a benchmark or (``vid-val``) a VID root's split; a StudyError if none."""
    if benchmark != VALIDATION:
        return benchmarks.read_benchmark(benchmark, root, limit)[0]
    if found := vid.validation_sequences(root, limit):
        return found
    raise StudyError(f"{benchmark}: no sequence under {root}")


def evaluate_segments(
    trackers: Iterable[TrackerSpec],
    sequences: Iterable[Sequence],
    benchmark: str,
    out: str | Path,
    workers: int = 1,
    scheduler: str = "",
    **plan,
) -> pd.DataFrame:
    """Run every tracker on every segment that has no valid result yet, then score all. Sequences
    are those of ``read_segments``; one folder ``out`` serves one benchmark (or ``vid-val``) and one
    ``plan``, the arguments of ``segments``. Names of trackers, ``workers``, ``scheduler`` and
    errors are as for ``runs.evaluate``. Gives one row per tracker and segment: ``tracker,
    benchmark, sequence`` (the whole one), ``start, direction, perturbation, frames`` (that count),
    ``success`` (AUC), ``precision`` (at 20 px), ``family``; also written to ``multistart.csv`` in
    ``out``, the same bytes in every run. A StudyError if no sequence has enough ground truth."""
    trackers, out = list(trackers), Path(out)
    cut = []
    for sequence in sequences:
        found = segments(sequence, **plan)  # but those that would start beside the frame
        size = images.read_size(sequence.frames[0]) if found else ()
        cut += [one for one in found if not box_fault(sequence.boxes[one.start], *size)]
    if not cut:
        raise StudyError(f"{benchmark}: no sequence has the ground truth that a segment needs")
    # Not the benchmark's own name: these runs are one-pass whatever its protocol is.
    protocol = f"multi-start {benchmark}"
    files.writable_file(out / TABLE)
    runs.track_benchmark(trackers, cut, protocol, out, workers, scheduler)
    rows = []
    for spec, segment in product(trackers, cut):
        boxes = read_boxes(out, spec.name, segment, protocol)
        scores = metrics.score(boxes, segment.boxes, skip_first=True)
        place = segment.source, segment.start, segment.direction, segment.perturbation
        values = scores.frames, scores.success, scores.precision
        rows.append((spec.name, benchmark, *place, *values, segment.family))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    write_segments(out, table)
    return table


def write_segments(out: Path, scores: pd.DataFrame) -> None:
    """``multistart.csv`` in ``out``: the same bytes in every run."""
    files.write_atomically(out / TABLE, scores.to_csv(index=False, lineterminator="\n"))


def mean_scores(scores: pd.DataFrame, of: Iterable[str] = ("tracker",)) -> pd.DataFrame:
    """``success, precision`` of each tracker, or of what the columns ``of`` tell apart: over
    sequences the mean over their segments."""
    of_sequence = scores.groupby([*of, "sequence"], sort=False)[["success", "precision"]].mean()
    return of_sequence.groupby([*of], sort=False).mean()


def _starts(known: np.ndarray, count: int, frames: int) -> list[int]:
    """Evenly spaced places, each moved to the nearest (then earlier) frame with ground truth. No
    place leaves less than half a segment."""
    places = np.flatnonzero(known[: max(len(known) - max(frames // 2, 1), 0)])
    if not len(places):
        return []
    count = min(count, len(known) - frames + 1)  # so many places there are
    wanted = np.linspace(0, len(known) - frames, count).round().astype(int)
    nearest = np.abs(places - wanted[:, None]).argmin(axis=1)
    return np.unique(places[nearest]).tolist()
