"""What the scores say: intervals, control arms, specialists, published numbers.

In reading order: ``matched_runs`` (which runs may be compared), ``intervals`` (of differences),
``arm_comparison`` (control arms), ``selection`` (a choice on held-out videos), ``specialists``
(what the branches have learned), ``published_numbers`` (the table beside others' results),
``sweeps`` (gains against the data), ``headroom`` (experiments on held-out videos)."""
# isort: skip_file

from esiamfc_lib.analysis.arm_comparison import (
    arm_differences, arm_means, compare_arms, oracle_differences,
)  # fmt: skip
from esiamfc_lib.analysis.headroom import (
    arm_measures, measures_of_videos, read_predictions, verdicts,
)  # fmt: skip
from esiamfc_lib.analysis.intervals import answer, differences, in_precision, sentence
from esiamfc_lib.analysis.published_numbers import published_table
from esiamfc_lib.analysis.selection import selected_tracking
from esiamfc_lib.analysis.specialists import (
    disagreement, diversity, kind_matrix, own_kind, relation, response_maps, routing,
)  # fmt: skip
from esiamfc_lib.analysis.sweeps import against_controls, gain_sentences, gains, read_points

__all__ = [
    "against_controls", "answer", "arm_differences", "arm_means", "arm_measures",
    "compare_arms", "differences", "disagreement", "diversity", "gain_sentences", "gains",
    "in_precision", "kind_matrix", "measures_of_videos", "oracle_differences", "own_kind",
    "published_table", "read_points", "read_predictions", "relation", "response_maps",
    "routing", "selected_tracking", "sentence", "verdicts",
]  # fmt: skip
