"""How sure a difference between two trackers is.

Scores of trackers on a dozen sequences differ by luck; what can be said is an interval. Trackers
run on the same sequences, so their differences are taken sequence by sequence (paired), and the
sequences are drawn anew with replacement (bootstrap) to see how far the mean moves.
"""

import numpy as np
import pandas as pd

from esiamfc_lib.errors import StudyError

TIE = 0.005  # a difference in AUC that rounding alone makes


def bootstrap_mean(
    values: np.ndarray, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``values`` (n,) and its percentile bootstrap interval.

    Returns:
        mean, lower bound, upper bound.

    Raises:
        StudyError: no values, or one that is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise StudyError(f"a mean needs finite values in one row, not {values.shape}")
    picked = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    means = values[picked].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)


def paired_differences(
    scores: pd.DataFrame, reference: str, column: str = "success", seed: int = 0
) -> pd.DataFrame:
    """Every tracker minus ``reference``, sequence by sequence.

    Args:
        scores: one row a tracker and sequence: ``tracker, benchmark, sequence`` and ``column``.
        reference: name of the tracker that the others are compared with.
        column: the score.
        seed: of the bootstrap.

    Returns:
        One row a tracker and benchmark: ``difference``, ``low`` and ``high`` (95 % interval of the
        mean), ``median``, ``wins``, ``ties`` (|difference| ≤ 0.005), ``losses``, ``sequences``.

    Raises:
        StudyError: the reference was not run.
    """
    if reference not in set(scores["tracker"]):
        raise StudyError(f"no scores of {reference!r} to compare with")
    rows = []
    for benchmark, part in scores.dropna(subset=[column]).groupby("benchmark", sort=False):
        table = part.pivot(index="sequence", columns="tracker", values=column)
        for tracker in dict.fromkeys(part["tracker"]):
            if tracker == reference or reference not in table:
                continue
            change = (table[tracker] - table[reference]).dropna().to_numpy()
            mean, low, high = bootstrap_mean(change, seed=seed)
            rows.append(
                {
                    "benchmark": benchmark,
                    "tracker": tracker,
                    "minus": reference,
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "median": float(np.median(change)),
                    "wins": int((change > TIE).sum()),
                    "ties": int((np.abs(change) <= TIE).sum()),
                    "losses": int((change < -TIE).sum()),
                    "sequences": len(change),
                }
            )
    return pd.DataFrame(rows)


def sentence(row: pd.Series, column: str = "success AUC") -> str:
    """One row of ``paired_differences`` in words."""
    sure = "no difference is shown" if row["low"] <= 0 <= row["high"] else "a difference is shown"
    return (
        f"{row['benchmark']}: {row['tracker']} − {row['minus']}: {row['difference']:+.3f} {column} "
        f"[{row['low']:+.3f}, {row['high']:+.3f}], {row['sequences']} sequences: {sure}"
    )
