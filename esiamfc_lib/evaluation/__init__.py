"""From trackers to scores, by the protocols of OTB, VOT and GOT-10k.

In reading order: ``metrics`` (overlaps and errors), ``supervised`` (VOT's restarts), ``runs``
(boxes of every tracker on every sequence, kept), ``scores`` (tables of them), ``segments`` (many
starts)."""
# isort: skip_file

from esiamfc_lib.evaluation.metrics import mean_auc
from esiamfc_lib.evaluation.runs import evaluate
from esiamfc_lib.evaluation.scores import (
    beside_published, by_attribute, curves, read_boxes, summary,
)  # fmt: skip
from esiamfc_lib.evaluation.segments import evaluate_segments

__all__ = [
    "beside_published", "by_attribute", "curves", "evaluate", "evaluate_segments", "mean_auc",
    "read_boxes", "summary",
]  # fmt: skip
