"""Batches of training pairs, decoded in worker processes ahead of the training.

The order of the pairs is the dataset's, whatever the number of workers."""

import os
from collections.abc import Iterator, Sequence
from functools import partial

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from esiamfc_lib.config import TrainingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import devices
from esiamfc_lib.runtime.parallel import end_with
from esiamfc_lib.training.pairs import PairBatch, PairDataset, batch_of

PREFETCH = 2  # batches that each worker prepares ahead


def loader(dataset: PairDataset, parameters: TrainingParameters) -> "PairLoader":
    """Batches for ``fit``: this process's share of them, where ``torchrun`` started several."""
    rank, world = devices.rank_and_world()
    pin = devices.choose_device(parameters.device).type == "cuda"
    size, workers = parameters.batch_size, parameters.workers
    return PairLoader(dataset, size, workers, pin_memory=pin, rank=rank, world=world)


class PairLoader:
    """Batches of a ``PairDataset``, epoch by epoch; worker processes live as long as the loader.

    With ``world`` training processes, of which this is ``rank``, every one takes its own equal part
    of each batch, so that together they see exactly the batches of a single process.

    Args:
        batch_size: pairs per step over all training processes; an incomplete last batch is dropped,
            unless it is the only one.
        workers: loading processes; 0 = in this process.
        pin_memory: page-lock the batches (for a GPU)."""

    def __init__(
        self, dataset: PairDataset, batch_size: int, workers=0, *, pin_memory=False, rank=0, world=1
    ):
        if (size := min(batch_size, dataset.length)) % world:  # equal shares weigh pairs equally
            raise StudyError(f"batch_size = {batch_size}: {size} pairs do not divide by {world}")
        self._length, self._size, self._rank, self._world = dataset.length, size, rank, world
        self._pin, self._slots, options = pin_memory, None, {"pin_memory": pin_memory}
        if workers:
            self._slots = _Slots(dataset, size // world, workers)
            # "fork" shares the store's index and mapping, and the slots, at no cost. The slots see
            # to the pinning themselves.
            options = {"num_workers": workers, "persistent_workers": True}
            options |= {"prefetch_factor": PREFETCH, "multiprocessing_context": "fork"}
            options["worker_init_fn"] = partial(_one_thread, os.getpid())
        self._batches: list[range] = []  # numbers of this process's pairs in the next batches
        self._loader = DataLoader(
            self._slots or dataset,
            batch_sampler=self._batches,
            collate_fn=lambda batch: batch,
            **options,
        )

    def __len__(self) -> int:
        """Batches an epoch."""
        return self._length // self._size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[PairBatch]:
        """The batches of an epoch, from batch ``start`` on (to go on after an interruption)."""
        first, size = epoch * self._length, self._size
        begins = range(first, first + len(self) * size, size)[start:]
        self._batches[:] = [range(i + self._rank, i + size, self._world) for i in begins]
        batches = iter(self._loader)
        if self._slots is None:
            return batches
        return (self._slots.taken(*item, self._pin) for item in batches)


class _Slots(Dataset):
    """The dataset in worker processes: pixels go into memory that was shared before they began.
    Fresh shared memory for every batch would cost more than a third of the decoding in page faults.
    A worker fills its slots in turn. It is at most ``PREFETCH`` batches ahead of the one that the
    trainer copies out, so with two slots more than that none is overwritten too early."""

    def __init__(self, dataset: PairDataset, batch: int, workers: int):
        self.dataset, self.each, self._turn = dataset, PREFETCH + 2, 0
        self.exemplars, self.searches = (
            pixels.share_memory_() for pixels in dataset.allocate(workers * self.each, batch)
        )

    def __getitems__(self, numbers: Sequence[int]) -> tuple[int, tuple[np.ndarray, ...]]:
        """Slot of a batch, and what ``PairDataset.read_into`` says of it."""
        slot = get_worker_info().id * self.each + self._turn
        self._turn = (self._turn + 1) % self.each
        n = len(numbers)
        pixels = self.exemplars[slot, :n].numpy(), self.searches[slot, :n].numpy()
        return slot, self.dataset.read_into(*pixels, numbers)

    def taken(self, slot: int, facts: tuple[np.ndarray, ...], pin: bool) -> PairBatch:
        """The batch, in the trainer's own memory."""
        own = []
        for pixels in (self.exemplars, self.searches):
            of_batch = pixels[slot, : len(facts[0])]
            own.append(torch.empty(of_batch.shape, dtype=pixels.dtype, pin_memory=pin))
            # Not torch's copy: its threads would spin on, where the workers decode.
            np.copyto(own[-1].numpy(), of_batch.numpy())
        return batch_of(own, facts)


def _one_thread(parent: int, worker: int) -> None:
    """Workers are the parallelism; threads of their own would compete with the training."""
    end_with(parent)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
