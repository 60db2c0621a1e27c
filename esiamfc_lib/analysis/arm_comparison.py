"""What the ensemble is compared with, and by how much it is better: the table of all arms.

Every arm of a profile (see ``arms``) leaves a tracker: an ensemble, or with one cluster a single
SiamFC. All run on the same segments of the same sequences (``segments``), in one number format
and with one thread each, so that a difference comes from the networks alone."""

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

ENSEMBLE = Fusion.CLUSTER_WEIGHT.title  # the tracker that all others are compared with
# What runs of the study's own ensemble, in the order of the tables.
FUSIONS = (Fusion.CLUSTER_WEIGHT, Fusion.UNIFORM, Fusion.NEAREST_CENTROID, "oracle")
# Membership of an arm whose branches differ by their seed alone: its oracle stands beside ours.
CHECKPOINTS = "all"


def trackers(
    run: Path, held_out: bool = False, arms: Iterable[str] | None = None, **options
) -> list[TrackerSpec]:
    """The trackers of the study in folder ``run`` and of its arms.

    An arm's trackers bear its name: ``random ESiamFC``; one with a single cluster gives its SiamFC:
    ``equal_budget SiamFC``. On test sets all fusions of the study run, of its repetitions the
    plain average, and all arms but those with ``test: false``. These are candidates: they run on
    held-out videos (``held_out``), beside the ensemble alone. ``arms`` asks for a closer look at
    some, with their repetitions, and the ensemble; None: all. ``options`` are ``tracking``,
    ``precision`` and ``device`` of all trackers.

    The oracle, the best branch by ground truth, also runs in arms whose branches all learned from
    all tracks: there the best of k branches is the best of k seeds. As the study's own oracle
    runs once, so does the arm's, whatever its repetitions.

    StudyError: a model file is missing or damaged; no such arm."""
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
        more = ["oracle"] if chance and "oracle" in fusions else []
        if facts["repeats"] == MAIN and Fusion.UNIFORM in fusions:
            more = [Fusion.UNIFORM]  # what the module adds is compared within each seed
        found += of_arm(arm, [Fusion.CLUSTER_WEIGHT, *more], prefix)
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
    """Multi-start scores of all trackers of all arms, ``labelled`` with the seeds of repetitions.
    ``run, arms, options`` and errors are as for ``trackers``, ``plan`` as for
    ``segments.segments``, the others as for ``segments.evaluate_segments``."""
    chosen = trackers(run, segments.VALIDATION in benchmark, arms, **options)
    scores = segments.evaluate_segments(chosen, sequences, benchmark, out, workers, **plan)
    return labelled(scores, Artefacts(run).arms())


def labelled(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """Scores in which repetitions have one name and a column ``seed``, by ``Artefacts.arms``; what
    was not repeated has NaN there."""
    names, seeds = {}, {}
    own = facts.get(MAIN, {}).get("seed", 0)
    for tracker in scores["tracker"].unique():
        name, _, title = tracker.partition(" ")
        arm = facts.get(name if name in facts and title else MAIN, {})
        names[tracker], seeds[tracker] = tracker, arm.get("seed", own)
        if repeats := arm.get("repeats", ""):
            names[tracker] = title if repeats == MAIN else f"{repeats} {title}"
    repeated = {name for tracker, name in names.items() if tracker != name}
    tracker, seed = scores["tracker"].map(names), scores["tracker"].map(seeds).astype(float)
    return scores.assign(tracker=tracker, seed=seed.where(tracker.isin(repeated)))


def arm_differences(
    scores: pd.DataFrame, ensemble: str = ENSEMBLE, leave_out: Iterable[str] = ()
) -> pd.DataFrame:
    """The tracker ``ensemble`` minus each control whose name holds no word of ``leave_out``: see
    ``intervals.differences``. A StudyError if it or a run is missing."""
    kept = scores[~scores["tracker"].map(lambda name: any(word in name for word in leave_out))]
    return intervals.differences(kept, ensemble, turned=True)


def oracle_differences(scores: pd.DataFrame) -> pd.DataFrame:
    """The oracle over our branches minus the oracle over branches that only differ by seed. The
    best of k trackers in hindsight is better than one, whatever the k are: what specialisation
    gives is what remains beside k trackers of the same data. Empty without such an arm."""
    oracles = scores[scores["tracker"].str.endswith("Oracle")]
    if oracles["tracker"].nunique() < 2:
        return pd.DataFrame()
    return arm_differences(oracles, ensemble="Oracle")


def arm_means(scores: pd.DataFrame, facts: Mapping[str, Mapping]) -> pd.DataFrame:
    """One row per tracker of ``compare_arms``: ``benchmark, tracker, success, precision`` (means
    over sequences), ``seeds``, and of its arm (``facts`` of ``Artefacts.arms``) ``clusters,
    method, membership, start, pairs`` (that its branches learned from, those of their start
    included; 0 for the baseline)."""
    of = ["benchmark", "tracker"]
    table = segments.mean_scores(scores, of).reset_index()
    table["seeds"] = scores.groupby(of, sort=False)["seed"].nunique().clip(lower=1).to_numpy()
    arms = {**facts, "SiamFC": {}}  # the baseline is of no arm
    rows = [arms.get(name.partition(" ")[0], facts.get(MAIN, {})) for name in table["tracker"]]
    for column in ("clusters", "method", "membership", "start"):
        table[column] = [row.get(column, "") for row in rows]
    return table.assign(pairs=[row.get("pairs", 0) for row in rows])
