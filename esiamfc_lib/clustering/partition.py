"""The split of the tracks into clusters, as notebook 04 hands it to notebooks 05 to 07."""

import numpy as np
import pandas as pd

from esiamfc_lib.clustering.centroids import Centroids, check_unit_rows
from esiamfc_lib.clustering.embedding import VideoFeatures
from esiamfc_lib.clustering.membership import COLUMNS, Partition
from esiamfc_lib.clustering.pikmeans import PIKMeans
from esiamfc_lib.errors import StudyError

METHODS = ("pikmeans", "kmeans", "random")


def cluster_tracks(
    features: VideoFeatures,
    method: str = "pikmeans",
    *,
    n_clusters: int = 6,
    kp: float = 0.005,
    ki: float = 0.005,
    tol_balance: float = 0.02,
    n_init: int = 10,
    max_iter: int = 500,
    stop: str = "balanced",
    seed: int = 0,
) -> Partition:
    """Split the tracks into clusters.

    Args:
        features: video features.
        method: ``"pikmeans"``; the controls ``"kmeans"`` (no balance) and ``"random"`` (equal
            sizes, tracks dealt out by chance).
        n_clusters ... stop: as of :class:`PIKMeans`, but that one cluster, which holds every track,
            is allowed. seed: of everything random.

    Raises:
        StudyError: more clusters than tracks, an unknown method, features that are no unit vectors.
    """
    x, n, stopped = features.features, len(features), ""
    if method not in METHODS:
        raise StudyError(f"method = {method!r}: must be one of {', '.join(METHODS)}")
    if n_clusters > n:
        raise StudyError(f"n_clusters = {n_clusters}, but there are only {n} tracks with features")
    check_unit_rows(x)
    if method == "random" or n_clusters == 1:
        labels = np.random.default_rng(seed).permutation(np.arange(n) % n_clusters)
        groups = (x[labels == j] for j in range(n_clusters))
        centres = np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])
    else:
        if method == "kmeans":
            kp = ki = 0.0
        fitted = PIKMeans(
            n_clusters,
            kp=kp,
            ki=ki,
            n_init=n_init,
            max_iter=max_iter,
            stop=stop,
            tol_balance=tol_balance,
            random_state=seed,
            normalise=False,
        ).fit(x)
        labels, centres, stopped = fitted.labels_, fitted.cluster_centers_, fitted.stop_reason_
    table = _membership_table(features.tracks, x, labels, centres)
    return Partition(table, centres.astype(np.float32), method, stopped)


def _membership_table(tracks, x, labels, centres) -> pd.DataFrame:
    """Every track's cluster and the nearest other one; the same where there is no other one."""
    table = Centroids(x).start(centres).distances()
    rows = np.arange(len(labels))
    others = table.copy()
    if len(centres) > 1:
        others[rows, labels] = np.inf
    second = others.argmin(axis=1)
    own, next_best = table[rows, labels].round(6), table[rows, second].round(6)
    return pd.DataFrame(dict(zip(COLUMNS, (tracks, labels, second, own, next_best), strict=True)))
