"""Figures: data in, a matplotlib figure (or the text of a page) out; nothing is written here.

``style`` (look of all figures), then by stage: ``data``, ``training``, ``maps``, ``clusters``,
``scores``, ``specialists`` (and controls, sweeps); ``interactive`` where somebody looks."""
# isort: skip_file

from esiamfc_lib.figures.clusters import (
    cluster_sizes, controls, elbow, histories, sensitivity, stability,
)  # fmt: skip
from esiamfc_lib.figures.data import counted, crop_geometry, dataset_statistics, video_sheet
from esiamfc_lib.figures.interactive import (
    ensemble_view, follow, map_to_click, show_page, slider, split_view, track_view,
)  # fmt: skip
from esiamfc_lib.figures.maps import gallery, map_page, map_with_thumbnails, screening
from esiamfc_lib.figures.scores import (
    attribute_dots, frame_strip, sequence_heatmap, success_precision,
)  # fmt: skip
from esiamfc_lib.figures.specialists import branch_responses, correlations, forest, headroom, kinds
from esiamfc_lib.figures.style import image_grid
from esiamfc_lib.figures.training import (
    fusion_weights, learning_curves, response_strip, training_pairs,
)  # fmt: skip

__all__ = [
    "attribute_dots", "branch_responses", "cluster_sizes", "controls", "correlations", "counted",
    "crop_geometry", "dataset_statistics", "elbow", "ensemble_view", "follow", "forest",
    "frame_strip", "fusion_weights", "gallery", "headroom", "histories", "image_grid", "kinds",
    "learning_curves", "map_page", "map_to_click", "map_with_thumbnails", "response_strip",
    "screening", "sensitivity", "sequence_heatmap", "show_page", "slider", "split_view",
    "stability", "success_precision", "track_view", "training_pairs", "video_sheet",
]  # fmt: skip
