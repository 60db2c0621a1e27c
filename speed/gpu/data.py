"""The data of the run: built-in videos, drawn and curated on all cores."""

import time
from dataclasses import replace
from functools import cached_property

import numpy as np

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.benchmarks import read_benchmark
from esiamfc_lib.data.geometry import iou
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.training.held_out import split_tracks
from speed.gpu.run import Run

TRACKS = 5000  # that a real training is to have at least
THRESHOLDS = np.linspace(0, 1, 21)
HELD_OUT = 0.05  # share of the videos
WORLD = {"hues": 0.3, "conflict": 1.0}
"""As in the scaling study: what one half of the objects must look at, the other half must not."""


class Data:
    """Videos and their crops; sequences to track that are of no training video.

    Attributes:
        store: the crops. train, validation: indices of their tracks, of different videos.
        sequences: with ground truth, all of one frame size."""

    def __init__(self, run: Run):
        start, sizes = time.perf_counter(), run.sizes
        given = DatasetParameters(
            train_videos=sizes.videos,
            val_videos=1,
            video_frames=sizes.video_frames,
            otb_sequences=sizes.sequences,
            vot_sequences=1,
            got10k_sequences=1,
            test_frames=sizes.test_frames,
            **WORLD,
        )
        self.built_in = replace(BuiltIn.of(given), seed=0)
        self.layout = build(run.folder / "data", self.built_in, run.cores)
        self.drawing = time.perf_counter() - start
        self.frames = sizes.videos * sizes.video_frames + sizes.sequences * sizes.test_frames
        self.sequences: list[Sequence] = read_benchmark("otb2015", self.layout.otb)[0]
        self.run = run

    @cached_property
    def store(self) -> CropStore:
        folder = self.run.folder / "store"
        start = time.perf_counter()
        curate(self.layout.vid, folder, workers=self.run.cores)
        self.curating = time.perf_counter() - start
        return CropStore(folder)

    @cached_property
    def split(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the tracks to learn from, and of those that are held out."""
        return split_tracks(self.store, HELD_OUT)


def measure(run: Run) -> None:
    """Draw and curate; how long that took."""
    data = run.data
    name = f"drawing {data.frames:,} frames on {run.cores} cores; reference: one frame a core and s"
    run.add(name, data.frames / data.drawing, run.cores, "frames/s")
    store = data.store
    name = f"curating {len(store):,} crops on {run.cores} cores, start of the processes included"
    run.add(f"{name}; reference: drawing", len(store) / data.curating,
            data.frames / data.drawing, "crops/s")  # fmt: skip
    run.add("tracks; reference: what was asked for", len(store.index.track_id), TRACKS, "tracks")


def success_aucs(boxes: list[np.ndarray], sequences: list[Sequence]) -> np.ndarray:
    """Success AUC (OTB: strictly above each of 21 thresholds) of boxes, (n, 4) a sequence."""
    return np.array(
        [
            (np.nan_to_num(iou(found, one.boxes))[:, None] > THRESHOLDS).mean()
            for found, one in zip(boxes, sequences, strict=True)
        ]
    )


def success_auc(boxes: list[np.ndarray], sequences: list[Sequence]) -> float:
    """Their mean."""
    return float(success_aucs(boxes, sequences).mean())


def standing(sequences: list[Sequence]) -> float:
    """AUC of a tracker that never moves."""
    return success_auc([np.repeat(one.boxes[:1], len(one), axis=0) for one in sequences], sequences)
