"""Training pairs: two crops of one track, not far apart in time (Bertinetto et al. 2016, 4.1).

Which pair stands at place ``index`` of epoch ``epoch`` is a pure function of (seed, epoch, index):
it depends neither on the number of workers nor on where a run was interrupted. Pixels travel as
uint8; what floating point there is, augmentation included, happens on the device (``augment``).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from esiamfc_lib.errors import StudyError
from esiamfc_lib.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.store import CropStore

WEIGHTS = ("video", "track", "length")


class PairBatch(NamedTuple):
    """A batch of B pairs, as it comes from the loader.

    Attributes:
        exemplar: uint8 (B, 3, 127 + 2m, 127 + 2m) RGB, m the dataset's margin.
        search: uint8 (B, 3, 255, 255) RGB. Both are channels_last in memory.
        track: int64 (B,) track index of the exemplar.
        positive: bool (B,); False: the search image shows another video's object.
        number: int64 (B,) the pair's number, from which its augmentation is drawn.
    """

    exemplar: torch.Tensor
    search: torch.Tensor
    track: torch.Tensor
    positive: torch.Tensor
    number: torch.Tensor

    def to(self, device: torch.device | str) -> "PairBatch":
        """The batch on a device."""
        return PairBatch(*(tensor.to(device, non_blocking=True) for tensor in self))


def uniform(seed: int, numbers: np.ndarray, draws: int) -> np.ndarray:
    """Random numbers in [0, 1) as a pure function of (seed, number, draw): float64 (n, draws).

    A counter passed through the finaliser of SplitMix64 (Steele, Lea and Flood 2014): for a batch
    it costs a few microseconds, where one generator a pair would cost more than reading a crop.
    """
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


def split_videos(videos: Sequence[str], fraction: float, seed: int) -> tuple[set[str], set[str]]:
    """Divide videos into training and validation: no video is on both sides.

    Args:
        videos: names, in any order and with repetitions.
        fraction: share that is kept for validation; at least one video if above 0.
        seed: of the choice.

    Returns:
        Names for training and names for validation.

    Raises:
        StudyError: nothing would be left for training.
    """
    names = sorted(set(videos))
    count = max(round(fraction * len(names)), 1) if fraction > 0 else 0
    if count >= len(names):
        raise StudyError(f"{len(names)} videos cannot be divided with validation_fraction = "
                         f"{fraction}: nothing is left for training")
    kept = np.random.default_rng([seed, len(names)]).permutation(len(names))[:count]
    validation = {names[i] for i in kept}
    return set(names) - validation, validation


def split_tracks(store: CropStore, fraction: float, seed: int,
                 members: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Divide tracks into training and validation, by video: see ``split_videos``.

    The training videos of the whole store are divided, whatever the members: all stages of a study
    then agree on which videos none of them has learned from. Videos of the ``val`` split, where the
    store holds them, are always held out.

    Args:
        store: the crops.
        fraction, seed: as for ``split_videos``.
        members: indices of the tracks that take part, for example of one cluster; None = all.

    Returns:
        Indices of training tracks and of validation tracks, ascending.
    """
    tracks = store.tracks
    chosen = np.arange(len(tracks)) if members is None else np.sort(members)
    held_out = split_videos(tracks.loc[tracks["split"] == "train", "video"], fraction, seed)[1]
    kept = (tracks["video"].isin(held_out) | (tracks["split"] == "val")).to_numpy()[chosen]
    return chosen[~kept], chosen[kept]


class PairDataset(Dataset):
    """The pairs of a set of tracks, in batches.

    Item numbers count through the epochs: pair ``i`` of epoch ``e`` is number ``e * length + i``.

    Args:
        store: the crops.
        tracks: indices of the tracks to draw from; None = all. Only these are ever drawn.
        length: pairs an epoch.
        seed: of the sampling.
        frame_range: largest distance of the two frames, in frame numbers.
        weights: ``video``: uniform over videos, then over the video's tracks (the paper);
            ``track``: uniform over tracks; ``length``: in proportion to their number of crops.
        negative_fraction: share of pairs whose search image comes from another video.
        hard_negatives: take it from a video of the same class where there is one.
        margin: extra pixels around the exemplar, for stretching it on the device.

    Raises:
        StudyError: no track, or a parameter out of range.
    """

    def __init__(self, store: CropStore, tracks: np.ndarray | None = None, *, length: int,
                 seed: int = 0, frame_range: int = 100, weights: str = "video",
                 negative_fraction: float = 0.0, hard_negatives: bool = False, margin: int = 0):
        self.store, self.length, self.seed, self.frame_range = store, length, seed, frame_range
        self.negative_fraction, self.hard_negatives = negative_fraction, hard_negatives
        if weights not in WEIGHTS:
            raise StudyError(f"weights are {', '.join(WEIGHTS)}, not {weights!r}")
        if length < 1 or frame_range < 1 or not 0 <= negative_fraction <= 1:
            raise StudyError(f"length = {length} and frame_range = {frame_range} must be at least "
                             f"1, negative_fraction = {negative_fraction} between 0 and 1")
        if not 0 <= margin <= (SEARCH_SIZE - EXEMPLAR_SIZE) // 2:
            raise StudyError(f"margin = {margin}: the crop has "
                             f"{(SEARCH_SIZE - EXEMPLAR_SIZE) // 2} pixels around the exemplar")
        index = store.index
        if tracks is None:
            tracks = np.arange(len(index.track_id))
        tracks = np.sort(np.asarray(tracks, dtype=np.int64))
        if not len(tracks):
            raise StudyError("no tracks to draw pairs from")
        self.tracks = tracks
        self.margin = margin
        self._offset = index.offset
        # Frame numbers made to ascend over all tracks, so that one search finds any track's range.
        track_of = np.repeat(np.arange(len(index.track_id)), np.diff(index.offset))
        self._stride = int(index.frame.max(initial=0)) + 2 * frame_range + 2
        self._position = track_of * self._stride + index.frame
        self._video = index.track_video[tracks]
        self._name = np.unique(index.track_name[tracks], return_inverse=True)[1]
        self._cumulative = np.cumsum(self._weights(weights))
        self._cumulative /= self._cumulative[-1]

    def _weights(self, weights: str) -> np.ndarray:
        """Probability of each track, up to a factor."""
        if weights == "length":
            return np.diff(self._offset)[self.tracks].astype(np.float64)
        if weights == "track":
            return np.ones(len(self.tracks))
        _, place, count = np.unique(self._video, return_inverse=True, return_counts=True)
        return 1.0 / count[place]

    def __len__(self) -> int:
        return self.length

    def pairs(self, numbers: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
        """Which crops the pairs ``numbers`` show.

        Returns:
            ``track``, ``exemplar`` (row of the crop), ``other`` (track of the search image),
            ``search`` (row), ``positive``: arrays of len(numbers).
        """
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
            other[i], search[i], positive[i] = self._negative(place[i], track[i], search[i],
                                                              draws[i, 4])
        return {"track": track, "exemplar": exemplar, "other": other, "search": search,
                "positive": positive}

    def _negative(self, place: int, track: int, search: int,
                  draw: float) -> tuple[int, int, bool]:
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

    def __getitem__(self, number: int) -> PairBatch:
        """One pair, as a batch of one."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: list[int]) -> PairBatch:
        """The pairs ``numbers`` as one batch, decoded into its memory."""
        pairs, count = self.pairs(numbers), len(numbers)
        inner = EXEMPLAR_SIZE + 2 * self.margin
        cut = slice((SEARCH_SIZE - inner) // 2, (SEARCH_SIZE + inner) // 2)
        exemplars, searches = _pixels(count, inner), _pixels(count, SEARCH_SIZE)
        into_exemplars, into_searches = exemplars.numpy(), searches.numpy()
        read = self.store.read_row
        for i in range(count):
            into_exemplars[i] = read(pairs["track"][i], pairs["exemplar"][i])[cut, cut]
            into_searches[i] = read(pairs["other"][i], pairs["search"][i])
        return PairBatch(exemplars.permute(0, 3, 1, 2), searches.permute(0, 3, 1, 2),
                         torch.from_numpy(pairs["track"]), torch.from_numpy(pairs["positive"]),
                         torch.tensor(numbers, dtype=torch.int64))


def _pixels(count: int, size: int) -> torch.Tensor:
    """Room for a batch of images; in a worker, in memory that the trainer sees as well."""
    if get_worker_info() is None:
        return torch.empty((count, size, size, 3), dtype=torch.uint8)
    storage = torch.UntypedStorage._new_shared(count * size * size * 3, device="cpu")
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(count, size, size, 3)


class PairLoader:
    """Batches of a ``PairDataset``, epoch by epoch; worker processes live as long as the loader.

    With ``world`` training processes every one takes its own equal part of each batch, so that
    together they see exactly the batches of a single process.

    Args:
        dataset: the pairs.
        batch_size: pairs a step over all training processes; an incomplete last batch is dropped,
            unless it is the only one.
        workers: loading processes; 0 = in this process.
        pin_memory: page-lock the batches (for a GPU).
        rank, world: this training process and their number.
        prefetch: batches that each worker prepares ahead.
    """

    def __init__(self, dataset: PairDataset, batch_size: int, workers: int = 0, *,
                 pin_memory: bool = False, rank: int = 0, world: int = 1, prefetch: int = 2):
        if batch_size < world or batch_size % world:
            raise StudyError(f"batch_size = {batch_size} cannot be divided over {world} processes")
        self.dataset, self.batch_size = dataset, batch_size
        self._rank, self._world = rank, world
        self._from: tuple[int, int] = (0, 0)
        # "fork" shares the store's index and mapping with the workers at no cost.
        self._loader = DataLoader(
            dataset, batch_sampler=_Numbers(self), num_workers=workers, pin_memory=pin_memory,
            collate_fn=_as_it_is, persistent_workers=workers > 0,
            prefetch_factor=prefetch if workers else None,
            worker_init_fn=_one_thread if workers else None,
            multiprocessing_context="fork" if workers else None)

    def __len__(self) -> int:
        """Batches an epoch."""
        return max(self.dataset.length // self.batch_size, 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[PairBatch]:
        """The batches of an epoch, from batch ``start`` on (to go on after an interruption)."""
        self._from = (epoch, start)
        return iter(self._loader)

    def numbers(self) -> Iterator[list[int]]:
        """Pair numbers of this process's batches in the epoch that was asked for last."""
        epoch, start = self._from
        size = min(self.batch_size, self.dataset.length)
        for batch in range(start, len(self)):
            first = epoch * self.dataset.length + batch * size
            yield list(range(first + self._rank, first + size, self._world))


class _Numbers:
    """The loader's numbers as torch wants them: an object that can be iterated anew each epoch."""

    def __init__(self, loader: PairLoader):
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[list[int]]:
        return self._loader.numbers()


def _as_it_is(batch: PairBatch) -> PairBatch:
    return batch


def _one_thread(worker: int) -> None:
    """Workers are the parallelism; threads of their own would compete with the training."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def pair_loader(dataset: PairDataset, batch_size: int, workers: int = 0, **options) -> PairLoader:
    """A ``PairLoader``; ``options`` as there."""
    return PairLoader(dataset, batch_size, workers, **options)
