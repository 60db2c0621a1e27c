"""Choose a checkpoint or the tracking parameters on held-out videos; no benchmark is opened.

    python -m tools.choose --vid-root DIR --out DIR --weights FILE [--weights FILE ...] [--trials N]

Everything that could be tuned to a benchmark is chosen on the ``val`` split of a VID root, by
multi-start scores. A candidate replaces what was published only if its gain is larger than luck:
its interval, widened for the number of candidates (``analysis.differences``), lies above zero. The
best of forty trials always looks better than where they began.

With ``--trials`` the parameters of one tracker's loop are searched, by Optuna; without it several
trackers are compared. The choice is written to ``selection.json``, which notebook 07 takes
(``results.selection``). Run from the repository's root.
"""

import contextlib
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from esiamfc_lib import cli
from esiamfc_lib.analysis import intervals
from esiamfc_lib.commands.evaluate import chosen, multistart_arguments, plan, tracker_arguments
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
    unless another is better beyond chance. Tracked is the ``val`` split of ``vid_root`` (the first
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
    weights = next(s.weights for s in trackers if s.name == result["chosen"])
    result["weights"] = Path(weights).name
    result["weights_digest"] = files.file_digest(weights)
    return write_choice(result, out)


def decided(scores: pd.DataFrame, published: str, plan: dict) -> dict:
    """The rule of choice, for scores of ``evaluate_segments``: the tracker ``published`` stays
    unless another is better beyond chance; ``plan`` is for the record. Returns ``chosen`` (name),
    ``reason`` (a sentence), ``interval`` (of the chosen one's or of the best candidate's difference
    to the published one, widened for their number), ``candidates`` (a row each: scores,
    differences, intervals), ``sequences`` and ``plan``."""
    table = intervals.differences(scores, published)
    sure = table[table["low_all"] > 0]
    best = (table if sure.empty else sure).sort_values("difference", kind="stable").iloc[-1]
    verdict = f"{best['tracker']} replaces {published}"
    if sure.empty:
        verdict = f"{published} stays: no candidate is better beyond chance. The best"
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
    trials. The published parameters, those of ``tracker``, stay unless a trial is better beyond
    chance. ``trials`` counts those of earlier calls; ``seed`` is of the search as well;
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
    loop |= changes.get(result["chosen"], {})
    default = TrackingParameters().model_dump()
    result["tracking"] = {name: value for name, value in loop.items() if value != default[name]}
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


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--vid-root", required=True, type=Path, metavar="DIR", help="its 'val' split is tracked")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    tracker_arguments(parser)
    add(
        "--trials", type=int, default=0, metavar="N",
        help="search the tracking parameters of one tracker with N trials; without it, choose "
        "among several trackers, of which the first stays unless another is better beyond chance",
    )  # fmt: skip
    multistart_arguments(parser, starts=8)


def main(args: Namespace) -> int:
    """Track what has no result yet, choose, write ``selection.json``, say why."""
    if args.workers < 1 or args.trials < 0:
        raise StudyError(f"--workers {args.workers} --trials {args.trials}: too few")
    files.apart(args.out, args.vid_root)
    files.writable_file(args.out / "selection.json")
    trackers = chosen(args)
    common = {"workers": args.workers, "limit": args.limit, "seed": args.seed, **plan(args)}
    if args.trials and len(trackers) != 1:
        raise StudyError(f"--trials takes one tracker; the options name {len(trackers)}")
    place = args.vid_root, args.out
    with files.exclusive(args.out, f"another search or choice works in {args.out}: wait for it"):
        if args.trials:
            result = tune(trackers[0], *place, args.trials, on_trial=_show, **common)
        else:
            result = select(trackers, *place, **common)
    sys.stdout.write(f"{result['reason']}\nresults: {args.out / 'selection.json'}\n")
    return 0


def _show(number: int, score: float) -> None:
    sys.stdout.write(f"trial {number:04d}: {score:.4f}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.choose", lambda: sys.modules[__name__], sys.argv[1:]))
