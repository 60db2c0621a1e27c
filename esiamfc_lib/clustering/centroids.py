"""Samples and centres of a clustering: products and distances, with or without a Gram matrix.

PIk-means needs the samples ``x`` only through their products with the centres. As centres are means
of rows, these are ``x @ centres.T`` or means of rows of the Gram matrix ``x @ x.T``: one large
multiplication, after which no iteration touches the data, and which all runs can share. Both ways
keep the sums of rows and only add and take away the rows whose label changed."""

import numpy as np
from sklearn.utils.extmath import row_norms

from esiamfc_lib.errors import StudyError

DOUBLE_BYTES = 64 << 20  # data up to this size are computed with in float64
UNIT_TOLERANCE = 1e-3  # how far from 1 the length of a "unit" row may be
FLOOR = 1e-12  # keeps the logarithm finite for a sample opposite to a centre


class ClusteringError(StudyError, ValueError):
    """The data or parameters of a clustering are unusable."""


def check_unit_rows(features: np.ndarray, where: str = "features") -> None:
    """Raise a ``ClusteringError`` that names ``where`` and the first row at fault, unless every
    row is finite and of unit length."""
    norms = row_norms(features)
    bad = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
    if bad.any():
        row = int(bad.argmax())
        said = f"{where}: row {row} has length {norms[row]:.6g}"
        raise ClusteringError(f"{said}, but rows must be finite unit vectors")


def distances(products: np.ndarray) -> np.ndarray:
    """``-log((x·c + 1) / 2)``: 0 for equal unit vectors, without bound for opposite ones."""
    return -np.log(np.maximum((products + 1.0) * 0.5, FLOOR))


def gram(x: np.ndarray) -> np.ndarray:
    """``x @ x.T`` (n, n) of unit rows, which several runs on the same samples can share."""
    x = _precise(x)
    return x @ x.T


class Centroids:
    """Samples ``x``, (n, d) float rows of unit length, and the current centres of one run. With
    ``gram_matrix``, what :func:`gram` returned for ``x``, it works on that."""

    def __init__(self, x: np.ndarray, gram_matrix: np.ndarray | None = None):
        self.x, self.gram = _precise(x), gram_matrix
        if gram_matrix is not None and gram_matrix.shape != (len(x), len(x)):
            shape = gram_matrix.shape
            raise ClusteringError(f"a Gram matrix {shape}, made from other data, not {len(x)} rows")

    def start(self, centres: np.ndarray) -> "Centroids":
        """Begin a run at ``centres`` (k, d)."""
        self.k = len(centres)
        self._centres = np.asarray(centres, self.x.dtype)
        self._sums, self._labels = None, np.full(len(self.x), -1)
        return self

    def start_at(self, rows: np.ndarray) -> None:
        """Begin a run at the samples ``rows`` (k,): with the Gram matrix nothing is multiplied."""
        self.start(self.x[rows])
        if self.gram is not None:
            self._sums, self._sizes = self.gram[rows].astype(np.float64), np.ones(self.k)

    def distances(self) -> np.ndarray:
        """(n, k) float64 distances of every sample to every centre, column by column in memory."""
        if self.gram is not None and self._sums is not None:
            products = (self._sums / self._sizes[:, None]).T
        else:
            products = np.asarray(self.x @ self._centres.T, np.float64)
        return distances(np.asfortranarray(products))

    def move(self, labels: np.ndarray, sizes: np.ndarray) -> None:
        """Move every centre to the mean of its samples: ``labels`` (n,), ``sizes`` (k,), none 0."""
        matrix = self.x if self.gram is None else self.gram
        before, self._labels, self._sizes = self._labels, labels, sizes.astype(np.float64)
        changed = np.flatnonzero(labels != before)
        if len(changed) > len(labels) // 2:  # all rows are read sooner
            self._sums = self._sum(matrix, labels)
        elif len(changed):
            clusters = np.arange(self.k)[:, None]
            joins, leaves = clusters == labels[changed], clusters == before[changed]
            self._sums += np.subtract(joins, leaves, dtype=matrix.dtype) @ matrix[changed]
        if self.gram is None:
            self._centres = np.asarray(self._sums / self._sizes[:, None], self.x.dtype)

    def means(self, labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(k, d) float64 centres of the given clusters, summed afresh from the samples."""
        return self._sum(self.x, labels) / np.asarray(sizes, np.float64)[:, None]

    def _sum(self, matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(k, columns) float64 sums of the rows of ``matrix`` by label."""
        belongs = np.arange(self.k)[:, None] == labels
        return np.asarray(belongs.astype(matrix.dtype) @ matrix, np.float64)


def _precise(x: np.ndarray) -> np.ndarray:
    """Small data in float64, where it costs nothing; large data as they are."""
    return x.astype(np.float64, copy=False) if x.size * 8 <= DOUBLE_BYTES else x
