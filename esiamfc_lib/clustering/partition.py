"""The split of the tracks into clusters, as notebook 04 hands it to notebooks 05 to 08."""

import numpy as np
import pandas as pd

from esiamfc_lib.clustering.centroids import Centroids, check_unit_rows
from esiamfc_lib.clustering.embedding import VideoFeatures
from esiamfc_lib.clustering.membership import COLUMNS, Partition
from esiamfc_lib.clustering.pikmeans import PIKMeans
from esiamfc_lib.errors import StudyError

METHODS = ("pikmeans", "kmeans", "random")


def cluster_tracks(
    features: VideoFeatures, method: str, *, n_clusters: int, seed: int, **settings
) -> Partition:
    """Split the tracks into ``n_clusters``; with 1, one cluster holds every track.

    The method is ``"pikmeans"`` or one of the controls ``"kmeans"`` (no balance) and ``"random"``
    (equal sizes, tracks dealt out by chance); the settings are those of :class:`PIKMeans`. More
    clusters than tracks, an unknown method and rows not of unit length are a ``StudyError``.
    """
    x, n, stopped = features.features, len(features), ""
    if method not in METHODS:
        raise StudyError(f"method = {method!r}: must be one of {', '.join(METHODS)}")
    if n_clusters > n:
        raise StudyError(f"n_clusters = {n_clusters}, but there are only {n} tracks with features")
    check_unit_rows(x)
    estimator = PIKMeans(n_clusters, random_state=seed, **settings)
    if method == "random" or n_clusters == 1:
        labels = np.random.default_rng(seed).permutation(np.arange(n) % n_clusters)
        groups = (x[labels == j] for j in range(n_clusters))
        centres = np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])
    else:
        if method == "kmeans":
            estimator.set_params(kp=0.0, ki=0.0)
        labels, centres = estimator.fit(x).labels_, estimator.cluster_centers_
        stopped = estimator.stop_reason_
    table = _membership_table(features.tracks, x, labels, centres)
    return Partition(table, centres.astype(np.float32), method, stopped)


def _membership_table(tracks, x, labels, centres) -> pd.DataFrame:
    """Every track's cluster and the nearest other one; the same where there is no other one."""
    table = Centroids(x).start(centres).distances()
    rows, others = np.arange(len(labels)), table.copy()
    if len(centres) > 1:
        others[rows, labels] = np.inf
    second = others.argmin(axis=1)
    own, next_best = table[rows, labels].round(6), table[rows, second].round(6)
    return pd.DataFrame(dict(zip(COLUMNS, (tracks, labels, second, own, next_best), strict=True)))
