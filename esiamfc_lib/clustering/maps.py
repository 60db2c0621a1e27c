"""Maps: the video features on a plane."""

from contextlib import suppress

import numpy as np
from sklearn.decomposition import PCA

from esiamfc_lib.errors import StudyError


def pca_map(features: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) principal components, and the share of the variance that each of the two explains;
    fewer than two tracks are a ``StudyError``."""
    if len(features) < 2:
        raise StudyError(f"PCA needs at least 2 tracks, there are {len(features)}")
    pca = PCA(n_components=2, random_state=seed)
    return pca.fit_transform(features), pca.explained_variance_ratio_


def umap_map(
    features: np.ndarray, *, neighbors: int = 15, min_dist: float = 0.1, seed: int = 0
) -> np.ndarray:
    """(n, 2) UMAP under the cosine distance, by one thread: more do not give the same map again. It
    keeps neighbourhoods of ``neighbors`` tracks, or of all where there are fewer, at least
    ``min_dist`` apart on the map; fewer than four tracks are a ``StudyError``."""
    if len(features) < 4:
        raise StudyError(f"UMAP needs at least 4 tracks, there are {len(features)}")
    import umap  # which takes seconds
    from numba.core.dispatcher import Dispatcher

    for module in (umap.umap_, umap.utils, umap.layouts, umap.distances):
        for function in vars(module).values():
            if isinstance(function, Dispatcher):
                with suppress(RuntimeError):  # no folder can be written
                    function.enable_caching()  # compiling takes ten seconds, every time
    kept = min(neighbors, len(features) - 1)
    look = {"min_dist": min_dist, "metric": "cosine", "init": "pca"}
    return umap.UMAP(kept, **look, random_state=seed, n_jobs=1).fit_transform(features)
