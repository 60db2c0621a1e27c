"""How sure a difference between two trackers is.

Scores on a dozen sequences differ by luck; what can be said is an interval. Trackers run on the
same sequences, so their differences are taken pair by pair: ``differences``, by the mean squares of
sequences and seeds, for one pass as for many starts. ``bootstrap_interval`` is for ratios and
correlations, which are no means."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from esiamfc_lib.analysis.matched_runs import MatchedRuns, check_complete, paired
from esiamfc_lib.errors import StudyError

LEVEL = 0.95
TIE = 0.005  # a difference in AUC that rounding alone makes
# Success of a segment below which the target was lost for nearly all of it, and above which it was
# held to the end: a segment that goes from one to the other has flipped. What lies between (lost
# half-way, or held loosely) changes by degrees and is no flip.
LOST, HELD = 0.2, 0.5
MEASURED = ("difference", "low", "high")
METRICS = {"success": MEASURED, "precision": ("precision", "precision_low", "precision_high")}
NOTHING = ["benchmark", "tracker", "minus", *MEASURED]  # columns of an empty table


def bootstrap_interval(
    statistic: Callable, *samples: np.ndarray, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of samples (n,) whose units are drawn together. The
    statistic is as ``scipy.stats.bootstrap`` takes it; a draw of which it is not finite does not
    count. One unit leaves nothing to draw: both bounds are its own."""
    if len(samples[0]) == 1:
        return (float(statistic(*samples)),) * 2
    drawn = stats.bootstrap(
        samples, statistic, n_resamples=draws, paired=True, method="percentile", rng=seed
    ).bootstrap_distribution
    low, high = np.quantile(drawn[np.isfinite(drawn)], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def differences(scores: pd.DataFrame, reference: str, turned: bool = False) -> pd.DataFrame:
    """Every tracker minus ``reference`` in success, with intervals that know where the luck lies;
    ``turned``: ``reference`` minus every other.

    The difference is the mean over sequences of the mean over their starts and seeds. Sequences
    and seeds of the training are crossed: one trained network runs on all sequences, so that a
    lucky seed is lucky everywhere. The variance of the mean is estimated by the mean squares of
    this two-way table, ``(MS_S + max(MS_K − MS_SK, 0)) / (S·K)`` for S sequences and K seeds, and
    the interval is Student's, with Satterthwaite's degrees of freedom for the two terms
    (Satterthwaite 1946, *Biometrics Bulletin* 2, 110). Where seeds differ by no more than single
    runs do, and with one seed, this is the t interval of the sequences. Starts are no level of
    their own: what they contribute moves the means of the sequences already. One sequence alone is
    judged by its starts. ``python -m tools.interval_coverage`` shows how often they hold the truth.

    Several trackers against one reference are several chances to be lucky: ``low_all`` to
    ``high_all`` hold for all of a family together (Šidák 1967, *JASA* 62, 626, which is cautious
    where trackers resemble each other). A family is what was repeated alike (``seeds_of``): a row
    with a single network on one side speaks of that network, and does not widen the others.

    Scores have one row per tracker and run: ``tracker, benchmark, sequence, success``, if known
    ``precision``, and those of ``start, direction, perturbation, seed`` that tell the runs apart.
    A tracker without seeds (NaN) is compared with every seed of the other.

    Gives one row per tracker and benchmark: ``difference``, ``low, high, low_all, high_all`` (95 %;
    NaN where no level has two units), ``comparisons`` (of the family); ``precision,
    precision_low, precision_high``, the same of one comparison; over sequences ``median, wins,
    ties`` (at most 0.005 apart), ``losses``; ``flips_won, flips_lost`` (runs from success below
    0.2 to above 0.5, and back); ``sd_sequences, sd_starts`` (standard deviations between
    sequences, without what starts explain, and within one); ``sequences``, ``starts`` (of a
    sequence, at most), ``seeds``, ``seeds_of`` (``both``, or the one tracker that was repeated:
    the interval does not know the luck of the other's single network), ``runs``. A StudyError if
    the reference was not run, or a run is missing or has two rows."""
    if reference not in set(scores["tracker"]):
        raise StudyError(f"no scores of {reference!r} to compare with")
    rows = []
    for benchmark, part in scores.dropna(subset=["success"]).groupby("benchmark", sort=False):
        run, known = dict.fromkeys(part["tracker"]), part.columns[part.notna().all()]
        others = [name for name in run if name != reference]
        if reference not in run or not others:
            continue
        sides = [(reference, o) if turned else (o, reference) for o in others]
        found = [{"benchmark": benchmark, "tracker": one, "minus": other} for one, other in sides]
        for metric, names in METRICS.items():
            if metric not in known:
                continue
            pairs = [paired(part, *pair, metric) for pair in sides]
            check_complete(pairs, benchmark)
            families = [pair.seeds_of == "both" for pair in pairs]
            for row, pair, family in zip(found, pairs, families, strict=True):
                number = families.count(family)
                *interval, low, high = mean_interval(pair.table, number)
                row |= dict(zip(names, interval, strict=True))
                if metric == "success":
                    row |= {"low_all": low, "high_all": high, "comparisons": number}
                    row |= _counts(pair)
        rows += found
    return pd.DataFrame(rows, columns=None if rows else NOTHING)


def in_precision(table: pd.DataFrame) -> pd.DataFrame:
    """Those rows of ``differences`` whose precision is known, with it in the place of success: for
    ``figures.forest``. Its intervals are of one comparison."""
    kept = ["benchmark", "tracker", "minus", "sequences", "starts", "seeds", *METRICS["precision"]]
    known = table.reindex(columns=kept).dropna(subset="precision")
    return known.rename(columns=dict(zip(METRICS["precision"], MEASURED, strict=True)))


def sentence(row: pd.Series) -> str:
    """One row of ``differences`` in words."""
    counts, low, high, among = f"{row['sequences']} sequences", row["low"], row["high"], ""
    whole = row["sequences"] * row["starts"] * row["seeds"] == row["runs"]
    for level in ("starts", "seeds"):
        upto = "up to " if level == "starts" and not whole else ""
        counts += f" × {upto}{row[level]} {level if row[level] > 1 else level[:-1]}"
    if row["seeds_of"] != "both":
        counts += f" of {row['seeds_of']} alone" if row["seeds"] > 1 else ", these networks alone"
    if row["comparisons"] > 1:
        low, high = row["low_all"], row["high_all"]
        among = f" among {row['comparisons']} comparisons"
    text = f"{row['benchmark']}: {row['tracker']} − {row['minus']}: "
    text += "{} AUC [{}, {}], ".format(*map(signed, row[[*MEASURED]]))
    if not np.isnan(row.get("precision", np.nan)):
        text += "precision {} [{}, {}], ".format(*map(signed, row[[*METRICS["precision"]]]))
    text += f"{counts}: "
    if np.isnan(low):
        return text + "too few for an interval"
    return text + ("no" if low <= 0 <= high else "a") + f" difference is shown{among}"


def answer(table: pd.DataFrame) -> str:
    """Whether all rows of a table of differences are gains, in one sentence with the least sure.
    "Yes" where every interval (of those for all comparisons together) lies above zero; "No" else,
    which says that a gain is not shown, not that there is none."""
    if table.empty:
        return "No: nothing could be compared."
    low = table["low_all"].fillna(-np.inf)
    shown = int((low > 0).sum())
    verdict = "Yes" if shown == len(table) else "No"
    among = f"a gain is shown in {shown} of {len(table)} comparisons"
    return f"{verdict}: {among}; the least sure is {sentence(table.loc[low.idxmin()])}."


def standard_error(table: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of differences (S, K), sequences × seeds, and the degrees of
    freedom; both 0 where there is one of each, and nothing to judge by."""
    (s, k), mean = table.shape, table.mean()
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + mean
    # Mean squares: of the sequences, and of the seeds beyond what single runs differ.
    free = np.maximum([s - 1, k - 1, (s - 1) * (k - 1)], 1)
    sums = k * ((rows - mean) ** 2).sum(), s * ((columns - mean) ** 2).sum(), (rest**2).sum()
    of_sequences, of_seeds, of_runs = sums / free
    squares = np.array([of_sequences, max(of_seeds - of_runs, 0.0)])
    variance = squares.sum()
    if variance > 0:
        degrees = variance**2 / (squares**2 / free[:2]).sum()
        return float(np.sqrt(variance / (s * k))), float(degrees)
    return 0.0, float(max(s - 1, k - 1))


def mean_interval(table: np.ndarray, comparisons: int = 1) -> tuple[float, ...]:
    """Mean of differences (S, K) as of ``standard_error``, its 95 % interval (low, high), and that
    which holds for so many comparisons together; NaN where there is nothing to judge by."""
    mean, (error, free) = float(table.mean()), standard_error(table)
    tails = [(1 - LEVEL) / 2, (1 - LEVEL ** (1 / comparisons)) / 2]  # alone, and all together
    half, half_all = stats.t.isf(tails, free) * error if free else (np.nan, np.nan)
    return mean, mean - half, mean + half, mean - half_all, mean + half_all


def _counts(pair: MatchedRuns) -> dict:
    """What a row of ``differences`` says besides the intervals."""
    runs, cells = pair.runs, pair.cells
    of_sequence = np.array([m.mean() for m in cells])
    starts = [m.mean(axis=1) for m in cells]
    within = [s.var(ddof=1) for s in starts if len(s) > 1]
    of_starts = np.mean([s.var(ddof=1) / len(s) if len(s) > 1 else 0.0 for s in starts])
    between = of_sequence.var(ddof=1) - of_starts if len(of_sequence) > 1 else np.nan
    lost, held = (runs[["value", "reference"]] < LOST), (runs[["value", "reference"]] > HELD)
    return {
        "median": float(np.median(of_sequence)),
        "wins": int((of_sequence > TIE).sum()),
        "ties": int((np.abs(of_sequence) <= TIE).sum()),
        "losses": int((of_sequence < -TIE).sum()),
        "flips_won": int((lost["reference"] & held["value"]).sum()),
        "flips_lost": int((held["reference"] & lost["value"]).sum()),
        "sd_sequences": float(np.sqrt(np.maximum(between, 0))),
        "sd_starts": float(np.sqrt(np.mean(within))) if within else np.nan,
        "sequences": len(cells),
        "starts": max(map(len, cells)),
        "seeds": runs["seed"].nunique(),
        "seeds_of": pair.seeds_of,
        "runs": len(runs),
    }


def signed(value: float) -> str:
    """Three decimals with a sign, the typographic minus."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")  # 0.0 takes the sign of -0.0
