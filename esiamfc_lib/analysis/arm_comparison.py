"""What the ensemble is compared with, and by how much it is better: the table of all arms.

Every arm of a profile (see ``arms``) leaves a tracker: an ensemble, or where it has one cluster a
single SiamFC. All of them run on the same segments of the same sequences (``multistart``), in one
number format and with one thread each, so that a difference comes from the networks alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis import intervals
from esiamfc_lib.artefacts import MAIN, Artefacts
from esiamfc_lib.config import Fusion
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
    run: Path,
    fusions: Iterable[str] = FUSIONS,
    of_arms: Iterable[str] = ("cluster_weight",),
    validation: bool = False,
    arms: Iterable[str] | None = None,
    **options,
) -> list[TrackerSpec]:
    """The trackers of the study and of all its arms.

    An arm's trackers bear its name: ``random ESiamFC``; one with a single cluster gives its SiamFC:
    ``equal_budget SiamFC``. The oracle, the best branch by ground truth, also runs in arms whose
    branches all learned from all tracks: there the best of k branches is the best of k seeds. As
    the study's own oracle runs once, so does the arm's, whatever its repetitions.

    Args:
        run: the profile's working folder.
        fusions: of the study's own ensemble, names of ``config.TRACKERS``.
        of_arms: of the arms' ensembles.
        validation: with the arms that may not run on test sets.
        arms: only these, their repetitions, and those of the study itself; None: all.
        options: ``tracking``, ``precision``, ``device`` of all trackers.

    Raises:
        StudyError: a model file is missing or damaged; no such arm.
    """
    fusions, of_arms = list(fusions), list(of_arms)
    study = Artefacts(run)
    manifest = study.arms()
    wanted = {MAIN, *(manifest if arms is None else arms)}
    if unknown := wanted - {MAIN, *manifest}:
        raise StudyError(f"{run}: there is no arm {', '.join(sorted(unknown))}")
    found = _of_arm(study, "", ["siamfc", *fusions], study, options)
    for name, facts in manifest.items():
        if name == MAIN or not (facts["test"] or validation):
            continue
        if (facts["repeats"] or name) not in wanted:
            continue
        arm, prefix = study.arm(name), f"{name} "
        if facts["clusters"] == 1:
            found += tracker_specs(["siamfc"], siamfc=arm.branch(0), prefix=prefix, **options)
            continue
        chance = facts["membership"] == CHECKPOINTS and not facts["repeats"]
        beside = ["oracle"] if "oracle" in fusions and chance else []
        names = dict.fromkeys([*of_arms, *beside])
        found += _of_arm(arm, prefix, list(names), study, options)
    return found


def _of_arm(arm: Artefacts, prefix: str, names: list[str], study: Artefacts, options: Mapping):
    return tracker_specs(
        names,
        siamfc=study.baseline,
        esiamfc=arm.fusion,
        centroids=arm.centres,
        prefix=prefix,
        **options,
    )


def compare_arms(
    run: Path,
    benchmark: str,
    root: str | Path,
    out: str | Path,
    workers: int = 1,
    limit: int = 0,
    fusions: Iterable[str] = FUSIONS,
    of_arms: Iterable[str] = ("cluster_weight",),
    arms: Iterable[str] | None = None,
    plan: Mapping | None = None,
    **options,
) -> pd.DataFrame:
    """Multi-start scores of all trackers of all arms, with the seeds of what was repeated.

    Arms with ``test: false`` run on ``vid-val`` alone.

    Args:
        run: the profile's working folder.
        benchmark, root, limit, out, workers: as for ``multistart.evaluate_multistart``.
        fusions, of_arms, arms, options: as for ``trackers``.
        plan: of the segments, see ``multistart.segments``.

    Returns:
        As ``labelled``.

    Raises:
        StudyError: as ``trackers`` and ``multistart.evaluate_multistart``.
    """
    validation = benchmark == segments.VALIDATION
    chosen = trackers(run, fusions, of_arms, validation, arms, **options)
    scores = segments.evaluate_segments(
        chosen, benchmark, root, out, workers=workers, limit=limit, **(plan or {})
    )
    return labelled(scores, Artefacts(run).arms())


def labelled(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """Scores in which repetitions have one name and a column ``seed`` tells them apart.

    Seeds that only one side of a comparison has would count twice for nothing: a seed is left out
    unless every arm that was repeated has it.

    Args:
        scores: of ``multistart``; names as given by ``trackers``.
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
    scores: pd.DataFrame,
    ensemble: str = ENSEMBLE,
    leave_out: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """The ensemble minus each control.

    Args:
        scores: of ``evaluate``.
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


def means(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """One row a tracker: mean success and precision over sequences, and what it learned from.

    Args:
        scores: of ``evaluate``.
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


def check(facts: Mapping[str, Mapping], control: str) -> None:
    """Whether a control has learned from as many pairs as the ensemble's branches together.

    Raises:
        StudyError: no such arm, or another number of pairs.
    """
    if control not in facts:
        raise StudyError(f"no arm {control!r} in this profile; there are {', '.join(facts)}")
    ours, theirs = facts[MAIN]["pairs"], facts[control]["pairs"]
    if ours != theirs:
        raise StudyError(
            f"arm {control!r} is to have the budget of the ensemble, but learns from {theirs} "
            f"pairs, the ensemble's branches from {ours}: change its epochs or pairs_per_epoch"
        )
