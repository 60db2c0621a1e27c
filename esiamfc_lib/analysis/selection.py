"""Choices made on held-out videos: a checkpoint, an epoch of the fusion, the tracking loop.

Everything that could be tuned to a benchmark is chosen here instead, on the ``val`` split of a VID
root, by multi-start scores; no benchmark is opened. A candidate replaces what was published only if
its gain is larger than luck: the interval of its difference, widened for the number of candidates
(see ``intervals.hierarchical_differences``), lies above zero. The best of forty trials always
looks better than where they began; where the intervals overlap, the published value stays.
"""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from esiamfc_lib.analysis import intervals
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import benchmarks
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import segments
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.files import text_digest
from esiamfc_lib.tracking.spec import TrackerSpec

PUBLISHED = "published"
# Parameters of the loop that the public trackers differ in: smallest, largest, step.
SPACE = {
    "scale_step": (1.01, 1.06, 0.0005),
    "scale_lr": (0.2, 0.9, 0.01),
    "scale_penalty": (0.9, 1.0, 0.0005),
    "window_influence": (0.05, 0.45, 0.002),
}


def select(
    trackers: list[TrackerSpec],
    vid_root: str | Path,
    out: str | Path,
    workers: int = 1,
    limit: int = 0,
    seed: int = 0,
    **plan,
) -> dict:
    """Choose among trackers, for example one for each checkpoint of a training.

    Args:
        trackers: the first one stays unless another is better beyond luck.
        vid_root: of the data set, whose ``val`` split is tracked.
        out: folder of the results; finished runs are kept.
        workers: processes, one thread each.
        limit: number of validation tracks; 0: all.
        seed: of the perturbed first boxes and of the bootstrap.
        plan: other arguments of ``segments.segments``.

    Returns:
        As written to ``selection.json``, see ``decided``; ``weights`` and ``weights_digest`` are
        those of the chosen tracker.

    Raises:
        StudyError: fewer than two trackers; no validation tracks; a file that cannot be read.
    """
    if len(trackers) < 2:
        raise StudyError("a choice needs two trackers at least; the first is the one that stays")
    sequences, out = segments.read_segments(segments.VALIDATION, vid_root, limit), Path(out)
    plan["seed"] = seed
    scores = segments.evaluate_segments(
        trackers, sequences, segments.VALIDATION, out, workers=workers, **plan
    )
    result = decided(scores, trackers[0].name, seed, plan)
    chosen = next(spec for spec in trackers if spec.name == result["chosen"])
    result["weights"] = Path(chosen.weights).name
    result["weights_digest"] = files.file_digest(chosen.weights)
    return _written(result, out)


def tune(
    tracker: TrackerSpec,
    vid_root: str | Path,
    out: str | Path,
    trials: int = 40,
    space: dict[str, tuple[float, float, float]] | None = None,
    workers: int = 1,
    limit: int = 0,
    seed: int = 0,
    on_trial: Callable[[int, float], None] | None = None,
    **plan,
) -> dict:
    """Choose parameters of the tracking loop with Optuna's tree-structured Parzen estimator.

    The study lies in ``study.journal`` in ``out`` and goes on where it was stopped; a study that
    was interrupted makes the same trials as one that was not.

    Args:
        tracker: with the published parameters, which stay unless a trial is better beyond luck.
        trials: to be made in all, those of earlier calls included.
        space: name of a parameter → smallest value, largest, step.
        vid_root, out, workers, limit, plan: as for ``select``.
        seed: of the search as well.
        on_trial: called with the number and the score of each new trial.

    Returns:
        As written to ``selection.json``, see ``decided``; ``tracking`` holds the changes to the
        default ``TrackingParameters``, as notebook 07 takes them.

    Raises:
        StudyError: ``out`` holds another study; an unknown parameter; an empty range.
    """
    space, out = SPACE if space is None else space, Path(out)
    ranges = _distributions(space)
    sequences = segments.read_segments(segments.VALIDATION, vid_root, limit)
    plan["seed"] = seed
    study = _study(out, _facts(tracker, sequences, plan, space))

    def scored(name: str, changes: dict[str, float]) -> pd.DataFrame:
        selected_tracking = tracker.tracking.model_dump() | changes
        spec = tracker.model_copy(
            update={
                "name": name,
                "tracking": TrackingParameters.validated(selected_tracking, where=name),
            }
        )
        return segments.evaluate_segments(
            [spec], sequences, segments.VALIDATION, out, workers=workers, **plan
        )

    scores = {PUBLISHED: scored(PUBLISHED, {})}
    _add_published(study, tracker, ranges, _mean(scores[PUBLISHED]))
    while (number := len(_complete(study))) < trials:
        # A sampler of its own for each trial, or the trials after a restart would be others.
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=own_seed)
        trial = study.ask(ranges)
        name = _name(number)
        scores[name] = scored(name, trial.params)
        study.tell(trial, _mean(scores[name]))
        if on_trial:
            on_trial(number, _mean(scores[name]))
    changes = {_name(n): trial.params for n, trial in enumerate(_complete(study)[:trials])}
    for name in changes:
        if name not in scores:
            scores[name] = scored(name, changes[name])  # of an earlier call: from disk

    table = pd.concat([scores[name] for name in (PUBLISHED, *changes)], ignore_index=True)
    segments.write_segments(out, table)
    result = decided(table, PUBLISHED, seed, plan)
    for row in result["candidates"]:
        row["parameters"] = changes.get(row["tracker"], {})
    loop = tracker.tracking.model_dump() | changes.get(result["chosen"], {})
    default = TrackingParameters().model_dump()
    result["tracking"] = {name: value for name, value in loop.items() if value != default[name]}
    return _written(result, out)


def decided(scores: pd.DataFrame, published: str, seed: int, plan: dict) -> dict:
    """The rule of choice.

    Args:
        scores: as ``evaluate_segments`` returns.
        published: name of the tracker that stays unless another is better beyond luck.
        seed: of the bootstrap.
        plan: how the segments were cut, for the record.

    Returns:
        ``chosen`` (name), ``reason`` (a sentence), ``interval`` (of the chosen one's or of the best
        candidate's difference to the published one, widened for their number), ``candidates`` (a
        row each: scores, differences, intervals), ``sequences`` and ``plan``.
    """
    table = intervals.hierarchical_differences(scores, published, seed=seed)
    sure = table[table["low_all"] > 0]
    best = (table if sure.empty else sure).sort_values("difference", kind="stable").iloc[-1]
    verdict = f"{best['tracker']} replaces {published}"
    if sure.empty:
        verdict = f"{published} stays: no candidate is better beyond luck. The best"
    means = segments.mean_scores(scores).reset_index()
    shown = ["tracker", "difference", "low", "high", "low_all", "high_all", "wins", "losses"]
    candidates = means.merge(table[shown], on="tracker", how="left")
    return {
        "chosen": published if sure.empty else best["tracker"],
        "reason": f"{verdict}: {intervals.sentence(best)}",
        "interval": [best["low_all"], best["high_all"]],
        # to_json writes NaN, which JSON lacks, as null
        "candidates": json.loads(candidates.to_json(orient="records", double_precision=10)),
        "sequences": sorted(scores["sequence"].unique()),
        "plan": plan,
    }


def selected_tracking(path: str | Path) -> dict:
    """The tracking parameters that a ``selection.json`` has chosen, as notebook 07 takes them.

    Raises:
        StudyError: no such file, or not one of ``tune``.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))["tracking"]
        TrackingParameters.validated(values, where=str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} holds no choice of tracking parameters: {error}") from None
    return values


def _study(out: Path, facts: str) -> optuna.Study:
    """The study on disk, made if need be; trials that were cut off are closed."""
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(out / "study.journal"))),
            study_name="tracking",
            direction="maximize",
            load_if_exists=True,
        )
        known = study.user_attrs.get("facts", facts)
    except (ValueError, KeyError) as error:
        raise StudyError(f"{out / 'study.journal'} is damaged ({error}): remove it") from None
    if known != facts:
        raise StudyError(
            f"{out / 'study.journal'} belongs to another tracker, data, plan or space: "
            "take another folder, or remove it"
        )
    study.set_user_attr("facts", facts)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _add_published(study: optuna.Study, tracker: TrackerSpec, ranges: dict, score: float) -> None:
    """The search knows where it begins, if that lies in its space."""
    if study.get_trials(deepcopy=False):
        return
    given = {name: getattr(tracker.tracking, name) for name in ranges}
    with contextlib.suppress(ValueError):  # outside the space
        study.add_trial(
            optuna.trial.create_trial(
                params=given, distributions=ranges, value=score, user_attrs={PUBLISHED: True}
            )
        )


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Finished trials in order, without the published parameters."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in found if PUBLISHED not in trial.user_attrs]


def _distributions(space: dict) -> dict[str, FloatDistribution]:
    unknown = set(space) - set(TrackingParameters.model_fields)
    if unknown or not space:
        raise StudyError(f"no parameter of the tracking loop: {', '.join(sorted(unknown)) or '-'}")
    try:
        return {name: FloatDistribution(a, b, step=step) for name, (a, b, step) in space.items()}
    except (TypeError, ValueError) as error:
        raise StudyError(f"a range is smallest, largest, step: {error}") from None


def _mean(scores: pd.DataFrame) -> float:
    """Mean over sequences of the mean success of their segments."""
    return float(scores.groupby("sequence")["success"].mean().mean())


def _name(number: int) -> str:
    return f"trial {number:04d}"


def _facts(tracker: TrackerSpec, sequences: list[Sequence], plan: dict, space: dict) -> str:
    """Digest of everything that a score of the study depends on."""
    facts = {
        "tracker": tracker.facts(),
        "data": [benchmarks.sequence_digest(sequence) for sequence in sequences],
        "plan": plan,
        "space": space,
    }
    return text_digest(json.dumps(facts, sort_keys=True))


def _written(result: dict, out: Path) -> dict:
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    files.write_atomically(out / "selection.json", text)
    return json.loads(text)
