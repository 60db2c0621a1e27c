"""Parameters of the tracking loop, searched on held-out videos by Optuna; ``selection`` decides."""

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

from esiamfc_lib.analysis.selection import decided, write_choice
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import benchmarks
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.evaluation import segments
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.spec import TrackerSpec

PUBLISHED = "published"
# Parameters of the loop that the public trackers differ in: smallest, largest, step.
SPACE = {
    "scale_step": (1.01, 1.06, 0.0005),
    "scale_lr": (0.2, 0.9, 0.01),
    "scale_penalty": (0.9, 1.0, 0.0005),
    "window_influence": (0.05, 0.45, 0.002),
}
RANGES = {name: FloatDistribution(a, b, step=step) for name, (a, b, step) in SPACE.items()}


def tune(
    tracker: TrackerSpec,
    vid_root: str | Path,
    out: str | Path,
    trials: int,
    workers: int = 1,
    limit: int = 0,
    seed: int = 0,
    on_trial: Callable[[int, float], None] | None = None,
    **plan,
) -> dict:
    """Choose parameters of the tracking loop with Optuna's tree-structured Parzen estimator.

    The study lies in ``study.journal`` in ``out`` and goes on where it was stopped, with the same
    trials. The published parameters, those of ``tracker``, stay unless a trial is
    better beyond luck. ``trials`` counts those of earlier calls; ``seed`` is of the search as well;
    ``on_trial`` is called with number and score of each new one; others are as for ``select``.

    Gives what is written to ``selection.json``, see ``decided``; ``tracking`` holds the changes to
    the default ``TrackingParameters``, as notebook 07 takes them. StudyError: ``out`` holds another
    study or a damaged one; no validation tracks."""
    out, plan = Path(out), plan | {"seed": seed}
    sequences = segments.read_segments(segments.VALIDATION, vid_root, limit)
    data = [benchmarks.sequence_digest(sequence) for sequence in sequences]
    facts = {"tracker": tracker.facts(), "data": data, "plan": plan, "space": SPACE}
    study = _study(out, files.text_digest(json.dumps(facts, sort_keys=True)))
    loop, tables = tracker.tracking.model_dump(), {}

    def score(name: str, changes: dict[str, float]) -> float:
        changed = TrackingParameters.validated(loop | changes, where=name)
        spec = tracker.model_copy(update={"name": name, "tracking": changed})
        tables[name] = segments.evaluate_segments(
            [spec], sequences, segments.VALIDATION, out, workers, **plan
        )
        return float(tables[name].groupby("sequence")["success"].mean().mean())

    value = score(PUBLISHED, {})
    if not study.get_trials(deepcopy=False):
        given = {name: loop[name] for name in RANGES}
        begin = {"params": given, "value": value, "user_attrs": {PUBLISHED: True}}
        with contextlib.suppress(ValueError):  # outside the space
            study.add_trial(optuna.trial.create_trial(distributions=RANGES, **begin))
    while (number := len(_complete(study))) < trials:
        # A sampler of its own for each trial, or the trials after a restart would be others.
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=own_seed)
        trial = study.ask(RANGES)
        value = score(_name(number), trial.params)
        study.tell(trial, value)
        if on_trial:
            on_trial(number, value)
    changes = {_name(n): trial.params for n, trial in enumerate(_complete(study)[:trials])}
    for name in changes:
        if name not in tables:
            score(name, changes[name])  # of an earlier call: from disk

    table = pd.concat([tables[name] for name in (PUBLISHED, *changes)], ignore_index=True)
    segments.write_segments(out, table)
    result = decided(table, PUBLISHED, plan)
    for row in result["candidates"]:
        row["parameters"] = changes.get(row["tracker"], {})
    chosen = loop | changes.get(result["chosen"], {})
    default = TrackingParameters().model_dump()
    result["tracking"] = {name: value for name, value in chosen.items() if value != default[name]}
    return write_choice(result, out)


def _study(out: Path, facts: str) -> optuna.Study:
    """The study on disk, of what ``facts`` digests; made if need be; trials cut off are closed."""
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = out / "study.journal"
    with refused(f"{file} is damaged, remove it"):
        storage = JournalStorage(JournalFileBackend(str(file)))
        study = optuna.create_study(
            storage=storage, study_name="tracking", direction="maximize", load_if_exists=True
        )
        known = study.user_attrs.get("facts", facts)
    if known != facts:
        raise StudyError(
            f"{file} belongs to another tracker, data, plan or space: take another folder, or "
            "remove it"
        )
    study.set_user_attr("facts", facts)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Finished trials in order, without the published parameters."""
    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in found if PUBLISHED not in trial.user_attrs]


def _name(number: int) -> str:
    return f"trial {number:04d}"
