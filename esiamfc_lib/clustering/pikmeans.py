"""PIk-means: k-means whose clusters are kept equal by a control of their sizes.

A sample joins the cluster with the smallest distance + control; the distance between unit vector x
and centre c is ``-log((x·c + 1) / 2)`` and centres are plain means. ``size_control`` holds the
control term and the loop, ``assignment`` the exact re-assignment, ``centroids`` the arithmetic.
Source: the balanced k-means of the ESiamFC paper (doi 10.1007/s00521-022-06911-4), by its code,
``feature_clust/data_cluster_balanced.m`` of github.com/conquerhuang/ESiamFC; ``stop="balanced"``
is this project's own."""

import warnings
from operator import attrgetter

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state
from sklearn.utils.extmath import row_norms
from sklearn.utils.validation import check_is_fitted, validate_data

from esiamfc_lib.clustering.centroids import UNIT_TOLERANCE, Centroids, ClusteringError, gram
from esiamfc_lib.clustering.size_control import EASING, BalancedControl, PublishedControl, iterate

STOPS = ("published", "balanced")
GRAM_RUNS = 5  # from this many runs on the Gram matrix is worth its price


class PIKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Balanced k-means of unit vectors; rows of another length are scaled first.

    Args:
        n_clusters: k. max_iter: moves of the centres in one run, at most.
        kp, ki: proportional and integral gain, in units of distance; both 0: the k-means of the
            published code, under the same distance (``size_control.Lloyd`` is the usual one).
        init: ``"stratified"`` (one random sample from each of k equal stretches of the data, the
            published way: tracks are ordered by video), or (k, d) centres.
        n_init: runs, of which the one with the smallest loss is kept; an array ``init`` runs once.
        stop: ``"published"``: when no label changes; ``"balanced"``: when every size is within
            ``tol_balance``, the largest ``|size - mean| / mean``, as well; see ``size_control``.
        random_state: None, an int or a ``numpy.random.RandomState``.

    Attributes:
        labels_: (n,) cluster of every sample; ``sizes_``: (k,) samples in every cluster.
        cluster_centers_: (k, d) plain means of the clusters' samples.
        control_: (k,) control term of the final assignment.
        loss_: sum of squared distances of the samples to their centres; ``runs_``: of each run.
        n_iter_: iterations of the run that was kept; ``history_``: of each ``loss`` (t,) after
            the centres moved, ``sizes`` and ``control`` (t, k), ``changes`` (t,) of labels.
        converged_: whether the stopping rule was met; ``stop_reason_``: how it ended, in words.

    A ClusteringError (a ``StudyError`` and a ``ValueError``): more clusters than samples, a
    parameter out of range. A ValueError: NaN or infinite features."""

    def __init__(
        self,
        n_clusters=6,
        *,
        kp=0.005,
        ki=0.005,
        init="stratified",
        n_init=10,
        max_iter=500,
        stop="balanced",
        tol_balance=0.02,
        random_state=None,
    ):
        self.n_clusters, self.max_iter, self.stop = n_clusters, max_iter, stop
        self.kp, self.ki, self.tol_balance = kp, ki, tol_balance
        self.init, self.n_init, self.random_state = init, n_init, random_state

    def fit(self, X, y=None, gram_matrix=None, control=None):
        """Cluster the rows of ``X`` (n, d); ``gram_matrix`` is ``centroids.gram(X)``, to share it
        between fits. By default it is made when there are many runs and it is no larger than the
        data. ``control``, such as the class ``size_control.Lloyd``, makes each run's control."""
        self._check_parameters()
        x = self._validated(X, reset=True)
        n, k = len(x), self.n_clusters
        if n < k:
            raise ClusteringError(f"n_samples={n} must be at least n_clusters={k}")
        runs = self.n_init if isinstance(self.init, str) else 1
        if gram_matrix is None and runs >= GRAM_RUNS and n <= x.shape[1]:
            gram_matrix = gram(x)
        samples = Centroids(x, gram_matrix)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        found = []
        for i in range(runs):
            self._start(samples, np.random.default_rng([seed, i]))
            steps = control(k, 0.0, 0.0, self.random_state) if control else self._control(n)
            found.append(iterate(samples, steps, self.max_iter))
        best, self.runs_ = min(found, key=attrgetter("loss")), [one.loss for one in found]
        self.labels_, self.control_, self.loss_ = best.labels, best.control, best.loss
        self.sizes_ = np.bincount(best.labels, minlength=k)
        self.cluster_centers_ = samples.means(best.labels, self.sizes_)
        self.history_, self.n_iter_ = best.history, len(best.history["loss"])
        self.converged_, self.stop_reason_ = best.converged, best.reason
        self._n_features_out = k
        if not best.converged:
            text = f"PIKMeans did not converge: {best.reason}"
            warnings.warn(text, ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X) -> np.ndarray:
        """(n,) cluster of every row: the smallest distance + control, as in training."""
        return (self._distances(X) + self.control_).argmin(axis=1)

    def transform(self, X) -> np.ndarray:
        """(n, k) distances of every row to every centre, without the control term."""
        table = self._distances(X)
        return table.astype(np.float32) if getattr(X, "dtype", None) == np.float32 else table

    def _distances(self, X) -> np.ndarray:
        check_is_fitted(self)
        return Centroids(self._validated(X, reset=False)).start(self.cluster_centers_).distances()

    def _check_parameters(self) -> None:
        least = {"n_clusters": 1, "n_init": 1, "max_iter": 1, "kp": 0, "ki": 0, "tol_balance": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                raise ClusteringError(f"{name}={getattr(self, name)!r} must be at least {low}")
        if self.stop not in STOPS:
            raise ClusteringError(f"stop={self.stop!r} must be one of {', '.join(STOPS)}")
        if isinstance(self.init, str) and self.init != "stratified":
            raise ClusteringError(f"init={self.init!r} must be 'stratified' or an array of centres")

    def _validated(self, X, reset: bool) -> np.ndarray:
        """Finite rows of unit length; one of zeros, equally far from everything, stays."""
        x = validate_data(self, X, dtype=[np.float64, np.float32], order="C", reset=reset)
        return x if np.abs(row_norms(x) - 1).max() <= UNIT_TOLERANCE else normalize(x)

    def _start(self, samples: Centroids, rng: np.random.Generator) -> None:
        """Begin a run at its first centres."""
        (n, d), k = samples.x.shape, self.n_clusters
        if isinstance(self.init, str):
            samples.start_at(stratified(n, k, rng))
            return
        centres = np.asarray(self.init, np.float64)
        if centres.shape != (k, d):
            raise ClusteringError(f"init has shape {centres.shape}, expected {(k, d)}")
        if not np.isfinite(centres).all():
            raise ClusteringError("init holds NaN or infinite values")
        samples.start(centres)

    def _control(self, n: int) -> PublishedControl:
        if self.stop == "published" or self.kp == self.ki == 0:
            return PublishedControl(self.n_clusters, self.kp, self.ki)
        easing = min(EASING, self.max_iter // 2)
        return BalancedControl(self.kp, self.ki, n, self.n_clusters, self.tol_balance, easing)


def stratified(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """(k,) rows, one from each of k equal stretches of n, the published way to start."""
    return np.floor((np.arange(k) + rng.random(k)) * n / k).astype(int)
