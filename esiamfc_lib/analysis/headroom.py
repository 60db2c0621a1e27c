"""What there is to gain by choosing the right branch, how much of it the fusion finds, and whether
that is what an experiment predicted (notebook 10).

All are losses on pairs (``training.measure.pair_losses``), of tracks that were learned from and, in
two halves, of held-out tracks. A track's best branch is chosen on one half and judged on the other:
the least of several noisy means is below their mean by luck alone on the pairs that made it so."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import model_validator

from esiamfc_lib.analysis.intervals import bootstrap_interval, mean_interval
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.validation import Parameters, param

LEARNED, HALVES = "learned", ("A", "B")  # parts of the pairs
OF_ONE = ("single", "overfitting")  # measures of an arm with one cluster, then of an ensemble
OF_SEVERAL = ("average", "fusion", "soup", "oracle", "headroom", "found", "share")
OF_SEVERAL += ("own_learned", "own_held_out", "overfitting")
Measure = Literal[tuple(dict.fromkeys((*OF_ONE, *OF_SEVERAL)))]


class Prediction(Parameters):
    """A measure of an arm, or the difference of two, that is predicted above or below a bound."""

    arm: str = param(..., "'main' is the study itself")
    measure: Measure = param(..., "of ``measures_of_videos``, or share: found/headroom")
    minus_arm: str = param("", "what is subtracted; empty with minus_measure: the same arm")
    minus_measure: Measure | Literal[""] = param("", "empty with minus_arm: the same measure")
    above: float | None = param(None, "bound")
    below: float | None = param(None, "bound")

    @model_validator(mode="after")
    def _sound(self):
        if (self.above is None) == (self.below is None):
            raise ValueError("a prediction is either above or below a number")
        if "share" in (self.measure, self.minus_measure) and len(self.sides) > 1:
            raise ValueError("a share is compared with a number alone")
        return self

    @property
    def sides(self) -> list[tuple[str, str]]:
        """Arm and measure, and those that are subtracted where there are any."""
        other = (self.minus_arm or self.arm, self.minus_measure or self.measure)
        return [(self.arm, self.measure), other][: 1 + bool(self.minus_arm or self.minus_measure)]

    def __str__(self) -> str:
        side = f"below {self.below:g}" if self.above is None else f"above {self.above:g}"
        judged = f" (found − {side.split()[1]} · headroom)" if self.measure == "share" else ""
        return f"{' − '.join(map(' '.join, self.sides))} {side}{judged}"


def read_predictions(
    predictions: Iterable[dict[str, Any]], arms: Mapping[str, Mapping]
) -> list[Prediction]:
    """The predictions of a profile, ``arms`` as of ``Artefacts.arms``. A StudyError says what is
    wrong with one, or that it names an arm or a measure that is not there."""
    clusters = {name: facts["clusters"] for name, facts in arms.items() if not facts["repeats"]}
    found = [Prediction.validated(given, "experiment.predictions") for given in predictions]
    for each, (arm, measure) in [(one, side) for one in found for side in one.sides]:
        there = [*clusters] if arm not in clusters else OF_SEVERAL if clusters[arm] > 1 else OF_ONE
        if (wanted := measure if arm in clusters else arm) not in there:
            fault = f"there is no {wanted!r}, only {', '.join(there)}"
            raise StudyError(f"experiment.predictions: {each}: {fault}")
    return found


def measures_of_videos(losses: pd.DataFrame) -> pd.DataFrame:
    """A row a video; the mean of a column over its videos is a measure of one network or ensemble.

    ``losses`` has a row a pair: ``part`` (learned, A or B), ``video``, ``track``, ``own`` (number
    of the branch of the track's cluster), ``start`` (loss of the baseline), and what
    ``pair_losses`` gives. Of one branch: ``single``, its loss on held-out videos. Of several, on
    held-out videos: ``average``, ``fusion``, ``soup``; ``oracle``, the loss of the candidate
    (branches and plain average) that is best for the track on the other half of the pairs, of the
    average where the other half has none; ``headroom = average − oracle``; ``found = average −
    fusion``; ``own_learned`` and ``own_held_out``: loss of the own cluster's branch minus the mean
    of the others. Of both ``overfitting``: how much more the own branch loses on held-out than on
    learned videos, minus the same of the baseline, so that how difficult the videos are cancels.
    It has rows for all videos, which vary as the difference of the two means does."""
    branches = [name for name in losses if name.startswith("branch ")]
    own = _taken(losses, branches, losses["own"].to_numpy())
    others = (losses[branches].sum(axis=1) - own) / max(len(branches) - 1, 1)
    rows = losses.assign(single=own, beyond=own - losses["start"], side=own - others)
    learned, held = (rows[rows["part"].isin(p)].groupby("video") for p in ([LEARNED], HALVES))
    one, other = held["beyond"].mean(), learned["beyond"].mean()
    n, gap = len(one) + len(other), one.mean() - other.mean()
    centred = [(one - one.mean()) * n / len(one), (other.mean() - other) * n / len(other)]
    beyond = pd.concat(centred) + gap  # its mean: the difference; its variance: the sum of both
    if len(branches) == 1:
        return pd.DataFrame({"single": held["single"].mean(), "overfitting": beyond})
    means = held[["average", "fusion", "soup"]].mean()
    means["oracle"] = _oracle(rows, branches).groupby(rows["video"]).mean()
    means["headroom"] = means["average"] - means["oracle"]
    means["found"] = means["average"] - means["fusion"]
    sides = {"own_learned": learned["side"].mean(), "own_held_out": held["side"].mean()}
    return pd.concat([means, pd.DataFrame(sides | {"overfitting": beyond})], axis=1)


def _taken(losses: pd.DataFrame, names: list[str], places: np.ndarray) -> np.ndarray:
    """Of each row the value in one of the columns ``names``, by its place among them."""
    return losses[names].to_numpy()[np.arange(len(losses)), places]


def _oracle(losses: pd.DataFrame, branches: list[str]) -> pd.Series:
    """Of every held-out pair the loss of what is best for its track on the other half."""
    candidates, judged = ["average", *branches], []
    halves = [losses[losses["part"] == half] for half in HALVES]
    for chosen, other in (halves, halves[::-1]):
        means = chosen.groupby("track")[candidates].mean()
        best = pd.Series(means.to_numpy().argmin(axis=1), means.index)
        places = other["track"].map(best).fillna(0).astype(int).to_numpy()
        judged.append(pd.Series(_taken(other, candidates, places), other.index))
    return pd.concat(judged)


def _by_seed(values: pd.DataFrame, arm: str, measure: str) -> pd.DataFrame:
    rows = values[values["arm"] == arm].dropna(subset=[measure])
    return rows.pivot(index="video", columns="seed", values=measure)


def arm_measures(values: pd.DataFrame) -> pd.DataFrame:
    """The measures of all arms, a row each: ``arm, measure, mean, low, high, videos, seeds``, from
    rows of ``measures_of_videos`` with ``arm, seed, video``. 95 % intervals: of ``mean_interval``;
    of the ``share``, the ratio of the means of found and headroom, by bootstrap over videos, NaN
    where there is no headroom."""
    rows = []
    for arm, part in values.groupby("arm", sort=False):
        ensemble = "headroom" in part and part["headroom"].notna().any()
        for measure in OF_SEVERAL if ensemble else OF_ONE:
            table = _by_seed(values, arm, "found" if measure == "share" else measure)
            interval = mean_interval(table.to_numpy())[:3]
            if measure == "share":
                interval = _share(table, _by_seed(values, arm, "headroom"))
            rows.append((arm, measure, *table.shape, *interval))
    return pd.DataFrame(rows, columns=["arm", "measure", "videos", "seeds", "mean", "low", "high"])


def _share(found: pd.DataFrame, headroom: pd.DataFrame) -> tuple[float, float, float]:
    def ratio(found, headroom, axis=-1):
        of = headroom.mean(axis)
        return found.mean(axis) / np.where(of > 0, of, np.nan)

    sides = [table.mean(axis=1).to_numpy() for table in (found, headroom)]
    if sides[1].mean() <= 0:
        return (np.nan,) * 3
    return float(ratio(*sides)), *bootstrap_interval(ratio, *sides)


def verdicts(values: pd.DataFrame, predictions: list[Prediction]) -> pd.DataFrame:
    """A row a prediction: ``prediction, value, low, high`` (of one alone), ``low_all, high_all``
    (of all together), ``bound, videos, seeds, verdict``; ``values`` as for ``arm_measures``.
    Confirmed: that whole joint interval lies on the predicted side of the bound; refuted: on the
    other; else undecided. Arms are paired by video and by the seeds that both have. A share is
    above c where ``found − c · headroom`` is above zero: these are judged, which needs no ratio."""
    rows = []
    for one in predictions:
        bound, sides, times = one.below if one.above is None else one.above, one.sides, 1.0
        if one.measure == "share":
            sides, times, bound = [(one.arm, "found"), (one.arm, "headroom")], bound, 0.0
        table, *others = (_by_seed(values, *side) for side in sides)
        for other in others:
            seeds = table.columns.intersection(other.columns)
            if not len(seeds) or set(table.index) != set(other.index):
                raise StudyError(f"{one}: the two have no seed in common, or are of other videos")
            table = table[seeds] - times * other[seeds]
        found = mean_interval(table.to_numpy(), len(predictions))
        low, high = sorted((end - bound) * (1 if one.below is None else -1) for end in found[3:])
        verdict = "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"
        rows.append((str(one), *found, bound, *table.shape, verdict))
    columns = ["prediction", "value", "low", "high", "low_all", "high_all", "bound", "videos"]
    return pd.DataFrame(rows, columns=[*columns, "seeds", "verdict"])
