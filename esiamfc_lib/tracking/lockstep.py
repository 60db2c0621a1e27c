"""Many sequences at once: every step advances each of them by one frame.

One tracker is cloned for every sequence; the clones share its network. On a GPU the search regions
of all sequences go through the network as one batch, while the processor's cores decode ahead, cut
and find peaks. On a CPU a larger batch is no faster: there each sequence's search regions stay a
call of their own, one thread per core, and the boxes are bit for bit those of tracking one by one.
"""

import copy
import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from time import perf_counter

import numpy as np
import torch

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.tracking.siamfc import SiamFCTracker

SLOTS = 64  # sequences at once: their frames ahead have to fit into memory
AHEAD = 2  # frames of each sequence decoded before they are needed


def track_many(
    tracker: SiamFCTracker,
    sequences: Iterable[Sequence],
    slots: int = SLOTS,
    together: bool | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """``tracker.track_sequence`` for any number of sequences; ``tracker`` itself is left alone.
    ``slots`` sequences are under way at once; ``together``: whether a step is one call of the
    network (None: on a GPU). Yields (index, boxes (n, 4), seconds (n,)) of each sequence as soon as
    it ends; the seconds are a step's, divided by the sequences that took part."""
    sequences = list(sequences)
    cores = len(os.sched_getaffinity(0))
    together = tracker.engine.device.type != "cpu" if together is None else together
    together = together and not tracker.parameters.local_scales  # which ask the network twice
    # Long ones first, so that the last ones to run are not alone for long.
    waiting = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    # Two pools, as decoding ahead must not hold up what the next step waits for.
    with (
        threads(torch.get_num_threads() if together else 1) as start_thread,
        ThreadPoolExecutor(cores, initializer=start_thread) as pool,
        ThreadPoolExecutor(cores, initializer=start_thread) as decoders,
    ):
        running: list[_UnderWay] = []
        while waiting or running:
            while waiting and len(running) < slots:
                i = waiting.pop()
                running.append(_UnderWay(i, copy.copy(tracker), sequences[i], decoders))
            began = perf_counter()
            if together:
                _advance_together(running, pool)
            else:
                list(pool.map(_UnderWay.advance, running))
            share = (perf_counter() - began) / len(running)
            for one in running:
                one.seconds.append(share)
                if one.ended:
                    yield one.index, np.stack(one.boxes), np.array(one.seconds)
            running = [one for one in running if not one.ended]


class _UnderWay:
    """One sequence, its own tracker, and the boxes so far."""

    def __init__(self, index: int, tracker: SiamFCTracker, sequence: Sequence, pool: Executor):
        self.index, self.tracker, self.sequence = index, tracker, sequence
        self.images = images.of_one_size(sequence.frames, _decoded_ahead(sequence.frames, pool))
        self.boxes, self.seconds = [], []

    @property
    def ended(self) -> bool:
        return len(self.boxes) == len(self.sequence)

    def advance(self) -> None:
        image = next(self.images)
        if self.boxes:
            self.boxes.append(self.tracker.update(image))
        else:
            self.tracker.begin(image, self.sequence)
            self.boxes.append(self.sequence.boxes[0])

    def search_crops(self) -> np.ndarray:
        self.image = next(self.images)
        return self.tracker.search_crops(self.image)

    def locate(self, responses: np.ndarray) -> None:
        self.boxes.append(self.tracker.locate(self.image, responses))


def _advance_together(running: list[_UnderWay], pool: Executor) -> None:
    """One frame of every sequence, with one call of the network for all of them."""
    later = [one for one in running if one.boxes]
    for one in running:
        if not one.boxes:  # their exemplars go through the network one by one, once a sequence
            one.advance()
    if later:
        crops = list(pool.map(_UnderWay.search_crops, later))
        responses = _respond([one.tracker for one in later], crops)
        list(pool.map(_UnderWay.locate, later, responses))


def _respond(trackers: list[SiamFCTracker], crops: list[np.ndarray]) -> np.ndarray:
    """``SiamFCTracker.respond`` for t clones of one tracker: crops of each → (t, n, R, R)."""
    engine, n = trackers[0].engine, len(crops[0])
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, tracker in enumerate(trackers):
        groups[tracker.active_branches].append(i)
    responses: list = [None] * len(trackers)
    with torch.inference_mode():
        stem = engine.stem(engine.images(np.concatenate(crops)))
        for active, members in groups.items():  # those with the same branches share their batch
            rows = [i * n + scale for i in members for scale in range(n)]
            own = stem if len(groups) == 1 else stem[torch.tensor(rows, device=stem.device)]
            features = [engine.branch(j, own) for j in active]
            for start, i in zip(range(0, len(rows), n), members, strict=True):
                responses[i] = trackers[i].fused([part[start : start + n] for part in features])
        return torch.stack(responses).float().cpu().numpy()


def _decoded_ahead(frames: Iterable[str], pool: Executor) -> Iterator[np.ndarray]:
    """The frames in order; the next ``AHEAD`` are being decoded meanwhile."""
    waiting: deque[Future] = deque()
    for frame in frames:
        waiting.append(pool.submit(images.read_image, frame))
        if len(waiting) > AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
