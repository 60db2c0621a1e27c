"""Accuracy against speed of an ensemble: what running fewer branches costs and gives."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.tracking.spec import TrackerSpec


def frontier(
    spec: TrackerSpec,
    sequences: Iterable[Sequence],
    tops: Iterable[int] = (),
    thresholds: Iterable[float] = (),
    local_scales: Iterable[int] = (0, 5),
) -> pd.DataFrame:
    """Track with all branches, with the ``top`` heaviest, and with those above each threshold.

    The choice of an operating point belongs on validation sequences; on test sequences the table
    only shows what was chosen.

    Args:
        spec: of kind ensemble with fusion cluster_weight; everything else as it says.
        sequences: what is tracked, in this process, one by one, with one thread.
        tops, thresholds: besides all branches.
        local_scales: as in ``TrackingParameters``, each with each of them.

    Returns:
        one row a setting: ``cut`` (all, top or threshold), ``value``, ``local_scales``, ``success``
        (mean AUC), ``branches`` (run, mean over sequences), ``fps`` (frames over seconds of all
        updates, without decoding).

    Raises:
        StudyError: another kind of tracker, or no sequences.
    """
    sequences = list(sequences)
    if spec.kind != "ensemble" or spec.fusion != "cluster_weight" or not sequences:
        raise StudyError("a frontier is of an ensemble with cluster weights, on some sequences")
    cuts = [("all", 0.0, {"top": 0, "threshold": 0.0})]
    cuts += [("top", float(m), {"top": m, "threshold": 0.0}) for m in tops]
    cuts += [("threshold", t, {"top": 0, "threshold": t}) for t in thresholds]
    rows = []
    for cells in local_scales:
        tracking = spec.tracking.model_copy(update={"local_scales": cells})
        for cut, value, change in cuts:
            tracker = spec.model_copy(update=change | {"tracking": tracking}).build()
            successes, branches, spent, frames = [], [], 0.0, 0
            for sequence in sequences:
                with threads(1):  # as all comparisons: rounding and speed depend on it
                    boxes, seconds = tracker.track_sequence(sequence)
                successes.append(metrics.score(boxes, sequence.boxes).success)
                branches.append(len(tracker.active_branches))
                spent, frames = spent + float(seconds[1:].sum()), frames + len(seconds) - 1
            rows.append(
                {
                    "cut": cut,
                    "value": value,
                    "local_scales": cells,
                    "success": float(np.mean(successes)),
                    "branches": float(np.mean(branches)),
                    "fps": frames / spent if spent else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def chosen_top(table: pd.DataFrame, loss: float = 0.01) -> int:
    """The fewest branches that lose at most ``loss`` AUC to all of them; 0: only all will do.

    Args:
        table: of ``frontier``, on validation sequences.
        loss: what the speed may cost.
    """
    rows = table[table["local_scales"] == table["local_scales"].min()]
    floor = rows.loc[rows["cut"] == "all", "success"].iloc[0] - loss
    good = rows.loc[(rows["cut"] == "top") & (rows["success"] >= floor), "value"]
    return int(good.min()) if len(good) else 0
