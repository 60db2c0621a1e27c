"""The parameters of every stage: one frozen, validated model per notebook.

A stage's model, the ``parameters`` cell of its notebook and ``notebooks/profiles/mini.yaml`` hold
the same names and the same defaults (a test compares the three). Values are JSON types only,
because papermill turns everything else into strings; unknown names and wrong types are errors.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from esiamfc_lib.artefacts import Artefacts
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import resolve
from esiamfc_lib.runtime.validation import (
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Parameters,
    Positive,
)


class Fusion(StrEnum):
    """How the branches' responses become one; ``title`` is the tracker's name in tables.

    ``uniform``: their mean; ``max``: the highest at each position; ``nearest_centroid``: the branch
    alone whose cluster centre is nearest to the exemplar; ``cluster_weight``: the sum with the
    weights that the module gives the exemplar.
    """

    UNIFORM = "uniform", "Uniform"
    MAX = "max", "Max"
    NEAREST_CENTROID = "nearest_centroid", "Nearest centroid"
    CLUSTER_WEIGHT = "cluster_weight", "ESiamFC"

    def __new__(cls, value: str, title: str):
        fusion = str.__new__(cls, value)
        fusion._value_, fusion.title = value, title
        return fusion


TRACKERS = ("identity", "siamfc", "branches", *(fusion.value for fusion in Fusion), "oracle")
"""Names of trackers; ``branches``: every base tracker, ``oracle``: the best by ground truth."""


class TrackingParameters(Parameters):
    """The SiamFC tracking loop (Bertinetto et al. 2016, section 3.2, and its public code)."""

    context: Positive = Field(0.5, description="context margin around the box, in box sides")
    exemplar_size: Count = Field(127, description="side of the exemplar, pixels")
    search_size: Count = Field(255, description="side of the search region, pixels")
    scale_num: Count = Field(3, description="number of scales searched, odd")
    scale_step: Positive = Field(1.0375, description="ratio between neighbouring scales")
    scale_lr: Fraction = Field(0.59, description="damping of the scale update")
    scale_penalty: Positive = Field(0.9745, description="factor on responses of changed scale")
    window_influence: Fraction = Field(0.176, description="weight of the cosine window")
    response_up: Count = Field(16, description="response up-sampling factor (bicubic)")
    exemplar_lr: Fraction = Field(0.0, description="running update of the exemplar; 0: never")


class StageParameters(Parameters):
    """What every stage has."""

    stage: ClassVar[str] = ""
    notebook: ClassVar[str] = ""

    run_dir: str = Field(
        "data/mini", description="working folder; relative paths count from the project's folder"
    )
    report_dir: str = Field("reports/mini", description="figures and tables")
    seed: NonNegativeInt = Field(
        0, description="of everything random: the same seed gives the same bytes"
    )

    @classmethod
    def from_notebook(cls, namespace: dict[str, Any]):
        """Read the parameters cell: pass ``globals()`` of the notebook.

        Raises:
            StudyError: a parameter is missing from the notebook, or has a wrong type or value.
        """
        missing = [name for name in cls.model_fields if name not in namespace]
        if missing:
            raise StudyError(f"{cls.notebook}: the parameters cell lacks {', '.join(missing)}")
        values = {name: namespace[name] for name in cls.model_fields}
        return cls.validated(values, where=cls.notebook)

    @property
    def run(self) -> Path:
        """The profile's working folder, absolute."""
        return resolve(self.run_dir)

    @property
    def artefacts(self) -> Artefacts:
        """Where the notebooks' files lie in the working folder."""
        return Artefacts(self.run)

    @property
    def folder(self) -> Path:
        """This stage's own folder, made on first use."""
        folder = self.run / self.stage
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def reports(self) -> Path:
        """The report folder, absolute."""
        return resolve(self.report_dir)


class DatasetParameters(StageParameters):
    """Notebook 01: curation of ILSVRC2015-VID (or the built-in data) into the crop store."""

    stage: ClassVar[str] = "dataset"
    notebook: ClassVar[str] = "01_dataset_prep"

    source: Literal["synthetic", "vid"] = Field(
        "synthetic", description="built-in data or a VID root"
    )
    vid_root: str = Field(
        "", description="VID layout: holds Data/VID and Annotations/VID; or a .tar or .tar.gz of it"
    )
    store: str = Field(
        "", description="a finished crop store that is taken over; empty: the videos are curated"
    )
    splits: list[Literal["train", "val"]] = Field(
        ["train"], description="what is curated; val is never learned from"
    )
    otb_root: str = Field("", description="OTB layout, for notebook 07")
    vot_root: str = Field("", description="VOT layout, for notebook 07")
    got10k_root: str = Field("", description="GOT-10k layout, for notebook 07")
    more_roots: dict[str, str] = Field(
        {}, description="folders of further benchmarks by name: uav123, dtb70, lasot ..."
    )
    train_videos: Count = Field(150, description="built-in data: training videos")
    val_videos: Count = Field(
        18, description="validation videos: of the built-in data, or unpacked from an archive"
    )
    video_frames: Annotated[int, Field(ge=2)] = Field(
        40, description="built-in data: frames a video"
    )
    otb_sequences: Count = Field(24, description="built-in data: test sequences in OTB layout")
    vot_sequences: Count = Field(6, description="built-in data: test sequences in VOT layout")
    got10k_sequences: Count = Field(8, description="built-in data: sequences in GOT-10k layout")
    test_frames: Annotated[int, Field(ge=2)] = Field(
        60, description="built-in data: frames a test sequence"
    )
    frame_width: Annotated[int, Field(ge=64)] = Field(320, description="built-in data, pixels")
    frame_height: Annotated[int, Field(ge=64)] = Field(240, description="built-in data, pixels")
    families: Annotated[int, Field(ge=2, le=6)] = Field(
        6, description="built-in data: object families, 2 to 6"
    )
    separation: Fraction = Field(1.0, description="built-in data: how much families differ, 0 to 1")
    hues: Fraction = Field(
        1.0, description="built-in data: share of the colour circle that a family uses"
    )
    conflict: Fraction = Field(
        0.0, description="built-in data: share of objects whose colours or pattern change"
    )
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = Field(95, description="of the stored crops")
    max_bad_fraction: Fraction = Field(0.05, description="fail above this share of bad frames")
    workers: Count = Field(2, description="processes")
    scheduler: str = Field("", description="address of a Dask scheduler; empty: this machine")


class TrainingParameters(StageParameters):
    """What notebooks 02, 05 and 06 share: one training loop."""

    epochs: Count = Field(1, description="passes of pairs_per_epoch")
    pairs_per_epoch: Count = Field(1, description="pairs an epoch")
    batch_size: Count = Field(8, description="pairs a step, over all devices")
    lr: Positive = Field(1.0e-2, description="learning rate of the first epoch")
    lr_last: Positive = Field(1.0e-5, description="learning rate of the last epoch")
    schedule: Literal["exponential", "step"] = Field(
        "exponential", description="between them: by one factor an epoch, or in three steps"
    )
    momentum: Fraction = Field(0.9, description="SGD")
    weight_decay: NonNegative = Field(5.0e-4, description="SGD")
    clip_norm: NonNegative = Field(0.0, description="largest gradient norm; 0: no clipping")
    frame_range: Count = Field(100, description="largest distance of the two frames of a pair")
    augmentation: Literal["none", "paper"] = Field(
        "none", description="paper: shifts of 8 px, stretches of 5 %, a quarter of the pairs grey"
    )
    radius: Positive = Field(
        16.0, description="positives lie within this many pixels of the centre"
    )
    validation_fraction: Fraction = Field(0.1, description="share of videos kept for validation")
    validation_pairs: NonNegativeInt = Field(400, description="pairs of the validation loss")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where the processor has it in hardware"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 ...")
    threads: NonNegativeInt = Field(
        2, description="CPU threads; 0: all. Their number moves the last digits of results"
    )
    workers: NonNegativeInt = Field(0, description="loader processes; 0: in the training process")
    checkpoint_seconds: NonNegative = Field(
        60.0, description="a kill loses at most this much; 0: after every step"
    )


class BaselineParameters(TrainingParameters):
    """Notebook 02: SiamFC."""

    stage: ClassVar[str] = "baseline"
    notebook: ClassVar[str] = "02_siamfc_training"

    weights: str = Field("", description="start from this file; empty: from scratch")
    width: Positive = Field(0.25, description="factor on the number of channels")
    train_norms: bool = Field(
        True, description="BatchNorm learns; false where it is folded into published weights"
    )
    epochs: NonNegativeInt = Field(6, description="0: take the starting weights as they are")
    pairs_per_epoch: Count = Field(2400, description="53,200 in the paper")
    validation_sequences: NonNegativeInt = Field(
        12, description="held-out sequences tracked to choose the epoch"
    )
    validation_frames: Count = Field(40, description="frames of each that are tracked")
    validate_every: Count = Field(2, description="epochs between two validations by tracking")
    tracking: dict = Field({}, description="changes to TrackingParameters")


class EmbeddingParameters(StageParameters):
    """Notebook 03: video features and their maps."""

    stage: ClassVar[str] = "embedding"
    notebook: ClassVar[str] = "03_embedding"

    frames_per_track: Count = Field(40, description="evenly spaced; at most")
    min_frames: Count = Field(4, description="tracks with fewer are left out")
    keep_fraction: Fraction = Field(0.95, description="share of frames that screening keeps")
    batch_size: Count = Field(64, description="exemplars a forward pass")
    umap_neighbors: Annotated[int, Field(ge=2)] = Field(
        15, description="UMAP: size of the neighbourhood"
    )
    umap_min_dist: NonNegative = Field(0.1, description="UMAP: smallest distance on the map")
    thumbnails: NonNegativeInt = Field(120, description="exemplars drawn on the map")
    keep_stem: bool = Field(
        False, description="keep the stem's features of all crops: 05 and 06 learn from those"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the network")
    device: str = Field("auto", description="auto, cpu, cuda ...")
    threads: NonNegativeInt = Field(
        2, description="CPU threads; 0: all. Their number moves the last digits of results"
    )
    workers: Count = Field(1, description="processes, one thread each if more than one")
    scheduler: str = Field("", description="address of a Dask scheduler; empty: this machine")


class ClusteringParameters(StageParameters):
    """Notebook 04: the split of the tracks into k clusters."""

    stage: ClassVar[str] = "clustering"
    notebook: ClassVar[str] = "04_clustering"

    method: Literal["pikmeans", "kmeans", "random"] = Field(
        "pikmeans", description="kmeans and random are the controls"
    )
    n_clusters: Count = Field(6, description="k; 1, for a control arm: all tracks in one")
    kp: NonNegative = Field(0.005, description="proportional gain on the cluster size")
    ki: NonNegative = Field(0.005, description="integral gain on the cluster size")
    tol_balance: NonNegative = Field(0.02, description="largest |n_j - mean| / mean at the end")
    n_init: Count = Field(10, description="initialisations; the best one is kept")
    max_iter: Count = Field(500, description="iterations of one run, at most")
    study_inits: NonNegativeInt = Field(
        20, description="runs of the stability study, 2 or more; 0: no study and no pictures"
    )

    @field_validator("study_inits")
    @classmethod
    def _several(cls, value: int) -> int:
        if value == 1:
            raise ValueError("one run cannot be compared; 0 leaves the study out")
        return value


class TransferParameters(TrainingParameters):
    """Notebook 05: one base tracker; papermill runs it once per cluster."""

    stage: ClassVar[str] = "branches"
    notebook: ClassVar[str] = "05_transfer_learning"

    cluster_id: NonNegativeInt = Field(0, description="the cluster whose tracks train this branch")
    membership: Literal["nearest", "nearest+second", "all"] = Field(
        "nearest", description="clusters that a track helps to train: nearest+second, all"
    )
    initial: str = Field(
        "", description="start from this file, or a control arm's branch; empty: baseline"
    )
    train_norms: bool = Field(True, description="BatchNorm learns; false where it is folded")
    negative_fraction: Fraction = Field(0.0, description="share of pairs from two different videos")
    hard_negatives: bool = Field(
        False, description="take those from videos of the same class where there are some"
    )
    diversity_weight: NonNegative = Field(
        0.0, description="punishes agreement with the start away from the target"
    )
    average_epochs: Count = Field(
        1, description="the branch is the mean of so many last epochs; 1: the best epoch"
    )
    epochs: Count = Field(3, description="passes of pairs_per_epoch")
    pairs_per_epoch: Count = Field(1200, description="pairs an epoch")
    lr: Positive = Field(1.0e-3, description="learning rate of the first epoch")
    lr_last: Positive = Field(1.0e-4, description="learning rate of the last epoch")
    validation_pairs: NonNegativeInt = Field(200, description="pairs of the validation loss")
    threads: NonNegativeInt = Field(
        1, description="CPU threads; 1 so that branches train side by side"
    )

    @property
    def folder(self) -> Path:
        """The folder of this cluster's branch."""
        folder = self.run / self.stage / str(self.cluster_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class FusionParameters(TrainingParameters):
    """Notebook 06: the cluster-weight module."""

    stage: ClassVar[str] = "fusion"
    notebook: ClassVar[str] = "06_fusion"

    epochs: Count = Field(3, description="passes of pairs_per_epoch")
    pairs_per_epoch: Count = Field(1600, description="pairs an epoch")
    lr: Positive = Field(1.0e-2, description="learning rate of the first epoch")
    lr_last: Positive = Field(1.0e-3, description="learning rate of the last epoch")
    temperature: Positive = Field(1.0, description="divides the logits before the softmax")
    entropy_weight: float = Field(0.0, description="> 0 rewards spread weights, < 0 decided ones")
    negative_fraction: Fraction = Field(0.0, description="share of pairs from two different videos")
    hard_negatives: bool = Field(
        False, description="such pairs are of one class where there is another video of it"
    )


class ResultsParameters(StageParameters):
    """Notebook 07: benchmarks."""

    stage: ClassVar[str] = "results"
    notebook: ClassVar[str] = "07_results"

    benchmarks: list[str] = Field(["otb2015", "vot2018", "got10k-val"], description="what to run")
    trackers: list[Literal[TRACKERS]] = Field(
        ["identity", "siamfc", "branches", "uniform", "nearest_centroid", "cluster_weight"],
        description="identity: never moves; branches: every base tracker",
    )
    max_sequences: NonNegativeInt = Field(0, description="of each benchmark; 0: all")
    published: str = Field("", description="scores of a published SiamFC (JSON), to compare with")
    starts: NonNegativeInt = Field(
        0, description="segments of each sequence forward, and as many backward; 0: one pass only"
    )
    segment_frames: Annotated[int, Field(ge=2)] = Field(100, description="frames of a segment")
    closer_arms: list = Field(
        [], description="control arms that are compared from more starts, with closer_arms_starts"
    )
    closer_arms_starts: NonNegativeInt = Field(0, description="in place of starts, for these arms")
    perturbations: NonNegativeInt = Field(
        1, description="perturbed first boxes of a segment; 0: the true one"
    )
    perturb: Annotated[float, Field(ge=0.0, lt=0.5)] = Field(
        0.1, description="largest shift and change of size of such a box, in its sides"
    )
    selection: str = Field("", description="file of 'esiamfc select', for its tracking parameters")
    tracking: dict = Field({}, description="changes to TrackingParameters")
    precision: Literal["auto", "fp32", "bf16"] = Field("fp32", description="of the networks")
    device: str = Field("auto", description="auto, cpu, cuda ...")
    workers: Count = Field(2, description="processes, one thread each")


class SweepParameters(StageParameters):
    """Notebook 09: what the points of a sweep say together; no stage of a study."""

    stage: ClassVar[str] = "sweep"
    notebook: ClassVar[str] = "09_scaling"

    run_dir: str = Field("data/scaling", description="working folder of the sweep")
    report_dir: str = Field("reports/scaling", description="its figures and tables")

    @property
    def metrics(self) -> Path:
        """What the notebook leaves last."""
        return self.run / self.stage / "metrics.json"


STAGES: tuple[type[StageParameters], ...] = (
    DatasetParameters,
    BaselineParameters,
    EmbeddingParameters,
    ClusteringParameters,
    TransferParameters,
    FusionParameters,
    ResultsParameters,
)
