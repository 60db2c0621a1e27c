"""How much each branch counts, from the stem's features of the exemplar: three modules.

They differ in what they read: ``stem``, the published module; ``embedding``, one linear layer on
the embedding by which the tracks were clustered; ``distances``, a softmax over the distances to the
clusters' centres, which learns one number. The last two hold a frozen copy of the baseline's branch
and ``prices`` (k,), not learned by gradient, that are subtracted from the logits (see
``training.tasks.JointTask``)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.siamfc import Branch, SiamFC, channels, conv_block

FLOOR = 1e-12  # keeps the logarithm finite, as in clustering
GAIN = 3.0  # on unit vectors, with which they learn at the published module's learning rates


class ClusterWeights(nn.Module):
    """The fusion: how much each branch counts, from the exemplar alone. 7.38 million parameters at
    width 1 and k = 6. Source: the ESiamFC paper (doi 10.1007/s00521-022-06911-4)."""

    reads = "stem"

    def __init__(self, k: int, width: float = 1.0):
        super().__init__()
        sizes = [channels(n, width) for n in (256, 384, 512, 1024)]
        self.layers = nn.Sequential(
            *conv_block(sizes[0], sizes[1], 3, stride=2, padding=1),  # 12×12 → 6×6
            *conv_block(sizes[1], sizes[2], 3, stride=2, padding=1),  # → 3×3
            nn.Conv2d(sizes[2], sizes[3], 3),
            nn.ReLU(inplace=True),
        )  # → 1×1
        self.linear = nn.Linear(sizes[3], k, bias=False)
        self.temperature = 1.0

    def forward(self, stem_features: Tensor) -> Tensor:
        """(N, 256·width, 12, 12) stem features of the exemplar → (N, k) weights that sum to 1."""
        logits = self.linear(self.layers(stem_features).mean((2, 3))).float()
        return torch.softmax(logits / self.temperature, dim=1)


class EmbeddingWeights(nn.Module):
    """The same by one linear layer on the baseline's embedding."""

    reads = "embedding"

    def __init__(self, k: int, width: float = 1.0):
        super().__init__()
        self.branch = Branch(width)
        self.linear = nn.Linear(36 * self.branch.channels, k, bias=False)
        self.register_buffer("prices", torch.zeros(k))
        self.temperature = 1.0

    def take(self, baseline: SiamFC, centres: np.ndarray) -> None:
        """Copy what stays frozen: the baseline's branch and, where read, the (k, d) centres."""
        self.branch.load_state_dict(baseline.branch.state_dict())

    def train(self, mode: bool = True) -> "EmbeddingWeights":
        super().train(mode)
        self.branch.eval()  # it is frozen
        return self

    def logits(self, x: Tensor) -> Tensor:
        """(N, d) embedding of unit length → (N, k)."""
        return GAIN * self.linear(x.to(self.linear.weight.dtype)).float()

    def forward(self, stem_features: Tensor) -> Tensor:
        """As ``ClusterWeights.forward``."""
        x = F.normalize(self.branch(stem_features).float().flatten(1), dim=1)
        return torch.softmax(self.logits(x) / self.temperature - self.prices.float(), dim=1)


class DistanceWeights(EmbeddingWeights):
    """softmax(-d / T) over the distances d = -log((x·c + 1) / 2) to the centres; ``log_t``, log(T)
    / 3, is learned. T begins at what one centre is nearer to itself than to the others."""

    reads = "distances"

    def __init__(self, k: int, width: float = 1.0):
        super().__init__(k, width)
        self.register_buffer("centres", torch.zeros_like(self.linear.weight))
        self.linear, self.log_t = None, nn.Parameter(torch.zeros(1))

    def take(self, baseline: SiamFC, centres: np.ndarray) -> None:
        super().take(baseline, centres)
        if centres.shape != self.centres.shape:
            raise StudyError(f"centres {centres.shape} for cluster weights of {self.centres.shape}")
        self.centres.copy_(torch.from_numpy(centres))
        apart = self.distances(F.normalize(self.centres, dim=1))
        nearer = (apart - apart.diagonal()[:, None]).sum() / max(apart.numel() - len(apart), 1)
        self.log_t.data.fill_(float(nearer.clamp(min=1e-3).log()) / GAIN)

    def distances(self, x: Tensor) -> Tensor:
        """(N, d) embedding of unit length → (N, k) distances to the centres, always in float32."""
        with torch.autocast(x.device.type, enabled=False):
            return -((x @ self.centres.float().T + 1) / 2).clamp(min=FLOOR).log()

    def logits(self, x: Tensor) -> Tensor:
        return -self.distances(x) / (GAIN * self.log_t.float()).exp()


MODULES = {each.reads: each for each in (ClusterWeights, EmbeddingWeights, DistanceWeights)}
