"""Maps: the video features on a plane, as coordinates and as a page to explore."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from sklearn.decomposition import PCA

from esiamfc_lib.data.geometry import encode_jpeg
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures.map_page import PAGE
from esiamfc_lib.networks.checkpoints import write_atomically

JPEG_QUALITY = 80


def pca_map(features: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Principal components.

    Args:
        features: (n, d), n at least 2.

    Returns:
        (n, 2) coordinates, and the share of the variance that each of the two explains.

    Raises:
        StudyError: fewer than two tracks.
    """
    _check(features, 2, "PCA")
    pca = PCA(n_components=2, random_state=seed)
    return pca.fit_transform(features), pca.explained_variance_ratio_


def umap_map(
    features: np.ndarray,
    *,
    neighbors: int = 15,
    min_dist: float = 0.1,
    seed: int = 0,
    n_jobs: int = 1,
) -> np.ndarray:
    """UMAP under the cosine distance.

    Args:
        features: (n, d), n at least 4.
        neighbors: size of the neighbourhood that is kept; lowered to n - 1 where there are fewer.
        min_dist: smallest distance on the map.
        n_jobs: threads. UMAP gives the same map again only with one.

    Returns:
        (n, 2) coordinates.

    Raises:
        StudyError: too few tracks to draw a map of.
    """
    _check(features, 4, "UMAP")
    from umap import UMAP  # compiles itself on import, which takes many seconds

    return UMAP(
        n_neighbors=min(neighbors, len(features) - 1),
        min_dist=min_dist,
        metric="cosine",
        init="pca",
        random_state=seed,
        n_jobs=n_jobs,
    ).fit_transform(features)


def write_page(
    path: str | Path,
    coordinates: np.ndarray,
    images: np.ndarray,
    tracks: Sequence[str],
    clusters: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    title: str = "Map of the tracks",
) -> None:
    """Write an interactive map: one HTML file that needs no network.

    Moving the pointer shows the nearest track's exemplar, id, cluster and name; the wheel zooms,
    dragging moves, and a click on a cluster in the legend hides or shows it. Close up, points
    become the exemplars themselves.

    Args:
        coordinates: (n, 2). images: (n, s, s, 3) uint8 RGB exemplars.
        tracks: n ids. clusters: n clusters, for the colours; None: all one.
        names: n class or family names; None: not shown.

    Raises:
        StudyError: arguments of different lengths, or coordinates that are not finite.
    """
    n = len(coordinates)
    clusters = [0] * n if clusters is None else [int(c) for c in clusters]
    names = [""] * n if names is None else [str(name) for name in names]
    if not len(images) == len(tracks) == len(clusters) == len(names) == n:
        raise StudyError(
            f"{path}: {n} coordinates, {len(images)} images, {len(tracks)} tracks, "
            f"{len(clusters)} clusters and {len(names)} names do not fit together"
        )
    if not np.isfinite(coordinates).all():
        raise StudyError(f"{path}: coordinates of the map are not finite")
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    unit = (coordinates - low) / np.maximum(high - low, 1e-12).max()
    points = [
        {
            "x": round(float(x), 5),
            "y": round(float(1 - y), 5),
            "track": str(track),
            "cluster": cluster,
            "name": name,
            "image": base64.b64encode(encode_jpeg(image, JPEG_QUALITY)).decode(),
        }
        for (x, y), image, track, cluster, name in zip(
            unit, images, tracks, clusters, names, strict=True
        )
    ]
    colours = sns.color_palette(
        "colorblind" if max(clusters) < 10 else "husl", max(clusters) + 1
    ).as_hex()
    # "<" cannot close the script element early, whatever a track is called.
    data = json.dumps({"title": title, "points": points, "colours": list(colours)})
    page = PAGE.replace("__DATA__", data.replace("<", "\\u003c"))
    write_atomically(path, lambda file: file.write(page.encode()))


def _check(features: np.ndarray, least: int, what: str) -> None:
    if len(features) < least:
        raise StudyError(f"{what} needs at least {least} tracks, there are {len(features)}")
