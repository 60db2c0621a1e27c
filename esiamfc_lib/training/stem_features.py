"""The stem's features of all crops, kept on disk: branches and fusion then learn without images.

Stem and crops are the same for every branch of every arm. As no layer is padded and the exemplar
lies in the middle of its crop, the exemplar's features are a part of the crop's. Only for training
without augmentation, which would need the pixels. A crop takes 28 · 28 · channels numbers of two
bytes: 400 kB at width 1, 25 kB at width 1/16."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import STRIDE, SiamFC
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.devices import choose_device
from esiamfc_lib.training.pairs import PairDataset

FEATURES, FACTS = "stem.npy", "stem.json"
CELLS = 28  # a side of the stem's features of a crop
BATCH = 16  # crops per forward pass
FIRST = (SEARCH_SIZE - EXEMPLAR_SIZE) // 2 // STRIDE  # cell at which the exemplar's begin
EXEMPLAR = slice(FIRST, FIRST + 12)


class StemFeatures(NamedTuple):
    """Features of every crop: float16 (crops, 28, 28, channels), read from the disk as needed; and
    their SHA-256."""

    values: np.ndarray
    digest: str


def keep_stem_features(
    store: CropStore, model: SiamFC, folder: str | Path, device: str = "auto"
) -> StemFeatures:
    """Compute and keep the features of all crops by the baseline, in fp32; whole or not at all.

    ``folder`` gets ``stem.npy`` and, when that is complete, ``stem.json``.

    A StudyError: the disk is full, or a feature does not fit into float16."""
    folder, sha = Path(folder), hashlib.sha256()
    shape = (len(store), CELLS, CELLS, model.stem.channels)
    header = {"descr": "<f2", "fortran_order": False, "shape": shape}

    def stream(file: BinaryIO) -> None:
        # not through a memory map: there a full disk kills the process
        np.lib.format.write_array_header_1_0(file, header)
        for found in _computed(store, model, device):
            data = found.tobytes()
            file.write(data)
            sha.update(data)

    with refused(f"{folder}: the stem's features cannot be kept", OSError):
        (folder / FACTS).unlink(missing_ok=True)
        files.write_atomically(folder / FEATURES, stream)
    facts = {"weights": checkpoints.digest(model.stem.state_dict()), "store": store.digest}
    facts |= {"shape": shape, "digest": sha.hexdigest()}
    files.write_atomically(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    return StemFeatures(np.load(folder / FEATURES, mmap_mode="r"), facts["digest"])


def _computed(store: CropStore, model: SiamFC, device: str) -> Iterator[np.ndarray]:
    """float16 (n, 28, 28, channels) of successive crops."""
    chosen = choose_device(device)
    stem = folded(model).stem.to(chosen, memory_format=torch.channels_last)
    tracks = np.repeat(np.arange(len(store.tracks)), np.diff(store.index.offset))
    room = np.empty((BATCH, SEARCH_SIZE, SEARCH_SIZE, 3), np.uint8)
    starts = range(0, len(store), BATCH)
    for first in progress(starts, "stem features", total=len(starts), unit="batch"):
        rows = range(first, min(first + BATCH, len(store)))
        for i, row in enumerate(rows):
            store.read_row_into(room[i], int(tracks[row]), row)
        images = torch.from_numpy(room[: len(rows)]).to(chosen).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            found = stem(images).permute(0, 2, 3, 1).half().cpu().numpy()
        if not np.isfinite(found).all():
            said = f"crops {first} to {rows[-1]}: the stem's features are too large for float16"
            raise StudyError(f"{said}: set embedding.keep_stem to false")
        yield found


def find_stem_features(
    folder: str | Path, store: CropStore, model: SiamFC | ESiamFC, *, augmentation: str
) -> StemFeatures | None:
    """What ``keep_stem_features`` left in ``folder``; None where there is nothing, or where images
    are needed. A ``StudyError`` where it is damaged, or of another store or stem."""
    file = Path(folder) / FACTS
    if not file.is_file() or augmentation != "none":
        return None
    again = "run 'esiamfc run --force embedding'"
    with refused(f"{file}: the stem's features are damaged, {again}"):
        facts = json.loads(file.read_text(encoding="utf-8"))
        values = np.load(file.with_name(FEATURES), mmap_mode="r", allow_pickle=False)
        sound = list(values.shape) == facts["shape"] and values.dtype == np.float16
        crops, stem, digest = (facts[name] for name in ("store", "weights", "digest"))
    if not sound:
        raise StudyError(f"{file}: {FEATURES} beside it has another shape: {again}")
    if crops != store.digest or stem != checkpoints.digest(model.stem.state_dict()):
        raise StudyError(f"{file} is of other crops or of another stem: {again}")
    return StemFeatures(values, digest)


class FeaturePairs(PairDataset):
    """The pairs of ``PairDataset``, given as features of the stem instead of pixels.
    ``PairBatch.exemplar`` is float16 (B, C, 12, 12) then, ``search`` (B, C, 28, 28)."""

    def __init__(
        self, features: StemFeatures, store: CropStore, tracks: np.ndarray | None = None, **options
    ):
        super().__init__(store, tracks, **options)
        self.features = features

    def allocate(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Memory for features: float16 (..., 12, 12, C) and (..., 28, 28, C)."""
        c = self.features.values.shape[-1]
        sides = EXEMPLAR.stop - EXEMPLAR.start, CELLS
        return tuple(torch.empty((*shape, side, side, c), dtype=torch.float16) for side in sides)

    def read_into(
        self, exemplars: np.ndarray, searches: np.ndarray, numbers: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the features of the pairs ``numbers``; as ``PairDataset.read_into``."""
        pairs, values = self.pairs(numbers), self.features.values
        for i in range(len(numbers)):
            exemplars[i] = values[pairs["exemplar"][i], EXEMPLAR, EXEMPLAR]
            searches[i] = values[pairs["search"][i]]
        return pairs["track"], pairs["positive"], np.asarray(numbers)


def pairs_of(
    kept: StemFeatures | None, store: CropStore, tracks: np.ndarray | None = None, **options
) -> PairDataset:
    """Pairs as features where they are kept, else as pixels; arguments as for ``PairDataset``."""
    if kept is None:
        return PairDataset(store, tracks, **options)
    return FeaturePairs(kept, store, tracks, **options)
