"""The study as a graph: seven notebooks, the files they read and write, and what is out of date.

A stage reads artefacts (files) of other stages and writes its own; ``INPUTS`` and ``OUTPUTS`` name
them. Whether a stage is up to date is decided by comparing its fingerprint with the record of its
last success, so a stage that ran again and wrote the same bytes does not make later ones run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esiamfc_lib.config import STAGES, StageParameters, project_root, resolve
from esiamfc_lib.errors import StudyError
from esiamfc_lib.fingerprint import changed, differences, file_digest, fingerprint
from esiamfc_lib.profiles import Profile
from esiamfc_lib.provenance import read_record

DATASET = "dataset/dataset.json"
STORE = "dataset/store/manifest.json"
BASELINE = "baseline/siamfc.safetensors"
FEATURES = "embedding/features.npz"
MEMBERSHIP = "clustering/membership.csv"
CENTRES = "clustering/centres.npz"
BRANCH = "branches/{}/branch.safetensors"
FUSION = "fusion/esiamfc.safetensors"
SCORES = "results/scores.csv"

OUTPUTS = {
    "dataset": (DATASET, STORE),
    "baseline": (BASELINE,),
    "embedding": (FEATURES,),
    "clustering": (MEMBERSHIP, CENTRES),
    "branches": (BRANCH,),
    "fusion": (FUSION,),
    "results": (SCORES,),
}
"""What each stage must leave, from the profile's folder; ``metrics.json`` comes on top."""

INPUTS = {
    "dataset": (),
    "baseline": (DATASET, STORE),
    "embedding": (DATASET, STORE, BASELINE),
    "clustering": (DATASET, STORE, FEATURES),
    "branches": (STORE, BASELINE, MEMBERSHIP),
    "fusion": (STORE, BASELINE, MEMBERSHIP, CENTRES, BRANCH),
    "results": (DATASET, STORE, BASELINE, MEMBERSHIP, CENTRES, BRANCH, FUSION),
}
"""What each stage reads of the others' outputs."""

COSMETIC = ("config", "errors", "progress", "reports", "figures")
"""First parts of the names of modules that cannot change a checkpoint: the values of ``config``
are compared as parameters, the others only show."""

FREE = frozenset(
    [
        "run_dir",
        "report_dir",
        "device",
        "threads",
        "workers",
        "max_bad_fraction",
        "otb_root",
        "vot_root",
        "got10k_root",
        "benchmarks",
        "trackers",
        "max_sequences",
    ]
)
"""Parameters that say where, how fast, or on what to work: what a checkpoint holds stays good."""


@dataclass(frozen=True)
class Stage:
    """One run of one notebook.

    Attributes:
        name: stage, for the fan-out with its cluster: ``branches/2``.
        parameters: all of them, validated.
        inputs, outputs: artefacts, from the profile's folder.
        needs: names of the stages that write the inputs.
    """

    name: str
    parameters: StageParameters
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The stage without its cluster."""
        return self.parameters.stage

    @property
    def folder(self) -> Path:
        """Where the stage writes."""
        return self.parameters.run / self.name

    @property
    def notebook(self) -> Path:
        """The notebook as it is in git."""
        return project_root() / "notebooks" / f"{self.parameters.notebook}.ipynb"

    @property
    def executed(self) -> Path:
        """The notebook with its outputs."""
        cluster = self.name.partition("/")[2]
        name = self.parameters.notebook + (f"_{cluster}" if cluster else "")
        return self.parameters.run / "notebooks" / f"{name}.ipynb"

    def files(self) -> dict[str, Path]:
        """What the stage reads: artefacts, and the user's starting weights."""
        files = {name: self.parameters.run / name for name in self.inputs}
        if weights := getattr(self.parameters, "weights", ""):
            files[weights] = resolve(weights)
        return files

    def fingerprint(self) -> dict[str, Any]:
        """See ``fingerprint.fingerprint``.

        Raises:
            StudyError: an input is missing.
        """
        for name, path in self.files().items():
            if not path.is_file():
                maker = name.split("/")[0]
                raise StudyError(f"stage {self.name} needs {path}: run stage {maker} first")
        return fingerprint(self.notebook, self.parameters.model_dump(), self.files())


def graph(profile: Profile) -> dict[str, Stage]:
    """All stages of a study in a valid order, notebook 05 once per cluster."""
    clusters = range(profile.stages["clustering"].n_clusters)
    stages: dict[str, Stage] = {}
    for kind, parameters in profile.stages.items():
        inputs = _per_cluster(INPUTS[kind], clusters)
        makers = {part for name in inputs for part in stages if name in stages[part].outputs}
        needs = tuple(name for name in stages if name in makers)
        if kind == "branches":
            for i in clusters:
                outputs = (BRANCH.format(i), f"branches/{i}/metrics.json")
                one = parameters.model_copy(update={"cluster_id": i})
                stages[f"branches/{i}"] = Stage(f"branches/{i}", one, inputs, outputs, needs)
        else:
            outputs = (*OUTPUTS[kind], f"{kind}/metrics.json")
            stages[kind] = Stage(kind, parameters, inputs, outputs, needs)
    return stages


def _per_cluster(names: Iterable[str], clusters: range) -> tuple[str, ...]:
    return tuple(
        name.format(i) for name in names for i in (clusters if "{}" in name else clusters[:1])
    )


def find(stages: dict[str, Stage], wanted: str) -> list[str]:
    """Stages that ``wanted`` means: a name, a notebook, its number, or one branch.

    Raises:
        StudyError: it means none.
    """
    found = [
        name
        for name, stage in stages.items()
        if wanted in (name, stage.kind, stage.parameters.notebook, stage.parameters.notebook[:2])
    ]
    if not found:
        names = ", ".join(f"{model.notebook[:2]} {model.stage}" for model in STAGES)
        raise StudyError(f"no stage {wanted!r}; there are {names}")
    return found


def reasons(stage: Stage) -> list[str]:
    """Why the stage must run, in words; empty when it is up to date.

    Raises:
        StudyError: an input is missing.
    """
    record = read_record(stage.folder)
    if record is None:
        return ["it has not run"]
    if record.status != "done":
        return ["it was interrupted" if record.status == "running" else "it failed last time"]
    why = differences(record.fingerprint, stage.fingerprint())
    for name, digest in record.outputs.items():
        path = stage.parameters.run / name
        if not path.is_file():
            why.append(f"{name} is missing")
        elif file_digest(path) != digest:
            why.append(f"{name} is not what the stage wrote")
    why += [f"{name} is missing" for name in record.reports if not resolve(name).is_file()]
    return why


def stale(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether files left by a run with fingerprint ``old`` are of no use to one with ``new``.

    True when the library's code, a parameter or an input has changed, but for what cannot matter
    to a checkpoint (``COSMETIC``, ``FREE``, and ``dataset.json``, which only says where data lie).
    The code of the notebook is not looked at: drawing another picture must not train anew, and
    what the notebook hands to the library is compared there.
    """
    modules = (name.split(".")[1] for name in changed(old["modules"], new["modules"]))
    return (
        any(name.split("_")[0] not in COSMETIC for name in modules)
        or any(name not in FREE for name in changed(old["parameters"], new["parameters"]))
        or any(name != DATASET for name in changed(old["inputs"], new["inputs"]))
    )
