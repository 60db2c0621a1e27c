"""The split of the tracks into clusters, as notebook 04 hands it to notebooks 05 to 08."""

import numpy as np
import pandas as pd

from esiamfc_lib.clustering.centroids import Centroids, check_unit_rows
from esiamfc_lib.clustering.embedding import VideoFeatures
from esiamfc_lib.clustering.membership import COLUMNS, Partition
from esiamfc_lib.clustering.pikmeans import PIKMeans
from esiamfc_lib.clustering.size_control import Dealt, Lloyd
from esiamfc_lib.errors import StudyError

METHODS = {"pikmeans": None, "kmeans": Lloyd, "random": Dealt}


def cluster_tracks(
    features: VideoFeatures, method: str, *, n_clusters: int, seed: int, **settings
) -> Partition:
    """Split the tracks into ``n_clusters``; with 1, one cluster holds every track. The method is
    ``"pikmeans"`` or one of the controls ``"kmeans"`` (Lloyd's, no balance) and ``"random"`` (equal
    sizes, tracks assigned at random); the settings are those of :class:`PIKMeans`. More clusters
    than tracks, an unknown method and rows not of unit length are a ``StudyError``."""
    x, n = features.features, len(features)
    if method not in METHODS:
        raise StudyError(f"method = {method!r}: must be one of {', '.join(METHODS)}")
    if n_clusters > n:
        raise StudyError(f"n_clusters = {n_clusters}, but there are only {n} tracks with features")
    check_unit_rows(x)
    fitted = PIKMeans(n_clusters, random_state=seed, **settings).fit(x, control=METHODS[method])
    centres, labels, rows = fitted.cluster_centers_, fitted.labels_, np.arange(n)
    table = Centroids(x).start(centres).distances()
    others = table.copy()
    if n_clusters > 1:  # else the second choice is the first
        others[rows, labels] = np.inf
    second = others.argmin(axis=1)
    own, next_best = table[rows, labels].round(6), table[rows, second].round(6)
    columns = zip(COLUMNS, (features.tracks, labels, second, own, next_best), strict=True)
    stopped = "" if method == "random" or n_clusters == 1 else fitted.stop_reason_
    return Partition(pd.DataFrame(dict(columns)), centres.astype(np.float32), method, stopped)
