"""Trackers as JSON: their names, how worker processes build them, what their boxes depend on."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import ConfigDict, Field

from esiamfc_lib.config import TRACKERS, Fusion, TrackingParameters
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC, soup
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.code import code_digest
from esiamfc_lib.runtime.devices import choose_device, choose_precision
from esiamfc_lib.runtime.validation import Fraction, NonNegativeInt, Parameters
from esiamfc_lib.tracking.base import IdentityTracker, SequenceTracker
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker


class TrackerSpec(Parameters):
    """A tracker as JSON: worker processes, also on other machines, build it from this."""

    model_config = ConfigDict(regex_engine="python-re")  # in which \w is what name_of leaves

    name: str = Field(pattern=r"^\w[\w .+=-]*$", description="in tables, and of its folder")
    kind: Literal["identity", "siamfc", "branch", "ensemble", "oracle"] = Field(
        description="oracle: per sequence the best branch by ground truth, an upper bound"
    )
    weights: str = Field("", description="model file")
    branch: NonNegativeInt = Field(0, description="for kind branch: which one")
    fusion: Fusion = Field(Fusion.CLUSTER_WEIGHT, strict=False, description="for kind ensemble")
    baseline: str = Field("", description="nearest_centroid: the clustered features' model file")
    centroids: str = Field("", description="nearest_centroid: npz file with (k, d) 'centres'")
    tracking: TrackingParameters = Field(TrackingParameters(), description="the loop")
    top: NonNegativeInt = Field(0, description="cluster_weight: branches that run; 0: all")
    threshold: Fraction = Field(0.0, description="cluster_weight: least weight of one that runs")
    precision: Literal["auto", "fp32", "bf16"] = Field("fp32", description="of the network")
    device: str = Field("cpu", description="auto, cpu, cuda ...")

    def build(self) -> SequenceTracker:
        """The tracker; ``StudyError`` if a model file is missing, damaged or of another kind."""
        if self.kind == "identity":
            return IdentityTracker(self.name)
        if self.kind == "oracle":
            raise StudyError("an oracle chooses among results; it cannot track by itself")
        load = published.load_siamfc if self.kind == "siamfc" else published.load_esiamfc
        model = load(self.weights)
        if self.kind == "ensemble" and self.fusion == Fusion.SOUP:
            model = soup(model)
        common = {"parameters": self.tracking, "name": self.name, "engine": self.engine(model)}
        if isinstance(model, SiamFC):
            return SiamFCTracker(model, **common)
        if self.kind == "branch":
            return BranchTracker(model, self.branch, **common)
        if self.fusion == Fusion.NEAREST_CENTROID:
            fault = refused(f"centroids file {self.centroids!r} cannot be read")
            with fault, np.load(self.centroids, allow_pickle=False) as file:
                common["centroids"] = file["centres"]
            common["embedder"] = published.load_siamfc(self.baseline)
        return ESiamFCTracker(model, self.fusion, top=self.top, threshold=self.threshold, **common)

    def engine(self, model: SiamFC | ESiamFC) -> Engine:
        """What computes the features; ``model`` is what the file of weights holds."""
        device, precision, _ = self.runs_on()
        part = model.base_tracker(self.branch) if self.kind == "branch" else model
        return Engine(part, device, precision)

    def runs_on(self) -> tuple[str, str, str]:
        """Device and precision with ``auto`` decided, and why, in half a sentence."""
        if self.device == "cpu" and self.precision != "auto":
            return self.device, self.precision, "as asked for"
        device = str(choose_device(self.device))
        return device, *choose_precision(self.precision, device)

    def facts(self) -> dict:
        """What its boxes depend on, but for the data: no names, no paths, digests of files."""
        facts = {"kind": self.kind, "code": code_digest(type(self).__module__)}
        if self.kind == "identity":
            return facts
        device, precision, _ = self.runs_on()
        facts |= {"precision": precision, "device": device.partition(":")[0]}
        facts["libraries"] = [torch.__version__, cv2.__version__, np.__version__]
        facts["tracking"] = self.tracking.model_dump()
        facts["weights"] = files.file_digest(self.weights)
        if self.kind == "branch":
            facts["branch"] = self.branch
        if self.kind == "ensemble":
            facts |= {"fusion": self.fusion, "top": self.top, "threshold": self.threshold}
            if self.fusion == Fusion.NEAREST_CENTROID:
                facts["baseline"] = files.file_digest(self.baseline)
                facts["centroids"] = files.file_digest(self.centroids)
        return facts


def name_of(weights: Path) -> str:
    """A tracker's name by that of its weights; what a name may not have becomes ``_``."""
    return re.sub(r"^\W|[^\w .+=-]", "_", weights.stem)[:50]


def tracker_specs(
    trackers: Iterable[str],
    siamfc: str | Path = "",
    esiamfc: str | Path = "",
    centroids: str | Path = "",
    prefix: str = "",
    kind_of_spec: type[TrackerSpec] = TrackerSpec,
    **options,
) -> list[TrackerSpec]:
    """Trackers by the names of ``config.TRACKERS``; ``branches`` stands for every base tracker.

    Args:
        trackers: for example ``["identity", "siamfc", "branches", "cluster_weight", "oracle"]``.
        siamfc, esiamfc: model files of the baseline and of the ensemble.
        prefix: of the names, to tell two ensembles apart.
        kind_of_spec: of another class, as that for int8 in ``tools``.
        options: ``tracking``, ``precision``, ``device`` of all of them; ``top`` and ``threshold``
            of ``cluster_weight``."""
    siamfc, esiamfc, found = str(siamfc), str(esiamfc), []
    sparse = {name: options.pop(name) for name in ("top", "threshold") if name in options}

    def add(name: str, **fields) -> None:
        found.append(kind_of_spec.validated({"name": name} | fields | options, where=name))

    for name in trackers:
        if name not in TRACKERS:
            raise StudyError(f"unknown tracker {name!r}; there are {', '.join(TRACKERS)}")
        if name in ("siamfc", Fusion.NEAREST_CENTROID) and not siamfc:
            raise StudyError(f"tracker {name!r} needs the baseline's model file")
        if name not in ("identity", "siamfc") and not esiamfc:
            raise StudyError(f"tracker {name!r} needs the ensemble's model file")
        if name == "identity":
            add("Identity", kind="identity")
        elif name == "siamfc":
            add(f"{prefix}SiamFC", kind="siamfc", weights=siamfc)
        elif name == "oracle":
            add(f"{prefix}Oracle", kind="oracle", weights=esiamfc)
        elif name == "branches":
            for i in range(published.load_esiamfc(esiamfc).k):
                add(f"{prefix}Branch {i}", kind="branch", weights=esiamfc, branch=i)
        else:
            fusion = Fusion(name)
            fields = sparse if fusion == Fusion.CLUSTER_WEIGHT else {}
            if fusion == Fusion.NEAREST_CENTROID:
                fields = {"baseline": siamfc, "centroids": str(centroids)}
            add(prefix + fusion.title, kind="ensemble", weights=esiamfc, fusion=fusion, **fields)
    return found
