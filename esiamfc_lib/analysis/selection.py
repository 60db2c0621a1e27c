"""Choices made on held-out videos: a checkpoint, an epoch of the fusion, the tracking loop.

Everything that could be tuned to a benchmark is chosen on the ``val`` split of a VID root, by
multi-start scores. A candidate replaces what was published only if its gain is larger than luck:
its interval, widened for the number of candidates (``intervals``), lies above zero. The best of
forty trials always looks better than where they began.
"""

import json
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis import intervals
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.evaluation import segments
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.spec import TrackerSpec


def select(
    trackers: list[TrackerSpec],
    vid_root: str | Path,
    out: str | Path,
    workers: int = 1,
    limit: int = 0,
    seed: int = 0,
    **plan,
) -> dict:
    """Choose among trackers, for example one for each checkpoint of a training; the first one stays
    unless another is better beyond luck. Tracked is the ``val`` split of ``vid_root`` (the first
    ``limit`` tracks; 0: all) by ``workers`` processes; finished runs in ``out`` are kept. ``seed``
    is of first boxes, ``plan`` are other arguments of ``segments.segments``. Gives
    what is written to ``selection.json``, see ``decided``, with ``weights`` and ``weights_digest``
    of the chosen tracker. StudyError: fewer than two trackers, no validation tracks, an unreadable
    file."""
    if len(trackers) < 2:
        raise StudyError("a choice needs two trackers at least; the first is the one that stays")
    place, plan = segments.VALIDATION, plan | {"seed": seed}
    sequences = segments.read_segments(place, vid_root, limit)
    scores = segments.evaluate_segments(trackers, sequences, place, out, workers, **plan)
    result = decided(scores, trackers[0].name, plan)
    chosen = next(spec for spec in trackers if spec.name == result["chosen"])
    result["weights"] = Path(chosen.weights).name
    result["weights_digest"] = files.file_digest(chosen.weights)
    return write_choice(result, out)


def decided(scores: pd.DataFrame, published: str, plan: dict) -> dict:
    """The rule of choice, for scores of ``evaluate_segments``: the tracker ``published`` stays
    unless another is better beyond luck; ``plan`` is for the record. Returns ``chosen`` (name),
    ``reason`` (a sentence), ``interval`` (of the chosen one's or of the best candidate's difference
    to the published one, widened for their number), ``candidates`` (a row each: scores,
    differences, intervals), ``sequences`` and ``plan``."""
    table = intervals.differences(scores, published)
    sure = table[table["low_all"] > 0]
    best = (table if sure.empty else sure).sort_values("difference", kind="stable").iloc[-1]
    verdict = f"{best['tracker']} replaces {published}"
    if sure.empty:
        verdict = f"{published} stays: no candidate is better beyond luck. The best"
    shown = ["tracker", "difference", "low", "high", "low_all", "high_all", "wins", "losses"]
    candidates = segments.mean_scores(scores).reset_index()
    candidates = candidates.merge(table[shown], on="tracker", how="left")
    return {
        "chosen": published if sure.empty else best["tracker"],
        "reason": f"{verdict}: {intervals.sentence(best)}",
        "interval": [best["low_all"], best["high_all"]],
        # to_json writes NaN, which JSON lacks, as null
        "candidates": json.loads(candidates.to_json(orient="records", double_precision=10)),
        "sequences": sorted(scores["sequence"].unique()),
        "plan": plan,
    }


def write_choice(result: dict, out: str | Path) -> dict:
    """Write ``selection.json``; gives what stands in it."""
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    files.write_atomically(Path(out) / "selection.json", text)
    return json.loads(text)


def selected_tracking(path: str | Path) -> dict:
    """The tracking parameters that a ``selection.json`` of ``tune`` chose, else a StudyError."""
    with refused(f"{path} holds no choice of tracking parameters"):
        values = json.loads(Path(path).read_text(encoding="utf-8"))["tracking"]
        TrackingParameters.validated(values, where=str(path))
        return values
