"""The trackers of an ensemble: one branch alone, and all of them fused.

The weights of the branches are known after the first frame and stay. So a branch whose weight is
negligible need never run: **sparse fusion** keeps the ``top`` heaviest ones, or those of at least
``threshold``."""

import numpy as np
import torch
from torch import Tensor

from esiamfc_lib.config import Fusion
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.correlation import correlation
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import Branch, SiamFC
from esiamfc_lib.tracking.engine import checked_network
from esiamfc_lib.tracking.siamfc import SiamFCTracker


class BranchTracker(SiamFCTracker):
    """The shared stem with one branch alone; an ``engine`` is of ``model.base_tracker(branch)``."""

    def __init__(self, model: ESiamFC, branch: int, name: str = "", **options):
        if not 0 <= branch < checked_network(model, ESiamFC).k:
            raise StudyError(f"the ensemble has branches 0 to {model.k - 1}, not {branch}")
        super().__init__(model.base_tracker(branch), name=name or f"Branch {branch}", **options)


class ESiamFCTracker(SiamFCTracker):
    """The ensemble. The stem runs once a frame; one correlation serves all branches.

    Args:
        model: stem, branches and weights.
        fusion: how the branches' responses become one, a ``Fusion`` or its value.
        centroids: (k, d) unit cluster centres, for ``nearest_centroid``.
        embedder: the baseline whose features were clustered, for ``nearest_centroid``.
        top, threshold: with ``cluster_weight``, which branches run; see ``sparse``.
        options: ``parameters`` and ``engine`` of ``SiamFCTracker``.

    Attributes:
        fusion_weights: (k,) weights of the branches since ``init``, summing to 1, 0 for those that
            do not run; NaN for ``max``.
        active_branches: numbers of those that run."""

    network = ESiamFC

    def __init__(
        self,
        model: ESiamFC,
        fusion: Fusion = Fusion.CLUSTER_WEIGHT,
        centroids: np.ndarray | None = None,
        embedder: SiamFC | None = None,
        top: int = 0,
        threshold: float = 0.0,
        name: str = "",
        **options,
    ):
        super().__init__(model, name=name or f"ESiamFC {fusion}", **options)
        if fusion not in (known := [one for one in Fusion if one != Fusion.SOUP]):  # a SiamFC
            raise StudyError(f"fusion is one of {', '.join(known)}, not {fusion!r}")
        if (top or threshold) and fusion != Fusion.CLUSTER_WEIGHT:
            raise StudyError(f"top and threshold choose by cluster weights, not with {fusion!r}")
        if top < 0 or not 0 <= threshold <= 1:
            raise StudyError(f"top is 0 or more and threshold 0 to 1, not {top} and {threshold}")
        self.fusion, self.top, self.threshold = Fusion(fusion), top, threshold
        if fusion == Fusion.NEAREST_CENTROID:
            if centroids is None or embedder is None:
                raise StudyError("fusion nearest_centroid needs the centroids and the baseline")
            self.centroids = np.asarray(centroids, np.float32)
            self.embedder = self.engine.prepared(embedder)
            if self.centroids.ndim != 2 or len(self.centroids) != model.k:
                raise StudyError(f"centroids {self.centroids.shape} for {model.k} branches")

    def _kernel(self, exemplar: Tensor) -> Tensor:
        """Kernels of the branches that take part, side by side along the channels. The first one
        also sets ``fusion_weights``, once for the sequence."""
        stem = self.engine.model.stem(exemplar)
        if self.kernel is None:
            weights = sparse(self._weights(exemplar, stem), self.top, self.threshold)
            self.fusion_weights = weights
            # A branch without weight need not run.
            self.active_branches = tuple(np.flatnonzero(weights).tolist())
        # The weight goes into the kernel: the sum over channels is then the weighted sum.
        kernels = [
            branch(stem).float() * (1.0 if self.fusion == Fusion.MAX else weight * branch.scale)
            for branch, weight in self._parts
        ]
        return torch.cat(kernels, dim=1)

    def _weights(self, exemplar: Tensor, stem: Tensor) -> np.ndarray:
        k = self.engine.k
        if self.fusion == Fusion.CLUSTER_WEIGHT:
            return self.engine.model.cluster_weights(stem)[0].double().cpu().numpy()
        if self.fusion == Fusion.NEAREST_CENTROID:
            feature = self.embedder.features(exemplar).float().flatten().cpu().numpy()
            numbers, wanted = self.centroids.shape[1], len(feature)
            if numbers != wanted:
                raise StudyError(f"centroids have {numbers} numbers, features {wanted}")
            # -log((x·c + 1) / 2) is smallest where x·c is largest.
            return np.eye(k)[int(np.argmax(self.centroids @ feature))]
        return np.full(k, np.nan if self.fusion == Fusion.MAX else 1 / k)

    @property
    def _parts(self) -> list[tuple[Branch, float]]:
        branches, weights = self.engine.model.branches, self.fusion_weights
        return [(branches[j], float(weights[j])) for j in self.active_branches]

    def fused(self, features: list[Tensor]) -> Tensor:
        """Search features (n, C, h, w) of the active branches → fused response (n, h', w')."""
        if self.fusion != Fusion.MAX:
            return correlation(self.kernel, torch.cat(features, dim=1)) + self._floor()
        kernels = self.kernel.chunk(self.engine.k, dim=1)
        responses = [
            branch.scale * correlation(z, x) + branch.bias
            for branch, z, x in zip(self.engine.branches, kernels, features, strict=True)
        ]
        return torch.stack(responses).amax(dim=0)

    def _floor(self) -> float:
        if self.fusion == Fusion.MAX:
            return max(float(branch.bias) for branch in self.engine.branches)
        return sum(weight * float(branch.bias) for branch, weight in self._parts)


def sparse(weights: np.ndarray, top: int = 0, threshold: float = 0.0) -> np.ndarray:
    """(k,) weights with the negligible ones set to 0 and the rest scaled to the same sum. Only the
    ``top`` largest stay (0: all; of equals the first), and of those the ones that reach
    ``threshold``; the largest always does. Where nothing is cut, ``weights`` itself is returned.
    The scaling keeps the response a mean of the branches' and moves no box: the loop compares
    responses from their floor and normalises them before the window."""
    order = np.argsort(-weights, kind="stable")
    keep = weights >= threshold
    if top:
        keep[order[top:]] = False
    keep[order[0]] = True
    if keep.all() or (not threshold and not top):
        return weights
    kept = np.where(keep, weights, 0.0)
    return kept * (weights.sum() / kept.sum())
