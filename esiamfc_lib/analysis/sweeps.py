"""What a sweep says: gains against the amount and the variety of the data (notebook 09).

Every point of a sweep (``esiamfc run --sweep``) is a study whose control arms were tracked from
many starts; from the scores that notebook 08 keeps come tables that begin with the point's
values."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis import arm_comparison, intervals
from esiamfc_lib.artefacts import STORE, SWEEP, Artefacts
from esiamfc_lib.errors import StudyError, refused

BUDGET = "equal_budget SiamFC"
"""The tracker that gains are taken from: one network that has seen as many pairs."""


def read_points(out: Path) -> pd.DataFrame:
    """The values of a sweep's points that have scores, with ``tracks`` (in the crop store) and
    ``run`` (the folder), a row per point; a StudyError if no sweep or no point is done."""
    if not (out / SWEEP).is_file():
        raise StudyError(f"no sweep in {out}: make one with 'esiamfc run --sweep'")
    with refused(f"{out / SWEEP} is damaged, run the sweep again"):
        listed = json.loads((out / SWEEP).read_text(encoding="utf-8"))
        points = [{**point["values"], "run": out / point["folder"]} for point in listed]
    done = [point for point in points if Artefacts(point["run"]).control_scores.is_file()]
    if not done:
        raise StudyError(f"no point of the sweep in {out} is done: run it first")
    for point in done:
        manifest = (point["run"] / STORE).read_text(encoding="utf-8")
        point["tracks"] = json.loads(manifest)["tracks"]
    return pd.DataFrame(done)


def at_every_point(of_point: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """From a table of one study to that of the points of ``read_points``, their values first."""

    @functools.wraps(of_point)
    def of_points(points: pd.DataFrame) -> pd.DataFrame:
        parts = []
        for point in points.to_dict("records"):
            table = of_point(Artefacts(point.pop("run")))
            place = {name: value for name, value in point.items() if name not in table}
            parts.append(pd.DataFrame(place, table.index).join(table))
        return pd.concat(parts, ignore_index=True)

    return of_points


@at_every_point
def gains(artefacts: Artefacts) -> pd.DataFrame:
    """Gains of all trackers over ``BUDGET``: as ``intervals.differences``, and
    ``clusters, method, membership, pairs`` of each; intervals hold together within a point."""
    scores = pd.read_csv(artefacts.control_scores)
    facts = ["benchmark", "tracker", "clusters", "method", "membership", "pairs"]
    means = arm_comparison.arm_means(scores, artefacts.arms())[facts]
    return intervals.differences(scores, BUDGET).merge(means, on=facts[:2], how="left")


@at_every_point
def against_controls(artefacts: Artefacts) -> pd.DataFrame:
    """The ensemble minus every control, as ``arm_differences``, from the closer look where a
    point has one; last its oracle minus that over branches which all learned from all tracks."""
    scores = compared = pd.read_csv(artefacts.control_scores)
    if artefacts.closer_scores.is_file():
        compared = pd.read_csv(artefacts.closer_scores)
    found = arm_comparison.arm_differences(compared, leave_out=["Oracle"])
    return pd.concat([found, arm_comparison.oracle_differences(scores)], ignore_index=True)


def gain_sentences(table: pd.DataFrame, value: str) -> list[str]:
    """From which ``value`` (the one column that grows) on a tracker of ``gains`` is shown to gain.
    Shown: the interval that holds for all comparisons of its point lies above zero, there and
    at every larger value. A sentence a tracker."""
    sentences = []
    for tracker, rows in table.groupby("tracker", sort=True):
        rows = rows.sort_values(value)
        lasting = (rows["low_all"] > 0)[::-1].cummin()  # from here on at every larger value, too
        verdict = f"no gain is shown that lasts to the largest number of {value}"
        if tracker.endswith("Oracle"):
            verdict = "an upper bound"
        elif lasting.any():
            first = rows.loc[lasting[lasting].index, value].min()
            verdict = f"the gain is shown from {first} {value} on"
        last = rows.iloc[-1]
        gain, low, high = map(intervals.signed, last[["difference", "low_all", "high_all"]])
        among = f"{gain} [{low}, {high}] among {last['comparisons']} comparisons"
        sentences.append(f"{tracker}: at {last[value]} {value} {among}, {verdict}")
    return sentences
