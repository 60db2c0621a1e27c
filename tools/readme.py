"""The README's table of results, from the committed reports; ``python -m speed.documents``
writes it."""

import json
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis.intervals import signed
from esiamfc_lib.chain.profiles import load_profile

ROOT = Path(__file__).parents[1]
MADE = "built-in, made for specialists"
BENCHMARK = "built-in, otb2015 layout"
FIXED = {"experiments/best": "08_controls_differences", "confirmation": "08_closer"}
"""Reports of comparisons that were fixed before they ran -> table of the differences."""


def results(root: Path = ROOT) -> str:
    """Questions of the study with the committed runs' answers, as a table."""
    lines = ["| question | data | answer |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in (*_mini(root), *_compared(root), _speed(root))]
    left_out = "; ".join(sentence.rstrip(".") for sentence in limits(root))
    lines += ["", f'What the rows "{MADE}" leave open: {left_out}.']
    return "\n".join(lines)


def limits(root: Path = ROOT) -> list[str]:
    """What the scaling study's comparison with one network leaves open, in sentences."""
    tables = root / "reports/scaling/tables"
    controls = pd.read_csv(tables / "scaling_controls.csv").query("minus == 'equal_budget SiamFC'")
    alike = controls[controls["separation"] == 0].iloc[0]
    scaling = pd.read_csv(tables / "scaling.csv")
    start = scaling[(scaling["fusion"] == "start") & (scaling["videos"] == scaling["videos"].max())]
    # The table has the start minus the network that learned on: turned round.
    more = {"difference": -start["difference"].iloc[0], "low_all": -start["high_all"].iloc[0]}
    more["high_all"] = -start["low_all"].iloc[0]
    stages = load_profile(str(root / "notebooks/profiles/scaling.yaml")).stages
    pairs = stages["fusion"].epochs * stages["fusion"].pairs_per_epoch
    k = stages["clustering"].n_clusters
    again = (root / "reports/confirmation/tables/08_closer.csv").is_file()
    return [
        f"with families that do not differ the gain is as large: {_interval(alike)}, not shown.",
        "by more training alone the one network gains about as much over the common start as the "
        f"ensemble gains over it: {_interval(more)}, not shown.",
        f"the {pairs:,} pairs of the fusion are not in the budget of the one network"
        f"{' (in both runs on fresh data they are)' * again}.",
        f"{k} branches, each of which runs in every frame, stand against one network.",
        "all seeds share one data set, one start and one test set, so the intervals do not cover "
        f"the luck of these{' (the runs on fresh data have their own, one of each)' * again}.",
    ]


def _mini(root: Path):
    def metrics(stage: str) -> dict:
        file = root / f"reports/mini/metrics/{stage}.json"
        return json.loads(file.read_text(encoding="utf-8"))

    scores = metrics("results")[BENCHMARK]
    siamfc, still = (scores[name]["success"] for name in ("SiamFC", "Identity"))
    built_in, nearest = "built-in", metrics("embedding")
    families = pd.read_csv(root / "reports/mini/tables/04_families.csv").set_index("method")
    agreement = families.loc["PIk-means, balanced", "ari"]
    yield (
        "Does SiamFC, trained here from scratch, track?",
        built_in,
        f"success AUC {siamfc:.3f}; a tracker that never moves has {still:.3f}",
    )
    yield (
        "Does its embedding group objects that it was never told of?",
        built_in,
        f"{nearest['nearest_is_same_group']:.0%} of the tracks have a nearest neighbour of their "
        f"own family, by chance {nearest['nearest_is_same_group_by_chance']:.0%}; its clusters are "
        f"not the families: adjusted Rand index {agreement:.2f} of 1",
    )
    runs = metrics("comparison")["mean_over_runs"]
    balanced, published, plain = (
        runs[name]["spread"] for name in ("PIk-means, balanced", "PIk-means, published", "k-means")
    )
    yield (
        "Does PIk-means balance the clusters?",
        built_in,
        f"largest to smallest: {balanced:.1f} with this project's stopping rule, {published:.1f} "
        f"with the published one, {plain:.1f} for k-means",
    )
    saved = metrics("fusion")["saved"]
    yield (
        "Is the trained fusion better than the plain average of the branches?",
        built_in,
        "{}: saves {:+.5f} of the loss [{:+.5f}, {:+.5f}]".format(
            _shown(saved["low"], saved["high"]), *(saved[name] for name in ("mean", "low", "high"))
        ).replace("-", "−"),
    )
    table = pd.read_csv(root / "reports/mini/tables/08_controls_differences.csv")
    own = table[(table["minus"] == "SiamFC") & (table["benchmark"] == BENCHMARK)].iloc[0]
    yield "Is the ensemble better than SiamFC?", built_in, _difference(own)


def _compared(root: Path):
    folder = root / "reports/real"
    table = pd.read_csv(folder / "tables/08_controls_differences.csv")
    own = table[(table["tracker"] == "ESiamFC") & (table["benchmark"] == "otb2015")]
    own = own.set_index("minus")
    learned = sum(json.loads(f.read_text())["tracks"] for f in folder.glob("metrics/branches_*"))
    for name, what in (
        ("SiamFC", "on real videos"),
        ("equal_budget SiamFC", "than one SiamFC that learned from as many pairs"),
    ):
        row = own.loc[name]
        data = f"{row['sequences']} OTB sequences × {row['starts']} starts"
        yield f"… {what}?", f"{data}, {learned} training tracks", _difference(row)
    scaling = pd.read_csv(root / "reports/scaling/tables/scaling_controls.csv")
    most = scaling[scaling["videos"] == scaling["videos"].max()].set_index("minus")
    for name, what in (
        ("equal_budget SiamFC", "one SiamFC that learned from as many pairs"),
        ("random ESiamFC", "branches on random clusters"),
        ("kmeans ESiamFC", "branches on k-means clusters"),
    ):
        yield f"… than {what}?", MADE, _difference(most.loc[name])
    for report, table in FIXED.items():
        file = root / f"reports/{report}/tables/{table}.csv"
        if file.is_file():
            chosen = "tracker == 'ESiamFC' and minus == 'equal_budget SiamFC'"
            row = pd.read_csv(file).query(chosen).iloc[0]
            facts = json.loads((root / f"reports/{report}/metrics/dataset.json").read_text("utf-8"))
            yield (
                "… than one SiamFC that learned from as many pairs, the fusion's too?",
                f"the same, {facts['tracks']:,} fresh tracks; fixed before it ran",
                _difference(row),
            )


def _difference(row: pd.Series) -> str:
    """Whether a row of differences shows a gain; the interval holds for all rows of its table."""
    low, high = (row.get(f"{end}_all", row[end]) for end in ("low", "high"))
    return f"{_shown(low, high)}: {_interval(row)}"


def _interval(row) -> str:
    low, high = (row.get(f"{end}_all", row.get(end)) for end in ("low", "high"))
    return f"{signed(row['difference'])} AUC [{signed(low)}, {signed(high)}]"


def _shown(low: float, high: float) -> str:
    return "yes" if low > 0 else "no, it is worse" if high < 0 else "not shown"


def _speed(root: Path) -> tuple[str, str, str]:
    rows = json.loads((root / "reports/bench/tracking.json").read_text(encoding="utf-8"))
    names = {row["name"]: row["ours"] for row in rows}
    fp32, int8 = (
        names[f"ESiamFC k = 6, 6 run, torch {kind}, 1 thread"] for kind in ("fp32", "int8")
    )
    machine = "640×480, one core of a Xeon with AMX"
    return "How fast are six branches?", machine, f"{fp32:.1f} frames/s in fp32, {int8:.0f} in int8"
