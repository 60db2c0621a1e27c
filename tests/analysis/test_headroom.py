"""Headroom, overfitting and the verdicts of an experiment: by hand, and on noise."""

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.analysis import arm_measures, measures_of_videos, read_predictions, verdicts
from esiamfc_lib.errors import StudyError

ARMS = {
    "main": {"clusters": 2, "repeats": ""},
    "one": {"clusters": 1, "repeats": ""},
    "again": {"clusters": 2, "repeats": "main"},
}


def losses(rows, branches=2):
    names = ["part", "video", "track", "own", "start", "average", "fusion", "soup"]
    names += [f"branch {i}" for i in range(branches)]
    return pd.DataFrame(rows, columns=names)


@pytest.fixture
def by_hand():
    """Learned video p; held-out videos q (tracks 1, 2) and r (track 3, seen in half B alone)."""
    return losses(
        [
            ("learned", "p", 0, 0, 0.5, 0.3, 0.2, 0.3, 0.1, 0.6),
            ("A", "q", 1, 0, 0.6, 0.5, 0.4, 0.5, 0.7, 0.3),
            ("B", "q", 1, 0, 0.6, 0.5, 0.4, 0.5, 0.6, 0.8),
            ("A", "q", 2, 1, 0.6, 0.5, 0.4, 0.5, 0.6, 0.6),
            ("B", "q", 2, 1, 0.6, 0.5, 0.4, 0.5, 0.2, 0.6),
            ("B", "r", 3, 1, 0.8, 0.7, 0.8, 0.9, 0.5, 0.6),
        ]
    )


def test_measures_of_a_small_table(by_hand):
    means = measures_of_videos(by_hand)
    q, r = means.loc["q"], means.loc["r"]
    assert q["average"] == pytest.approx(0.5) and q["found"] == pytest.approx(0.1)
    # track 1: branch 1 is best on A and has 0.8 on B, the average is best on B and has 0.5 on A;
    # track 2: the average is best on A and has 0.5 on B, branch 0 is best on B and has 0.6 on A
    assert q["oracle"] == pytest.approx((0.8 + 0.5 + 0.5 + 0.6) / 4)
    assert q["headroom"] == pytest.approx(-0.1)
    assert r["oracle"] == pytest.approx(0.7)  # nothing to choose by: the average
    assert means["own_learned"].mean() == pytest.approx(0.1 - 0.6)
    assert q["own_held_out"] == pytest.approx(((0.7 - 0.3) + (0.6 - 0.8) + 0 + (0.6 - 0.2)) / 4)
    held = [(0.7 + 0.6 + 0.6 + 0.6) / 4 - 0.6, 0.6 - 0.8]
    assert means["overfitting"].mean() == pytest.approx(np.mean(held) - (0.1 - 0.5))


def test_the_spread_of_overfitting_is_that_of_two_means():
    random = np.random.default_rng(0)
    rows = [
        (part, f"{part}{i}", i, 0, 0.0, 0, 0, 0, random.normal(scale=scale))
        for part, n, scale in (("learned", 40, 1.0), ("A", 60, 2.0))
        for i in range(n)
    ]
    table = losses(rows, branches=1)
    own = table.groupby("part")["branch 0"]
    values = measures_of_videos(table)["overfitting"]
    gap = own.mean()["A"] - own.mean()["learned"]
    assert values.mean() == pytest.approx(gap) and len(values) == 100
    assert values.sem() == pytest.approx(np.sqrt((own.sem() ** 2).sum()), rel=0.02)


def test_an_oracle_on_noise_has_no_headroom_but_only_where_it_is_judged_apart():
    random = np.random.default_rng(0)
    n = 20_000
    noise = random.normal(0.5, 0.1, (n, 6))
    table = losses([(0,) * 14] * n, branches=6)
    table[[f"branch {i}" for i in range(6)]] = noise
    table["average"] = table["fusion"] = table["soup"] = 0.5
    table["part"] = np.where(np.arange(n) % 2, "A", "B")
    table["track"] = np.arange(n) // 8
    table["video"] = (table["track"] // 2).astype(str)
    table.loc[0, ["part", "video"]] = "learned", "another"
    values = measures_of_videos(table)
    assert abs(values["headroom"].mean()) < 0.003
    best = table.groupby("track")[[f"branch {i}" for i in range(6)]].mean().min(axis=1)
    assert 0.5 - best.mean() > 0.03  # judged on the pairs that it was chosen by


def long(arm, effects, seeds=(0, 1, 2), noise=0.01):
    """Values of 30 videos with these mean measures; videos and seeds have effects of their own."""
    random = np.random.default_rng(len(arm))
    parts = []
    for seed in seeds:
        values = {
            name: mean + random.normal(scale=noise, size=30) for name, mean in effects.items()
        }
        parts.append(pd.DataFrame({"video": range(30), "arm": arm, "seed": seed, **values}))
    return pd.concat(parts)


def test_verdicts_confirm_refute_and_leave_open():
    wanted = [
        {"arm": "main", "measure": "found", "above": 0},
        {"arm": "main", "measure": "found", "below": 0.0},
        {"arm": "main", "measure": "found", "minus_measure": "headroom", "below": 0.0},
        {"arm": "main", "measure": "share", "above": 0.5},
        {"arm": "main", "measure": "share", "below": 0.1},
        {"arm": "main", "measure": "soup", "above": 0.3},
    ]
    table = verdicts(
        long("main", {"found": 0.02, "headroom": 0.1, "soup": 0.3}),
        read_predictions(wanted, ARMS),
    )
    said = table["verdict"].tolist()
    assert said == ["confirmed", "refuted", "confirmed", "refuted", "refuted", "undecided"]
    assert (table["low_all"] < table["low"]).all() and set(table["seeds"]) == {3}
    assert table["prediction"][2] == "main found − main headroom below 0"


def test_arms_are_paired_by_the_seeds_that_both_have():
    values = pd.concat([long("main", {"fusion": 0.3}), long("other", {"fusion": 0.2}, (1, 5))])
    arms = ARMS | {"other": ARMS["main"]}
    wanted = [{"arm": "other", "measure": "fusion", "minus_arm": "main", "below": 0.0}]
    table = verdicts(values, read_predictions(wanted, arms))
    assert table.loc[0, ["seeds", "verdict"]].tolist() == [1, "confirmed"]
    with pytest.raises(StudyError, match="no seed in common"):
        verdicts(values[values["seed"] != 1], read_predictions(wanted, arms))


def test_the_share_is_of_sums_and_has_no_value_without_headroom():
    effects = dict.fromkeys(("average", "fusion", "soup", "oracle", "own_learned"), 0.1)
    effects |= {"own_held_out": 0.1, "overfitting": 0.1, "found": 0.02, "headroom": 0.1}
    table = arm_measures(long("main", effects)).set_index("measure")
    mean, low, high = table.loc["share", ["mean", "low", "high"]]
    assert low < mean < high and mean == pytest.approx(0.2, abs=0.03)
    table = arm_measures(long("main", effects | {"headroom": -0.1})).set_index("measure")
    assert table.loc["share", ["mean", "low", "high"]].isna().all()


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        ({"arm": "nobody", "measure": "found", "above": 0.0}, "no 'nobody', only main, one"),
        ({"arm": "again", "measure": "found", "above": 0.0}, "no 'again', only main, one"),
        ({"arm": "one", "measure": "fusion", "above": 0.0}, "no 'fusion', only single, overf"),
        ({"arm": "main", "measure": "single", "above": 0.0}, "no 'single', only average"),
        ({"arm": "main", "measure": "luck", "above": 0.0}, "'measure' = 'luck'"),
        ({"arm": "main", "measure": "found"}, "either above or below"),
        ({"arm": "main", "measure": "found", "above": 0.0, "below": 1.0}, "either above or below"),
        ({"arm": "main", "measure": "share", "minus_arm": "one", "above": 0.0}, "a number alone"),
        ({"arm": "main", "measure": "found", "over": 0.0}, "unknown parameter 'over'"),
    ],
)
def test_a_prediction_of_what_is_not_there_is_refused(prediction, said):
    with pytest.raises(StudyError, match=said) as caught:
        read_predictions([prediction], ARMS)
    assert "\n" not in str(caught.value)
