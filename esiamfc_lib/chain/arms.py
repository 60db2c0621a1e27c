"""Control arms: the study's middle notebooks once more, with other parameters.

A gain of the ensemble means little until something simpler has failed to give it. An **arm** is a
named set of changes to the parameters of notebooks 04 to 06::

    arms:
      random:       {clustering: {method: random}}
      equal_budget: {clustering: {n_clusters: 1}, branches: {pairs_per_epoch: 3600}, seeds: [0, 1]}

It works in ``<run_dir>/arms/<name>``. What it does not change it shares with the study, or with
another arm: links in its folder point to the folders of those stages, so that every notebook finds
its files where it always does. Notebook 08 of the study itself compares the arms."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from esiamfc_lib.artefacts import ARMS, MAIN, MANIFEST
from esiamfc_lib.config import STAGES, StageParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.validation import Parameters, param

CHANGEABLE = ("clustering", "branches", "fusion")
"""Stages that an arm may change; the data, the baseline and its embedding are those of all."""

MAY_DIFFER = {"run_dir", "report_dir", "seed", "device", "threads", "workers", "checkpoint_seconds"}
"""Parameters in which repetitions of one treatment may differ."""

Stages = Mapping[str, StageParameters]


class Changes(Parameters):
    """An arm as the profile has it."""

    clustering: dict[str, Any] = param({}, "changes to notebook 04's parameters")
    branches: dict[str, Any] = param({}, "changes to notebook 05's")
    fusion: dict[str, Any] = param({}, "changes to notebook 06's")
    seeds: list[int] = param([], "of the arm's repetitions; empty: the study's own")
    test: bool = param(True, "false: its tracker never runs on test sets")


class Arm(dict[str, StageParameters]):
    """Stage of an arm -> its parameters."""

    test: bool  # whether its tracker may run on test sets


def read_arms(section: Any, sections: Mapping[str, dict[str, Any]], where: str) -> dict[str, Arm]:
    """All arms with the parameters of all their stages; a StudyError says what is wrong.

    An arm with ``test: false`` is a variant to be judged on validation sequences and is never run
    on a test set. An arm with ``seeds: [0, 1, 2]`` is repeated: the arm itself for the study's own
    seed, for each other seed k an arm ``<name>_s<k>``. Where it starts from an arm that has the
    same seed, it starts from that repetition. ``section`` is the profile's ``arms``, ``sections``
    are the values of the study itself by stage, ``run_dir`` and the like among them, ``where`` is
    the profile's file, for messages."""
    if not isinstance(section, dict):
        raise StudyError(f"{where}: arms must hold names with changes, not {section!r}")
    own = sections["clustering"].get("seed", 0)
    every: dict[str, tuple[int, Changes]] = {}
    for name, values in section.items():
        changes = _checked(name, values, where)
        for seed in changes.seeds or [own]:
            repeated = name if seed == own else f"{name}_s{seed}"
            if repeated in every:
                raise StudyError(f"{where}: arm {repeated!r} is there twice, once as a repetition")
            every[repeated] = (seed, changes)
    arms = {}
    for name, (seed, changes) in every.items():
        arms[name] = arm = Arm()
        arm.test = changes.test
        for model in STAGES:
            values = sections[model.stage] | getattr(changes, model.stage, {})
            if model.stage in CHANGEABLE:
                values["seed"] = seed
            again = f"{values.get('initial')}_s{seed}"
            if again in every:
                values["initial"] = again
            run = f"{values.get('run_dir', model().run_dir)}/{ARMS}/{name}"
            values |= {"run_dir": run, "report_dir": f"{run}/reports"}
            arm[model.stage] = model.validated(values, where=f"{where}: arms.{name}.{model.stage}")
    return arms


def _checked(name: Any, values: Any, where: str) -> Changes:
    if not isinstance(name, str) or name == MAIN or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        rule = f"a name has small letters, digits and _, and is not {MAIN!r}"
        raise StudyError(f"{where}: arm {name!r}: {rule}")
    if not isinstance(values, dict) or not set(values) - {"test"}:
        raise StudyError(f"{where}: arm {name!r} must change some of {', '.join(CHANGEABLE)}")
    changes = Changes.validated(values, where=f"{where}: arms.{name}")
    for stage in CHANGEABLE:
        for key in getattr(changes, stage).keys() & {"run_dir", "report_dir", "seed", "cluster_id"}:
            raise StudyError(f"{where}: arms.{name}.{stage} cannot set {key}")
    return changes


def branch_pairs(stages: Stages, arms: Mapping[str, Stages]) -> int:
    """Pairs that all branches together have learned from, those of their start and of joint
    training included. ``stages`` are of the study or an arm; the starts are looked up in ``arms``.
    """
    fusion, k = stages["fusion"], stages["clustering"].n_clusters
    joint = fusion.learns == "all" and k > 1  # one network has no fusion
    pairs, start = joint * k * fusion.epochs * fusion.pairs_per_epoch, stages
    while start:
        branches = start["branches"]
        pairs += start["clustering"].n_clusters * branches.epochs * branches.pairs_per_epoch
        start = arms.get(branches.initial)
    return pairs


def treatment(stages: Stages, arms: Mapping[str, Stages]) -> str:
    """What an arm does, whatever its seed: equal for repetitions; arguments as ``branch_pairs``."""
    values = {stage: stages[stage].model_dump(exclude=MAY_DIFFER) for stage in CHANGEABLE}
    if (start := values["branches"]["initial"]) in arms:
        values["branches"]["initial"] = treatment(arms[start], arms)
    return json.dumps(values)


def arm_facts(main: Stages, arms: Mapping[str, Stages]) -> dict[str, dict[str, Any]]:
    """What notebooks 08 and 10 must know of the study, ``main``, and of its arms, by name."""
    known, facts = {}, {}
    for name, stages in {MAIN: main, **arms}.items():
        same = known.setdefault(treatment(stages, arms), name)
        single = stages["clustering"].n_clusters == 1
        facts[name] = {
            "repeats": same if same != name else "",
            "test": getattr(stages, "test", True),
            "seed": stages["branches"].seed,
            "clusters": stages["clustering"].n_clusters,
            "method": "" if single else stages["clustering"].method,
            "membership": "all" if single else stages["branches"].membership,
            "start": stages["branches"].initial,
            "pairs": branch_pairs(stages, arms),
            "changes": ", ".join(_changed(main, stages)),
        }
    return facts


def _changed(main: Stages, stages: Stages) -> Iterator[str]:
    for kind in CHANGEABLE:
        own, before = (s[kind].model_dump(exclude=MAY_DIFFER) for s in (stages, main))
        yield from (f"{kind}.{name} {own[name]}" for name in own if own[name] != before[name])


def write_manifest(run: Path, main: Stages, arms: Mapping[str, Stages]) -> None:
    """Tell notebooks 08 and 10 which arms there are: ``arms/arms.json``; removed where nothing is
    compared."""
    if arms or main["experiment"].predictions:
        write_atomically(run / MANIFEST, json.dumps(arm_facts(main, arms), indent=2) + "\n")
    else:
        (run / MANIFEST).unlink(missing_ok=True)


def link(links: Iterable[tuple[Path, Path]]) -> None:
    """Make links in an arm's folder: (place there, folder of the stage that is shared)."""
    for place, target in links:
        place.parent.mkdir(parents=True, exist_ok=True)
        goal = Path(os.path.relpath(target, place.parent))
        if place.is_symlink():
            if place.readlink() == goal:
                continue
            place.unlink()
        elif place.is_dir():
            shutil.rmtree(place)  # the arm's own until its parameters became those of the study
        place.symlink_to(goal, target_is_directory=True)
