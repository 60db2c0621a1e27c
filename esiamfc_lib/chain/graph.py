"""The study as a graph: its notebooks, the files they read and write, and what is out of date.

A stage reads artefacts (files) of other stages and writes its own; ``artefacts`` names them.
Whether a stage is up to date is decided by comparing its fingerprint with the record of its last
success, so a stage that ran again and wrote the same bytes does not make later ones run."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esiamfc_lib import artefacts as at
from esiamfc_lib.chain.fingerprint import causes, changed, fingerprint
from esiamfc_lib.chain.profiles import Profile
from esiamfc_lib.chain.record import Record, read_record
from esiamfc_lib.config import STAGES, StageParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import file_digest
from esiamfc_lib.runtime.paths import notebook_folder, resolve

FREE = {
    "run_dir", "report_dir", "device", "threads", "workers", "scheduler", "checkpoint_seconds",
    "max_bad_fraction", "otb_root", "vot_root", "got10k_root", "benchmarks", "trackers",
    "max_sequences",
}  # fmt: skip
"""Parameters that say where, how fast, or on what to work: what a checkpoint holds stays good."""

ENDS = ("controls", "experiment")
"""Stages that compare the arms."""


@dataclass(frozen=True)
class Stage:
    """One run of one notebook; artefacts are named from the stage's working folder."""

    name: str  # with its cluster, in a control arm with the arm's: fusion, branches@random/2
    parameters: StageParameters
    inputs: Mapping[str, "Stage"]  # artefact -> the stage that writes it
    outputs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The stage without its arm and cluster."""
        return self.parameters.stage

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages that write the inputs."""
        return tuple(dict.fromkeys(maker.name for maker in self.inputs.values()))

    @property
    def folder(self) -> Path:
        """Where the stage writes."""
        return self.parameters.run / self.parameters.place

    @property
    def notebook(self) -> Path:
        """The notebook as it is in git."""
        return notebook_folder() / f"{self.parameters.notebook}.ipynb"

    @property
    def executed(self) -> Path:
        """The notebook with its outputs."""
        cluster = self.parameters.place.removeprefix(self.kind).replace("/", "_")
        return self.parameters.run / f"notebooks/{self.parameters.notebook}{cluster}.ipynb"

    def files(self) -> dict[str, Path]:
        """What the stage reads: artefacts, the list of arms, the user's files."""
        files = {n: maker.parameters.run / _within(maker, n) for n, maker in self.inputs.items()}
        named = ("weights", "initial", "selection", "published")
        given = [getattr(self.parameters, name, "") for name in named]
        files |= {file: resolve(file) for file in given if file not in ("", *self.inputs)}
        if self.kind == "experiment" or any(n.startswith(f"{at.ARMS}/") for n in self.inputs):
            files[at.MANIFEST] = self.parameters.run / at.MANIFEST
        if store := getattr(self.parameters, "store", ""):
            # with digests of all that the store holds
            files[f"{store}/manifest.json"] = resolve(store) / "manifest.json"
        return files

    def links(self) -> list[tuple[Path, Path]]:
        """(place in the working folder, folder of the shared stage), for ``arms.link``."""
        run, start = self.parameters.run, getattr(self.parameters, "initial", "")
        places = {
            run / name.removesuffix(_within(maker, name)) / maker.parameters.place: maker.folder
            for name, maker in self.inputs.items()
            if name != start  # a path of its own
        }
        return [(place, folder) for place, folder in places.items() if place != folder]

    def made(self) -> dict[str, str | int]:
        """What is there of the outputs: artefact -> digest, large file beside one -> bytes."""
        run = self.parameters.run
        digests = {name: file_digest(run / name) for name in self.outputs if (run / name).is_file()}
        patterns = [(run / name, each) for name in digests for each in at.BESIDE.get(name, ())]
        found = [file for path, each in patterns for file in sorted(path.parent.glob(each))]
        return digests | {str(f.relative_to(run)): f.stat().st_size for f in found if f.is_file()}

    def fingerprint(self) -> dict[str, Any]:
        """See ``fingerprint.fingerprint``; a StudyError says that an input is missing."""
        for name, path in self.files().items():
            if not path.is_file():
                maker = self.inputs.get(name)
                hint = f": run stage {maker.name} first" if maker else ", which is not there"
                raise StudyError(f"stage {self.name} needs {path}{hint}")
        return fingerprint(self.notebook, self.parameters.model_dump(), self.files())


def _within(maker: Stage, name: str) -> str:
    """The artefact from the maker's own working folder: what stands before its place is dropped."""
    return name[name.rindex(f"{maker.parameters.place}/") :]


def graph(profile: Profile) -> dict[str, Stage]:
    """All stages of a study and of its control arms in a valid order, 05 once per cluster. A stage
    of an arm whose parameters and inputs are those of another stage is that stage: it is in the
    graph once. A StudyError says that branches start from branches that start from them."""
    builder = _Builder(profile)
    if profile.stages["comparison"].runs > 1:
        builder.stage("", "comparison")
    # an experiment is judged on held-out videos alone: no test sequence is opened
    builder.stage("", "experiment" if profile.stages["experiment"].predictions else "controls")
    return builder.stages


class _Builder:
    """Makes each stage after the stages that it reads from."""

    def __init__(self, profile: Profile):
        self.profile = profile
        self.parameters = {"": profile.stages, **profile.arms}
        self.stages: dict[str, Stage] = {}
        self._made: dict[str, Stage] = {}  # what a stage does, wherever it writes -> the stage
        self._under_way: set[str] = set()

    def stage(self, arm: str, kind: str, cluster: int = 0) -> Stage:
        """The stage of an arm (of the study itself for ``""``)."""
        own = kind + f"@{arm}" * bool(arm) + f"/{cluster}" * (kind == "branches")
        if own in self.stages:
            return self.stages[own]
        if own in self._under_way:
            fault = "leads back to itself: set branches.initial of one of the arms to ''"
            raise StudyError(f"{self.profile.name}: the start of {own} {fault}")
        self._under_way.add(own)
        parameters, inputs = self.parameters[arm][kind], self._inputs(arm, kind)
        more = [at.STEM] if kind == "embedding" and parameters.keep_stem else []
        if kind == "branches":
            parameters = parameters.model_copy(update={"cluster_id": cluster})
            more = [at.FOLD.format(cluster, i) for i in range(parameters.folds)]
            if parameters.initial in self.profile.arms:
                # an arm's name stands for the file of its first branch
                maker = self.stage(parameters.initial, "branches")
                file = f"{maker.parameters.run_dir}/{maker.outputs[0]}"
                parameters = parameters.model_copy(update={"initial": file})
                inputs[file] = maker
        self._under_way.remove(own)
        made = (*at.FILES[kind].outputs, f"{parameters.place}/metrics.json", *more)
        outputs = tuple(dict.fromkeys(name.format(cluster) for name in made))
        found = Stage(own, parameters, inputs, outputs)
        values = parameters.model_dump(exclude={"run_dir", "report_dir"})
        same = self._made.setdefault(json.dumps([kind, values, found.needs]), found)
        return self.stages.setdefault(same.name, same)

    def _inputs(self, arm: str, kind: str) -> dict[str, Stage]:
        """Artefact -> stage; for the controls also what the arms leave."""
        inputs, stages = {}, self.parameters[arm]
        kept = kind in ("branches", "fusion", "experiment") and stages["embedding"].keep_stem
        for name in (*at.FILES[kind].inputs, *([at.STEM] if kept else [])):
            for i in range(stages["clustering"].n_clusters if "{}" in name else 1):
                inputs[name.format(i)] = self.stage(arm, name.partition("/")[0], i)
        if kind == "fusion" and stages["fusion"].cross_fit:
            for i in range(stages["clustering"].n_clusters):
                maker = self.stage(arm, "branches", i)
                inputs |= dict.fromkeys(maker.outputs[2:], maker)
        for other, stages in self.profile.arms.items() if kind in ENDS else ():
            single = stages["clustering"].n_clusters == 1  # nothing to fuse
            for name in (at.BRANCH.format(0),) if single else (at.CENTRES, at.FUSION):
                inputs[f"{at.ARMS}/{other}/{name}"] = self.stage(other, name.partition("/")[0])
        return inputs


def find_stages(stages: dict[str, Stage], wanted: str) -> list[str]:
    """Stages that ``wanted`` means: a name, a notebook, its number, one branch, or an arm.
    ``clustering`` and ``04`` mean the notebook in all arms, ``clustering@random`` in one of them,
    ``@random`` all stages of an arm but those that it shares. A StudyError says it means none."""
    found, arms = [], []
    for name, stage in stages.items():
        notebook, whole = stage.parameters.notebook, name.partition("/")[0]
        arms.append(whole.removeprefix(stage.kind))  # @random; empty for the study's own
        if wanted in {name, whole, stage.kind, notebook, notebook[:2], arms[-1]} - {""}:
            found.append(name)
    if not found:
        known = [f"{model.notebook[:2]} {model.stage}" for model in STAGES]
        known += filter(None, dict.fromkeys(arms))
        raise StudyError(f"no stage {wanted!r}; there are {', '.join(known)}")
    return found


def ancestry(stages: dict[str, Stage], names: Iterable[str]) -> list[str]:
    """The stages named and all that they need, directly or not, in the order of ``stages``."""
    wanted = set(names)
    for name in reversed(stages):  # makers stand before those who need them
        if name in wanted:
            wanted.update(stages[name].needs)
    return [name for name in stages if name in wanted]


def reasons(stage: Stage) -> list[str]:
    """Why the stage must run, in words; empty when it is up to date."""
    # a link is another stage's folder, left from when the two were one
    record = None if stage.folder.is_symlink() else read_record(stage.folder)
    if record is None:
        return ["it has not run"]
    if record.status != "done":
        return ["it was interrupted" if record.status == "running" else "it failed last time"]
    why = causes(record.fingerprint, stage.fingerprint())
    why += [f"{name} {fault}" for name, fault in faults(stage, record).items()]
    why += [f"{name} is missing" for name in record.reports if not resolve(name).is_file()]
    return why


def faults(stage: Stage, record: Record) -> dict[str, str]:
    """What of a stage that is done is not as its record says: name -> what is wrong."""
    made, said = stage.made(), {True: "is not what the stage wrote", False: "is missing"}
    return {n: said[n in made] for n, value in record.outputs.items() if made.get(n) != value}


def stale(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether files left by a run with fingerprint ``old`` are of no use to one with ``new``. True
    when the library's code, a parameter or an input has changed, but for what cannot matter to a
    checkpoint (``code.ONLY_SHOWN``, ``FREE``, and ``dataset.json``, which only says where data
    lie). The notebook's code is not looked at: another picture must not train anew, and what the
    notebook hands to the library is compared there."""
    return (
        old.get("computing") != new["computing"]
        or any(name not in FREE for name in changed(old.get("parameters"), new["parameters"]))
        or any(name != at.DATASET for name in changed(old.get("inputs"), new["inputs"]))
    )
