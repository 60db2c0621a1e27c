"""Many sequences at once: every step advances each of them by one frame.

One tracker is cloned for every sequence; the clones share its network. On a GPU the search regions
of all sequences go through the network as one batch (``batched``), while the processor's cores cut,
decode ahead and find peaks. On a CPU a larger batch is no faster: there each sequence's search
regions stay a call of their own, one thread a core, and the boxes are bit for bit those of tracking
one by one.
"""

import copy
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

import numpy as np
import torch

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.tracking.batched import BatchedNetwork
from esiamfc_lib.tracking.siamfc import SiamFCTracker, Steps

AHEAD = 2  # frames of each sequence decoded before they are needed


def track_many(
    tracker: SiamFCTracker,
    sequences: Iterable[Sequence],
    slots: int = 0,
    workers: int = 0,
    together: bool | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Track any number of sequences; as ``tracker.track_sequence`` for each of them.

    Args:
        tracker: its own state is left alone.
        sequences: of any lengths.
        slots: how many are under way at once; 0: all. The next one starts where one has ended.
        workers: threads; 0: one a core.
        together: whether a step is one call of the network; None: on a GPU.

    Returns:
        boxes (n, 4) and seconds (n,) of every sequence, in order. The seconds are a step's,
        divided by the sequences that took part.

    Raises:
        StudyError: an unreadable frame, a first box that is none.
    """
    sequences = list(sequences)
    results: list = [None] * len(sequences)
    for i, boxes, seconds in iterate_many(tracker, sequences, slots, workers, together):
        results[i] = boxes, seconds
    return results


def iterate_many(
    tracker: SiamFCTracker,
    sequences: Iterable[Sequence],
    slots: int = 0,
    workers: int = 0,
    together: bool | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """As ``track_many``; yields (index, boxes, seconds) of each sequence as soon as it ends."""
    sequences = list(sequences)
    if slots < 0 or workers < 0:
        raise StudyError(f"slots and workers are 0 or more, not {slots} and {workers}")
    slots = slots or max(len(sequences), 1)
    workers = workers or len(os.sched_getaffinity(0))
    together = tracker.engine.device.type != "cpu" if together is None else together
    # Long ones first, so that the last ones to run are not alone for long.
    waiting = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    count = torch.get_num_threads() if together else 1
    # Two pools, as decoding ahead must not hold up what the next step waits for.
    with (
        threads(count) as start_thread,
        ThreadPoolExecutor(workers, initializer=start_thread) as pool,
        ThreadPoolExecutor(workers, initializer=start_thread) as decoders,
    ):
        network = BatchedNetwork(tracker.engine) if together else None
        running: list[_Run] = []
        while waiting or running:
            while waiting and len(running) < slots:
                i = waiting.pop()
                running.append(_Run(copy.copy(tracker), sequences[i], i, decoders))
            began = perf_counter()
            if network is None:
                list(pool.map(_Run.advance, running))
            else:
                _advance_together(running, network, pool)
            share = (perf_counter() - began) / len(running)
            for run in running:
                run.seconds.append(share)
            for run in [run for run in running if run.ended]:
                yield run.index, np.stack(run.boxes), np.array(run.seconds)
            running = [run for run in running if not run.ended]


class _Run:
    """One sequence under way."""

    def __init__(
        self, tracker: SiamFCTracker, sequence: Sequence, index: int, decoders: ThreadPoolExecutor
    ):
        self.tracker, self.sequence, self.index = tracker, sequence, index
        self.decoders = decoders
        self.boxes: list[np.ndarray] = []
        self.seconds: list[float] = []
        self.decoded: list[Future] = []
        self.submitted = 0
        self._decode_ahead()

    @property
    def ended(self) -> bool:
        return len(self.boxes) == len(self.sequence)

    def image(self) -> np.ndarray:
        """The next frame."""
        image = self.decoded.pop(0).result()
        self._decode_ahead()
        return image

    def begin(self) -> None:
        """The first frame."""
        self.tracker.init(self.image(), self.sequence.boxes[0])
        self.boxes.append(self.sequence.boxes[0])

    def advance(self) -> None:
        """One frame, alone."""
        if self.boxes:
            self.boxes.append(self.tracker.update(self.image()))
        else:
            self.begin()

    def start(self) -> np.ndarray:
        """One frame, up to the first search regions."""
        self.steps: Steps = self.tracker.steps(self.image())
        return next(self.steps)

    def go_on(self, responses: np.ndarray) -> np.ndarray | None:
        """From responses to the next search regions, or None when the frame is done."""
        try:
            return self.steps.send(responses)
        except StopIteration as end:
            self.boxes.append(end.value)
            return None

    def _decode_ahead(self) -> None:
        while len(self.decoded) < AHEAD and self.submitted < len(self.sequence):
            frame = self.sequence.frames[self.submitted]
            self.decoded.append(self.decoders.submit(images.read_image, frame))
            self.submitted += 1


def _advance_together(runs: list[_Run], network: BatchedNetwork, pool: ThreadPoolExecutor) -> None:
    """One frame of every sequence; those that begin have no search regions yet."""
    new = [run for run in runs if not run.boxes]
    old = [run for run in runs if run.boxes]
    for run in new:  # their exemplars go through the network one by one, once a sequence
        run.begin()
    asked = list(zip(old, pool.map(_Run.start, old), strict=True))
    while asked:
        responses = network([run.tracker for run, _ in asked], [crops for _, crops in asked])
        runs = [run for run, _ in asked]
        following = pool.map(_Run.go_on, runs, responses)
        asked = [(run, crops) for run, crops in zip(runs, following, strict=True)
                 if crops is not None]  # fmt: skip
