"""The README's table of results, from the committed reports; ``python -m speed.documents``
writes it."""

import json
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis.intervals import signed

ROOT = Path(__file__).parents[1]
BENCHMARK = "built-in, otb2015 layout"


def results(root: Path = ROOT) -> str:
    """Questions of the study with the committed runs' answers, as a table."""
    lines = ["| question | data | answer |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in (*_mini(root), *_compared(root), _speed(root))]
    return "\n".join(lines)


def _mini(root: Path):
    def metrics(stage: str) -> dict:
        file = root / f"reports/mini/metrics/{stage}.json"
        return json.loads(file.read_text(encoding="utf-8"))

    scores = metrics("results")[BENCHMARK]
    siamfc, still = (scores[name]["success"] for name in ("SiamFC", "Identity"))
    built_in, nearest = "built-in", metrics("embedding")
    yield (
        "Does SiamFC, trained here from scratch, track?",
        built_in,
        f"success AUC {siamfc:.3f}; a tracker that never moves has {still:.3f}",
    )
    yield (
        "Does its embedding group objects that it was never told of?",
        built_in,
        f"{nearest['nearest_is_same_group']:.0%} of the tracks have a nearest neighbour of their "
        f"own family; by chance {nearest['nearest_is_same_group_by_chance']:.0%}",
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
    closer = pd.read_csv(root / "reports/real/tables/08_closer.csv").set_index("minus")
    real = "12 OTB sequences, 40 training videos"
    yield "… on real videos, from eight starts?", real, _difference(closer.loc["SiamFC"])
    alone = _difference(closer.loc["equal_budget SiamFC"])
    yield "… than one SiamFC that learned from as many pairs?", real, alone
    scaling = pd.read_csv(root / "reports/scaling/tables/scaling_controls.csv")
    most = scaling[scaling["videos"] == scaling["videos"].max()].set_index("minus")
    made = "built-in, made for specialists"
    for name, what in (
        ("equal_budget SiamFC", "one SiamFC that learned from as many pairs"),
        ("random ESiamFC", "branches on random clusters"),
        ("kmeans ESiamFC", "branches on k-means clusters"),
    ):
        yield f"… than {what}?", made, _difference(most.loc[name])


def _difference(row: pd.Series) -> str:
    """Whether a row of differences shows a gain; the interval holds for all rows of its table."""
    low, high = (row.get(f"{end}_all", row[end]) for end in ("low", "high"))
    gain = f"{signed(row['difference'])} AUC [{signed(low)}, {signed(high)}]"
    return f"{_shown(low, high)}: {gain}"


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
