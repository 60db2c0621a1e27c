"""The comparison of all arms: whose trackers run, how repetitions join, which sign a gain has."""

import json

import built_in
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.analysis import arm_comparison
from esiamfc_lib.artefacts import MANIFEST, Artefacts
from esiamfc_lib.data.benchmarks import read_benchmark
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC

WIDTH, K = 0.125, 2


def fact(clusters=K, repeats="", seed=0, membership="nearest", test=True, pairs=100) -> dict:
    return {
        "repeats": repeats, "test": test, "seed": seed, "clusters": clusters, "method": "pikmeans",
        "membership": membership, "start": "", "pairs": pairs,
    }  # fmt: skip


FACTS = {
    "main": fact(),
    "equal_budget": fact(clusters=1),
    "equal_budget_s1": fact(clusters=1, repeats="equal_budget", seed=1),
    "again_s1": fact(repeats="main", seed=1),
    "seeds": fact(membership="all"),
    "seeds_s1": fact(membership="all", repeats="seeds", seed=1),
    "hard": fact(test=False, pairs=50),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A working folder as the chain leaves it, with untrained networks."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "baseline").mkdir()
    checkpoints.save(folder / "baseline/siamfc.safetensors", SiamFC(WIDTH, seed=0))
    for i, (name, facts) in enumerate(FACTS.items()):
        arm = folder if name == "main" else folder / "arms" / name
        if facts["clusters"] == 1:
            (arm / "branches/0").mkdir(parents=True)
            checkpoints.save(arm / "branches/0/branch.safetensors", SiamFC(WIDTH, seed=i + 1))
        else:
            (arm / "fusion").mkdir(parents=True)
            checkpoints.save(arm / "fusion/esiamfc.safetensors", ESiamFC(K, WIDTH, seed=i + 1))
            (arm / "clustering").mkdir()
            centres = np.eye(K, 36 * 32, dtype=np.float32)
            np.savez(arm / "clustering/centres.npz", centres=centres)
    (folder / MANIFEST).write_text(json.dumps(FACTS))
    return folder


@pytest.fixture(scope="module")
def scores(run, tmp_path_factory):
    data = built_in.make(
        tmp_path_factory.mktemp("data") / "built-in", otb_sequences=3, test_frames=6
    )
    plan = {"starts": 2, "length": 3, "backward": False}
    sequences = read_benchmark("otb2015", data.otb)[0]
    return arm_comparison.compare_arms(run, "otb2015", sequences, run / "controls", plan)


def test_every_arm_gives_a_tracker_and_variants_stay_off_the_test_sets(run):
    names = [spec.name for spec in arm_comparison.trackers(run)]
    assert names == [
        "SiamFC", "ESiamFC", "Uniform", "Nearest centroid", "Oracle", "equal_budget SiamFC",
        "equal_budget_s1 SiamFC", "again_s1 ESiamFC", "again_s1 Uniform", "seeds ESiamFC",
        "seeds Oracle", "seeds_s1 ESiamFC",
    ]  # fmt: skip
    names = [spec.name for spec in arm_comparison.trackers(run, held_out=True)]
    assert names == ["SiamFC", "ESiamFC", "again_s1 ESiamFC", "hard ESiamFC"]
    (bare,) = {spec.precision for spec in arm_comparison.trackers(run, precision="bf16")}
    assert bare == "bf16"


def test_repetitions_share_a_name_and_differ_by_seed(scores):
    by_name = scores.groupby("tracker")["seed"].agg(lambda s: sorted(set(s.dropna())))
    assert by_name["ESiamFC"] == by_name["equal_budget SiamFC"] == [0, 1]
    assert by_name["seeds ESiamFC"] == [0, 1]
    assert by_name["seeds Oracle"] == by_name["SiamFC"] == []  # an oracle fed by luck runs once
    assert not scores["tracker"].str.contains("_s1|again").any()


def test_a_seed_that_only_one_arm_has_is_left_out():
    table = pd.DataFrame(
        [(name, "a", 0.5) for name in ("ESiamFC", "again_s1 ESiamFC", "again_s2 ESiamFC",
                                       "equal_budget SiamFC", "equal_budget_s1 SiamFC")],
        columns=["tracker", "sequence", "success"],
    )  # fmt: skip
    facts = FACTS | {"again_s2": fact(repeats="main", seed=2)}
    found = arm_comparison.labelled(table, facts).assign(benchmark="b")
    assert sorted(found.loc[found["tracker"] == "ESiamFC", "seed"]) == [0, 1, 2]
    (row,) = arm_comparison.arm_differences(found).to_dict("records")
    assert (row["seeds"], row["runs"], row["seeds_of"]) == (2, 2, "both")
    facts["equal_budget_s1"] = fact(clusters=1, repeats="equal_budget", seed=3)
    facts["equal_budget"] = fact(clusters=1, seed=4)
    found = arm_comparison.labelled(table, facts).assign(benchmark="b")
    with pytest.raises(StudyError, match="no seed in common"):
        arm_comparison.arm_differences(found)


def test_differences_are_the_ensemble_minus_each_control(scores):
    table = arm_comparison.arm_differences(scores, leave_out=["Oracle"])
    assert set(table["tracker"]) == {"ESiamFC"}
    assert set(table["minus"]) == {
        "SiamFC", "Uniform", "Nearest centroid", "equal_budget SiamFC", "seeds ESiamFC"
    }  # fmt: skip
    repeated = table["minus"].isin(
        ["equal_budget SiamFC", "seeds ESiamFC", "Uniform"]
    )  # in several seeds
    assert table["comparisons"].tolist() == [3 if both else 2 for both in repeated]
    mean = scores.groupby(["tracker", "sequence"])["success"].mean().groupby(level=0).mean()
    for row in table.itertuples():
        assert row.difference == pytest.approx(mean["ESiamFC"] - mean[row.minus], abs=1e-12)
        assert row.low <= row.difference <= row.high
        assert row.low_all <= row.difference <= row.high_all
    budget = table.set_index("minus").loc["equal_budget SiamFC"]
    per = scores.pivot_table(index="sequence", columns="tracker", values="success")
    change = per["ESiamFC"] - per["equal_budget SiamFC"]
    assert (budget["wins"], budget["losses"]) == ((change > 0.005).sum(), (change < -0.005).sum())
    assert budget["median"] == pytest.approx(change.median())
    assert budget["seeds"] == 2 and budget["sequences"] == 3


def test_oracles_are_compared_with_each_other(scores):
    table = arm_comparison.oracle_differences(scores)
    assert table[["tracker", "minus"]].to_numpy().tolist() == [["Oracle", "seeds Oracle"]]
    assert arm_comparison.oracle_differences(scores[scores["tracker"] != "seeds Oracle"]).empty


def test_means_say_what_each_tracker_learned_from(run, scores):
    table = arm_comparison.arm_means(scores, Artefacts(run).arms()).set_index("tracker")
    assert table.loc["equal_budget SiamFC", ["clusters", "pairs", "seeds"]].tolist() == [1, 100, 2]
    assert table.loc["SiamFC", "pairs"] == 0
    assert table.loc["seeds ESiamFC", "membership"] == "all"
    one = scores[scores["tracker"] == "Uniform"]
    expected = one.groupby("sequence")["success"].mean().mean()
    assert table.loc["Uniform", "success"] == pytest.approx(expected)


def test_a_closer_look_takes_some_arms_with_all_their_seeds(run):
    names = [spec.name for spec in arm_comparison.trackers(run, arms=["equal_budget"])]
    assert names == [
        "SiamFC", "ESiamFC", "equal_budget SiamFC", "equal_budget_s1 SiamFC", "again_s1 ESiamFC",
    ]  # fmt: skip
    with pytest.raises(StudyError, match="no arm another"):
        arm_comparison.trackers(run, arms=["another"])
