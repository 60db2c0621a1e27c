"""Intervals and paired differences."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from esiamfc_lib.analysis.intervals import (
    answer,
    bootstrap_interval,
    differences,
    in_precision,
    sentence,
    standard_error,
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
    table = differences(scores(A=[0.5, 0.5, 0.5], B=[0.6, 0.502, 0.3]), "A")
    row = table.iloc[0]
    assert len(table) == 1
    assert row["difference"] == pytest.approx((0.1 + 0.002 - 0.2) / 3)
    assert (row["wins"], row["ties"], row["losses"], row["sequences"]) == (1, 1, 1, 3)
    assert row["median"] == pytest.approx(0.002)
    assert row["low"] < row["difference"] < row["high"]
    assert "no difference is shown" in sentence(row)


def test_a_constant_gain_is_shown():
    row = differences(scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.6, 0.4]), "A").iloc[0]
    assert row["low"] == pytest.approx(0.1)
    assert "a difference is shown" in sentence(row)


def test_unknown_reference_is_refused():
    with pytest.raises(StudyError, match="no scores of 'X'"):
        differences(scores(A=[0.1]), "X")


def test_a_sequence_that_one_tracker_lacks_is_named():
    frame = scores(A=[0.1, 0.5], B=[0.2, 0.9]).drop(index=3)
    with pytest.raises(StudyError, match="B lacks the run of sequence s1"):
        differences(frame, "A")


def test_precision_stands_beside_the_auc():
    frame = scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.62, 0.4])
    plain = differences(frame, "A").iloc[0]
    double = frame.assign(precision=2 * frame["success"])
    row = differences(double, "A").iloc[0]
    pd.testing.assert_series_equal(row[plain.index], plain)  # what was told before stays
    told = row[["precision", "precision_low", "precision_high"]].astype(float).to_numpy()
    np.testing.assert_allclose(told, 2 * row[["difference", "low", "high"]].astype(float))
    assert "AUC [" in sentence(row) and ", precision +0.213 [" in sentence(row)
    turned = differences(double, "A", turned=True).iloc[0]
    assert (turned["tracker"], turned["minus"]) == ("A", "B")
    assert turned["precision_low"] < turned["precision"] < turned["precision_high"] < 0


def test_precision_takes_the_place_of_success_where_it_is_known():
    known = scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.62, 0.4]).assign(benchmark="otb")
    known["precision"] = 2 * known["success"]
    table = differences(pd.concat([known, scores(A=[0.1, 0.2], B=[0.2, 0.4])]), "A")
    assert table["benchmark"].tolist() == ["otb", "otb2015"]
    (row,) = in_precision(table).to_dict("records")
    assert [row[name] for name in ("difference", "low", "high")] == table.iloc[0][
        ["precision", "precision_low", "precision_high"]
    ].tolist()
    assert row["benchmark"] == "otb" and "low_all" not in row and row["sequences"] == 3
    without = table.drop(columns=["precision", "precision_low", "precision_high"])
    assert in_precision(without).empty


def test_the_answer_is_yes_only_where_every_gain_is_shown():
    gain = differences(scores(A=[0.1, 0.5, 0.3], B=[0.2, 0.61, 0.4]), "A")
    assert answer(gain).startswith(
        "Yes: a gain is shown in 1 of 1 comparisons; the least sure is otb2015: B − A: +0.103 AUC ["
    )
    none = differences(scores(A=[0.1, 0.5], C=[0.2, 0.4]), "A")
    both = answer(pd.concat([gain, none], ignore_index=True))
    assert both.startswith(
        "No: a gain is shown in 1 of 2 comparisons; the least sure is otb2015: C − A"
    )
    worse = answer(differences(scores(A=[0.2, 0.6], B=[0.1, 0.5]), "A"))
    assert worse.startswith("No: ") and worse.endswith("a difference is shown.")
    one = answer(differences(scores(A=[0.1], B=[0.2]), "A"))
    assert one.startswith("No: ") and one.endswith("too few for an interval.")
    empty = differences(scores(A=[np.nan], B=[np.nan]), "A")
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
    row = differences(frame, "A").iloc[0]
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
        differences(f.sort_values("tracker", kind="stable"), order[0]) for f in (frame, shuffled)
    )
    pd.testing.assert_frame_equal(one, other)


def test_flips_are_runs_from_lost_to_held():
    frame = runs(B=np.zeros((2, 3, 1)))
    frame.loc[frame["tracker"] == "A", "success"] = [0.1, 0.1, 0.7, 0.6, 0.3, 0.19]
    frame.loc[frame["tracker"] == "B", "success"] = [0.6, 0.4, 0.1, 0.55, 0.9, 0.51]
    row = differences(frame, "A").iloc[0]
    assert (row["flips_won"], row["flips_lost"]) == (2, 1)


def test_the_interval_of_normal_differences_is_students():
    """The one level that is there gives the interval of the t test."""
    change = np.random.default_rng(3).normal(0.01, 0.03, (12, 1, 1))
    row = differences(runs(B=change), "A").iloc[0]
    half = stats.t.ppf(0.975, 11) * change.std(ddof=1) / np.sqrt(12)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=1e-9)
    # One comparison: together is the same as alone.
    assert (row["low_all"], row["high_all"]) == pytest.approx((row["low"], row["high"]))


def test_sequences_that_agree_leave_no_doubt_whatever_their_starts_do():
    luck = np.tile(np.random.default_rng(0).normal(0, 0.2, (1, 8, 1)), (5, 1, 1))
    row = differences(runs(B=0.01 + luck - luck.mean()), "A").iloc[0]
    assert row["low"] == pytest.approx(0.01) and row["high"] == pytest.approx(0.01)


def test_a_lucky_seed_is_lucky_on_every_sequence():
    """Three seeds whose luck all sequences share: twelve sequences make them no surer."""
    change = np.zeros((12, 4, 3)) + np.array([-0.03, 0.0, 0.03])
    row = differences(runs(B=change), "A").iloc[0]
    assert row["high"] - row["low"] > 2 * 0.03
    row = differences(runs(B=change[..., :1]), "A").iloc[0]
    assert row["high"] - row["low"] == pytest.approx(0, abs=1e-12)


def test_a_reference_without_seeds_is_compared_with_every_seed():
    frame = runs(B=np.array([[[0.1, 0.3]], [[0.2, 0.4]]]))
    frame = frame[(frame["tracker"] == "B") | (frame["seed"] == 0)]
    frame.loc[frame["tracker"] == "A", "seed"] = np.nan
    row = differences(frame, "A").iloc[0]
    assert row["difference"] == pytest.approx(0.25)
    assert (row["sequences"], row["seeds"], row["runs"]) == (2, 2, 4)
    turned = differences(frame, "B").iloc[0]
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


def test_several_comparisons_need_wider_intervals():
    rng = np.random.default_rng(2)
    change = {f"B{i}": rng.normal(0, 0.05, (12, 1, 1)) for i in range(6)}
    table = differences(runs(**change), "A")
    assert (table["comparisons"] == 6).all()
    wider = (table["high_all"] - table["low_all"]) / (table["high"] - table["low"])
    together = stats.t.ppf((1 + 0.95 ** (1 / 6)) / 2, 11) / stats.t.ppf(0.975, 11)
    np.testing.assert_allclose(wider, together)
    assert "among 6 comparisons" in sentence(table.iloc[0])


def test_spreads_are_told_apart():
    rng = np.random.default_rng(5)
    frame = simulated((200, 8, 1), (0.03, 0.1, 0.0, 0.0), 1, rng)
    row = differences(frame, "A").iloc[0]
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
    assert differences(frame, "A")["seeds_of"].tolist() == ["both", "A"]
    assert differences(frame, "C")["seeds_of"].tolist() == ["A", "B"]
    single = frame[frame["seed"].fillna(0) == 0].assign(seed=np.nan)
    row = differences(single, "A").iloc[0]
    assert row["seeds_of"] == "" and "× 1 seed, these networks alone:" in sentence(row)


def test_a_single_network_does_not_widen_the_intervals_of_repeated_ones():
    rng = np.random.default_rng(0)
    frame = runs(B=rng.normal(size=(6, 2, 3)), C=rng.normal(size=(6, 2, 3)))
    frame.loc[frame["tracker"] == "C", "seed"] = np.nan
    frame = frame.drop_duplicates(["tracker", "sequence", "start", "seed"])
    table = differences(frame, "A").set_index("tracker")
    assert table["comparisons"].tolist() == [1, 1]
    alone = differences(frame[frame["tracker"] != "C"], "A").iloc[0]
    assert table.loc["B", "low_all"] == alone["low_all"]


def test_the_standard_error_is_that_of_the_mean_squares():
    """Against the textbook's formula, written out cell by cell."""
    table = np.random.default_rng(4).normal(size=(5, 3)) + np.array([-1.0, 0.0, 2.0])
    s, k, mean = 5, 3, table.mean()
    rows = k * sum((table[i].mean() - mean) ** 2 for i in range(s)) / (s - 1)
    columns = s * sum((table[:, j].mean() - mean) ** 2 for j in range(k)) / (k - 1)
    rest = sum(
        (table[i, j] - table[i].mean() - table[:, j].mean() + mean) ** 2
        for i in range(s)
        for j in range(k)
    ) / ((s - 1) * (k - 1))
    error, free = standard_error(table)
    assert error == pytest.approx(np.sqrt((rows + columns - rest) / (s * k)))
    seeds = columns - rest  # clear of zero here
    parts = rows**2 / (s - 1) + seeds**2 / (k - 1)
    columns_only = table.mean(axis=0) - mean  # without them the sequences alone count
    assert free == pytest.approx((rows + seeds) ** 2 / parts)
    assert standard_error(table - columns_only)[1] == pytest.approx(s - 1)


def test_one_run_has_no_interval():
    row = differences(runs(B=np.full((1, 1, 1), 0.1)), "A").iloc[0]
    assert np.isnan(row["low"]) and np.isnan(row["high_all"])
    assert sentence(row).endswith("too few for an interval")


def test_one_sequence_is_judged_by_its_starts():
    change = np.random.default_rng(0).normal(0, 0.05, (1, 10, 1))
    row = differences(runs(B=change), "A").iloc[0]
    half = stats.t.ppf(0.975, 9) * change.std(ddof=1) / np.sqrt(10)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=1e-9)


def test_turned_differences_have_the_other_sign():
    frame = runs(B=np.random.default_rng(0).normal(size=(9, 3, 2)))
    row, turned = (differences(frame, "A", turned=t).iloc[0] for t in (False, True))
    assert (turned["tracker"], turned["minus"]) == ("A", "B")
    for one, other in (("difference", "difference"), ("low", "high"), ("low_all", "high_all")):
        assert turned[one] == pytest.approx(-row[other])
    for one, other in (("wins", "losses"), ("flips_won", "flips_lost"), ("ties", "ties")):
        assert turned[one] == row[other]


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
        differences(spoil(frame), "A")


def test_seeds_with_other_runs_are_refused():
    frame = runs(B=np.zeros((4, 3, 2)))
    with pytest.raises(StudyError, match="seed 1, has not the same runs as the others of 3"):
        differences(frame[(frame["sequence"] != "3") | (frame["seed"] != 1)], "A")
