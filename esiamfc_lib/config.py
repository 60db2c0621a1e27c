"""The parameters of every stage: one frozen, validated model per notebook.

A stage's model, the ``parameters`` cell of its notebook and ``notebooks/profiles/mini.yaml`` hold
the same names and the same defaults (a test compares the three). Values are JSON types only,
because papermill turns everything else into strings; unknown names and wrong types are errors."""
# isort: skip_file

import sys
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal

from esiamfc_lib.artefacts import FILES, Artefacts
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import exploration, own_folder, resolve
from esiamfc_lib.runtime.validation import (
    Count, Device, File, Folder, Fraction, NonNegative, NonNegativeInt, Parameters, Pixels,
    Positive, Processes, Scheduler, Seed, Several, param,
)  # fmt: skip


class Fusion(StrEnum):
    """How the branches' responses become one; ``title`` is the tracker's name in tables.
    ``uniform``: their mean; ``max``: the highest at each position; ``nearest_centroid``: the branch
    alone whose cluster centre is nearest to the exemplar; ``cluster_weight``: the sum with the
    weights that the module gives the exemplar; ``soup``: one branch, the mean of their weights."""

    UNIFORM = "uniform", "Uniform"
    MAX = "max", "Max"
    NEAREST_CENTROID = "nearest_centroid", "Nearest centroid"
    CLUSTER_WEIGHT = "cluster_weight", "ESiamFC"
    SOUP = "soup", "Soup"

    def __new__(cls, value: str, title: str):
        fusion = str.__new__(cls, value)
        fusion._value_, fusion.title = value, title
        return fusion


TRACKERS = ("identity", "siamfc", "branches", *(fusion.value for fusion in Fusion), "oracle")
"""Names of trackers; ``branches``: every base tracker, ``oracle``: the best by ground truth."""


class TrackingParameters(Parameters):
    """The SiamFC tracking loop (Bertinetto et al. 2016, section 3.2, and its public code)."""

    context: Positive = param(0.5, "context margin around the box, in box sides", le=10.0)
    exemplar_size: int = param(127, "side of the exemplar, pixels", ge=87, le=2047)
    search_size: int = param(255, "side of the search region, pixels", ge=87, le=2047)
    scale_num: Literal[1, 3, 5, 7, 9] = param(3, "number of scales searched, odd")
    scale_step: Positive = param(1.0375, "ratio between neighbouring scales", ge=0.25, le=4.0)
    scale_lr: Fraction = param(0.59, "damping of the scale update")
    scale_penalty: Positive = param(0.9745, "factor on responses of changed scale", le=4.0)
    window_influence: Fraction = param(0.176, "weight of the cosine window")
    response_up: int = param(16, "response up-sampling factor (bicubic)", ge=1, le=64)
    exemplar_lr: Fraction = param(0.0, "running update of the exemplar; 0: never")
    local_scales: Literal[0, 1, 3, 5, 7, 9, 11, 13, 15, 17] = param(
        0, "cells, odd, about the middle scale's peak in which the others search; 0: everywhere"
    )


class StageParameters(Parameters):
    """Parameters that every stage has."""

    stage: ClassVar[str] = ""
    notebook: ClassVar[str] = ""

    run_dir: Folder = param("data/mini", "working folder; relative: from the project's folder")
    report_dir: Folder = param("reports/mini", "figures and tables")
    seed: Seed = param(0, "of everything random: the same seed gives the same bytes")

    @classmethod
    def from_notebook(cls, namespace: dict[str, Any]):
        """The values of the parameters cell, from the notebook's ``globals()``. Only the chain
        writes into ``run_dir`` and ``report_dir``. A notebook that anybody else runs explores: it
        works beside the run, see ``runtime.paths.exploration``. Raises StudyError where a value is
        missing or has a wrong type or value, or an artefact is missing."""
        if missing := [name for name in cls.model_fields if name not in namespace]:
            raise StudyError(f"{cls.notebook}: the parameters cell lacks {', '.join(missing)}")
        given = cls.validated({name: namespace[name] for name in cls.model_fields}, cls.notebook)
        own = exploration(given.run)
        if own == given.run:  # the chain has looked whether everything is there
            return given
        for name in FILES[cls.stage].inputs if cls.stage in FILES else ():
            if not (file := own / name.format(0)).is_file():  # of the branches the first
                maker = next(model for model in STAGES if name in FILES[model.stage].outputs)
                hint = f"run notebook {maker.notebook[:2]}, or 'esiamfc run --until {maker.stage}'"
                raise StudyError(f"{file} is missing: {hint}")
        sys.stdout.write(f"exploring: reads {given.run}, writes {own} (make clean-explore)\n")
        places = {"run_dir": str(own), "report_dir": f"{own}/reports/{given.reports.name}"}
        return given.model_copy(update=places)

    @property
    def run(self) -> Path:
        """The profile's working folder, absolute."""
        return resolve(self.run_dir)

    @property
    def artefacts(self) -> Artefacts:
        """Where the notebooks' files lie in the working folder."""
        return Artefacts(self.run)

    @property
    def place(self) -> str:
        """This stage's folder in the working folder, of notebook 05 the cluster's: branches/2."""
        return f"{self.stage}/{getattr(self, 'cluster_id', '')}".rstrip("/")

    @property
    def folder(self) -> Path:
        """This stage's own folder, absolute, made on first use."""
        return own_folder(self.run / self.place)

    @property
    def reports(self) -> Path:
        """The report folder, absolute."""
        return resolve(self.report_dir)


class DatasetParameters(StageParameters):
    """Notebook 01: curation of ILSVRC2015-VID (or the built-in data) into the crop store."""

    stage, notebook = "dataset", "01_dataset_prep"

    source: Literal["synthetic", "vid"] = param("synthetic", "built-in data or a VID root")
    vid_root: File = param("", "VID layout (Data/VID, Annotations/VID), or a .tar or .tar.gz of it")
    store: File = param("", "a finished crop store to take over; empty: the videos are curated")
    splits: list[Literal["train", "val"]] = param(["train"], "curated; val is never learned from")
    otb_root: File = param("", "OTB layout, for notebooks 07 and 08")
    vot_root: File = param("", "VOT layout, for notebook 07")
    got10k_root: File = param("", "GOT-10k layout, for notebooks 07 and 08")
    more_roots: dict[str, File] = param({}, "further benchmarks by name: uav123, dtb70, lasot ...")
    train_videos: Count = param(150, "built-in data: training videos")
    val_videos: Count = param(18, "validation videos, built-in or unpacked from an archive")
    video_frames: Several = param(40, "built-in data: frames per video")
    otb_sequences: Count = param(24, "built-in data: test sequences in OTB layout")
    vot_sequences: Count = param(6, "built-in data: test sequences in VOT layout")
    got10k_sequences: Count = param(8, "built-in data: sequences in GOT-10k layout")
    test_frames: Several = param(60, "built-in data: frames per test sequence")
    frame_width: Pixels = param(320, "built-in data, pixels")
    frame_height: Pixels = param(240, "built-in data, pixels")
    families: int = param(6, "built-in data: object families, 2 to 6", ge=2, le=6)
    separation: Fraction = param(1.0, "built-in data: how much families differ, 0 to 1")
    hues: Fraction = param(1.0, "built-in data: share of the colour circle that a family uses")
    conflict: Fraction = param(0.0, "built-in data: share of objects whose look changes")
    jpeg_quality: int = param(95, "of the stored crops", ge=1, le=100)
    max_bad_fraction: Fraction = param(0.05, "fail above this share of bad frames")
    workers: Processes = param(2, "processes")
    scheduler: Scheduler = param("", "address of a Dask scheduler; empty: this machine")


class TrainingParameters(StageParameters):
    """What notebooks 02, 05 and 06 share: one training loop."""

    epochs: Count = param(1, "passes of pairs_per_epoch")
    pairs_per_epoch: Count = param(1, "pairs per epoch")
    batch_size: Count = param(8, "pairs per step, over all devices", lt=4097)
    lr: Positive = param(1.0e-2, "learning rate of the first epoch")
    lr_last: Positive = param(1.0e-5, "learning rate of the last epoch")
    schedule: Literal["exponential", "step"] = param(
        "exponential", "by one factor an epoch, or in one step after half of them"
    )
    momentum: Fraction = param(0.9, "SGD", lt=1.0)
    weight_decay: NonNegative = param(5.0e-4, "SGD")
    clip_norm: NonNegative = param(0.0, "largest gradient norm; 0: no clipping")
    frame_range: Count = param(100, "largest distance of the two frames of a pair")
    augmentation: Literal["none", "paper", "reference"] = param(
        "none", "paper: 8 px, 5 %, some grey; reference: 3 px, width and height apart"
    )
    radius: Positive = param(16.0, "positives lie within this many pixels of the centre")
    validation_fraction: Fraction = param(0.1, "share of videos kept for validation", lt=1.0)
    validation_pairs: NonNegativeInt = param(400, "pairs of the validation loss")
    precision: Literal["auto", "fp32", "bf16"] = param("auto", "auto: bf16 where supported")
    device: Device = param("auto", "auto, cpu, cuda, cuda:1 ...")
    threads: NonNegativeInt = param(2, "CPU threads; 0: all. Moves the last digits of results")
    workers: NonNegativeInt = param(0, "loader processes; 0: in the training process", lt=1025)
    checkpoint_seconds: NonNegative = param(60.0, "a kill loses at most this; 0: after every step")


class BaselineParameters(TrainingParameters):
    """Notebook 02: SiamFC."""

    stage, notebook = "baseline", "02_siamfc_training"

    weights: File = param("", "start from this file; empty: from scratch")
    width: Positive = param(0.25, "factor on the number of channels", ge=0.01, le=16.0)
    train_norms: bool = param(True, "BatchNorm learns; false where it is folded into the weights")
    epochs: NonNegativeInt = param(6, "0: take the starting weights as they are")
    pairs_per_epoch: Count = param(2400, "53,200 in the paper")
    validation_sequences: NonNegativeInt = param(12, "held-out, tracked to choose the epoch")
    validation_frames: Count = param(40, "frames of each that are tracked")
    validate_every: Count = param(2, "epochs between two validations by tracking")
    tracking: dict = param({}, "changes to TrackingParameters")


class EmbeddingParameters(StageParameters):
    """Notebook 03: video features and their maps."""

    stage, notebook = "embedding", "03_embedding"

    frames_per_track: Count = param(40, "evenly spaced; at most")
    min_frames: Count = param(4, "tracks with fewer are left out")
    keep_fraction: Fraction = param(0.95, "share of frames that screening keeps")
    keep_rounds: Literal["up", "down"] = param("up", "their number; down: one at least drops out")
    batch_size: Count = param(64, "exemplars per forward pass", lt=4097)
    umap_neighbors: Several = param(15, "UMAP: size of the neighbourhood")
    umap_min_dist: NonNegative = param(0.1, "UMAP: smallest distance on the map")
    thumbnails: NonNegativeInt = param(120, "exemplars drawn on the map")
    keep_stem: bool = param(False, "keep the stem's features of all crops, for 05 and 06")
    precision: Literal["fp32", "bf16"] = param("fp32", "of the network")
    device: Device = param("auto", "auto, cpu, cuda ...")
    threads: NonNegativeInt = param(2, "CPU threads; 0: all. Moves the last digits of results")
    workers: Processes = param(1, "processes, one thread each if more than one")
    scheduler: Scheduler = param("", "address of a Dask scheduler; empty: this machine")


class ClusteringParameters(StageParameters):
    """Notebook 04: the split of the tracks into k clusters."""

    stage, notebook = "clustering", "04_clustering"

    method: Literal["pikmeans", "kmeans", "random"] = param("pikmeans", "the others are controls")
    stop: Literal["balanced", "published"] = param("balanced", "published: sizes stay uneven")
    n_clusters: Count = param(6, "k; 1, for a control arm: all tracks in one", lt=65)
    kp: NonNegative = param(0.005, "proportional gain on the cluster size")
    ki: NonNegative = param(0.005, "integral gain on the cluster size")
    tol_balance: NonNegative = param(0.02, "largest |n_j - mean| / mean at the end")
    n_init: Count = param(10, "initialisations; the best one is kept")
    max_iter: Count = param(500, "iterations of one run, at most")


class ComparisonParameters(StageParameters):
    """Notebook 04, second part: that split compared with others."""

    stage, notebook = "comparison", "04_comparison"

    runs: NonNegativeInt = param(20, "of every method; below 2 the chain leaves this notebook out")
    most_clusters: Several = param(12, "largest k that is tried")


class TransferParameters(TrainingParameters):
    """Notebook 05: one base tracker; papermill runs it once per cluster."""

    stage, notebook = "branches", "05_transfer_learning"

    cluster_id: NonNegativeInt = param(0, "the cluster whose tracks train this branch")
    membership: Literal["nearest", "nearest+second", "all"] = param(
        "nearest", "clusters that a track helps to train: nearest+second, all"
    )
    initial: File = param("", "start from this file, or a control arm's branch; empty: baseline")
    train_norms: bool = param(True, "BatchNorm learns; false where it is folded")
    negative_fraction: Fraction = param(0.0, "share of pairs from two different videos")
    hard_negatives: bool = param(False, "take these from one class where it has another video")
    diversity_weight: NonNegative = param(
        0.0, "penalty on agreement with the start away from the target"
    )
    average_epochs: Count = param(1, "mean of this many last epochs; 1: the best epoch")
    folds: Literal[0, 2, 3, 4, 5, 6, 7, 8, 9, 10] = param(
        0, "further branches, each without one fold of the videos, for fusion.cross_fit; 0: none"
    )
    epochs: NonNegativeInt = param(3, "passes of pairs_per_epoch; 0: the branch is its start")
    pairs_per_epoch: Count = param(1200, "pairs per epoch")
    lr: Positive = param(1.0e-3, "learning rate of the first epoch")
    lr_last: Positive = param(1.0e-4, "learning rate of the last epoch")
    validation_pairs: NonNegativeInt = param(200, "pairs of the validation loss")
    threads: NonNegativeInt = param(1, "CPU threads; 1 so that branches train side by side")


class FusionParameters(TrainingParameters):
    """Notebook 06: the cluster-weight module, or with ``learns: all`` the branches as well."""

    stage, notebook = "fusion", "06_fusion"

    epochs: Count = param(3, "passes of pairs_per_epoch")
    pairs_per_epoch: Count = param(1600, "pairs per epoch")
    lr_last: Positive = param(1.0e-3, "learning rate of the last epoch")
    temperature: Positive = param(1.0, "divides the logits before the softmax")
    entropy_weight: float = param(0.0, "> 0 rewards even weights, < 0 concentrated ones")
    reads: Literal["stem", "embedding", "distances"] = param("stem", "what the weights depend on")
    cross_fit: bool = param(False, "learn only from responses of branches new to the video")
    learns: Literal["weights", "all"] = param("weights", "all: the branches learn on, jointly")
    balance: NonNegative = param(0.0, "learns all: integral gain against uneven use of branches")
    train_norms: bool = param(True, "learns all: BatchNorm of the branches learns")
    negative_fraction: Fraction = param(0.0, "share of pairs from two different videos")
    hard_negatives: bool = param(False, "take these from one class where it has another video")


class ResultsParameters(StageParameters):
    """Notebook 07: one pass over the benchmarks."""

    stage, notebook = "results", "07_results"

    benchmarks: list[str] = param(["otb2015", "vot2018", "got10k-val"], "what to run", min_length=1)
    trackers: list[Literal[TRACKERS]] = param(
        ["identity", "siamfc", "branches", "uniform", "nearest_centroid", "cluster_weight"],
        "identity: never moves; branches: every base tracker",
        min_length=1,
    )
    max_sequences: NonNegativeInt = param(0, "of each benchmark; 0: all")
    published: File = param("", "scores of a published SiamFC (JSON), to compare with")
    selection: File = param("", "file of 'python -m tools.choose'; its tracking parameters")
    tracking: dict = param({}, "changes to TrackingParameters")
    precision: Literal["auto", "fp32", "bf16"] = param("auto", "auto: bf16 where supported")
    device: Device = param("auto", "auto, cpu, cuda ...")
    workers: Processes = param(2, "processes, one thread each")


class ControlsParameters(StageParameters):
    """Notebook 08: control arms, many starts, specialists, on the benchmarks of notebook 07."""

    stage, notebook = "controls", "08_controls"

    starts: NonNegativeInt = param(0, "segments forward, and as many backward; 0: 07's one pass")
    segment_frames: Several = param(100, "frames of a segment")
    closer_arms: list = param([], "control arms to compare from more starts, closer_arms_starts")
    closer_arms_starts: NonNegativeInt = param(0, "in place of starts, for these arms")
    perturbations: NonNegativeInt = param(1, "perturbed first boxes of a segment; 0: the true one")
    perturb: NonNegative = param(
        0.1, "largest shift and change of size of such a box, in its sides", lt=0.5
    )
    device: Device = param("auto", "auto, cpu, cuda ...")
    workers: Processes = param(2, "processes, one thread each")


class ExperimentParameters(StageParameters):
    """Notebook 10, in place of 07 and 08: predictions about the arms, judged on held-out videos."""

    stage, notebook = "experiment", "10_experiment"

    hypothesis: str = param("", "what the experiment asks, in a sentence or two")
    predictions: list[dict] = param([], "what would confirm it; empty: no experiment")
    pairs: Count = param(640, "of the tracks learned from, and of each half of the held-out ones")
    precision: Literal["auto", "fp32", "bf16"] = param("auto", "auto: bf16 where supported")
    device: Device = param("auto", "auto, cpu, cuda ...")
    threads: NonNegativeInt = param(2, "CPU threads; 0: all. Moves the last digits of results")


class SweepParameters(StageParameters):
    """Notebook 09: the points of a sweep compared; not a stage of a study."""

    stage, notebook = "sweep", "09_scaling"

    run_dir: Folder = param("data/scaling", "working folder of the sweep")
    report_dir: Folder = param("reports/scaling", "its figures and tables")


STAGES: tuple[type[StageParameters], ...] = (
    DatasetParameters, BaselineParameters, EmbeddingParameters, ClusteringParameters,
    ComparisonParameters, TransferParameters, FusionParameters, ResultsParameters,
    ControlsParameters, ExperimentParameters,
)  # fmt: skip
