"""How sure a difference between two trackers is.

Scores on a dozen sequences differ by luck; what can be said is an interval. Trackers run on the
same sequences, so their differences are taken pair by pair, and the sequences are drawn anew with
replacement (bootstrap): ``paired_differences`` with one run a sequence,
``hierarchical_differences`` with several starts of each and several seeds of the training.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy import stats

from esiamfc_lib.analysis.matched_runs import MatchedRuns, check_complete, paired
from esiamfc_lib.errors import StudyError

TAILS = (1 - 0.95) / 2, (1 + 0.95) / 2  # of a 95 % interval
TIE = 0.005  # a difference in AUC that rounding alone makes
# Success of a segment below which the target was lost for nearly all of it, and above which it was
# held to the end: a segment that goes from one to the other has flipped. What lies between (lost
# half-way, or held loosely) changes by degrees and is no flip.
LOST, HELD = 0.2, 0.5
MEASURED = ("difference", "low", "high")
METRICS = {"success": MEASURED, "precision": ("precision", "precision_low", "precision_high")}
NOTHING = pd.DataFrame(columns=["benchmark", "tracker", "minus", *MEASURED])


def bootstrap_interval(
    statistic: Callable, *samples: np.ndarray, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of a statistic of samples (n,) whose units are drawn together. The
    statistic is as ``scipy.stats.bootstrap`` takes it; a draw of which it is not finite does not
    count. One unit leaves nothing to draw: both bounds are its own."""
    if len(samples[0]) == 1:
        return (float(statistic(*samples)),) * 2
    random = np.random.default_rng(seed)
    drawn = stats.bootstrap(
        samples, statistic, n_resamples=draws, paired=True, method="percentile", rng=random
    ).bootstrap_distribution
    low, high = np.quantile(drawn[np.isfinite(drawn)], TAILS)
    return float(low), float(high)


def paired_differences(scores: pd.DataFrame, reference: str, seed: int = 0) -> pd.DataFrame:
    """Every tracker minus ``reference`` in success, sequence by sequence. Of scores with one row a
    tracker and sequence (``tracker, benchmark, sequence, success``), one row a tracker and
    benchmark: ``difference``, ``low`` and ``high`` (95 % interval of the mean), ``median``,
    ``wins``, ``ties`` (at most 0.005 apart), ``losses``, ``sequences``; where there is a column
    ``precision`` also ``precision, precision_low, precision_high``. A StudyError if the reference
    was not run, or on no sequence of another's."""
    rows = []
    for benchmark, part in _by_benchmark(scores, reference):
        for tracker in _others(part, reference):
            row = {"benchmark": benchmark, "tracker": tracker, "minus": reference}
            for metric, names in _metrics(part):
                table = part.pivot(index="sequence", columns="tracker", values=metric)
                change = (table[tracker] - table[reference]).dropna().to_numpy()
                if not len(change):
                    raise StudyError(f"{benchmark}: {tracker} and {reference} share no sequence")
                found = change.mean(), *bootstrap_interval(np.mean, change, seed=seed)
                row |= dict(zip(names, map(float, found), strict=True))
                if metric == "success":
                    row |= _tally(change) | {"sequences": len(change)}
            rows.append(row)
    return pd.DataFrame(rows) if rows else NOTHING.copy()


def hierarchical_differences(
    scores: pd.DataFrame, reference: str, draws: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Every tracker minus ``reference`` in success, with intervals that know where the luck lies.

    The difference is the mean over sequences of the mean over their starts and seeds. What could
    have been otherwise is drawn anew, ``draws`` times, the same for all trackers:

    - Sequences are drawn whole, with their starts. A sequence's mean already moves by the luck of
      its starts; to draw these once more would count that luck twice (Davison & Hinkley 1997,
      *Bootstrap Methods*, section 3.8). One sequence alone cannot be drawn: its starts are.
    - Seeds are drawn once for the whole study: one trained network runs on all sequences, so that
      a lucky seed is lucky everywhere (crossed, not nested: Owen 2007, *Annals of Applied
      Statistics* 1, 386).
    - Of n units n − 1 are drawn, which makes the variance unbiased (Rao & Wu 1988, *JASA* 83, 231),
      and the interval is widened from the normal to Student's t: with a dozen sequences a plain
      percentile interval holds the truth in 90 % of all cases, not in 95 %. (Three seeds remain
      few: where their luck outweighs all else, simulated intervals hold it in 92 %.)

    Several trackers against one reference are several chances to be lucky: ``low_all`` to
    ``high_all`` hold for all of them together (the largest of their standardised deviations, as
    correlated as the draws: Hothorn et al. 2008, *Biometrical Journal* 50, 346). Not Holm's
    correction, which gives no intervals and cannot use that branches of one network resemble each
    other; the shared draws do.

    Scores have one row a tracker and run: ``tracker, benchmark, sequence, success``, if known
    ``precision``, and those of ``start, direction, perturbation, seed`` that tell the runs apart.
    A tracker without seeds (NaN) is compared with every seed of the other.

    Gives one row a tracker and benchmark: ``difference``, ``low, high, low_all, high_all`` (95 %;
    NaN where no level has two units), ``comparisons``; ``precision, precision_low,
    precision_high``, the same of one comparison; over sequences ``median, wins, ties``
    (at most 0.005 apart), ``losses``; ``flips_won, flips_lost`` (runs from success below 0.2 to
    above 0.5, and back); ``sd_sequences, sd_starts`` (standard deviations between sequences,
    without what starts explain, and within one); ``sequences``, ``starts`` (of a sequence, at
    most), ``seeds``, ``seeds_of`` (``both``, or the one tracker that was repeated: the interval
    does not know the luck of the other's single network), ``runs``. A StudyError if the reference
    was not run, or a run is missing or has two rows."""
    rows = []
    for benchmark, part in _by_benchmark(scores, reference):
        if not (others := _others(part, reference)):
            continue
        tables = []
        for metric, names in _metrics(part):
            pairs = [paired(part, name, reference, metric) for name in others]
            check_complete(pairs, benchmark)
            found = pd.DataFrame(_intervals(pairs, draws, np.random.default_rng(seed)))
            renamed = found.rename(columns=dict(zip(MEASURED, names, strict=True)))
            tables.append(renamed if metric == "success" else renamed.reindex(columns=names))
        place = {"benchmark": benchmark, "tracker": others, "minus": reference}
        rows.append(pd.concat([pd.DataFrame(place), *tables], axis=1))
    return pd.concat(rows or [NOTHING], ignore_index=True)


def sentence(row: pd.Series) -> str:
    """One row of ``paired_differences`` or ``hierarchical_differences`` in words."""
    counts = f"{row['sequences']} sequences"
    low, high, among = row["low"], row["high"], ""
    if "runs" in row:
        whole = row["sequences"] * row["starts"] * row["seeds"] == row["runs"]
        for level in ("starts", "seeds"):
            upto = "up to " if level == "starts" and not whole else ""
            counts += f" × {upto}{row[level]} {level if row[level] > 1 else level[:-1]}"
        if row["seeds"] > 1 and row["seeds_of"] != "both":
            counts += f" of {row['seeds_of']} alone"
        if row["comparisons"] > 1:
            low, high = row["low_all"], row["high_all"]
            among = f" among {row['comparisons']} comparisons"
    text = (
        f"{row['benchmark']}: {row['tracker']} − {row['minus']}: {signed(row['difference'])} "
        f"AUC [{signed(row['low'])}, {signed(row['high'])}], "
    )
    if not np.isnan(row.get("precision", np.nan)):
        shown = (signed(row[name]) for name in METRICS["precision"])
        text += "precision {} [{}, {}], ".format(*shown)
    text += f"{counts}: "
    if np.isnan(low):
        return text + "too few for an interval"
    return text + ("no" if low <= 0 <= high else "a") + f" difference is shown{among}"


def answer(table: pd.DataFrame) -> str:
    """Whether all rows of a table of differences are gains, in one sentence with the least sure.
    "Yes" where every interval (those for all comparisons together, where the table has them) lies
    above zero; "No" else, which says that a gain is not shown, not that there is none."""
    if table.empty:
        return "No: nothing could be compared."
    low = table["low_all" if "low_all" in table else "low"].fillna(-np.inf)
    shown = int((low > 0).sum())
    verdict = "Yes" if shown == len(table) else "No"
    among = f"a gain is shown in {shown} of {len(table)} comparisons"
    return f"{verdict}: {among}; the least sure is {sentence(table.loc[low.idxmin()])}."


def _metrics(part: pd.DataFrame) -> Iterator[tuple[str, tuple[str, ...]]]:
    known = part.columns[part.notna().all()]
    return ((metric, names) for metric, names in METRICS.items() if metric in known)


def _by_benchmark(scores: pd.DataFrame, reference: str) -> Iterator[tuple[str, pd.DataFrame]]:
    if reference not in set(scores["tracker"]):
        raise StudyError(f"no scores of {reference!r} to compare with")
    return iter(scores.dropna(subset=["success"]).groupby("benchmark", sort=False))


def _others(part: pd.DataFrame, reference: str) -> list[str]:
    names = dict.fromkeys(part["tracker"])
    return [name for name in names if name != reference and reference in names]


def _replicates(
    pairs: list[MatchedRuns], draws: int, random: np.random.Generator
) -> list[tuple[np.ndarray, float]]:
    """For each tracker the drawn means (draws,) and the degrees of freedom of their spread."""
    if not pairs:
        return []
    # One sequence cannot be drawn: its starts can.
    whole = len(pairs[0].cells) > 1
    units = [pair.sequences if whole else pair.cells[0] for pair in pairs]
    weights = _weights(len(units[0]), draws, random)
    of_seeds, found = {}, []
    for pair, matrix in zip(pairs, units, strict=True):
        if pair.seeds not in of_seeds:
            of_seeds[pair.seeds] = _weights(len(pair.seeds), draws, random)
        means = ((weights @ matrix) * of_seeds[pair.seeds]).sum(axis=1)
        # Variances of the means of both levels, and their degrees of freedom (Satterthwaite).
        levels = [mean for mean in (matrix.mean(axis=1), matrix.mean(axis=0)) if len(mean) > 1]
        variances = [(mean.var(ddof=1) / len(mean), len(mean) - 1) for mean in levels]
        total = sum(v for v, _ in variances)
        spread = sum(v**2 / free for v, free in variances)
        free = total**2 / spread if spread > 0 else np.inf if variances else 0.0
        found.append((np.broadcast_to(means, draws), free))
    return found


def _weights(n: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """(draws, n) weights of n units of which n − 1 are drawn with replacement; rows sum to 1."""
    if n == 1:
        return np.ones((1, 1))
    return random.multinomial(n - 1, np.full(n, 1 / n), draws) / (n - 1)


def _intervals(pairs: list[MatchedRuns], draws: int, random: np.random.Generator) -> Iterator[dict]:
    """The rest of each row."""
    replicates = _replicates(pairs, draws, random)
    normal = stats.norm.ppf(TAILS[1])
    joint = max(_largest([drawn for drawn, _ in replicates], random), normal)
    for pair, (drawn, free) in zip(pairs, replicates, strict=True):
        mean, low, high, half = float(pair.sequences.mean()), np.nan, np.nan, np.nan
        if free > 0:
            stretch = stats.t.ppf(TAILS[1], free) / normal
            low, high = mean + stretch * (np.quantile(drawn, TAILS) - mean)
            half = stats.t.ppf(stats.norm.cdf(joint), free) * drawn.std()
        row = {"difference": mean, "low": low, "high": high}
        row |= {"low_all": mean - half, "high_all": mean + half, "comparisons": len(pairs)}
        yield row | _counts(pair)


def _largest(replicates: list[np.ndarray], random: np.random.Generator) -> float:
    """How far the worst of the comparisons strays, in standard errors, at most so often: normal
    numbers with the correlations of the replicates, as three seeds have too few draws for the tail.
    """
    varied = [drawn for drawn in replicates if drawn.std() > 0]
    if not varied:
        return 0.0
    correlation = np.atleast_2d(np.corrcoef(varied))
    normal = random.multivariate_normal(
        np.zeros(len(varied)), correlation, len(varied[0]), check_valid="ignore", method="eigh"
    )
    return float(np.quantile(np.abs(normal).max(axis=1), 0.95))


def _counts(pair: MatchedRuns) -> dict:
    runs, cells = pair.runs, pair.cells
    of_sequence = np.array([m.mean() for m in cells])
    starts = [m.mean(axis=1) for m in cells]
    within = [s.var(ddof=1) for s in starts if len(s) > 1]
    of_starts = np.mean([s.var(ddof=1) / len(s) if len(s) > 1 else 0.0 for s in starts])
    between = of_sequence.var(ddof=1) - of_starts if len(of_sequence) > 1 else np.nan
    lost, held = (runs[["value", "reference"]] < LOST), (runs[["value", "reference"]] > HELD)
    return _tally(of_sequence) | {
        "flips_won": int((lost["reference"] & held["value"]).sum()),
        "flips_lost": int((held["reference"] & lost["value"]).sum()),
        "sd_sequences": float(np.sqrt(np.maximum(between, 0))),
        "sd_starts": float(np.sqrt(np.mean(within))) if within else np.nan,
        "sequences": len(cells),
        "starts": max(map(len, cells)),
        "seeds": len(pair.seeds),
        "seeds_of": pair.seeds_of,
        "runs": len(runs),
    }


def _tally(change: np.ndarray) -> dict:
    return {
        "median": float(np.median(change)),
        "wins": int((change > TIE).sum()),
        "ties": int((np.abs(change) <= TIE).sum()),
        "losses": int((change < -TIE).sum()),
    }


def signed(value: float) -> str:
    """Three decimals with a sign, the typographic minus."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")  # 0.0 takes the sign of -0.0
