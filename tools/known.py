"""The tables of ``docs/explanation/what_we_know.md``: each claim, what the committed runs say of
it, and how sure that is; ``python -m speed.documents`` writes them.

What a file does not hold yet has no row. The verdict is computed from the interval: "shown" where
all of it is on the claim's side of zero, "refuted" where all of it is on the other, else "not
shown". AUC is judged by the interval that holds for all comparisons of its table together,
precision and losses by their own.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy import stats

from esiamfc_lib.analysis.headroom import Prediction, verdicts
from esiamfc_lib.analysis.intervals import LEVEL, signed
from esiamfc_lib.reports import read_table
from tools.readme import FIXED

ROOT = Path(__file__).parents[1]
EQUAL = (
    1.2  # clusters are equal where the largest has at most a fifth more tracks than the smallest
)
BUILT_IN = "built-in, otb2015 layout"
MADE = "built-in, made for specialists"
VERDICTS = ("shown", "not shown", "refuted")
PLACES = {
    "real": "real videos",
    MADE: MADE,
    "built-in": "built-in data of six families",
    "experiment": "held-out pairs of the experiments",
}
HEAD = "| {} | measured | size | verdict | known to |\n|---|---|---|---|---|"
LOSS = 5  # decimals of a loss
AFTERWARDS = (
    "Every ensemble minus the network of its study's arm `equal_budget`, on the same held-out "
    "pairs. Not all of this was predicted, and the best of many look better than they are; each "
    "interval is of one comparison:"
)
LEVELS = ("sequences", "starts", "seeds")
Row = tuple[str, str, str, str]


def known(root: Path = ROOT) -> str:
    """The table of the paper's claims, then that of the predictions of the experiments."""
    found = claims(root)
    lines = [tally(found), "", HEAD.format("claim")]
    for claim, rows in found.items():
        for i, row in enumerate(rows):
            lines.append(f"| {claim if i == 0 else ''} | {' | '.join(row)} |")
    tested = list(predictions(root))
    if tested:
        lines += ["", "Predictions that were written down before the experiment ran:", ""]
        lines += [HEAD.format("experiment: prediction"), *tested]
    ensembles = list(against_budget(root))
    if ensembles:
        lines += [
            "",
            AFTERWARDS,
            "",
            "| experiment: arm | pairs, the network's | loss | 95 % | videos, seeds |",
        ]
        lines += ["|---|---:|---:|---|---|", *ensembles]
    return "\n".join(lines)


def tally(found: dict[str, list[Row]]) -> str:
    """How many rows with an interval, of each kind of data, have which verdict."""
    counts: dict[str, Counter] = {}
    for rows in found.values():
        for i, (_, size, verdict, half) in enumerate(rows):
            size = rows[i - 1][1] if size == "″" else size
            place = next(
                name for name in ("real", MADE, "built-in", "experiment") if size.startswith(name)
            )
            if verdict in VERDICTS and half.startswith("±"):
                counts.setdefault(place, Counter())[verdict] += 1
    said = [
        f"{PLACES[place]}: {', '.join(f'{counts[place][v]} {v}' for v in VERDICTS)}"
        for place in PLACES
        if place in counts
    ]
    return f"Verdicts of the rows with an interval: {'; '.join(said)}."


def claims(root: Path) -> dict[str, list[Row]]:
    """Claim -> its rows: measured, size, verdict, half the width of the interval."""
    return {
        "**The ensemble tracks better than SiamFC**": [
            *compared(root, "SiamFC"),
            *at_full_width(root, "SiamFC"),
            *at_full_width(root, "common start"),
        ],
        "… by 6.7 to 8.6 % of SiamFC's precision (the paper, on other benchmarks)": [
            *relative(root, "real", "otb2015"),
            *relative(root, "mini", BUILT_IN),
        ],
        "**Specialists beat one network that learned from as many pairs**": [
            *compared(root, "equal_budget SiamFC"),
            *at_full_width(root, "equal budget"),
        ],
        "**It matters which tracks a branch learns from**: better than random clusters": [
            *compared(root, "random ESiamFC"),
        ],
        "… and than branches that all learn from all tracks": [*compared(root, "seeds ESiamFC")],
        "**PIk-means gives clusters of equal size**": [*sizes(root)],
        "**Balance matters**: better than clusters of k-means": [*compared(root, "kmeans ESiamFC")],
        "**Weights from the first frame beat the plain average of the branches**": [
            *compared(root, "Uniform"),
            *at_full_width(root, "plain average"),
            *saved(root),
            *measures(root, "found", "average − fusion", +1),
        ],
        "**Each branch is best on its own kind of object**, new ones too": [
            *own_kind(root),
            *measures(root, "own_held_out", "own branch − the others", -1),
        ],
        "**More data, more gain**": [*more_data(root)],
        "**More data, better specialists**, from as many pairs": [
            *by_videos(root, "own_held_out", "own branch − the others, held out"),
            *by_videos(root, "overfitting", "overfitting of the own branch"),
            *by_videos(root, "headroom", "average − the best candidate"),
        ],
    }


def compared(root: Path, minus: str) -> Iterator[Row]:
    """ESiamFC minus one other, in AUC and, where it is known, in precision."""
    for place, file, query in (
        (real(root), "real/tables/08_controls_differences", "benchmark == 'otb2015'"),
        ("built-in", "mini/tables/08_controls_differences", f"benchmark == '{BUILT_IN}'"),
        (MADE, "scaling/tables/scaling_controls", "videos == videos.max()"),
        *(
            (
                f"{MADE}; `{Path(report).name}`",
                f"{report}/tables/{name}",
                "sequences > 0",
            )
            for report, name in FIXED.items()
        ),
    ):
        table = _table(root, file)
        if table is None:
            continue
        chosen = f"({query}) and tracker == 'ESiamFC' and minus == @name"
        for _, row in table.query(chosen, local_dict={"name": minus}).iterrows():
            # What was written down before a run is one comparison, in AUC.
            fixed = ", fixed before it ran" if "`" in place and minus.startswith("equal") else ""
            what, size = f"ESiamFC − {minus}", f"{place}{fixed}: {_units(row)}"
            yield (
                _gain(what, row["difference"], row["low_all"], row["high_all"], "AUC"),
                size,
                *_judged(row["low_all"], row["high_all"]),
            )
            if pd.notna(row.get("precision")):
                low, high = row["precision_low"], row["precision_high"]
                yield (
                    _gain(what, row["precision"], low, high, "precision"),
                    "″",
                    *_judged(low, high),
                )


def at_full_width(root: Path, minus: str) -> Iterator[Row]:
    """The same at width 1, from what ``python -m speed gpu`` trained on a GPU. A row is judged
    where its note has the interval that holds for all comparisons there together, the last one."""
    for file in sorted(root.glob("reports/bench/gpu-*.json")):
        for row in json.loads(file.read_text("utf-8")):
            found = re.match(r"ESiamFC, (\d+ seeds), (\d+ sequences) .*: (.+)$", row["name"])
            if found and found[3] == minus:
                note = row["note"].replace("−", "-")
                mean, *ends = map(float, re.findall(r"[+-]\d\.\d+", note))
                low, high = ends[-2:]
                alone = " of ESiamFC alone" if minus in ("SiamFC", "common start") else ""
                size = f"{MADE}; width 1: {found[2]} × 2 starts × {found[1]}{alone}"
                verdict, half = _judged(low, high)
                if len(ends) < 4:
                    verdict = "not judged: an interval of one comparison among four"
                said = _gain(f"ESiamFC − {minus}", mean, low, high, "AUC")
                yield said, size, verdict, half


def relative(root: Path, report: str, benchmark: str) -> Iterator[Row]:
    """The gain in precision over SiamFC as a share of SiamFC's own, and where the paper's lie."""
    gains, means = (
        _table(root, f"{report}/tables/{n}") for n in ("08_controls_differences", "08_controls")
    )
    if gains is None or means is None or "precision" not in gains:
        return
    here = gains[(gains["benchmark"] == benchmark) & (gains["minus"] == "SiamFC")]
    of = means[(means["benchmark"] == benchmark) & (means["tracker"] == "SiamFC")]["precision"]
    published = pd.read_csv(root / "esiamfc_lib/analysis/published.csv")
    paper = published[published["metric"] == "gain"]["value"]
    for _, row in here[here["tracker"] == "ESiamFC"].iterrows():
        value, low, high = (
            row[name] / of.iloc[0] for name in ("precision", "precision_low", "precision_high")
        )
        inside = paper.between(low, high).sum()
        verdict = f"{inside} of the paper's {len(paper)} numbers lie inside"
        if not inside:
            side = "above" if paper.min() > high else "below" if paper.max() < low else "around it"
            verdict = f"the paper's {len(paper)} numbers lie outside, {side}"
        percent = [f"{100 * share:+.1f}".replace("-", "−") for share in (value, low, high)]
        place = real(root) if report == "real" else "built-in"
        yield (
            "{} % [{}, {}] of a precision of {:.3f}".format(*percent, of.iloc[0]),
            f"{place}: {_units(row)}",
            verdict,
            f"±{50 * (high - low):.1f} %",
        )


def sizes(root: Path) -> Iterator[Row]:
    """Clusters' sizes from twenty first centres, by the published rule and by the balanced one."""
    for report, place in (("real", real(root)), ("mini", "built-in")):
        table = _table(root, f"{report}/tables/04_runs")
        for method in ("PIk-means, published", "PIk-means, balanced") if table is not None else ():
            spread = table[table["method"] == method]["spread"]
            if len(spread):
                even = int((spread <= EQUAL).sum())
                verdict = "shown" if even == len(spread) else "refuted"
                if 0 < even < len(spread):
                    verdict = f"shown in {even} of {len(spread)} runs"
                said = f"{method}: largest / smallest {spread.min():.1f} to {spread.max():.1f}"
                yield said, place, verdict, f"{len(spread)} first centres"


def saved(root: Path) -> Iterator[Row]:
    """The loss that the trained fusion saves, on pairs of held-out videos."""
    for report, place in (("real", real(root)), ("mini", "built-in")):
        file = root / f"reports/{report}/metrics/fusion.json"
        found = json.loads(file.read_text("utf-8")).get("saved") if file.is_file() else None
        if found:
            low, high = found["low"], found["high"]
            said = _gain("loss: average − fusion", found["mean"], low, high, "", LOSS)
            yield said, f"{place}: held-out videos", *_judged(low, high, LOSS)


def own_kind(root: Path) -> Iterator[Row]:
    """What remains of a branch's score on its own kind without easy kinds and good branches."""
    for report, place in (("real", real(root)), ("mini", "built-in")):
        for file in sorted((root / f"reports/{report}/tables").glob("08_own_kind_*otb2015*.csv")):
            own = pd.read_csv(file)["interaction"]
            first = int((pd.read_csv(file)["rank"] == 1).sum())
            half = _student(len(own)) * own.std() / len(own) ** 0.5
            low, high = own.mean() - half, own.mean() + half
            said = _gain("above expectation on its own kind", own.mean(), low, high, "AUC")
            size = f"{place}: {len(own)} branches, {first} of them the best on their kind"
            yield said, size, *_judged(low, high)


def measures(root: Path, measure: str, what: str, side: int) -> Iterator[Row]:
    """A measure of the study itself (arm ``main``) in every experiment; ``side``: where the claim
    lies. Experiments that share the study, because they differ in their arms alone, share a row."""
    shared: dict[tuple, list[str]] = {}
    for name, found in experiments(root):
        for one in found.get("measures", []):
            if (one["arm"], one["measure"]) == ("main", measure) and one["low"] is not None:
                ends = ("mean", "low", "high", "videos", "seeds")
                shared.setdefault(tuple(one[end] for end in ends), []).append(f"`{name}`")
    for (mean, low, high, videos, seeds), names in shared.items():
        said = _gain(f"loss: {what}", mean, low, high, "", LOSS)
        word = "experiment" if len(names) == 1 else "experiments"
        size = f"{word} {', '.join(names)}: {videos} held-out videos, {_counted(seeds, 'seeds')}"
        yield said, size, *_judged(*sorted((side * low, side * high)), LOSS)


def more_data(root: Path) -> Iterator[Row]:
    """The gain over the equal budget at each size of the scaling study; its change is shown where
    the intervals of the most and the fewest tracks do not meet."""
    table = _table(root, "scaling/tables/scaling")
    if table is None:
        return
    chosen = "separation == 1 and k == 6 and split == 'pikmeans' and fusion == 'cluster weights'"
    rows = table.query(chosen).sort_values("tracks")
    said = "; ".join(
        _gain(f"{row['tracks']:,} tracks:", row["difference"], row["low"], row["high"], "AUC")
        for _, row in rows.iterrows()
    )
    few, most = rows.iloc[0], rows.iloc[-1]
    verdict = "not shown"
    if most["low"] > few["high"] or most["high"] < few["low"]:
        verdict = "shown" if most["low"] > few["high"] else "refuted"
    half = ((rows["high"] - rows["low"]) / 2).max()
    size = f"{MADE}: {_units(most)}, against the equal budget"
    yield said, size, verdict, f"±{half:.3f}"


def by_videos(root: Path, measure: str, what: str) -> Iterator[Row]:
    """A measure of the experiment ``data`` at each of its sizes; it changes where the intervals of
    two sizes do not meet."""
    rows = {}
    for name, found in experiments(root):
        if size := re.fullmatch(r"data_(\d+)", name):
            own = (m for m in found["measures"] if (m["arm"], m["measure"]) == ("main", measure))
            rows[int(size[1])] = next(own)
    if len(rows) < 2:
        return
    said = "; ".join(
        _gain(f"{size:,} videos:", one["mean"], one["low"], one["high"], "", LOSS)
        for size, one in sorted(rows.items())
    )
    most = rows[max(rows)]
    apart = max(one["low"] for one in rows.values()) > min(one["high"] for one in rows.values())
    size = f"experiment `data`, {MADE}: {_counted(most['seeds'], 'seeds')}"
    yield f"loss: {what}: {said}", size, "changes" if apart else "not shown to change", "–"


def predictions(root: Path) -> Iterator[str]:
    """Lines of the table of predictions."""
    for name, found in experiments(root):
        for one in found.get("verdicts", []):
            low, high = one["low_all"], one["high_all"]
            half = "–" if low is None else f"±{(high - low) / 2:.{LOSS}f}"
            said = _gain("", one["value"], low, high, "", LOSS) if low is not None else "–"
            of = {"own_learned": "learned", "overfitting": "learned and held-out"}
            of = next((v for k, v in of.items() if k in one["prediction"]), "held-out")
            size = f"{one['videos']} {of} videos, {_counted(one['seeds'], 'seeds')}"
            yield f"| `{name}`: {one['prediction']} | {said} | {size} | {one['verdict']} | {half} |"


def against_budget(root: Path) -> Iterator[str]:
    """Lines of the table of all ensembles of the experiments against their study's equal budget."""
    files = sorted(root.glob("reports/experiments/*/tables/10_videos.csv"))
    tables = {file.parents[1].name: read_table(file) for file in files}
    for one, table in tables.items():
        budget = table[table["arm"] == "equal_budget"]
        if not len(budget):
            continue
        for name, other in tables.items():
            if not _main(other).equals(_main(table)):
                continue  # another study: other pairs
            pairs = _pairs(root, name)
            for arm in other.dropna(subset="fusion")["arm"].unique():
                if arm == "main" and name != one:
                    continue
                asked = {"arm": arm, "measure": "fusion", "below": 0.0}
                asked |= {"minus_arm": "equal_budget", "minus_measure": "single"}
                rows = pd.concat([other[other["arm"] == arm], budget])
                found = verdicts(rows, [Prediction(**asked)]).iloc[0]
                mean, *ends = (_signed(found[name], LOSS) for name in ("value", "low", "high"))
                learned = f"{pairs[arm]:,}, {_pairs(root, one)['equal_budget']:,}"
                counts = f"{found['videos']}, {found['seeds']}"
                cells = (f"`{name}`: {arm}", learned, mean, f"[{', '.join(ends)}]", counts)
                yield f"| {' | '.join(cells)} |"


def _main(table: pd.DataFrame) -> pd.DataFrame:
    """What the study itself, without its arms, measured."""
    rows = table.loc[table["arm"] == "main", ["video", "seed", "fusion"]]
    return rows.reset_index(drop=True)


def _pairs(root: Path, experiment: str) -> pd.Series:
    """Pairs that the branches of each arm learned from."""
    return _table(root, f"experiments/{experiment}/tables/10_arms").set_index("arm")["pairs"]


def experiments(root: Path) -> Iterator[tuple[str, dict]]:
    """Names and metrics of the experiments whose reports are there."""
    for file in sorted(root.glob("reports/experiments/*/metrics/experiment.json")):
        yield file.parents[1].name, json.loads(file.read_text(encoding="utf-8"))


def real(root: Path) -> str:
    """The real data in words: videos and tracks learned from."""
    file = root / "reports/real/metrics/dataset.json"
    facts = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return "real, {videos} videos, {tracks} tracks".format(**{"videos": "?", "tracks": "?"} | facts)


def _table(root: Path, name: str) -> pd.DataFrame | None:
    file = root / f"reports/{name}.csv"
    return read_table(file) if file.is_file() else None


def _units(row: pd.Series) -> str:
    counts = [_counted(row[name], name) for name in LEVELS]
    alone = row["seeds"] > 1 and row["seeds_of"] != "both"
    return " × ".join(counts) + (f" of {row['seeds_of']} alone" if alone else "")


def _counted(number: int, units: str) -> str:
    return f"{number} {units.removesuffix('s') if number == 1 else units}"


def _gain(what: str, value: float, low: float, high: float, unit: str, digits: int = 3) -> str:
    value, low, high = (_signed(number, digits) for number in (value, low, high))
    return " ".join(filter(None, (what, value, unit, f"[{low}, {high}]")))


def _signed(value: float, digits: int) -> str:
    if digits == 3:
        return signed(value)
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def _judged(low: float, high: float, digits: int = 3) -> tuple[str, str]:
    """The verdict, and half the width of the interval."""
    verdict = "shown" if low > 0 else "refuted" if high < 0 else "not shown"
    return verdict, f"±{(high - low) / 2:.{digits}f}"


def _student(count: int) -> float:
    return float(stats.t.isf((1 - LEVEL) / 2, count - 1))
