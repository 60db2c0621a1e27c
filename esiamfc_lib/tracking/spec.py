"""Trackers as JSON: their names, how worker processes build them, what their boxes depend on."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import Field

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.deploy.engines import choose
from esiamfc_lib.deploy.quantisation import Quantised, beside
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.code import code_digest
from esiamfc_lib.runtime.validation import Fraction, NonNegativeInt, Parameters
from esiamfc_lib.tracking import variants as ablation
from esiamfc_lib.tracking.base import IdentityTracker, SequenceTracker
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker


class TrackerSpec(Parameters):
    """A tracker as JSON: worker processes, also on other machines, build it from this."""

    name: str = Field(pattern=r"^[\w][\w .+=-]*$", description="in tables, and of its folder")
    kind: Literal["identity", "siamfc", "branch", "ensemble", "oracle"] = Field(
        description="oracle: per sequence the best branch by ground truth, an upper bound"
    )
    weights: str = Field("", description="model file")
    branch: NonNegativeInt = Field(0, description="for kind branch: which one")
    fusion: Literal["uniform", "max", "nearest_centroid", "cluster_weight"] = Field(
        "cluster_weight", description="for kind ensemble"
    )
    baseline: str = Field("", description="nearest_centroid: the clustered features' model file")
    centroids: str = Field("", description="nearest_centroid: npz file with (k, d) 'centres'")
    variant: str = Field("", description="for kind siamfc: a changed loop, see ablation")
    tracking: TrackingParameters = Field(TrackingParameters(), description="the loop")
    top: NonNegativeInt = Field(0, description="cluster_weight: branches that run; 0: all")
    threshold: Fraction = Field(0.0, description="cluster_weight: least weight of one that runs")
    backend: Literal["auto", "torch", "onnxruntime"] = Field("torch", description="see engine")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field("fp32", description="see engine")
    int8: str = Field("", description="the network's int8 form; empty: beside the weights")
    device: str = Field("cpu", description="auto, cpu, cuda ...")

    def build(self) -> SequenceTracker:
        """The tracker itself.

        Raises:
            StudyError: a model file is missing, damaged or of another kind.
        """
        if self.kind == "identity":
            return IdentityTracker(self.name)
        if self.kind == "oracle":
            raise StudyError("an oracle chooses among results; it cannot track by itself")
        device, backend, precision, _ = self.engine()
        options = {"parameters": self.tracking, "name": self.name}
        options |= {"device": device, "backend": backend, "precision": precision}
        siamfc = self.kind == "siamfc"
        load = published.load_siamfc if siamfc else published.load_esiamfc
        model = load(self.weights)
        if precision == "int8":
            options["int8"] = Quantised.load(self._int8_file(), model)
        if siamfc:
            loop = ablation.VARIANTS[self.variant][1] if self.variant else SiamFCTracker
            return loop(model, **options)
        if self.kind == "branch":
            return BranchTracker(model, self.branch, **options)
        if self.fusion == "nearest_centroid":
            options["centroids"] = _centroids(self.centroids)
            options["embedder"] = published.load_siamfc(self.baseline)
        options |= {"top": self.top, "threshold": self.threshold}
        return ESiamFCTracker(model, self.fusion, **options)

    def identity(self) -> dict:
        """What its boxes depend on, but for the data: no names, no paths, digests of files."""
        facts = {"kind": self.kind, "code": code_digest(type(self).__module__)}
        if self.kind == "identity":
            return facts
        device, backend, precision, _ = self.engine()
        facts |= {
            "weights": files.file_digest(self.weights),
            "tracking": self.tracking.model_dump(),
            "backend": backend,
            "precision": precision,
            "device": device.partition(":")[0],
            "libraries": [torch.__version__, cv2.__version__, np.__version__],
        }
        if precision == "int8":
            facts["int8"] = files.file_digest(self._int8_file())
        if backend == "onnxruntime":
            facts["libraries"].append(version("onnxruntime"))
        if self.variant:
            facts["variant"] = self.variant
        if self.kind == "branch":
            facts["branch"] = self.branch
        if self.kind == "ensemble":
            facts |= {"fusion": self.fusion, "top": self.top, "threshold": self.threshold}
            if self.fusion == "nearest_centroid":
                facts["baseline"] = files.file_digest(self.baseline)
                facts["centroids"] = files.file_digest(self.centroids)
        return facts

    def engine(self) -> tuple[str, str, str, str]:
        """Device, backend and precision with ``auto`` decided, and why, in half a sentence."""
        if self.device == "cpu" and "auto" not in (self.backend, self.precision):
            return self.device, self.backend, self.precision, "as asked for"
        # Only here: it would cost every worker process the import of torch.distributed.
        from esiamfc_lib.runtime.devices import choose_device

        device = str(choose_device(self.device))
        has_int8 = Path(self._int8_file()).is_file()
        return device, *choose(self.backend, self.precision, device, has_int8)

    def _int8_file(self) -> str:
        return self.int8 or str(beside(self.weights))


TITLES = {
    "uniform": "Uniform",
    "max": "Max",
    "nearest_centroid": "Nearest centroid",
    "cluster_weight": "ESiamFC",
}


def tracker_specs(
    trackers: Iterable[str],
    siamfc: str | Path = "",
    esiamfc: str | Path = "",
    centroids: str | Path = "",
    prefix: str = "",
    **options,
) -> list[TrackerSpec]:
    """The trackers of ``config.TrackerName`` by name; ``branches`` stands for every base tracker.

    Args:
        trackers: for example ``["identity", "siamfc", "branches", "cluster_weight", "oracle"]``.
        siamfc: model file of the baseline.
        esiamfc: model file of the ensemble.
        centroids: for ``nearest_centroid``, as in ``TrackerSpec``.
        prefix: of the names, to tell two ensembles apart.
        options: ``tracking``, ``backend``, ``precision``, ``device`` of all of them; ``top`` and
            ``threshold`` of ``cluster_weight``.

    Raises:
        StudyError: an unknown name; a model file that is needed and not given, or not readable.
    """
    found, siamfc, esiamfc = [], str(siamfc), str(esiamfc)
    sparse = {name: options.pop(name) for name in ("top", "threshold") if name in options}
    for name in trackers:
        if name in ("siamfc", "nearest_centroid") and not siamfc:
            raise StudyError(f"tracker {name!r} needs the baseline's model file")
        if name in ("branches", "oracle", *TITLES) and not esiamfc:
            raise StudyError(f"tracker {name!r} needs the ensemble's model file")
        if name == "identity":
            found.append({"name": "Identity", "kind": "identity"})
        elif name == "siamfc":
            found.append({"name": f"{prefix}SiamFC", "kind": "siamfc", "weights": siamfc})
        elif name == "branches":
            found += [
                {"name": f"{prefix}Branch {i}", "kind": "branch", "weights": esiamfc, "branch": i}
                for i in range(published.load_esiamfc(esiamfc).k)
            ]
        elif name == "oracle":
            found.append({"name": f"{prefix}Oracle", "kind": "oracle", "weights": esiamfc})
        elif name in TITLES:
            one = {"name": prefix + TITLES[name], "kind": "ensemble", "fusion": name}
            one |= {"weights": esiamfc} | (sparse if name == "cluster_weight" else {})
            if name == "nearest_centroid":
                one |= {"baseline": siamfc, "centroids": str(centroids)}
            found.append(one)
        else:
            raise StudyError(f"unknown tracker {name!r}")
    return [TrackerSpec.validated(one | options, where=one["name"]) for one in found]


def variants(siamfc: str | Path, **options) -> list[TrackerSpec]:
    """The baseline with every variant of ``ablation``; arguments as for ``specs``."""
    given = options.pop("tracking", TrackingParameters())
    return [
        TrackerSpec(
            name=name,
            kind="siamfc",
            weights=str(siamfc),
            variant=name,
            tracking=ablation.parameters(name, given),
            **options,
        )
        for name in ablation.VARIANTS
    ]


def is_ensemble(path: str | Path) -> bool:
    """Whether a model file holds an ESiamFC; any format that can be converted.

    Raises:
        StudyError: no such file, or not a model.
    """
    if Path(path).suffix == ".safetensors":
        return checkpoints.header(path)["network"] == "esiamfc"
    return hasattr(published.load_any(path)[0], "branches")


def _centroids(path: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["centres"]
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"centroids file {path!r} cannot be read: {error}") from None
