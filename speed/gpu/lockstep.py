"""The tracking loop for many sequences at once with all of it on the device: crops from frames that
lie there, network, up-sampling, peaks and the boxes' state. Nothing waits for the processor, so on
a GPU a step of all sequences is one CUDA graph.

The loop is that of ``tracking.siamfc`` (scales, penalty, window, limits) with its parameters, but
for the running update of the exemplar and local scales, which are off by default.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.networks.correlation import cross_correlation
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import STRIDE, SiamFC
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.siamfc import SIZE_RANGE, _bicubic, _cosine_window
from speed.gpu import timing
from speed.gpu.convolutions import reform

DEFAULTS = TrackingParameters()


class LockstepTracker:
    """``n`` sequences of one frame size, step by step.

    Args:
        model: a SiamFC, or an ESiamFC, whose cluster weights fuse its branches.
        precision: of the network, fp32 or bf16; state and peaks are in float64 and float32.
        uniform: weigh all branches alike.
        forms: of the convolutions, see ``convolutions.FORMS``; () as they are."""

    def __init__(
        self,
        model: SiamFC | ESiamFC,
        device: torch.device,
        precision: str = "fp32",
        parameters: TrackingParameters = DEFAULTS,
        uniform: bool = False,
        forms: tuple[str, ...] = (),
    ):
        self.engine = Engine(model, str(device), precision)
        if forms:
            reform(self.engine.model, forms)
        self.device, self.p, self.uniform = device, parameters, uniform
        p, steps = parameters, np.arange(parameters.scale_num) - parameters.scale_num // 2
        self.scales = self._float64(p.scale_step**steps)
        self.penalties = self._float64(np.where(steps == 0, 1.0, p.scale_penalty))
        cells = (p.search_size - p.exemplar_size) // STRIDE + 1
        self.enlarging = torch.from_numpy(_bicubic(cells, p.response_up)).to(device)
        self.window = torch.from_numpy(_cosine_window(cells * p.response_up)).to(device)
        # (0, 1, ... size - 1) about their middle, once for each size of a crop
        self.cells = {s: self._float64(np.arange(s) - (s - 1) / 2)
                      for s in (p.exemplar_size, p.search_size)}  # fmt: skip
        self.biases = self._float64([float(branch.bias) for branch in self.engine.branches])

    def _float64(self, values) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float64), device=self.device)

    @torch.inference_mode()
    def start(self, frames: Tensor, boxes: np.ndarray) -> None:
        """First frames, uint8 (n, H, W, 3) RGB on the device, and their boxes (n, 4), 0-based."""
        p, boxes = self.p, np.asarray(boxes, np.float64)
        self.center = self._float64(geometry.center(boxes))
        self.size = self._float64(boxes[:, 2:])
        sides = [geometry.context_side(w, h, p.context) for w, h in boxes[:, 2:]]
        self.side = self._float64(sides)
        self.least, self.most = (factor * self.side for factor in SIZE_RANGE)
        crops = self.crops(frames, self.side[:, None], p.exemplar_size)
        self.kernels, weights = self._exemplars(crops.to(self.engine.dtype))
        self.floor = (weights * self.biases).sum(1)

    def _exemplars(self, crops: Tensor) -> tuple[list[Tensor], Tensor]:
        """Kernels of every branch, float32 (n · scales, C, 6, 6) that hold its weight; the
        weights (n, k)."""
        model, k = self.engine.model, self.engine.k
        stem = model.stem(crops)
        if k == 1 or self.uniform:
            weights = torch.full((len(crops), k), 1 / k, device=self.device, dtype=torch.float64)
        else:
            weights = model.cluster_weights(stem).double()
        kernels = [
            branch(stem).float() * (branch.scale * weights[:, j].float())[:, None, None, None]
            for j, branch in enumerate(self.engine.branches)
        ]
        # once for every scale
        return [kernel.repeat_interleave(len(self.scales), 0) for kernel in kernels], weights

    @torch.inference_mode()
    def step(self, frames: Tensor) -> Tensor:
        """The next frames → boxes float64 (n, 4), 0-based."""
        return self.locate(self.respond(self.search_crops(frames)))

    def search_crops(self, frames: Tensor) -> Tensor:
        """(n · scales, 3, 255, 255) in the network's type."""
        return self.crops(frames, self._sides, self.p.search_size).to(self.engine.dtype)

    @property
    def _sides(self) -> Tensor:
        p = self.p
        return (self.side * p.search_size / p.exemplar_size)[:, None] * self.scales

    def crops(self, frames: Tensor, sides: Tensor, size: int) -> Tensor:
        """Squares of every frame about its centre: float32 (n · s, 3, size, size), channels last,
        of whole numbers 0 to 255, sequence by sequence. ``sides`` (n, s) in pixels of the frame.
        As ``geometry.crop``: bilinear; outside the frame its rounded mean colour."""
        (n, height, width, _), s = frames.shape, sides.shape[1]
        pixels = frames.permute(0, 3, 1, 2).float()
        border = pixels.mean((2, 3), dtype=torch.float64, keepdim=True).round().float()
        steps = (sides / size)[..., None] * self.cells[size]  # (n, s, size)
        x = (2 * (self.center[:, :1, None] + steps) + 1) / width - 1
        y = (2 * (self.center[:, 1:, None] + steps) + 1) / height - 1
        grid = torch.stack(
            [
                x[:, :, None, :].expand(n, s, size, size),
                y[:, :, :, None].expand(n, s, size, size),
            ],
            dim=-1,
        ).float()
        # Zeros outside, once the border's colour is taken away: OpenCV's constant border.
        grid = grid.view(n, s * size, size, 2)
        cut = F.grid_sample(pixels - border, grid, padding_mode="zeros", align_corners=False)
        cut = (cut + border).round_().view(n, 3, s, size, size).permute(0, 2, 3, 4, 1)
        return cut.reshape(n * s, size, size, 3).permute(0, 3, 1, 2)

    def respond(self, crops: Tensor) -> Tensor:
        """Fused responses float32 (n, scales, 17, 17), without bias."""
        stem, total = self.engine.stem(crops), None
        for j, kernel in enumerate(self.kernels):
            features = self.engine.branch(j, stem)
            response = cross_correlation(kernel, features)
            total = response if total is None else total + response
        return total.view(-1, len(self.scales), *total.shape[1:])

    def locate(self, responses: Tensor) -> Tensor:
        """As ``SiamFCTracker.locate``, of all sequences: the state moves, boxes (n, 4) return."""
        p, n = self.p, len(responses)
        responses = responses + self.floor.float()[:, None, None, None]
        large = self.enlarging @ responses @ self.enlarging.T
        peaks = large.flatten(2).amax(2)
        best = ((peaks - self.floor.float()[:, None]).double() * self.penalties).argmax(1)
        chosen = best[:, None]
        side = self._sides.gather(1, chosen)[:, 0]
        index = chosen[..., None, None].expand(n, 1, *large.shape[2:])
        response = large.gather(1, index)[:, 0]
        response = response - response.amin((1, 2), keepdim=True)
        response = response / (response.sum((1, 2), keepdim=True) + 1e-16)
        response = (1 - p.window_influence) * response + p.window_influence * self.window
        length = response.shape[-1]
        peak = response.flatten(1).argmax(1)
        column, row = peak % length, torch.div(peak, length, rounding_mode="floor")
        cells = (torch.stack([column, row], 1).double() - (length - 1) / 2) / p.response_up
        self.center += cells * STRIDE * (side / p.search_size)[:, None]
        growth = (1 - p.scale_lr) + p.scale_lr * self.scales[best]
        grown = torch.minimum(torch.maximum(self.side * growth, self.least), self.most)
        growth = grown / self.side
        self.size *= growth[:, None]
        self.side *= growth
        return torch.cat([self.center - (self.size - 1) / 2, self.size], 1)

    def stepper(self, frames: Tensor) -> Callable[[], Tensor]:
        """A step on frames that stay where they are, whatever they hold; on a GPU as a graph. The
        boxes that it returns lie in one place, and have to be copied before the next step."""
        if not timing.is_gpu(self.device):
            return lambda: self.step(frames)
        state = self.center, self.size, self.side
        before = [tensor.clone() for tensor in state]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.step(frames)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            boxes = self.step(frames)
        with torch.inference_mode():
            for tensor, was in zip(state, before, strict=True):
                tensor.copy_(was)

        def replay() -> Tensor:
            self.graph.replay()
            return boxes

        return replay


def track_all(
    model: SiamFC | ESiamFC,
    sequences: list[Sequence],
    device: torch.device,
    precision: str,
    workers: int,
    lying: list[Tensor] | None = None,
    **options,
) -> list[np.ndarray]:
    """Boxes (n, 4) of every sequence, all of them in lock-step; frames are read from their files,
    unless they are ``lying`` on the device (``Lockstep.on_device``). ``options``: of
    ``LockstepTracker``."""
    run = Lockstep(LockstepTracker(model, device, precision, **options), sequences)
    if lying is not None:
        return run.boxes(iter(lying))
    with ThreadPoolExecutor(workers) as pool:
        return run.boxes(run.from_files(pool))


class Lockstep:
    """Sequences of one frame size under one tracker. Those that have ended stay with their last
    frame, and what is found there is dropped."""

    def __init__(self, tracker: LockstepTracker, sequences: list[Sequence]):
        self.tracker, self.sequences = tracker, sequences
        self.device = tracker.device
        self.steps = max(len(one) for one in sequences)
        first = images.read_image(sequences[0].frames[0])
        shape = (len(sequences), *first.shape)
        self.room = torch.zeros(shape, dtype=torch.uint8, device=self.device)

    def boxes(self, frames: Iterator[Tensor]) -> list[np.ndarray]:
        """Run from the first frames to the last; ``frames`` are uint8 (n, H, W, 3) each."""
        found = torch.zeros(self.steps, len(self.sequences), 4, dtype=torch.float64,
                            device=self.device)  # fmt: skip
        first = np.stack([one.boxes[0] for one in self.sequences])
        found[0] = torch.from_numpy(first)
        self.room.copy_(next(frames), non_blocking=True)
        self.tracker.start(self.room, first)
        step = self.tracker.stepper(self.room)
        for t, these in enumerate(frames, start=1):
            self.room.copy_(these, non_blocking=True)
            found[t].copy_(step())
        values = found.cpu().numpy()
        return [values[: len(one), i] for i, one in enumerate(self.sequences)]

    def from_files(self, pool: ThreadPoolExecutor, ahead: int = 2) -> Iterator[Tensor]:
        """Frames decoded by the pool, the next ones while the device works on these."""
        pinned = timing.is_gpu(self.device)
        rooms = [torch.empty(self.room.shape, dtype=torch.uint8, pin_memory=pinned)
                 for _ in range(ahead + 1)]  # fmt: skip
        copied: dict[int, torch.cuda.Event] = {}

        def begin(t: int) -> tuple:
            place = t % len(rooms)
            if place in copied:
                copied.pop(place).synchronize()  # the device has its copy
            out = rooms[place].numpy()
            jobs = [pool.submit(read, one, t, out[i]) for i, one in enumerate(self.sequences)]
            return place, jobs

        def read(one: Sequence, t: int, out: np.ndarray) -> None:
            file = one.frames[min(t, len(one) - 1)]
            images.decode_into(out, images.read_bytes(file), str(file))

        waiting = deque(begin(t) for t in range(min(ahead, self.steps)))
        for t in range(self.steps):
            place, jobs = waiting.popleft()
            for job in jobs:
                job.result()
            yield rooms[place]
            if pinned:
                copied[place] = torch.cuda.Event()
                copied[place].record()
            if t + ahead < self.steps:
                waiting.append(begin(t + ahead))

    def on_device(self, pool: ThreadPoolExecutor) -> list[Tensor]:
        """All frames in the device's memory."""
        return [frames.to(self.device, copy=True) for frames in self.from_files(pool)]


def lying(sequences: list[Sequence], run) -> list[Tensor]:
    """All frames of sequences in the memory of a run's device."""
    tracker = LockstepTracker(SiamFC(1 / 96).eval(), run.device)
    with ThreadPoolExecutor(run.cores) as pool:
        return Lockstep(tracker, sequences).on_device(pool)
