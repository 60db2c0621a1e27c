"""The network for many trackers at once: one batch of search regions, each with its own exemplar.

On a GPU the stem and the branches are captured as a CUDA graph for each size of batch (a power of
two), so that a step is one launch and not dozens; batches in between are filled up.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.siamfc import SiamFCTracker


class BatchedNetwork:
    """Responses for clones of one tracker.

    Args:
        engine: the one that they share.
        graphs: whether to use CUDA graphs; None: on a GPU.
    """

    def __init__(self, engine: Engine, graphs: bool | None = None):
        self.engine = engine
        on_gpu = engine.device.type == "cuda"
        self.graphs = on_gpu and graphs is not False
        self.captured: dict[tuple[int, int], CapturedNetwork] = {}

    def __call__(self, trackers: list[SiamFCTracker], crops: list[np.ndarray]) -> np.ndarray:
        """Search regions of each tracker → their responses.

        Args:
            trackers: length t.
            crops: of each, uint8 (n, S, S, 3); n and S are the same for all.

        Returns:
            float32 (t, n, R, R).
        """
        n = len(crops[0])
        with torch.inference_mode():
            branch = self._network(np.concatenate(crops))
            # Trackers with the same branches share their batch.
            groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
            for i, tracker in enumerate(trackers):
                groups[tracker.active_branches].append(i)
            responses: list = [None] * len(trackers)
            for active, members in groups.items():
                rows = [i * n + scale for i in members for scale in range(n)]
                rows = None if len(groups) == 1 else torch.tensor(rows, device=self.engine.device)
                features = [branch(j, rows) for j in active]
                for at, i in enumerate(members):
                    mine = slice(at * n, (at + 1) * n)
                    responses[i] = trackers[i].fused([f[mine] for f in features])
            return torch.stack(responses).float().cpu().numpy()

    def _network(self, batch: np.ndarray) -> Callable[[int, Tensor | None], Tensor]:
        """A function that gives the features of a branch for some rows of the batch, or all."""
        if not self.graphs:
            stem = self.engine.stem(self.engine.images(batch))
            return lambda j, rows: self.engine.branch(j, stem if rows is None else stem[rows])
        size, side = 1 << (len(batch) - 1).bit_length(), batch.shape[1]
        if (size, side) not in self.captured:
            self.captured[size, side] = CapturedNetwork(self.engine, size, side)
        features = self.captured[size, side](batch)
        return lambda j, rows: features[j][: len(batch)] if rows is None else features[j][rows]


class CapturedNetwork:
    """Stem and all branches as one CUDA graph for a fixed batch.

    Args:
        engine: on a CUDA device.
        size: of the batch.
        side: of the search regions, pixels.
    """

    def __init__(self, engine: Engine, size: int, side: int):
        self.staging = torch.zeros(size, side, side, 3, dtype=torch.uint8, pin_memory=True)
        self.crops = self.staging.to(engine.device)
        self.graph = torch.cuda.CUDAGraph()

        def run() -> list[Tensor]:
            images = self.crops.permute(0, 3, 1, 2).to(engine.dtype)
            stem = engine.stem(images)
            return [engine.branch(j, stem) for j in range(engine.k)]

        # Libraries choose their kernels in the first runs, which must not be part of a capture.
        with torch.cuda.device(engine.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(3):
                    run()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(self.graph):
                self.features = run()

    def __call__(self, batch: np.ndarray) -> list[Tensor]:
        """uint8 (n, S, S, 3), n at most the size → (size, C, h, w) of every branch.

        The tensors are overwritten by the next call; rows from n on mean nothing.
        """
        torch.cuda.current_stream(self.crops.device).synchronize()  # the last copy has ended
        self.staging[: len(batch)].copy_(torch.from_numpy(batch))
        self.crops.copy_(self.staging, non_blocking=True)
        self.graph.replay()
        return self.features
