"""Intervals and paired differences."""

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.errors import StudyError
from esiamfc_lib.statistics import bootstrap_mean, paired_differences, sentence


def scores(**by_tracker: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"tracker": name, "benchmark": "otb2015", "sequence": f"s{i}", "success": value}
            for name, values in by_tracker.items()
            for i, value in enumerate(values)
        ]
    )


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_mean(np.full(7, 0.25)) == (0.25, 0.25, 0.25)


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        _, low, high = bootstrap_mean(rng.normal(0.5, 0.1, 40), draws=500, seed=trial)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.98


def test_same_seed_same_interval_and_other_seed_another():
    values = np.random.default_rng(0).normal(size=10)
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3)[1:] != bootstrap_mean(values, seed=4)[1:]


@pytest.mark.parametrize("values", [[], [0.1, np.nan], [[0.1, 0.2]]])
def test_what_is_not_a_row_of_numbers_is_refused(values):
    with pytest.raises(StudyError, match="finite values"):
        bootstrap_mean(np.array(values))


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
