"""The split of the tracks into clusters, as notebook 04 hands it to notebooks 05 to 07."""

import numpy as np

from esiamfc_lib.clustering.centroids import check_unit_rows
from esiamfc_lib.clustering.embedding import VideoFeatures
from esiamfc_lib.clustering.membership import Partition, memberships
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
    init="stratified",
    seed: int = 0,
) -> Partition:
    """Split the tracks into clusters.

    Args:
        features: video features.
        method: ``"pikmeans"``; the controls ``"kmeans"`` (no balance) and ``"random"`` (equal
            sizes, tracks dealt out by chance).
        n_clusters ... init: as of :class:`PIKMeans`, but that one cluster, which holds every track,
            is allowed. seed: of everything random.

    Raises:
        StudyError: more clusters than tracks, an unknown method, features that are no unit vectors.
    """
    n = len(features)
    if method not in METHODS:
        raise StudyError(f"method = {method!r}: must be one of {', '.join(METHODS)}")
    if n_clusters > n:
        raise StudyError(f"n_clusters = {n_clusters}, but there are only {n} tracks with features")
    check_unit_rows(features.features)
    estimator = None
    if method == "random" or n_clusters == 1:
        labels = np.random.default_rng(seed).permutation(np.arange(n) % n_clusters)
        centres = np.stack(
            [
                features.features[labels == j].mean(axis=0, dtype=np.float64)
                for j in range(n_clusters)
            ]
        )
    else:
        gains = {"kp": kp, "ki": ki} if method == "pikmeans" else {"kp": 0.0, "ki": 0.0}
        estimator = PIKMeans(
            n_clusters,
            **gains,
            tol_balance=tol_balance,
            n_init=n_init,
            max_iter=max_iter,
            stop=stop,
            init=init,
            random_state=seed,
            normalise=False,
        ).fit(features.features)
        labels, centres = estimator.labels_, estimator.cluster_centers_
    return Partition(
        memberships(features.tracks, features.features, labels, centres),
        centres.astype(np.float32),
        method,
        estimator,
    )
