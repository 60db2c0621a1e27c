"""A sweep: the same study at several values of some parameters, each in a folder of its own.

The points of ``--sweep dataset.train_videos=50,200 --sweep dataset.separation=0,1`` are all
combinations of the values. Each is an ordinary run of the chain in ``<run_dir>/<values>``: it can
be interrupted, resumed and looked at like one. A stage that an earlier point has made with the same
parameters and inputs is not made again: a link in the later point's folder leads to it.
``sweep.json`` in ``<run_dir>`` lists the points for notebook 09."""

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from esiamfc_lib.artefacts import SWEEP
from esiamfc_lib.chain.arms import link
from esiamfc_lib.chain.profiles import Profile, load_profile
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.config import SweepParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.paths import notebook_folder
from esiamfc_lib.runtime.validation import read_yaml

SHARED = ("dataset", "baseline", "embedding", "clustering")
"""Stages that points share where they are equal; what follows is what a sweep compares."""


@dataclass(frozen=True)
class Point:
    """One point of a sweep."""

    name: str  # its values as text, and its folder: train_videos=50,separation=0
    values: Mapping[str, Any]  # by parameter
    profile: Profile


def points(name: str, changes: Iterable[str], axes: Iterable[str]) -> list[Point]:
    """All points of a sweep, those with the first values first. ``name`` and ``changes`` are as for
    ``load_profile``, an axis is ``stage.key=value,value,...`` with values in YAML. A StudyError
    says what is wrong with an axis or a point's parameters."""
    changes, values = list(changes), {}
    for axis in axes:
        key, _, text = axis.partition("=")
        found = read_yaml(f"[{text}]", f"--sweep {axis}: the text")
        plain = all(isinstance(value, str | int | float | bool) for value in found)
        if not plain or not found or len({json.dumps(value) for value in found}) < len(found):
            raise StudyError(f"--sweep {axis}: expected different values, as in stage.key=1,2,3")
        if key in values:
            raise StudyError(f"--sweep {axis}: {key} is swept already")
        if key in ("run_dir", "report_dir", "arms"):
            raise StudyError(f"--sweep {axis}: {key} cannot be swept")
        values[key] = found
    base, made = load_profile(name, changes), []
    names = [key.rpartition(".")[2] for key in values]
    labels = {k: n if names.count(n) == 1 else k for k, n in zip(values, names, strict=True)}
    for combination in itertools.product(*values.values()):
        own = dict(zip(values, combination, strict=True))
        text = ",".join(f"{labels[key]}={value}" for key, value in own.items())
        if any(character in text for character in "/\\ "):
            raise StudyError(f"--sweep: {text!r} cannot be the name of a folder")
        run = f"{base.stages['dataset'].run_dir}/{text}"
        place = [f"run_dir={json.dumps(run)}", f"report_dir={json.dumps(run + '/reports')}"]
        swept = [f"{key}={json.dumps(value)}" for key, value in own.items()]
        made.append(Point(text, own, load_profile(name, [*changes, *swept, *place])))
    return made


def run(swept: list[Point], stream: TextIO, **options: Any) -> bool:
    """Run all points, one after the other; returns whether every one is done. What happens is told
    in ``stream``. After a point that fails the others go on. ``options`` are those of ``Chain``:
    ``only``, ``until``, ``force``, ``jobs``."""
    listed = [{"folder": point.name, "values": dict(point.values)} for point in swept]
    write_atomically(swept[0].profile.run.parent / SWEEP, json.dumps(listed, indent=1) + "\n")
    chains = [Chain(point.profile, stream, **options) for point in swept]
    for chain in chains:
        chain.check()
    makers, done = _makers(chains), True
    for point, chain in zip(swept, chains, strict=True):
        stream.write(f"{point.name}\n")
        folders = [chain.stages[kind].folder for kind in SHARED]
        shared = {stage: maker for stage, maker in makers.items() if stage in folders}
        link(shared.items())
        chain.selected = [n for n in chain.selected if chain.stages[n].folder not in shared]
        done &= chain.run() == 0
    return done


def _makers(chains: list[Chain]) -> dict[Path, Path]:
    """Folder of a stage that an earlier point makes -> where that point makes it. What a later
    point has made already moves to the first one that needs it: adding a point or naming them in
    another order trains nothing anew."""
    equal: dict[str, list[Path]] = {}
    for chain in chains:
        content = []
        for kind in SHARED:  # each reads what those before it write
            stage = chain.stages[kind]
            content.append(stage.parameters.model_dump(exclude={"run_dir", "report_dir"}))
            equal.setdefault(json.dumps(content), []).append(stage.folder)
    for first, *later in equal.values():
        made = [folder for folder in (first, *later) if folder.is_dir() and not folder.is_symlink()]
        if made and made[0] != first:
            first.unlink(missing_ok=True)  # a link, from when another point was the first
            first.parent.mkdir(parents=True, exist_ok=True)
            made[0].rename(first)
    return {folder: first for first, *later in equal.values() for folder in later}


def report(name: str, changes: Iterable[str]) -> Path:
    """Execute notebook 09, which says what the points that are done say together. Arguments are as
    for ``points``; returns the report folder."""
    from esiamfc_lib.chain.notebook_run import run_notebook

    base = load_profile(name, changes).stages["dataset"]
    own = SweepParameters(run_dir=base.run_dir, report_dir=base.report_dir, seed=base.seed)
    name, left = f"{own.notebook}.ipynb", own.run / own.stage / "metrics.json"
    executed = own.run / "notebooks" / name
    run_notebook(notebook_folder() / name, executed, own.model_dump(), outputs=[left])
    return own.reports
