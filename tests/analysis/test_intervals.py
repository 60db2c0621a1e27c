"""Intervals and paired differences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from esiamfc_lib.analysis.arm_comparison import arm_differences
from esiamfc_lib.analysis.intervals import (
    answer,
    bootstrap_interval,
    hierarchical_differences,
    paired_differences,
    sentence,
)
from esiamfc_lib.errors import StudyError


def scores(**by_tracker: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"tracker": name, "benchmark": "otb2015", "sequence": f"s{i}", "success": value}
            for name, values in by_tracker.items()
            for i, value in enumerate(values)
        ]
    )


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval(np.mean, np.full(7, 0.25)) == (0.25, 0.25)
    assert bootstrap_interval(np.mean, np.array([0.5])) == (0.5, 0.5)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        sample = rng.normal(0.5, 0.1, 40)
        low, high = bootstrap_interval(np.mean, sample, draws=500, seed=trial)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.98


def test_same_seed_same_interval_and_other_seed_another():
    values = np.random.default_rng(0).normal(size=10)
    one, same, other = (bootstrap_interval(np.mean, values, seed=s) for s in (3, 3, 4))
    assert one == same != other


def test_the_interval_is_that_of_draws_with_replacement():
    values = np.random.default_rng(0).normal(size=9)
    picked = np.random.default_rng(1).integers(0, 9, (10_000, 9))
    expected = np.quantile(values[picked].mean(axis=1), [0.025, 0.975])
    np.testing.assert_allclose(bootstrap_interval(np.mean, values, seed=1), expected, rtol=1e-12)


def test_differences_are_taken_sequence_by_sequence():
    table = paired_differences(scores(A=[0.5, 0.5, 0.5], B=[0.6, 0.502, 0.3]), "A")
    row = table.iloc[0]
    assert len(table) == 1
    assert row["difference"] == pytest.approx((0.1 + 0.002 - 0.2) / 3)
    assert (row["wins"], row["ties"], row["losses"], row["sequences"]) == (1, 1, 1, 3)
    assert row["median"] == pytest.approx(0.002)
    assert row["low"] < row["difference"] < row["high"]
    assert "no difference is shown" in sentence(row)


def test_a_constant_gain_is_shown():
    row = paired_differences(scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.6, 0.4]), "A").iloc[0]
    assert row["low"] == pytest.approx(0.1)
    assert "a difference is shown" in sentence(row)


def test_a_sequence_that_one_tracker_lacks_does_not_count():
    frame = scores(A=[0.1, 0.5], B=[0.2, 0.9]).drop(index=3)
    assert paired_differences(frame, "A").iloc[0]["sequences"] == 1


def test_unknown_reference_is_refused():
    with pytest.raises(StudyError, match="no scores of 'X'"):
        paired_differences(scores(A=[0.1]), "X")


def test_trackers_without_a_common_sequence_are_refused():
    frame = scores(A=[0.1, 0.5], B=[0.2, 0.9]).drop(index=[1, 2])
    with pytest.raises(StudyError, match="otb2015: B and A share no sequence"):
        paired_differences(frame, "A")


@pytest.mark.parametrize("compared", [paired_differences, hierarchical_differences])
def test_precision_stands_beside_the_auc(compared):
    frame = scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.7, 0.4])
    plain = compared(frame, "A").iloc[0]
    double = frame.assign(precision=2 * frame["success"])
    row = compared(double, "A").iloc[0]
    pd.testing.assert_series_equal(row[plain.index], plain)  # what was told before stays
    told = row[["precision", "precision_low", "precision_high"]].astype(float).to_numpy()
    np.testing.assert_allclose(told, 2 * row[["difference", "low", "high"]].astype(float))
    assert "AUC [" in sentence(row) and ", precision +0.267 [" in sentence(row)
    turned = arm_differences(double, "A").iloc[0]
    assert (turned["tracker"], turned["minus"]) == ("A", "B")
    assert turned["precision_low"] < turned["precision"] < turned["precision_high"] < 0


def test_the_answer_is_yes_only_where_every_gain_is_shown():
    gain = hierarchical_differences(scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.61, 0.4]), "A")
    assert answer(gain).startswith(
        "Yes: a gain is shown in 1 of 1 comparisons; the least sure is otb2015: B − A: +0.103 AUC ["
    )
    none = hierarchical_differences(scores(A=[0.1, 0.5], C=[0.2, 0.4]), "A")
    both = answer(pd.concat([gain, none], ignore_index=True))
    assert both.startswith(
        "No: a gain is shown in 1 of 2 comparisons; the least sure is otb2015: C − A"
    )
    worse = answer(paired_differences(scores(A=[0.2, 0.6], B=[0.1, 0.5]), "A"))
    assert worse.startswith("No: ") and worse.endswith("a difference is shown.")
    one = answer(hierarchical_differences(scores(A=[0.1], B=[0.2]), "A"))
    assert one.startswith("No: ") and one.endswith("too few for an interval.")
    empty = paired_differences(scores(A=[np.nan], B=[np.nan]), "A")
    assert answer(empty) == "No: nothing could be compared."


# Several starts of a sequence, several seeds.


def runs(**differences: np.ndarray) -> pd.DataFrame:
    """Scores of A, constant, and of others by their differences (sequences, starts, seeds) to A."""
    shape = next(iter(differences.values())).shape
    places = dict(zip(("sequence", "start", "seed"), np.indices(shape), strict=True))
    columns = {name: index.ravel() for name, index in places.items()}
    return pd.concat(
        [
            pd.DataFrame({"tracker": name, "benchmark": "otb2015", **columns})
            .astype({"sequence": str})
            .assign(success=0.5 + change.ravel())
            for name, change in ({"A": np.zeros(shape)} | differences).items()
        ],
        ignore_index=True,
    )


def test_the_difference_is_the_mean_of_the_means_of_the_sequences():
    # Sequence 0 has two starts, sequence 1 three: each sequence counts once.
    frame = runs(B=np.array([[[0.1], [0.2], [0.9]], [[0.0], [0.3], [-0.6]]]))
    frame = frame[~((frame["sequence"] == "0") & (frame["start"] == 2))]
    row = hierarchical_differences(frame, "A").iloc[0]
    assert row["difference"] == pytest.approx((0.15 - 0.1) / 2)
    assert row["median"] == pytest.approx((0.15 - 0.1) / 2)
    assert (row["wins"], row["ties"], row["losses"]) == (1, 0, 1)
    assert (row["sequences"], row["starts"], row["seeds"], row["runs"]) == (2, 3, 1, 5)
    assert "2 sequences × up to 3 starts × 1 seed:" in sentence(row)


def test_pairing_does_not_depend_on_the_order_of_the_rows():
    frame = runs(B=np.random.default_rng(0).normal(size=(4, 3, 2)))
    shuffled = frame.sample(frac=1, random_state=1)
    order = ["A", "B"]
    one, other = (
        hierarchical_differences(f.sort_values("tracker", kind="stable"), order[0])
        for f in (frame, shuffled)
    )
    pd.testing.assert_frame_equal(one, other)


def test_flips_are_runs_from_lost_to_held():
    frame = runs(B=np.zeros((2, 3, 1)))
    frame.loc[frame["tracker"] == "A", "success"] = [0.1, 0.1, 0.7, 0.6, 0.3, 0.19]
    frame.loc[frame["tracker"] == "B", "success"] = [0.6, 0.4, 0.1, 0.55, 0.9, 0.51]
    row = hierarchical_differences(frame, "A").iloc[0]
    assert (row["flips_won"], row["flips_lost"]) == (2, 1)


def test_the_interval_of_normal_differences_is_students():
    """With many draws, the one level that is there gives the interval of the t test."""
    change = np.random.default_rng(3).normal(0.01, 0.03, (12, 1, 1))
    row = hierarchical_differences(runs(B=change), "A", draws=200_000).iloc[0]
    half = stats.t.ppf(0.975, 11) * change.std(ddof=1) / np.sqrt(12)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.03)
    # One comparison: together is the same as alone, but symmetric.
    assert row["low_all"] == pytest.approx(change.mean() - half, abs=0.03 * half)
    assert row["high_all"] == pytest.approx(change.mean() + half, abs=0.03 * half)


def test_sequences_that_agree_leave_no_doubt_whatever_their_starts_do():
    luck = np.tile(np.random.default_rng(0).normal(0, 0.2, (1, 8, 1)), (5, 1, 1))
    row = hierarchical_differences(runs(B=0.01 + luck - luck.mean()), "A").iloc[0]
    assert row["low"] == pytest.approx(0.01) and row["high"] == pytest.approx(0.01)


def test_a_lucky_seed_is_lucky_on_every_sequence():
    """Three seeds whose luck all sequences share: twelve sequences make them no surer."""
    change = np.zeros((12, 4, 3)) + np.array([-0.03, 0.0, 0.03])
    row = hierarchical_differences(runs(B=change), "A").iloc[0]
    assert row["high"] - row["low"] > 2 * 0.03
    row = hierarchical_differences(runs(B=change[..., :1]), "A").iloc[0]
    assert row["high"] - row["low"] == pytest.approx(0, abs=1e-12)


def test_a_reference_without_seeds_is_compared_with_every_seed():
    frame = runs(B=np.array([[[0.1, 0.3]], [[0.2, 0.4]]]))
    frame = frame[(frame["tracker"] == "B") | (frame["seed"] == 0)]
    frame.loc[frame["tracker"] == "A", "seed"] = np.nan
    row = hierarchical_differences(frame, "A").iloc[0]
    assert row["difference"] == pytest.approx(0.25)
    assert (row["sequences"], row["seeds"], row["runs"]) == (2, 2, 4)
    turned = hierarchical_differences(frame, "B").iloc[0]
    assert turned["difference"] == pytest.approx(-0.25)
    assert turned["seeds"] == 2


def simulated(shape: tuple[int, int, int], spreads: tuple, trackers: int, rng) -> pd.DataFrame:
    """Differences whose true mean is 0, with luck of sequences, starts, seeds and single runs."""
    sizes = [(shape[0], 1, 1), (shape[0], shape[1], 1), (1, 1, shape[2]), shape]
    return runs(
        **{
            f"B{i}": sum(rng.normal(0, s, n) for s, n in zip(spreads, sizes, strict=True))
            for i in range(trackers)
        }
    )


@pytest.mark.parametrize(
    "spreads", [(0.03, 0.03, 0.003, 0.02), (0.0, 0.06, 0.0, 0.02), (0.02, 0.02, 0.01, 0.0)]
)
def test_intervals_hold_the_truth_as_often_as_they_say(spreads):
    """Simulated studies: 12 sequences × 6 starts × 3 seeds of three trackers."""
    rng = np.random.default_rng(1)
    alone, together, studies = 0.0, 0, 100
    for study in range(studies):
        frame = simulated((12, 6, 3), spreads, 3, rng)
        table = hierarchical_differences(frame, "A", draws=1000, seed=study)
        alone += ((table["low"] <= 0) & (table["high"] >= 0)).mean()
        together += ((table["low_all"] <= 0) & (table["high_all"] >= 0)).all()
    assert 0.91 <= alone / studies <= 0.99
    assert 0.89 <= together / studies <= 0.99


def test_several_comparisons_need_wider_intervals():
    rng = np.random.default_rng(2)
    change = {f"B{i}": rng.normal(0, 0.05, (12, 1, 1)) for i in range(6)}
    table = hierarchical_differences(runs(**change), "A")
    assert (table["comparisons"] == 6).all()
    assert (table["high_all"] - table["low_all"] > 1.15 * (table["high"] - table["low"])).all()
    # Six names of one tracker are one comparison.
    same = hierarchical_differences(runs(**dict.fromkeys(change, change["B0"])), "A")
    np.testing.assert_allclose(
        same["high_all"] - same["low_all"], same["high"] - same["low"], rtol=0.1
    )
    assert "among 6 comparisons" in sentence(table.iloc[0])


def test_spreads_are_told_apart():
    rng = np.random.default_rng(5)
    frame = simulated((200, 8, 1), (0.03, 0.1, 0.0, 0.0), 1, rng)
    row = hierarchical_differences(frame, "A", draws=100).iloc[0]
    assert row["sd_sequences"] == pytest.approx(0.03, abs=0.01)
    assert row["sd_starts"] == pytest.approx(0.1, rel=0.05)


def test_the_sentence_of_the_study():
    row = {"benchmark": "otb2015", "tracker": "ESiamFC", "minus": "equal budget"}
    row |= {"difference": 0.003, "low": -0.003, "high": 0.009, "comparisons": 1}
    row |= {"sequences": 12, "starts": 8, "seeds": 3, "runs": 288}
    said = (
        "otb2015: ESiamFC − equal budget: +0.003 AUC [−0.003, +0.009], "
        "12 sequences × 8 starts × 3 seeds{}: no difference is shown"
    )
    assert sentence(pd.Series(row | {"seeds_of": "both"})) == said.format("")
    assert sentence(pd.Series(row | {"seeds_of": "A"})) == said.format(" of A alone")


def test_whose_seeds_they_are_is_told():
    frame = runs(B=np.full((2, 2, 3), 0.1), C=np.zeros((2, 2, 3)))
    frame = frame[(frame["tracker"] != "C") | (frame["seed"] == 0)]
    frame.loc[frame["tracker"] == "C", "seed"] = np.nan  # one network
    assert hierarchical_differences(frame, "A")["seeds_of"].tolist() == ["both", "A"]
    assert hierarchical_differences(frame, "C")["seeds_of"].tolist() == ["A", "B"]
    single = frame[frame["seed"].fillna(0) == 0].assign(seed=np.nan)
    row = hierarchical_differences(single, "A").iloc[0]
    assert row["seeds_of"] == "" and "× 1 seed:" in sentence(row)


def test_one_run_has_no_interval():
    row = hierarchical_differences(runs(B=np.full((1, 1, 1), 0.1)), "A").iloc[0]
    assert np.isnan(row["low"]) and np.isnan(row["high_all"])
    assert sentence(row).endswith("too few for an interval")


def test_one_sequence_is_judged_by_its_starts():
    change = np.random.default_rng(0).normal(0, 0.05, (1, 10, 1))
    row = hierarchical_differences(runs(B=change), "A", draws=100_000).iloc[0]
    half = stats.t.ppf(0.975, 9) * change.std(ddof=1) / np.sqrt(10)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.05)


def test_same_seed_same_table():
    frame = runs(B=np.random.default_rng(0).normal(size=(9, 3, 2)))
    one, same, other = (hierarchical_differences(frame, "A", seed=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert one["low"].item() != other["low"].item()


@pytest.mark.parametrize(
    "spoil, reason",
    [
        (lambda f: f.drop(index=f.index[-1]), "B lacks the run of sequence 3, start 2, seed 1"),
        (lambda f: f.drop(index=f.index[0]), "A lacks the run"),
        (lambda f: pd.concat([f, f.iloc[-1:]]), "B: two scores for one run"),
        (lambda f: f.assign(seed=f["seed"].where(f.index > 2)), "A: some runs have a seed"),
        (lambda f: f.assign(tracker="B"), "no scores of 'A'"),
    ],
)
def test_tables_with_gaps_are_refused(spoil, reason):
    frame = runs(B=np.zeros((4, 3, 2)))
    with pytest.raises(StudyError, match=reason):
        hierarchical_differences(spoil(frame), "A")


def test_seeds_with_other_runs_are_refused():
    frame = runs(B=np.zeros((4, 3, 2)))
    with pytest.raises(StudyError, match="seed 1, has not the same runs as the others of 3"):
        hierarchical_differences(frame[(frame["sequence"] != "3") | (frame["seed"] != 1)], "A")
