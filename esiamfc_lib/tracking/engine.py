"""What computes the features of search regions, in fp32 or bf16.

A tracker's network does two things. The first frame's exemplar goes through it once, in the
precision of its weights. Every later frame's search regions go through ``stem`` and those branches
that take part: that is where the time goes, and what an engine is for (another: tools/int8.py).
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def checked_network(model: SiamFC | ESiamFC, kind: type) -> SiamFC | ESiamFC:
    """The model; a ``StudyError`` if it is not of this kind, as the name of a file is not."""
    if not isinstance(model, kind):
        given = repr(model) if isinstance(model, str | Path) else f"of type {type(model).__name__}"
        load = "esiamfc_lib.Tracker.load(file) makes a tracker from a file"
        raise StudyError(f"model is of type {kind.__name__}, not {given}: {load}")
    return model


class Engine:
    """PyTorch in one of ``PRECISIONS``, on any device: BatchNorm folded, channels last. ``model``
    is a folded copy of the network, for exemplars; ``k`` the number of its branches."""

    def __init__(self, model: SiamFC | ESiamFC, device: str = "cpu", precision: str = "fp32"):
        if precision not in PRECISIONS:
            raise StudyError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.device, self.dtype = torch.device(device), PRECISIONS[precision]
        self.model = self.prepared(model)
        self.branches = branches_of(self.model)
        self.k = len(self.branches)

    def prepared(self, model: torch.nn.Module) -> torch.nn.Module:
        """A copy for inference."""
        model = folded(model).requires_grad_(False)
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)

    def exemplar(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → (n, 3, H, W) for ``model``, channels last, 0 to 255."""
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).to(self.dtype)

    def images(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → (n, 3, H, W) for ``stem``, channels last, 0 to 255."""
        return self.exemplar(crops)

    def stem(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) → what ``branch`` takes; 28×28 cells for S = 255."""
        return self.model.stem(images)

    def branch(self, j: int, stem: Tensor) -> Tensor:
        """Features (n, 256·width, 22, 22), fp32 or bf16, of the stem's output."""
        return self.branches[j](stem)
