"""Profiles: one YAML file that sets the parameters of all stages.

Everything a profile can get wrong is found here, before any stage starts.
"""

import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from esiamfc_lib.chain.arms import Arm, read_arms
from esiamfc_lib.config import STAGES, DatasetParameters, StageParameters, TrackingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import project_root, resolve

COMMON = ("run_dir", "report_dir", "seed")
"""Parameters that every stage has and that a profile sets once, at its top level."""

NAMES = [model.stage for model in STAGES]

ROOTS = {"otb": "otb_root", "vot": "vot_root", "got10k": "got10k_root"}
"""First letters of a benchmark's name -> parameter of stage ``dataset`` that says where it is."""


@dataclass(frozen=True)
class Profile:
    """The validated parameters of a whole study, by stage in its order, and of its arms."""

    name: str
    stages: dict[str, StageParameters]
    arms: dict[str, Arm]

    @property
    def run(self) -> Path:
        """The working folder, absolute."""
        return self.stages["dataset"].run


def _file_of(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        if not (file := Path(name).expanduser()).is_file():
            raise StudyError(f"no profile file {file}")
        return file
    folder = project_root() / "notebooks" / "profiles"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise StudyError(f"no profile {name!r} in {folder}: there are {', '.join(known) or 'none'}")
    return folder / f"{name}.yaml"


def load_profile(name: str, changes: Iterable[str] = ()) -> Profile:
    """Read and validate a profile; a StudyError says what is wrong with it.

    Args:
        name: of a file in ``notebooks/profiles``, or a path to a YAML file.
        changes: ``stage.key=value`` or, for what all stages share, ``key=value``; the value is
            read as YAML. ``arms={}`` leaves the control arms out.
    """
    file = _file_of(name)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    keys = ", ".join([*COMMON, *NAMES, "arms"])
    if not isinstance(values, dict):
        raise StudyError(f"{file}: expected the keys {keys}")
    for key, section in values.items():
        if key not in (*COMMON, *NAMES, "arms"):
            raise StudyError(f"{file}: unknown key {key!r}; it takes {keys}")
        if key in NAMES and not isinstance(section or {}, dict):
            raise StudyError(f"{file}: {key} must hold parameters, not {section!r}")
    for change in changes:
        _apply(values, change)
    common = {key: values[key] for key in COMMON if key in values}
    sections, stages = {}, {}
    for model in STAGES:
        section = dict(values.get(model.stage) or {})
        for key in section.keys() & {*COMMON, "cluster_id"}:
            where = "once, at the top level" if key in COMMON else "by the chain, per cluster"
            raise StudyError(f"{file}: {model.stage}.{key} is set {where}")
        sections[model.stage] = common | section
        stages[model.stage] = model.validated(common | section, where=f"{file.name}: {model.stage}")
    if stages["clustering"].n_clusters < 2:
        few = "clustering.n_clusters = 1: an ensemble has 2 branches or more, only an arm has one"
        raise StudyError(f"{file.name}: {few}")
    return Profile(file.stem, stages, read_arms(values.get("arms") or {}, sections, file.name))


def _apply(values: dict[str, Any], change: str) -> None:
    """Put one ``stage.key=value`` into the profile's ``values``."""
    target, equals, text = change.partition("=")
    stage, dot, key = target.strip().rpartition(".")
    known = stage in NAMES if dot else key in (*COMMON, "arms")
    if not (equals and key and known):
        raise StudyError(
            f"--set {change}: expected stage.key=value with a stage of {', '.join(NAMES)}, "
            f"or key=value with a key of {', '.join([*COMMON, 'arms'])}"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise StudyError(f"--set {change}: the value is not valid YAML") from None
    if dot:
        values[stage] = {**(values.get(stage) or {}), key: value}
    else:
        values[key] = value


def check_profile(profile: Profile) -> None:
    """Look for everything outside that the profile counts on; a StudyError says what is missing."""
    for fault in _faults(profile):
        raise StudyError(f"{profile.name}: {fault}")


def _faults(profile: Profile) -> Iterator[str]:
    from esiamfc_lib.data.benchmarks import READERS  # only here: the command line starts at once

    benchmarks = profile.stages["results"].benchmarks
    for unknown in [name for name in benchmarks if name not in READERS]:
        yield f"results.benchmarks has {unknown!r}: choose from {', '.join(READERS)}"
    yield from _faults_of_data(profile.stages["dataset"], benchmarks)
    data, baseline = profile.stages["dataset"], profile.stages["baseline"]
    if data.store and data.source == "vid" and not data.vid_root:
        yield (
            "dataset.store holds crops only: dataset.vid_root must name the frames of the "
            "validation videos, which notebook 02 tracks to choose the epoch"
        )
    if baseline.weights and not resolve(baseline.weights).is_file():
        yield f"baseline.weights: no file {resolve(baseline.weights)}"
    if not baseline.weights and baseline.epochs == 0:
        yield "baseline.epochs is 0, baseline.weights is empty: there would be no trained network"
    for stage in ("baseline", "results"):
        where = f"{profile.name}: {stage}.tracking"
        TrackingParameters.validated(profile.stages[stage].tracking, where=where)
    for arm, stages in {"": profile.stages, **profile.arms}.items():
        for stage, parameters in stages.items():
            where = f"arms.{arm}.{stage}" if arm else stage
            device = getattr(parameters, "device", "auto")
            if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
                yield f"{where}.device = {device!r}: expected auto, cpu, cuda, cuda:1 ..."
            initial = getattr(parameters, "initial", "")
            if initial and initial not in profile.arms and not resolve(initial).is_file():
                yield f"{where}.initial: no arm {initial!r}, and no file {resolve(initial)}"


def _faults_of_data(data: DatasetParameters, benchmarks: list[str]) -> Iterator[str]:
    if data.store:
        store = resolve(data.store)
        if not (store / "manifest.json").is_file():
            yield f"dataset.store: {store} has no manifest.json"
    folders = {name: getattr(data, name) for name in ("vid_root", "store", *ROOTS.values())}
    for name, folder in (folders | data.more_roots).items():
        place, run = resolve(folder).resolve(), data.run.resolve()
        if folder and (place.is_relative_to(run / data.stage) or run.is_relative_to(place)):
            yield f"dataset: {name} = {place} and run_dir = {run} must lie apart"
    for name in benchmarks:
        folder = data.more_roots.get(name)
        if not name.startswith(tuple(ROOTS)) and not (folder and resolve(folder).is_dir()):
            yield f"results.benchmarks has {name!r}, but dataset.more_roots no folder of it"
    given = [root for root in ("vid_root", *ROOTS.values()) if getattr(data, root)]
    if data.source == "synthetic":
        if given:
            yield f"dataset.{given[0]}: dataset.source is 'synthetic', which makes its own data"
        return
    if not data.vid_root and not data.store:
        yield "dataset.source is 'vid' but dataset.vid_root is empty"
    for root in given:
        folder = resolve(getattr(data, root))
        if root == "vid_root" and folder.is_file():
            if not tarfile.is_tarfile(folder):
                yield f"dataset.vid_root: {folder} is no tar archive"
        elif not folder.is_dir():
            yield f"dataset.{root}: no folder {folder}"
    vid = resolve(data.vid_root)
    if data.vid_root and vid.is_dir():
        split = "val" if data.store else "train"  # beside a store only validation needs frames
        for part in (f"Data/VID/{split}", f"Annotations/VID/{split}"):
            if not any((vid / part).glob("*")):
                yield f"dataset.vid_root: {vid} has no {part} or it is empty: no layout of VID"
    for benchmark in benchmarks:
        for start, root in ROOTS.items():
            if benchmark.startswith(start) and not getattr(data, root):
                yield f"results.benchmarks has {benchmark!r}, but dataset.{root} is empty"
