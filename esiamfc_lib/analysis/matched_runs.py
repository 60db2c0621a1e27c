"""Runs of two trackers matched: the same sequence, start and seed, one minus the other."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from esiamfc_lib.errors import StudyError

START = ("start", "direction", "perturbation")  # tell starts apart, as far as the table has them


@dataclass(frozen=True)
class MatchedRuns:
    """Differences of a tracker to the reference: ``runs``, one row per run with ``sequence``,
    ``start`` (number of the unit), ``seed``, ``difference``, ``value`` and ``reference`` (both
    scores). ``seeds_of`` is ``both`` where both were repeated with the same seeds, the one that was
    where the other has one network alone, ``""`` where neither was."""

    tracker: str
    runs: pd.DataFrame
    seeds_of: str = ""

    @cached_property
    def cells(self) -> list[np.ndarray]:
        """Differences of each sequence: (starts, seeds); all runs must be there."""
        runs = self.runs.sort_values(["sequence", "start", "seed"])
        seeds = runs["seed"].nunique()
        matrix = runs["difference"].to_numpy().reshape(-1, seeds)
        names = runs["sequence"].to_numpy()[::seeds]
        return np.split(matrix, np.flatnonzero(names[1:] != names[:-1]) + 1)

    @property
    def table(self) -> np.ndarray:
        """Mean differences (sequences, seeds); one sequence cannot vary: its (starts, seeds)."""
        cells = self.cells
        return np.array([m.mean(axis=0) for m in cells]) if len(cells) > 1 else cells[0]


def paired(part: pd.DataFrame, tracker: str, reference: str, metric: str) -> MatchedRuns:
    """Match the runs of two trackers in a ``metric``; where both were repeated, those with the
    seeds that both have. A StudyError if there is none, or if one lacks a run or has it twice."""
    starts = [name for name in START if name in part]
    keys = ["sequence", *starts]
    sides = {}
    for name in (tracker, reference):
        side = part.loc[part["tracker"] == name]
        side = side[[*keys, metric]].assign(seed=side.get("seed", np.nan))
        seeded = side["seed"].notna()
        if seeded.any() and not seeded.all():
            raise StudyError(f"{name}: some runs have a seed and some have none")
        if side.duplicated([*keys, "seed"]).any():
            raise StudyError(f"{name}: two scores for one run ({', '.join(keys)}, seed)")
        sides[name] = side if seeded.all() else side.drop(columns="seed")
    one, other = sides.values()
    repeated = [name for name, side in sides.items() if "seed" in side]
    of = "both" if len(repeated) == 2 else "".join(repeated)
    if of == "both":  # a seed that only one of them has would count twice for nothing
        keys.append("seed")
        common = set(one["seed"]) & set(other["seed"])
        if not common:
            raise StudyError(f"{tracker} and {reference} have no seed in common")
        one, other = (side[side["seed"].isin(common)] for side in (one, other))
    runs = one.merge(other, on=keys, how="outer", suffixes=("_one", "_other"), indicator=True)
    if (runs["_merge"] != "both").any():
        first = runs.loc[runs["_merge"] != "both"].iloc[0]
        lacking = reference if first["_merge"] == "left_only" else tracker
        place = ", ".join(f"{key} {first[key]}" for key in keys)
        raise StudyError(f"{lacking} lacks the run of {place}: finish it, or leave it out for all")
    runs = runs.rename(columns={f"{metric}_one": "value", f"{metric}_other": "reference"})
    start = runs.groupby(starts).ngroup() if starts else 0
    change = runs["value"] - runs["reference"]
    runs = runs.assign(start=start, seed=runs.get("seed", 0.0), difference=change)
    return MatchedRuns(tracker, runs, of)


def check_complete(pairs: list[MatchedRuns], benchmark: str) -> None:
    """Every seed of every tracker has the same runs: a gap would tilt the mean."""
    wanted: set = set()
    for pair in pairs:
        for label, part in pair.runs.groupby("seed"):
            have = set(zip(part["sequence"], part["start"], strict=True))
            wanted = wanted or have
            if lacking := sorted({str(sequence) for sequence, _ in have ^ wanted}):
                fault = f"has not the same runs as the others of {', '.join(lacking[:3])}"
                raise StudyError(f"{benchmark}: {pair.tracker}, seed {label}, {fault}")
