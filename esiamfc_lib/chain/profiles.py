"""Profiles: one YAML file that sets the parameters of all stages.

Everything a profile can get wrong is found here, before any stage starts."""

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esiamfc_lib.chain.arms import Arm, arm_facts, read_arms
from esiamfc_lib.config import STAGES, DatasetParameters, StageParameters, TrackingParameters
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import existing
from esiamfc_lib.runtime.paths import notebook_folder, resolve
from esiamfc_lib.runtime.validation import read_yaml

COMMON = ("run_dir", "report_dir", "seed")
"""Parameters that every stage has and that a profile sets once, at its top level."""

NAMES = [model.stage for model in STAGES]

KINDS = ("otb", "vot", "got10k")
"""First letters of the benchmarks whose layout has a root in stage ``dataset``."""


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


def profile_names() -> list[str]:
    """The profiles beside the notebooks, those of experiments as ``experiments/fusion``."""
    folder = notebook_folder() / "profiles"
    files = sorted(folder.rglob("*.yaml"), key=lambda file: (len(file.parts), file))
    return [file.relative_to(folder).with_suffix("").as_posix() for file in files]


def _file_of(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return existing(name)
    folder, known = notebook_folder() / "profiles", profile_names()
    if name not in known:
        raise StudyError(f"no profile {name!r} in {folder}: there are {', '.join(known) or 'none'}")
    return folder / f"{name}.yaml"


def load_profile(name: str, changes: Iterable[str] = ()) -> Profile:
    """Read and validate a profile; a StudyError says what is wrong with it. ``name`` is of a file
    in ``notebooks/profiles``, or a path to a YAML file; ``changes`` are ``stage.key=value`` or, for
    what all stages share, ``key=value``, the value in YAML. ``arms={}`` leaves the control arms
    out."""
    file = _file_of(name)
    if file.stat().st_size > 2**20:
        raise StudyError(f"{file}: a profile has at most one megabyte")
    values = read_yaml(file.read_bytes(), str(file))
    values = {} if values is None else values
    keys = ", ".join([*COMMON, *NAMES, "arms"])
    if not isinstance(values, dict):
        raise StudyError(f"{file}: expected the keys {keys}")
    for key, section in values.items():
        if key not in (*COMMON, *NAMES, "arms"):
            raise StudyError(f"{file}: unknown key {key!r}; it takes {keys}")
        if key not in COMMON and not isinstance(section, dict | None):
            raise StudyError(f"{file}: {key} must hold parameters, not {repr(section)[:100]}")
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
        names, keys = ", ".join(NAMES), ", ".join([*COMMON, "arms"])
        takes = f"stage.key=value with a stage of {names}, or key=value with a key of {keys}"
        raise StudyError(f"--set {change}: expected {takes}")
    value = read_yaml(text, f"--set {change}: the value")
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

    data, baseline, results = (profile.stages[name] for name in ("dataset", "baseline", "results"))
    for unknown in [name for name in results.benchmarks if name not in READERS]:
        yield f"results.benchmarks has {unknown!r}: choose from {', '.join(READERS)}"
    closer = profile.stages["controls"].closer_arms if profile.arms else []
    for unknown in [name for name in closer if name not in [*profile.arms]]:
        yield f"controls.closer_arms has {unknown!r}: the arms are {', '.join(profile.arms)}"
    if tried := bool(profile.stages["experiment"].predictions):
        yield from _faults_of_experiment(profile)
    yield from _faults_of_data(data, [] if tried else results.benchmarks)
    if not baseline.weights and baseline.epochs == 0:
        yield "baseline.epochs is 0, baseline.weights is empty: there would be no trained network"
    chosen = {}
    if results.selection:
        from esiamfc_lib.analysis.selection import selected_tracking

        chosen = selected_tracking(resolve(results.selection))
    for stage, values in (("baseline", baseline.tracking), ("results", chosen | results.tracking)):
        loop = TrackingParameters.validated(values, where=f"{profile.name}: {stage}.tracking")
        if loop.search_size <= loop.exemplar_size:
            yield f"{stage}.tracking: the search region is no larger than the exemplar"
    if results.published:
        with refused(f"results.published: no scores in {results.published}"):
            _ = [*json.loads(resolve(results.published).read_bytes())["seq_wise"]]
    networks = [("baseline.weights", baseline.weights)]
    most = 3 * data.train_videos  # a built-in video has three objects at most
    if data.store:
        with refused(f"dataset.store: no number of tracks in the manifest of {data.store}"):
            most = int(json.loads((resolve(data.store) / "manifest.json").read_bytes())["tracks"])
    for arm, stages in {"": profile.stages, **profile.arms}.items():
        k = stages["clustering"].n_clusters
        if k > most and (data.store or data.source == "synthetic"):
            yield f"clustering.n_clusters = {k} is larger than the number of tracks, {most}"
        branches, place = stages["branches"], f"arms.{arm}.branches" if arm else "branches"
        if branches.average_epochs > max(branches.epochs, 1):
            yield f"{place}.average_epochs is larger than {place}.epochs"
        fusion, joint = stages["fusion"], stages["fusion"].learns == "all"
        for fault, there in {
            "cross_fit needs branches.folds of 2 or more": fusion.cross_fit and not branches.folds,
            "cross_fit: branches that learn jointly have no folds": fusion.cross_fit and joint,
            "cross_fit needs negative_fraction: 0": fusion.cross_fit and fusion.negative_fraction,
            "learns: all needs reads: embedding or distances": joint and fusion.reads == "stem",
            "balance needs learns: all": fusion.balance and not joint,
        }.items():
            if there and k > 1:  # else nothing is fused
                yield f"{place[: -len('branches')]}fusion.{fault}"
        if branches.initial not in profile.arms:
            networks.append((f"{place}.initial", branches.initial))
        for device in {getattr(p, "device", "auto") for p in stages.values()} - {"auto", "cpu"}:
            from esiamfc_lib.runtime.devices import choose_device

            choose_device(device)
    for parameter, file in networks:
        if file and not resolve(file).is_file():
            arm = f"no arm {file!r}, and " if parameter.endswith(".initial") else ""
            yield f"{parameter}: {arm}no file {resolve(file)}"
        if file:
            from esiamfc_lib.networks.published import load_siamfc

            load_siamfc(resolve(file))


def _faults_of_experiment(profile: Profile) -> Iterator[str]:
    from esiamfc_lib.analysis.headroom import read_predictions

    own = profile.stages["experiment"]
    if not own.hypothesis:
        yield "experiment.predictions are there, experiment.hypothesis is empty: write it first"
    read_predictions(own.predictions, arm_facts(profile.stages, profile.arms))
    fraction = profile.stages["fusion"].validation_fraction
    for arm, stages in {"the study": profile.stages, **profile.arms}.items():
        for stage in ("baseline", "branches", "fusion"):
            if stages[stage].epochs and stages[stage].validation_fraction != fraction:
                yield f"{arm}: {stage}.validation_fraction is not {fraction}: what is held out?"


def _faults_of_data(data: DatasetParameters, benchmarks: list[str]) -> Iterator[str]:
    from esiamfc_lib.data.roots import Roots

    if "train" not in data.splits:
        yield "dataset.splits has no 'train': nothing could be learned from"
    if data.store and not (resolve(data.store) / "manifest.json").is_file():
        yield f"dataset.store: {resolve(data.store)} has no manifest.json"
    folders = {name: getattr(data, f"{name}_root") for name in ("vid", *KINDS)}
    for name, folder in (folders | {"store": data.store} | data.more_roots).items():
        with refused(f"dataset: {name} = {folder}", RuntimeError):  # links in a circle
            place, run = resolve(folder).resolve(), data.run.resolve()
        if folder and (place.is_relative_to(run / data.stage) or run.is_relative_to(place)):
            yield f"dataset: {name} = {place} and run_dir = {run} must lie apart"
    given = {kind: root for kind, root in folders.items() if root}
    if data.source == "synthetic" and given:
        yield f"dataset.{next(iter(given))}_root: the source is 'synthetic', it makes its own data"
    if data.source == "vid" and not data.vid_root:
        beside = " (a store holds crops only; notebook 02 tracks validation videos)"
        yield f"dataset.source is 'vid' but dataset.vid_root is empty{beside if data.store else ''}"
    roots, vid = Roots(source=data.source, **given, more=data.more_roots), resolve(data.vid_root)
    if data.vid_root and vid.is_file():
        given.pop("vid")
        if not tarfile.is_tarfile(vid):
            yield f"dataset.vid_root: {vid} is not a tar archive"
    for kind in given:
        roots.path(kind)
    if "vid" in given:
        split = "val" if data.store else "train"  # beside a store only validation needs frames
        for part in (f"Data/VID/{split}", f"Annotations/VID/{split}"):
            if not any((vid / part).glob("*")):
                yield f"dataset.vid_root: {vid} has no {part} or it is empty: no layout of VID"
    for benchmark in benchmarks:
        made = data.source == "synthetic" and benchmark != "got10k-test"
        if not (made and benchmark.startswith(KINDS)):
            roots.benchmark(benchmark)
