"""The ensemble: one stem, k branches, and the cluster weights that fuse them."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.cluster_weights import MODULES
from esiamfc_lib.networks.siamfc import Branch, SiamFC, Stem, initialise

EXEMPLARS = 64  # in one batch of exemplar_weights


class ESiamFC(nn.Module):
    """The ensemble: one stem, k branches, and the module that weighs them, which ``kind`` names of
    ``cluster_weights.MODULES``."""

    def __init__(self, k: int, width: float = 1.0, seed: int = 0, kind: str = "stem"):
        super().__init__()
        self.k, self.width = k, width
        self.stem = Stem(width)
        self.branches = nn.ModuleList(Branch(width) for _ in range(k))
        self.cluster_weights = MODULES[kind](k, width)
        initialise(self, torch.Generator().manual_seed(seed))

    @classmethod
    def assembled(
        cls, base_trackers: list[SiamFC], seed: int = 0, kind: str = "stem", **frozen
    ) -> "ESiamFC":
        """An ensemble of copies of the base trackers; its cluster weights are new. ``frozen``: what
        other kinds ``take``. A ``StudyError`` if the base trackers do not share one stem."""
        model = cls(len(base_trackers), base_trackers[0].width, seed, kind)
        stem = base_trackers[0].stem.state_dict()
        for j, tracker in enumerate(base_trackers):
            own = tracker.stem.state_dict()
            if not all(torch.equal(stem[name], own[name]) for name in stem):
                said = f"base trackers 0 and {j} have different stems"
                raise StudyError(f"{said}: all branches of an ensemble must come from one baseline")
            model.branches[j].load_state_dict(tracker.branch.state_dict())
        model.stem.load_state_dict(stem)
        if kind != "stem":
            model.cluster_weights.take(**frozen)
        return model

    def base_tracker(self, j: int) -> SiamFC:
        """Branch ``j`` on the shared stem, as a SiamFC of its own (copies)."""
        model = SiamFC(self.width)
        model.stem.load_state_dict(self.stem.state_dict())
        model.branch.load_state_dict(self.branches[j].state_dict())
        return model.train(self.training)

    def responses(self, z: Tensor, x: Tensor, branches: Iterable[Branch] = ()) -> Tensor:
        """The stem's features of exemplar (N or 1, C, 12, 12) and search region (N, C, 28, 28) →
        responses of all branches, or of others, (N, k, 17, 17)."""
        parts = [*branches] or self.branches
        return torch.stack([branch.response(branch(z), branch(x)) for branch in parts], 1)

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """Exemplar (N or 1, 3, 127, 127), search (N, 3, 255, 255) → fused response (N, 17, 17)."""
        z = self.stem(exemplar)
        return fuse(self.responses(z, self.stem(search)), self.cluster_weights(z))


def branches_of(model: SiamFC | ESiamFC) -> list[Branch]:
    """All branches of a network; a SiamFC has one."""
    return list(model.branches) if isinstance(model, ESiamFC) else [model.branch]


def averaged(networks: Iterable[SiamFC]) -> SiamFC:
    """A network whose tensors are the means of theirs, BatchNorm's statistics included."""
    networks = list(networks)
    mean = AveragedModel(networks[0], use_buffers=True)
    for network in networks:
        mean.update_parameters(network)
    return mean.module


def soup(model: ESiamFC) -> SiamFC:
    """The stem with the mean of all branches in weight space (Wortsman et al. 2022)."""
    return averaged(model.base_tracker(j) for j in range(model.k))


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
