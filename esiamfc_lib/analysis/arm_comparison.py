"""What the ensemble is compared with, and by how much it is better: the table of all arms.

Every arm of a profile (see ``arms``) leaves a tracker: an ensemble, or where it has one cluster a
single SiamFC. All of them run on the same segments of the same sequences (``segments``), in one
number format and with one thread each, so that a difference comes from the networks alone.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis import intervals
from esiamfc_lib.artefacts import MAIN, Artefacts
from esiamfc_lib.config import Fusion
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import segments
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs

ENSEMBLE = Fusion.CLUSTER_WEIGHT.title
"""Name of the tracker that all others are compared with."""

FUSIONS = (Fusion.CLUSTER_WEIGHT, Fusion.UNIFORM, Fusion.NEAREST_CENTROID, "oracle")
"""What runs of the study's own ensemble, in the order of the tables."""

CHECKPOINTS = "all"
"""Membership of an arm whose branches differ by their seed alone: its oracle stands beside ours."""


def trackers(
    run: Path, held_out: bool = False, arms: Iterable[str] | None = None, **options
) -> list[TrackerSpec]:
    """The trackers of the study and of its arms.

    An arm's trackers bear its name: ``random ESiamFC``; one with a single cluster gives its SiamFC:
    ``equal_budget SiamFC``. On test sets all fusions of the study run, and all arms but those with
    ``test: false``. These are candidates: they run on held-out videos, beside the ensemble alone.

    The oracle, the best branch by ground truth, also runs in arms whose branches all learned from
    all tracks: there the best of k branches is the best of k seeds. As the study's own oracle runs
    once, so does the arm's, whatever its repetitions.

    Args:
        run: the profile's working folder.
        held_out: what is to be chosen on held-out videos, not what is tested.
        arms: a closer look at these, their repetitions, and the ensemble; None: all.
        options: ``tracking``, ``precision``, ``device`` of all trackers.

    Raises:
        StudyError: a model file is missing or damaged; no such arm.
    """
    study = Artefacts(run)
    manifest = study.arms()
    fusions = FUSIONS if arms is None and not held_out else FUSIONS[:1]
    if arms is None:
        arms = [name for name, facts in manifest.items() if facts["test"] is not held_out]
    if unknown := set(arms) - set(manifest):
        raise StudyError(f"{run}: there is no arm {', '.join(sorted(unknown))}")

    def of_arm(arm: Artefacts, names: Iterable[str], prefix: str = "") -> list[TrackerSpec]:
        files = {"siamfc": study.baseline, "esiamfc": arm.fusion, "centroids": arm.centres}
        return tracker_specs(names, prefix=prefix, **files, **options)

    found = of_arm(study, ["siamfc", *fusions])
    for name, facts in manifest.items():
        known = (facts["repeats"] or name) in {MAIN, *arms} and (facts["test"] or held_out)
        if name == MAIN or not known:
            continue
        arm, prefix = study.arm(name), f"{name} "
        if facts["clusters"] == 1:
            found += tracker_specs(["siamfc"], siamfc=arm.branch(0), prefix=prefix, **options)
            continue
        chance = facts["membership"] == CHECKPOINTS and not facts["repeats"]
        oracle = ["oracle"] if chance and "oracle" in fusions else []
        found += of_arm(arm, [Fusion.CLUSTER_WEIGHT, *oracle], prefix)
    return found


def compare_arms(
    run: Path,
    benchmark: str,
    sequences: Iterable[Sequence],
    out: str | Path,
    plan: Mapping,
    arms: Iterable[str] | None = None,
    workers: int = 1,
    **options,
) -> pd.DataFrame:
    """Multi-start scores of all trackers of all arms, with the seeds of what was repeated.

    Args:
        run: the profile's working folder.
        benchmark, sequences, out, workers: as for ``segments.evaluate_segments``; ``vid-val``
            stands for the held-out videos.
        plan: of the segments, see ``segments.segments``.
        arms, options: as for ``trackers``.

    Returns:
        As ``labelled``.

    Raises:
        StudyError: as ``trackers`` and ``segments.evaluate_segments``.
    """
    chosen = trackers(run, benchmark == segments.VALIDATION, arms, **options)
    scores = segments.evaluate_segments(chosen, sequences, benchmark, out, workers, **plan)
    return labelled(scores, Artefacts(run).arms())


def labelled(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """Scores in which repetitions have one name and a column ``seed`` tells them apart.

    Seeds that only one side of a comparison has would count twice for nothing: a seed is left out
    unless every arm that was repeated has it.

    Args:
        scores: of ``evaluate_segments``; names as given by ``trackers``.
        facts: of ``Artefacts.arms``.

    Raises:
        StudyError: the repeated arms have no seed in common.
    """
    names, seeds = {}, {}
    own = facts.get(MAIN, {}).get("seed", 0)
    for tracker in dict.fromkeys(scores["tracker"]):
        arm, _, title = tracker.partition(" ")
        arm = arm if arm in facts and title else MAIN
        repeats = facts.get(arm, {}).get("repeats", "")
        names[tracker] = tracker
        if repeats:
            names[tracker] = title if repeats == MAIN else f"{repeats} {title}"
        seeds[tracker] = facts.get(arm, {}).get("seed", own)
    repeated = {name for tracker, name in names.items() if tracker != name}
    sets = [{seeds[t] for t, name in names.items() if name == one} for one in sorted(repeated)]
    common = set.intersection(*sets) if sets else {own}
    if not common:
        raise StudyError("the repeated arms have no seed in common: give them the same seeds")
    result = scores.assign(
        tracker=scores["tracker"].map(names), seed=scores["tracker"].map(seeds).astype(float)
    )
    single = ~result["tracker"].isin(repeated)
    result.loc[single, "seed"] = float("nan")
    return result[single | result["seed"].isin(common)].reset_index(drop=True)


def arm_differences(
    scores: pd.DataFrame, ensemble: str = ENSEMBLE, leave_out: Iterable[str] = (), seed: int = 0
) -> pd.DataFrame:
    """The ensemble minus each control.

    Args:
        scores: of ``compare_arms``.
        ensemble: name of the tracker that the controls are taken from.
        leave_out: words; trackers whose names hold one are not compared.
        seed: of the bootstrap.

    Returns:
        As ``intervals.hierarchical_differences``, but with the signs of ``ensemble − minus``; the
        intervals ``low_all, high_all`` hold for all controls together.

    Raises:
        StudyError: the ensemble was not run; a run is missing.
    """
    kept = scores[~scores["tracker"].map(lambda name: any(word in name for word in leave_out))]
    table = intervals.hierarchical_differences(kept, ensemble, seed=seed)
    return _turned(table) if len(table) else table


def oracle_differences(scores: pd.DataFrame, **options) -> pd.DataFrame:
    """The oracle over our branches minus the oracle over branches that only differ by seed.

    The best of k trackers in hindsight is better than one, whatever the k are: what specialisation
    gives is what remains beside k trackers of the same data. Empty without such an arm.
    """
    oracles = scores[scores["tracker"].str.endswith("Oracle")]
    if oracles["tracker"].nunique() < 2:
        return pd.DataFrame()
    return arm_differences(oracles, ensemble="Oracle", **options)


def _turned(table: pd.DataFrame) -> pd.DataFrame:
    """``a − reference`` as ``reference − a``."""
    swaps = {"tracker": "minus", "wins": "losses", "flips_won": "flips_lost"}
    turned = table.rename(columns=swaps | {new: old for old, new in swaps.items()})
    for low, high in (("low", "high"), ("low_all", "high_all")):
        turned[[low, high]] = -table[[high, low]].to_numpy()
    turned[["difference", "median"]] = -table[["difference", "median"]].to_numpy()
    return turned[list(table.columns)]


def arm_means(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """One row a tracker: mean success and precision over sequences, and what it learned from.

    Args:
        scores: of ``compare_arms``.
        facts: of ``Artefacts.arms``.

    Returns:
        ``benchmark, tracker, success, precision, seeds, clusters, method, membership, start,
        pairs`` (that its branches learned from, those of their start included; 0 for the baseline).
    """
    per_sequence = scores.groupby(["benchmark", "tracker", "sequence"], sort=False)
    columns = ["success", "precision"]
    table = per_sequence[columns].mean().groupby(level=[0, 1], sort=False).mean().reset_index()
    seeds = scores.groupby(["benchmark", "tracker"], sort=False)["seed"].nunique().clip(lower=1)
    table["seeds"] = seeds.to_numpy()
    arm_of = table["tracker"].map(lambda name: name.partition(" ")[0])
    rows = [
        {} if name == "SiamFC" else facts.get(arm, facts.get(MAIN, {}))
        for name, arm in zip(table["tracker"], arm_of, strict=True)
    ]
    for column in ("clusters", "method", "membership", "start"):
        table[column] = [row.get(column, "") for row in rows]
    table["pairs"] = [row.get("pairs", 0) for row in rows]
    return table
