"""All crops of a store, decoded, in the device's memory: a training then waits for no loader.

A crop takes 195 kB; the store of a real training here takes 10 GB. What the whole of
ILSVRC2015-VID takes, 215 GB, is more than one card has: there the JPEG bytes may lie (20 to 50 GB),
and be decoded on the device.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.training.pairs import PairDataset
from speed.gpu.run import Run

ROUND = 2048  # crops that are decoded and copied at once
MIDDLE = slice((SEARCH_SIZE - EXEMPLAR_SIZE) // 2, (SEARCH_SIZE + EXEMPLAR_SIZE) // 2)
PAIRS = {"frame_range": 100, "negative_fraction": 0.0, "hard_negatives": False}


class Resident:
    """``pixels``: uint8 (crops, 255, 255, 3) RGB on the device, in the order of the store."""

    def __init__(self, store: CropStore, run: Run):
        tracks = np.repeat(np.arange(len(store.index.track_id)), np.diff(store.index.offset))
        shape = len(store), SEARCH_SIZE, SEARCH_SIZE, 3
        self.pixels = torch.empty(shape, dtype=torch.uint8, device=run.device)
        room = torch.empty((min(ROUND, len(store)), *shape[1:]), dtype=torch.uint8)
        out = room.numpy()
        with ThreadPoolExecutor(run.cores) as pool:
            for first in range(0, len(store), ROUND):
                rows = range(first, min(first + ROUND, len(store)))

                def read(row: int, first: int = first) -> None:
                    store.read_row_into(out[row - first], int(tracks[row]), row)

                list(pool.map(read, rows))
                self.pixels[first : rows.stop] = room[: len(rows)].to(run.device)

    def images(self, exemplar: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B,) int64 on the device → uint8 (B, 3, 127, 127) and (B, 3, 255, 255), both
        channels last: no copy of pixels but one."""
        whole = self.pixels.index_select(0, exemplar)[:, MIDDLE, MIDDLE]
        return whole.permute(0, 3, 1, 2), self.pixels.index_select(0, search).permute(0, 3, 1, 2)


def rows_of(
    store: CropStore, tracks: np.ndarray, count: int, batch: int, seed: int, device: torch.device
) -> Tensor:
    """The crops' rows of ``count`` pairs in batches, as the library draws them: int64 (steps, 2,
    batch); an incomplete last batch is dropped."""
    steps = max(1, count // batch)
    pairs = PairDataset(store, tracks, length=steps * batch, seed=seed, **PAIRS)
    drawn = pairs.pairs(np.arange(steps * batch))
    both = np.stack([drawn["exemplar"], drawn["search"]]).reshape(2, steps, batch)
    return torch.from_numpy(both.transpose(1, 0, 2).copy()).to(device)


def gpu_decoder(device: torch.device) -> Callable[[list[Tensor]], list[Tensor]]:
    """torchvision's JPEG decoder on the device: uint8 bytes (n,) → uint8 (3, H, W) each.

    An ImportError, or what torchvision raises: it is not there, or has no nvJPEG."""
    from torchvision.io import ImageReadMode, decode_jpeg

    def decode(files: list[Tensor]) -> list[Tensor]:
        return decode_jpeg(files, mode=ImageReadMode.RGB, device=device)

    return decode
