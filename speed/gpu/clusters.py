"""PIk-means with its products on the device: the control and the assignment stay the library's."""

import numpy as np
import torch

from esiamfc_lib.clustering.centroids import Centroids, distances
from esiamfc_lib.clustering.pikmeans import stratified


class TorchCentroids(Centroids):
    """As ``Centroids`` on the samples (not on their Gram matrix), in the type of ``x``, whose
    products and sums the device makes; distances and labels are NumPy's."""

    def __init__(self, x: np.ndarray, device: torch.device):
        super().__init__(x)
        self.samples = torch.from_numpy(np.ascontiguousarray(self.x)).to(device)

    def distances(self) -> np.ndarray:
        centres = torch.from_numpy(np.ascontiguousarray(self._centres)).to(self.samples)
        products = (self.samples @ centres.T).double().cpu().numpy()
        return distances(np.asfortranarray(products))

    def move(self, labels: np.ndarray, sizes: np.ndarray) -> None:
        self._labels, self._sizes = labels, sizes.astype(np.float64)
        self._sums = self._sum(self.x, labels)
        self._centres = np.asarray(self._sums / self._sizes[:, None], self.x.dtype)

    def _sum(self, matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
        belongs = torch.from_numpy(np.arange(self.k)[:, None] == labels).to(self.samples)
        return (belongs @ self.samples).double().cpu().numpy()


def starts(n: int, k: int, seed: int) -> np.ndarray:
    """(k,) samples at which a run begins."""
    return stratified(n, k, np.random.default_rng([seed, 0]))
