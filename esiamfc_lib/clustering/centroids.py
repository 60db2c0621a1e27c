"""The samples of a clustering: products with the centres, in NumPy or torch, with or without Gram.

PIk-means needs the samples ``x`` only through the products of every sample with every centre. There
are two ways to them:

- **directly**: the centres are means of rows of ``x`` and the products are ``x @ centres.T``, made
  in chunks of rows. Nothing larger than a chunk and an n × k table is held beside the data, so that
  a memory-mapped array of any length works.
- **through the Gram matrix** ``x @ x.T``: the products of all samples with a centre are the mean of
  rows of that matrix. It costs one large multiplication, after which no iteration touches the data
  again, and any number of runs, with any k, can share it.

Both keep the sums of rows and only add and take away the rows whose label changed, which are read
where they lie: no copy of them is made.

NumPy arrays and torch tensors (CUDA included) run through the same lines: the few operations used
have the same names in both. Large NumPy arrays are handed to torch without a copy: its products of
a long and a narrow matrix are faster.
"""

import warnings

import numpy as np
import torch
from torch.nn.functional import embedding_bag

from esiamfc_lib.errors import StudyError

CHUNK_BYTES = 64 << 20  # rows that are worked on at a time
GRAM_ROWS = 1024  # of the Gram matrix that are made at a time
DOUBLE_BYTES = 64 << 20  # data up to this size are computed with in float64
UNIT_TOLERANCE = 1e-3  # how far from 1 the length of a "unit" row may be
FLOOR = 1e-12  # keeps the logarithm finite for a sample opposite to a centre


class ClusteringError(StudyError, ValueError):
    """The data or parameters of a clustering are unusable."""


def namespace(array):
    """The library an array belongs to: ``torch`` for tensors, else NumPy."""
    return torch if isinstance(array, torch.Tensor) else np


def to_numpy(array) -> np.ndarray:
    """A NumPy array of the same values, on the host."""
    return np.asarray(array) if namespace(array) is np else array.detach().cpu().numpy()


def distances(products):
    """``-log((x·c + 1) / 2)``: 0 for equal unit vectors, without bound for opposite ones."""
    xp = namespace(products)
    return -xp.log(xp.clip((products + 1.0) * 0.5, FLOOR, None))


def row_norms(x) -> np.ndarray:
    """(n,) Euclidean length of every row, float64."""
    norms = [to_numpy((x[rows] * x[rows]).sum(axis=1)) for rows in _chunks(x)]
    return np.sqrt(np.concatenate(norms).astype(np.float64))


def check_unit_rows(features, where: str = "features") -> None:
    """Raise unless every row is finite and of unit length.

    Raises:
        ClusteringError: names ``where``, the first row at fault and its length.
    """
    norms = row_norms(features)
    bad = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
    if bad.any():
        row = int(bad.argmax())
        raise ClusteringError(
            f"{where}: row {row} has length {norms[row]:.6g}, but rows must be finite unit vectors"
        )


def gram(x):
    """``x @ x.T``, the matrix that several runs on the same samples can share.

    Args:
        x: (n, d) unit rows, NumPy array or torch tensor.

    Returns:
        (n, n) of the same type; n² numbers must fit into memory.
    """
    like, x = x, _prepared(x)
    if namespace(x) is np:
        return x @ x.T
    n = len(x)
    matrix = x.new_empty((n, n))
    for start in range(0, n, GRAM_ROWS):  # the upper half; the lower one is its mirror image
        stop = min(start + GRAM_ROWS, n)
        matrix[start:stop, start:] = x[start:stop] @ x[start:].T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T
    return to_numpy(matrix) if namespace(like) is np else matrix


class Centroids:
    """Samples and the current centres of one run.

    Args:
        x: (n, d) floating-point rows of unit length.
        gram_matrix: what :func:`gram` returned for ``x``, or None to work directly.
    """

    def __init__(self, x, gram_matrix=None):
        self.x = _prepared(x)
        self.xp = namespace(self.x)
        self.n = len(x)
        if gram_matrix is not None and tuple(gram_matrix.shape) != (self.n, self.n):
            raise ClusteringError(
                f"the Gram matrix has shape {tuple(gram_matrix.shape)}, made "
                f"from other data: there are {self.n} samples"
            )
        self.gram = None if gram_matrix is None else _prepared(gram_matrix, like=self.x)
        self._sums = None

    def start(self, centres) -> None:
        """Begin a run at ``centres`` (k, d)."""
        xp = self.xp
        self.k = len(centres)
        self._centres = xp.asarray(centres, dtype=self.x.dtype, device=self.x.device)
        self._sums = None
        self._labels = None

    def start_at(self, rows: np.ndarray) -> None:
        """Begin a run at the samples ``rows`` (k,): with the Gram matrix nothing is multiplied."""
        self.start(self.x[rows])
        if self.gram is not None:
            xp = self.xp
            self._sums = xp.asarray(self.gram[rows], dtype=xp.float64)
            self._sizes = xp.ones(self.k, dtype=xp.float64, device=self.x.device)

    def products(self):
        """(n, k) float64 products of every sample with every centre.

        A NumPy array, column by column in memory, or a tensor on the device where that is not the
        host: what is done with a table as small as this is faster in NumPy.
        """
        xp = self.xp
        if self.gram is not None and self._sums is not None:
            table = (self._sums / self._sizes[:, None]).T
        else:
            table = xp.concatenate(
                [
                    xp.asarray(self.x[rows] @ self._centres.T, dtype=xp.float64)
                    for rows in _chunks(self.x)
                ]
            )
        return np.asfortranarray(to_numpy(table)) if _on_host(table) else table

    def move(self, labels, sizes) -> None:
        """Move every centre to the mean of its samples; no cluster may be empty.

        Args:
            labels: (n,) cluster of every sample, array or tensor. sizes: (k,) samples in each.
        """
        xp = self.xp
        labels = xp.asarray(labels, device=self.x.device)
        rows_of = self.x if self.gram is None else self.gram
        changed = None if self._labels is None else xp.argwhere(labels != self._labels)[:, 0]
        if changed is None or len(changed) > self.n // 2:  # then all rows in turn are read sooner
            self._sums = self._sum(rows_of, labels)
        elif len(changed):
            self._sums += self._change(rows_of, changed, labels[changed], self._labels[changed])
        self._labels = labels
        self._sizes = xp.asarray(sizes, dtype=xp.float64, device=self.x.device)
        if self.gram is None:
            self._centres = xp.asarray(self._sums / self._sizes[:, None], dtype=self.x.dtype)

    def means(self, labels, sizes) -> np.ndarray:
        """(k, d) float64 centres of the given clusters, summed afresh from the samples."""
        labels = self.xp.asarray(labels, device=self.x.device)
        return to_numpy(self._sum(self.x, labels)) / np.asarray(sizes, np.float64)[:, None]

    def _sum(self, matrix, labels):
        """(k, columns) float64 sums of the rows of ``matrix`` by label."""
        xp = self.xp
        total = xp.zeros((self.k, matrix.shape[1]), dtype=xp.float64, device=self.x.device)
        clusters = xp.arange(self.k, device=self.x.device)[:, None]
        for part in _chunks(matrix):
            total += xp.asarray(clusters == labels[part], dtype=matrix.dtype) @ matrix[part]
        return total

    def _change(self, matrix, rows, to, before):
        """(k, columns) float64: ``rows`` of ``matrix`` added to the sums of the clusters ``to`` and
        taken away from those of the clusters ``before``, both as long as ``rows``."""
        if self.xp is np:
            clusters = np.arange(self.k)[:, None]
            weights = np.subtract(clusters == to, clusters == before, dtype=matrix.dtype)
            return sum(weights[:, part] @ matrix[rows[part]] for part in _chunks(matrix, len(rows)))
        clusters, order = torch.cat([to, before]).sort(stable=True)
        first = torch.searchsorted(clusters, torch.arange(self.k, device=clusters.device))
        signs = matrix.new_ones(len(order))
        signs[order >= len(rows)] = -1
        return embedding_bag(
            rows.repeat(2)[order], matrix, first, mode="sum", per_sample_weights=signs
        ).double()


def _prepared(x, like=None):
    """Small data in float64, where it costs nothing; large data as they are, as torch tensors.

    Args:
        x: (n, d) array or tensor. like: what it is to be computed with, if anything.
    """
    if like is not None:
        return x if namespace(x) is namespace(like) else _tensor(x)
    if _small(x):
        return namespace(x).asarray(x, dtype=namespace(x).float64)
    return _tensor(x)


def _on_host(x) -> bool:
    return namespace(x) is np or x.device.type == "cpu"


def _small(x) -> bool:
    return x.shape[0] * x.shape[1] * 8 <= DOUBLE_BYTES


def _tensor(x) -> torch.Tensor:
    if namespace(x) is torch:
        return x
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(x)


def _chunks(matrix, n: int | None = None) -> list[slice]:
    """Slices of consecutive rows; on an accelerator larger ones, as launching is what costs."""
    row = matrix.shape[1] * matrix.dtype.itemsize
    rows = max(1, (CHUNK_BYTES if _on_host(matrix) else 4 * CHUNK_BYTES) // row)
    n = len(matrix) if n is None else n
    return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]
