"""Notebooks 03 and 04: tracks become video features, and those k clusters of equal size.

In reading order: ``embedding`` (screening, video features), ``maps`` (PCA, UMAP), ``pikmeans``
(the estimator), ``centroids`` (centres and distances), ``size_control`` (PI control of the
sizes), ``assignment`` (exact balance), ``partition`` (which track goes where), ``membership``
(its files), ``comparison`` (many runs of several methods)."""
# isort: skip_file

from esiamfc_lib.clustering.comparison import Comparison, family_agreement
from esiamfc_lib.clustering.embedding import (
    VideoFeatures, embed, frame_features, nearest_agreement, screen,
)  # fmt: skip
from esiamfc_lib.clustering.maps import pca_map, umap_map
from esiamfc_lib.clustering.membership import Partition, check_split, load_partition, save_partition
from esiamfc_lib.clustering.partition import cluster_tracks
from esiamfc_lib.clustering.pikmeans import PIKMeans, stratified

__all__ = [
    "Comparison", "PIKMeans", "Partition", "VideoFeatures", "check_split", "cluster_tracks",
    "embed", "family_agreement", "frame_features", "load_partition", "nearest_agreement",
    "pca_map", "save_partition", "screen", "stratified", "umap_map",
]  # fmt: skip
