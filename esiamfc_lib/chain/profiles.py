"""Profiles: one YAML file that sets the parameters of all seven stages.

Everything a profile can get wrong is found here, before any stage starts.
"""

import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from esiamfc_lib.chain.arms import read_arms
from esiamfc_lib.config import STAGES, StageParameters, TrackingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import project_root, resolve

COMMON = ("run_dir", "report_dir", "seed")
"""Parameters that every stage has and that a profile sets once, at its top level."""

ROOTS = {"otb": "otb_root", "vot": "vot_root", "got10k": "got10k_root"}
"""First letters of a benchmark's name -> parameter of stage ``dataset`` that says where it is."""


@dataclass(frozen=True)
class Profile:
    """The validated parameters of a whole study.

    Attributes:
        name: of the profile, for messages.
        stages: stage name -> its parameters, in the order of the study.
        arms: name of a control arm -> its parameters of all stages, see ``arms``.
    """

    name: str
    stages: dict[str, StageParameters]
    arms: dict[str, dict[str, StageParameters]] = field(default_factory=dict)

    @property
    def run(self) -> Path:
        """The working folder, absolute."""
        return self.stages["dataset"].run

    @property
    def reports(self) -> Path:
        """The report folder, absolute."""
        return self.stages["dataset"].reports


def profile_file(name: str) -> Path:
    """The file of profile ``name``: a path to a YAML file, or a name in ``notebooks/profiles``.

    Raises:
        StudyError: there is no such file.
    """
    if name.endswith((".yaml", ".yml")):
        file = Path(name).expanduser()
        if not file.is_file():
            raise StudyError(f"no profile file {file}")
        return file
    folder = project_root() / "notebooks" / "profiles"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise StudyError(f"no profile {name!r} in {folder}: there are {', '.join(known) or 'none'}")
    return folder / f"{name}.yaml"


def load_profile(name: str, changes: Iterable[str] = ()) -> Profile:
    """Read and validate a profile.

    Args:
        name: of the profile, or a path to a YAML file.
        changes: ``stage.key=value`` or, for what all stages share, ``key=value``; the value is
            read as YAML. ``arms={}`` leaves the control arms out.

    Raises:
        StudyError: an unknown name, a wrong type or value, or not a YAML mapping.
    """
    file = profile_file(name)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from None
    names = [model.stage for model in STAGES]
    keys = ", ".join([*COMMON, *names, "arms"])
    if not isinstance(values, dict):
        raise StudyError(f"{file}: expected the keys {keys}")
    for key, section in values.items():
        if key not in (*COMMON, *names, "arms"):
            raise StudyError(f"{file}: unknown key {key!r}; it takes {keys}")
        if key in names and not isinstance(section or {}, dict):
            raise StudyError(f"{file}: {key} must hold parameters, not {section!r}")
    for change in changes:
        _apply(values, change, names)
    common = {key: values[key] for key in COMMON if key in values}
    sections, stages = {}, {}
    for model in STAGES:
        section = dict(values.get(model.stage) or {})
        for key in section:
            if key in COMMON or key == "cluster_id":
                where = "once, at the top level" if key in COMMON else "by the chain, per cluster"
                raise StudyError(f"{file}: {model.stage}.{key} is set {where}")
        sections[model.stage] = common | section
        stages[model.stage] = model.validated(common | section, where=f"{file.name}: {model.stage}")
    if stages["clustering"].n_clusters < 2:
        raise StudyError(
            f"{file.name}: clustering.n_clusters = 1: an ensemble has 2 branches or more; one "
            "cluster that holds every track is for a control arm"
        )
    return Profile(file.stem, stages, read_arms(values.get("arms") or {}, sections, file.name))


def _apply(values: dict[str, Any], change: str, names: list[str]) -> None:
    """Put one ``stage.key=value`` into the profile's ``values``."""
    target, equals, text = change.partition("=")
    stage, dot, key = target.strip().rpartition(".")
    known = stage in names if dot else key in (*COMMON, "arms")
    if not equals or not key or not known:
        raise StudyError(
            f"--set {change}: expected stage.key=value with a stage of {', '.join(names)}, "
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
    """Look for everything outside that the profile counts on.

    Raises:
        StudyError: a folder, a file or a needed combination of parameters is missing.
    """
    _check_benchmarks(profile)
    _check_data(profile)
    _check_weights(profile)
    for stage in ("baseline", "results"):
        where = f"{profile.name}: {stage}.tracking"
        TrackingParameters.validated(profile.stages[stage].tracking, where=where)
    for arm, stages in {"": profile.stages, **profile.arms}.items():
        for stage, parameters in stages.items():
            where = f"{profile.name}: {f'arms.{arm}.' * bool(arm)}{stage}"
            device = getattr(parameters, "device", "auto")
            if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
                raise StudyError(
                    f"{where}.device = {device!r}: expected auto, cpu, cuda, cuda:1 ..."
                )
            initial = getattr(parameters, "initial", "")
            if initial and initial not in profile.arms and not resolve(initial).is_file():
                raise StudyError(
                    f"{where}.initial: no arm {initial!r}, and no file {resolve(initial)}"
                )


def _check_benchmarks(profile: Profile) -> None:
    from esiamfc_lib.data.benchmarks import READERS  # only here: the command line starts at once

    unknown = [name for name in profile.stages["results"].benchmarks if name not in READERS]
    if unknown:
        raise StudyError(
            f"{profile.name}: results.benchmarks has {unknown[0]!r}: choose from "
            f"{', '.join(READERS)}"
        )


def _check_store(profile: Profile) -> None:
    data = profile.stages["dataset"]
    if not data.store:
        return
    store = resolve(data.store)
    if not (store / "manifest.json").is_file():
        raise StudyError(f"{profile.name}: dataset.store: {store} has no manifest.json")
    if store.resolve().is_relative_to((data.run / data.stage).resolve()):
        raise StudyError(
            f"{profile.name}: dataset.store: {store} is in the folder of this profile's own stage, "
            "which is emptied when its parameters change: move the store out of it"
        )


def _check_data(profile: Profile) -> None:
    _check_store(profile)
    data = profile.stages["dataset"]
    given = [root for root in ("vid_root", *ROOTS.values()) if getattr(data, root)]
    if data.source == "synthetic":
        if given:
            raise StudyError(
                f"{profile.name}: dataset.{given[0]} is set, but dataset.source is 'synthetic', "
                "which makes its own data: set dataset.source to 'vid'"
            )
        return
    if not data.vid_root and not data.store:
        raise StudyError(f"{profile.name}: dataset.source is 'vid' but dataset.vid_root is empty")
    for root in given:
        folder = resolve(getattr(data, root))
        if root == "vid_root" and folder.is_file():
            if not tarfile.is_tarfile(folder):
                raise StudyError(f"{profile.name}: dataset.vid_root: {folder} is no tar archive")
        elif not folder.is_dir():
            raise StudyError(f"{profile.name}: dataset.{root}: no folder {folder}")
    # Beside a finished store only the frames for validation are needed.
    split = "val" if data.store else "train"
    for part in (f"Data/VID/{split}", f"Annotations/VID/{split}") if data.vid_root else ():
        folder = resolve(data.vid_root) / part
        archive = resolve(data.vid_root).is_file()
        if not archive and not (folder.is_dir() and any(folder.iterdir())):
            raise StudyError(
                f"{profile.name}: dataset.vid_root: {resolve(data.vid_root)} has no {part} "
                "or it is empty, so it is not in the layout of ILSVRC2015-VID"
            )
    for benchmark in profile.stages["results"].benchmarks:
        for start, root in ROOTS.items():
            if benchmark.startswith(start) and not getattr(data, root):
                raise StudyError(
                    f"{profile.name}: results.benchmarks has {benchmark!r}, but dataset.{root} "
                    "is empty"
                )


def _check_weights(profile: Profile) -> None:
    baseline = profile.stages["baseline"]
    if baseline.weights and not resolve(baseline.weights).is_file():
        raise StudyError(f"{profile.name}: baseline.weights: no file {resolve(baseline.weights)}")
    if not baseline.weights and baseline.epochs == 0:
        raise StudyError(
            f"{profile.name}: baseline.epochs is 0 and baseline.weights is empty: there would be "
            "no trained network"
        )
