"""The ensemble: one stem, k branches, and the cluster weights that fuse them."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.siamfc import Branch, SiamFC, Stem, channels, conv_block, initialise

EXEMPLARS = 64  # in one batch of exemplar_weights


class ClusterWeights(nn.Module):
    """The fusion: how much each branch counts, from the exemplar alone. 7.38 million parameters at
    width 1 and k = 6. Source: the ESiamFC paper (doi 10.1007/s00521-022-06911-4)."""

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


class ESiamFC(nn.Module):
    """The ensemble: one stem, k branches, and the module that weighs them."""

    def __init__(self, k: int, width: float = 1.0, seed: int = 0):
        super().__init__()
        self.k, self.width = k, width
        self.stem = Stem(width)
        self.branches = nn.ModuleList(Branch(width) for _ in range(k))
        self.cluster_weights = ClusterWeights(k, width)
        initialise(self, torch.Generator().manual_seed(seed))

    @classmethod
    def assembled(cls, base_trackers: list[SiamFC], seed: int = 0) -> "ESiamFC":
        """An ensemble of copies of the base trackers; its cluster weights are new. A ``StudyError``
        if the base trackers do not share one stem."""
        model = cls(len(base_trackers), base_trackers[0].width, seed)
        stem = base_trackers[0].stem.state_dict()
        for j, tracker in enumerate(base_trackers):
            own = tracker.stem.state_dict()
            if not all(torch.equal(stem[name], own[name]) for name in stem):
                raise StudyError(
                    f"base trackers 0 and {j} have different stems: all branches of "
                    "an ensemble must come from one baseline"
                )
            model.branches[j].load_state_dict(tracker.branch.state_dict())
        model.stem.load_state_dict(stem)
        return model

    def base_tracker(self, j: int) -> SiamFC:
        """Branch ``j`` on the shared stem, as a SiamFC of its own (copies)."""
        model = SiamFC(self.width)
        model.stem.load_state_dict(self.stem.state_dict())
        model.branch.load_state_dict(self.branches[j].state_dict())
        return model.train(self.training)

    def responses(self, z: Tensor, x: Tensor) -> Tensor:
        """The stem's features of exemplar (N or 1, C, 12, 12) and search region (N, C, 28, 28) →
        responses of all branches (N, k, 17, 17)."""
        return torch.stack([branch.response(branch(z), branch(x)) for branch in self.branches], 1)

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """Exemplar (N or 1, 3, 127, 127), search (N, 3, 255, 255) → fused response (N, 17, 17)."""
        z = self.stem(exemplar)
        return fuse(self.responses(z, self.stem(search)), self.cluster_weights(z))


def branches_of(model: SiamFC | ESiamFC) -> list[Branch]:
    """All branches of a network; a SiamFC has one."""
    return list(model.branches) if isinstance(model, ESiamFC) else [model.branch]


def exemplar_weights(model: ESiamFC, exemplars: Iterable[np.ndarray]) -> np.ndarray:
    """(n, k) float32: the weights that an ensemble (on the CPU, in eval mode) gives its branches
    for each exemplar, uint8 (127, 127, 3) RGB."""
    exemplars, rows = iter(exemplars), []
    while batch := list(islice(exemplars, EXEMPLARS)):
        images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            rows.append(model.cluster_weights(model.stem(images)).numpy())
    return np.concatenate(rows)


def fuse(responses: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the branches: (N, k, H, W) and (N or 1, k) → (N, H, W)."""
    return (responses * weights[:, :, None, None]).sum(1)
