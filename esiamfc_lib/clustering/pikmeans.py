"""PIk-means: k-means whose clusters are kept equal by a control of their sizes.

A sample joins the cluster with the smallest distance + control; the distance between unit vector x
and centre c is ``-log((x·c + 1) / 2)`` and centres are plain means. ``control`` holds the control
term and the loop, ``balance`` the exact re-assignment, ``samples`` the arithmetic.
"""

import warnings

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from esiamfc_lib.clustering.centroids import (
    UNIT_TOLERANCE,
    Centroids,
    ClusteringError,
    check_unit_rows,
    distances,
    gram,
    namespace,
    row_norms,
    to_numpy,
)
from esiamfc_lib.clustering.size_control import EASING, BalancedControl, PublishedControl, iterate

GRAM_RUNS = 5  # from this many runs on the Gram matrix is worth its price


class PIKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """Balanced spherical k-means with proportional–integral control of the cluster sizes.

    Args:
        n_clusters: k.
        kp, ki: proportional and integral gain, in units of distance. Both 0: plain spherical
            k-means, nothing is balanced.
        init: ``"stratified"`` (one random sample from each of k equal stretches of the data, the
            published way: tracks are ordered by video), ``"k-means++"``, or (k, d) centres.
        n_init: runs from different initialisations; the one with the smallest loss is kept. An
            array ``init`` is run once.
        max_iter: moves of the centres in one run, at most.
        stop: ``"balanced"`` or ``"labels"`` (the published rule); see ``control``.
        tol_balance: largest ``|size - mean| / mean`` of ``stop="balanced"``; the whole numbers
            next to the mean are always allowed.
        random_state: None, an int or a ``numpy.random.RandomState``.
        normalise: scale rows to unit length first; False: rows of another length are an error.

    Attributes:
        labels_: (n,) cluster of every sample.
        cluster_centers_: (k, d) plain means of the clusters' samples.
        control_: (k,) control term of the final assignment.
        sizes_: (k,) samples in every cluster.
        loss_: sum of squared distances of the samples to their centres.
        n_iter_: iterations of the run that was kept.
        history_: of that run, per iteration: ``loss`` (t,) after the centres moved, ``sizes``
            (t, k), ``control`` (t, k), ``changes`` (t,) labels that changed.
        converged_: whether the stopping rule was met; ``stop_reason_`` says how it ended.
        runs_: the loss of each run.

    Raises:
        ClusteringError: (a ``StudyError`` and a ``ValueError``) NaN or infinite features, rows that
            are not of unit length with ``normalise=False``, more clusters than samples or than
            different samples, a parameter out of range.
    """

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
        normalise=True,
    ):
        self.n_clusters = n_clusters
        self.kp = kp
        self.ki = ki
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.stop = stop
        self.tol_balance = tol_balance
        self.random_state = random_state
        self.normalise = normalise

    def fit(self, X, y=None, gram_matrix=None):
        """Cluster the rows of ``X``.

        Args:
            X: (n, d) array, memory map or torch tensor (computed with on its own device).
            y: ignored.
            gram_matrix: ``samples.gram(X)``, to share it between fits; by default it is made when
                there are many runs and it is no larger than the data.
        """
        self._check_parameters()
        x = self._validated(X, reset=True)
        n, k = len(x), self.n_clusters
        if n < k:
            raise ClusteringError(f"n_samples={n} must be at least n_clusters={k}")
        if _distinct(x, k) < k:
            raise ClusteringError(
                f"only {_distinct(x, k)} of {n} samples differ, too few for n_clusters={k}"
            )
        runs = 1 if not isinstance(self.init, str) else self.n_init
        if gram_matrix is None and runs >= GRAM_RUNS and n <= x.shape[1]:
            gram_matrix = gram(x)
        samples = Centroids(x, gram_matrix)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        best, self.runs_ = None, []
        for i in range(runs):
            self._start(samples, np.random.default_rng([seed, i]))
            one = iterate(samples, self._control(n), self.max_iter)
            self.runs_.append(one.loss)
            if best is None or one.loss < best.loss:
                best = one
        self.labels_ = best.labels
        self.sizes_ = np.bincount(best.labels, minlength=k)
        self.cluster_centers_ = samples.means(best.labels, self.sizes_)
        self.control_ = best.control
        self.loss_ = best.loss
        self.history_ = best.history
        self.n_iter_ = len(best.history["loss"])
        self.converged_, self.stop_reason_ = best.converged, best.reason
        self._n_features_out = k
        if not best.converged:
            warnings.warn(
                f"PIKMeans did not converge: {best.reason}", ConvergenceWarning, stacklevel=2
            )
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
        samples = Centroids(self._validated(X, reset=False))
        samples.start(self.cluster_centers_)
        return to_numpy(distances(samples.products()))

    def _check_parameters(self) -> None:
        for name, low in (
            ("n_clusters", 1),
            ("n_init", 1),
            ("max_iter", 1),
            ("kp", 0),
            ("ki", 0),
            ("tol_balance", 0),
        ):
            if not getattr(self, name) >= low:
                raise ClusteringError(f"{name}={getattr(self, name)!r} must be at least {low}")
        if self.stop not in ("balanced", "labels"):
            raise ClusteringError(f"stop={self.stop!r} must be 'balanced' or 'labels'")
        if isinstance(self.init, str) and self.init not in ("stratified", "k-means++"):
            raise ClusteringError(
                f"init={self.init!r} must be 'stratified', 'k-means++' or an array of centres"
            )

    def _validated(self, X, reset: bool):
        """Finite rows of unit length, of the array type and device they came in."""
        if namespace(X) is np:
            x = validate_data(
                self,
                X,
                dtype=[np.float64, np.float32],
                order="C",
                reset=reset,
                ensure_all_finite=True,
            )
        else:
            if X.ndim != 2 or not X.is_floating_point():
                raise ClusteringError(
                    "features must be a floating-point (n, d) tensor, not "
                    f"{X.dtype} of shape {tuple(X.shape)}"
                )
            if reset:
                self.n_features_in_ = X.shape[1]
            x = X
        norms = row_norms(x)
        if not np.isfinite(norms).all():
            raise ClusteringError(
                f"row {int((~np.isfinite(norms)).argmax())} of the features "
                f"holds NaN or infinite values"
            )
        if np.abs(norms - 1).max() <= UNIT_TOLERANCE:
            return x
        if not self.normalise:
            check_unit_rows(x)
        xp = namespace(x)
        norms[norms == 0] = 1.0  # a row of zeros is equally far from everything and stays
        return x / xp.asarray(norms[:, None], dtype=x.dtype, device=x.device)

    def _start(self, samples: Centroids, rng: np.random.Generator) -> None:
        """Begin a run at its first centres."""
        n, k = samples.n, self.n_clusters
        if isinstance(self.init, str):
            chosen = (
                stratified(n, k, rng) if self.init == "stratified" else plus_plus(samples, k, rng)
            )
            samples.start_at(chosen)
            return
        centres, expected = np.asarray(self.init, np.float64), (k, samples.x.shape[1])
        if centres.shape != expected:
            raise ClusteringError(f"init has shape {centres.shape}, expected {expected}")
        if not np.isfinite(centres).all():
            raise ClusteringError("init holds NaN or infinite values")
        samples.start(centres)

    def _control(self, n: int) -> PublishedControl | BalancedControl:
        if self.stop == "labels" or self.kp == self.ki == 0:
            return PublishedControl(self.kp, self.ki, self.n_clusters)
        return BalancedControl(
            self.kp,
            self.ki,
            n,
            self.n_clusters,
            self.tol_balance,
            easing=min(EASING, self.max_iter // 2),
        )


def _distinct(x, enough: int) -> int:
    """How many different rows there are, counted up to ``enough``."""
    seen: set[bytes] = set()
    for row in x:
        seen.add(to_numpy(row).tobytes())
        if len(seen) >= enough:
            break
    return len(seen)


def stratified(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """(k,) rows, one from each of k equal stretches of n, the published way to start."""
    return np.floor((np.arange(k) + rng.random(k)) * n / k).astype(int)


def plus_plus(samples: Centroids, k: int, rng: np.random.Generator) -> np.ndarray:
    """(k,) rows chosen one after another, with odds in proportion to the squared distance from
    those chosen before (k-means++)."""
    rows = [int(rng.integers(samples.n))]
    nearest = np.full(samples.n, np.inf)
    for _ in range(k - 1):
        samples.start_at(np.array(rows[-1:]))
        nearest = np.minimum(nearest, np.maximum(1 - to_numpy(samples.products())[:, 0], 0))
        odds = nearest / nearest.sum()
        rows.append(int(rng.choice(samples.n, p=odds)))
    return np.array(rows)
