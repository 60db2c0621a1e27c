"""Training pairs: two crops of one track, not far apart in time (Bertinetto et al. 2016, 4.1).

Which pair stands at place ``index`` of epoch ``epoch`` is a pure function of (seed, epoch, index),
whatever the number of workers and wherever a run was interrupted. Pixels travel as uint8."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError


class PairBatch(NamedTuple):
    """A batch of B pairs, as it comes from the loader.

    Attributes:
        exemplar: uint8 (B, 3, 127 + 2m, 127 + 2m) RGB, m the dataset's margin.
        search: uint8 (B, 3, 255, 255) RGB. Both are channels_last in memory.
        track: int64 (B,) track index of the exemplar.
        positive: bool (B,); False: the search image shows another video's object.
        number: int64 (B,) the pair's number, from which its augmentation is drawn."""

    exemplar: torch.Tensor
    search: torch.Tensor
    track: torch.Tensor
    positive: torch.Tensor
    number: torch.Tensor

    def to(self, device: torch.device | str) -> "PairBatch":
        """The batch on a device."""
        return PairBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


def uniform(seed: int, numbers: np.ndarray, draws: int) -> np.ndarray:
    """Random numbers in [0, 1) as a pure function of (seed, number, draw): float64 (n, draws). A
    counter passed through the finaliser of SplitMix64 (Steele, Lea and Flood 2014): one generator a
    pair would cost more than reading a crop."""
    with np.errstate(over="ignore"):
        golden = np.uint64(0x9E3779B97F4A7C15)
        start = _mix(np.uint64(seed % 2**64) + golden)
        state = _mix(start ^ _mix(np.asarray(numbers).astype(np.uint64) * golden))
        state = _mix(state[:, None] + golden * np.arange(1, draws + 1, dtype=np.uint64))
    return (state >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class PairDataset(Dataset):
    """The pairs of a set of tracks, in batches.

    Item numbers count through the epochs: pair ``i`` of epoch ``e`` is number ``e * length + i``.

    Args:
        tracks: indices of the tracks to draw from; None = all. Only these are ever drawn.
        length: pairs per epoch.
        frame_range: largest distance of the two frames, in frame numbers.
        negative_fraction: share of pairs whose search image comes from another video.
        hard_negatives: take it from a video of the same class where there is one.
        margin: extra pixels around the exemplar, for stretching it on the device.

    A StudyError: no track, or a parameter out of range."""

    def __init__(
        self,
        store: CropStore,
        tracks: np.ndarray | None = None,
        *,
        length: int,
        frame_range: int,
        negative_fraction: float,
        hard_negatives: bool,
        seed: int = 0,
        margin: int = 0,
    ):
        self.store, self.length, self.seed, self.margin = store, length, seed, margin
        self.frame_range = frame_range
        self.negative_fraction, self.hard_negatives = negative_fraction, hard_negatives
        if length < 1 or frame_range < 1 or not 0 <= negative_fraction <= 1:
            said = f"length = {length} and frame_range = {frame_range} must be at least 1"
            raise StudyError(f"{said}, negative_fraction = {negative_fraction} between 0 and 1")
        around = (SEARCH_SIZE - EXEMPLAR_SIZE) // 2
        if not 0 <= margin <= around:
            raise StudyError(f"margin = {margin}: the crop has {around} pixels around the exemplar")
        index, every = store.index, np.arange(len(store.index.track_id))
        self.tracks = np.sort(np.asarray(every if tracks is None else tracks, dtype=np.int64))
        if not len(self.tracks):
            raise StudyError("no tracks to draw pairs from")
        self._offset = index.offset
        # Frame numbers made to ascend over all tracks, so that one search finds any track's range.
        stride = int(index.frame.max(initial=0)) + 2 * frame_range + 2
        self._position = np.repeat(every, np.diff(index.offset)) * stride + index.frame
        self._video = index.track_video[self.tracks]
        self._name = np.unique(index.track_name[self.tracks], return_inverse=True)[1]
        # Uniform over videos, then over the video's tracks, as in the paper.
        _, video, count = np.unique(self._video, return_inverse=True, return_counts=True)
        self._cumulative = np.cumsum(1.0 / count[video])
        self._cumulative /= self._cumulative[-1]

    def __len__(self) -> int:
        return self.length

    def pairs(self, numbers: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Which crops the pairs ``numbers`` show, as arrays of their length: ``track``,
        ``exemplar`` (row of the crop), ``other`` (track of the search image), ``search`` (row),
        ``positive``."""
        draws = uniform(self.seed, np.asarray(numbers), 5)
        place = np.searchsorted(self._cumulative, draws[:, 0], side="right")
        track = self.tracks[place]
        first, last = self._offset[track], self._offset[track + 1]
        exemplar = first + (draws[:, 1] * (last - first)).astype(np.int64)
        here = self._position[exemplar]
        low = np.maximum(np.searchsorted(self._position, here - self.frame_range), first)
        high = np.minimum(np.searchsorted(self._position, here + self.frame_range, "right"), last)
        # Any frame in reach but the exemplar's own; that one only where there is no other.
        step = (draws[:, 2] * (high - low - 1)).astype(np.int64)
        search = np.where(high - low > 1, low + step + (low + step >= exemplar), exemplar)
        positive = draws[:, 3] >= self.negative_fraction
        other = track.copy()
        for i in np.flatnonzero(~positive):
            found = self._negative(place[i], track[i], search[i], draws[i, 4])
            other[i], search[i], positive[i] = found
        rows = {"track": track, "exemplar": exemplar, "other": other, "search": search}
        return {**rows, "positive": positive}

    def _negative(self, place: int, track: int, search: int, draw: float) -> tuple[int, int, bool]:
        """Track and row of a crop from another video; the positive one where there is no other."""
        allowed = self._video != self._video[place]
        if self.hard_negatives and (allowed & (self._name == self._name[place])).any():
            allowed = allowed & (self._name == self._name[place])
        choice = self.tracks[allowed]
        if not len(choice):
            return track, search, True
        scaled = draw * len(choice)
        other = int(choice[int(scaled)])
        first, last = self._offset[other], self._offset[other + 1]
        return other, int(first + (scaled % 1) * (last - first)), False

    def __getitems__(self, numbers: Sequence[int]) -> PairBatch:
        """The pairs ``numbers`` as one batch."""
        exemplars, searches = self.allocate(len(numbers))
        facts = self.read_into(exemplars.numpy(), searches.numpy(), numbers)
        return batch_of((exemplars, searches), facts)

    def allocate(self, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Memory for pixels: uint8 (..., S, S, 3), S the side of exemplar and search image."""
        sides = EXEMPLAR_SIZE + 2 * self.margin, SEARCH_SIZE
        return tuple(torch.empty((*shape, side, side, 3), dtype=torch.uint8) for side in sides)

    def read_into(
        self, exemplars: np.ndarray, searches: np.ndarray, numbers: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode the pairs ``numbers`` into memory as of ``allocate``; returns their ``track``,
        ``positive`` and ``number``, as in ``PairBatch``."""
        pairs, read = self.pairs(numbers), self.store.read_row_into
        first = (SEARCH_SIZE - exemplars.shape[-2]) // 2
        cut = slice(first, first + exemplars.shape[-2])
        whole = np.empty((SEARCH_SIZE, SEARCH_SIZE, 3), np.uint8)
        for i in range(len(numbers)):
            read(whole, pairs["track"][i], pairs["exemplar"][i])
            exemplars[i] = whole[cut, cut]
            read(searches[i], pairs["other"][i], pairs["search"][i])
        return pairs["track"], pairs["positive"], np.asarray(numbers)


def batch_of(pixels: Iterable[torch.Tensor], facts: Iterable[np.ndarray]) -> PairBatch:
    """A batch from memory as of ``PairDataset.allocate`` and what ``read_into`` says of it."""
    images = (memory.permute(0, 3, 1, 2) for memory in pixels)
    return PairBatch(*images, *(torch.from_numpy(values) for values in facts))
