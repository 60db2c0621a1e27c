"""Tables for a paper: aligned, no wider than they must be, and what LaTeX would misread escaped."""

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.runtime.latex import latex_table, latex_text


def body(table, **look):
    """Lines of a table between its rules, and the whole of it."""
    text = latex_table(table, "All of it.", "tab:all", **look)
    return text[text.index(r"\midrule") :].splitlines()[1:], text


@pytest.fixture
def scores():
    names = {"tracker": ["A", "B", "A"], "benchmark": ["otb", "otb", "vot"]}
    values = {"success": [0.5004, 0.4996, np.nan], "failures": [np.nan, np.nan, 2.25]}
    return pd.DataFrame(names | values | {"runs": [3, 3, 10]})


def test_numbers_are_aligned_at_the_point(scores):
    rows, text = body(scores, columns=["tracker", "success", "runs", "absent"])
    assert "{lS[mode=text, detect-weight, table-format=1.3]S[" in text and "=2.0]}" in text
    assert rows[:3] == [r"A & 0.500 & 3 \\", r"B & 0.500 & 3 \\", r"A & {--} & 10 \\"]
    assert r"{tracker} & {{AUC}} & {{runs}} \\" in text and r"\begin{table}[tb]" in text


def test_what_prints_like_the_best_is_bold(scores):
    best = {"success": "max", "failures": "min"}
    rows, _ = body(scores, columns=["tracker", "success", "failures"], best=best)
    assert rows[0] == r"A & \bfseries 0.500 & {--} \\" and rows[1].startswith(r"B & \bfseries")
    assert rows[2] == r"A & {--} & \bfseries 2.250 \\"
    rows, _ = body(scores, columns=["tracker", "success"], best=best, decimals=4)
    assert rows[1] == r"B & 0.4996 \\"


def test_benchmarks_stand_side_by_side_without_their_empty_columns(scores):
    columns = ["tracker", "benchmark", "success", "failures"]
    rows, text = body(scores, columns=columns, beside="benchmark")
    assert rows[:2] == [r"A & 0.500 & 2.250 \\", r"B & 0.500 & {--} \\"]
    assert r"{tracker} & {{AUC}} & {{failures}} \\" in text and "& otb & vot" in text


def test_differences_have_signs_and_no_minus_before_zero():
    rows, text = body(pd.DataFrame({"minus": ["A", "B"], "difference": [0.01, -0.0001]}))
    assert rows[:2] == [r"A & +0.010 \\", r"B & +0.000 \\"]
    assert "retain-explicit-plus, table-format=+1.3]" in text
    gain = {"minus": ["A"], "precision": [0.01], "precision_low": [-0.02], "precision_high": [0.04]}
    rows, text = body(pd.DataFrame(gain))
    assert rows[:1] == [r"A & +0.010 & -0.020 & +0.040 \\"]
    assert "{{precision}} & {{low}} & {{high}}" in text
    assert body(pd.DataFrame({"minus": ["A"], "precision": [0.91]}))[0][:1] == [r"A & 0.910 \\"]


def test_plain_text_stays_what_it_is():
    rows, _ = body(pd.DataFrame({"mark": ["[b]", r"50% of a_b & \c"], "note": ["−1", "a → b"]}))
    assert rows[0] == r"{[}b] & $-$1 \\"  # `[b]` after the rule's `\\` would be a length
    assert rows[1] == r"50\% of a\_b \& \textbackslash{}c & a $\to$ b \\"
    assert latex_text("{~}") == r"\{\textasciitilde{}\}"


def test_wide_tables_take_the_page_and_long_ones_many():
    wide = pd.DataFrame({name * 12: [0.5, 1.5] for name in "abcd"})
    assert r"\begin{table*}" in latex_table(wide, "", "")
    wider = pd.DataFrame({name * 12: [0.5, 1.5] for name in "abcdefgh"})
    assert r"\centering\footnotesize" in latex_table(wider, "", "")
    assert r"\begin{longtable}{S" in latex_table(pd.DataFrame({"a": range(41)}), "", "")
    stacked = pd.DataFrame({"dataset.train_videos": [1], "validation_loss": [0.5]})
    assert r"{{train videos}}" not in (text := latex_table(stacked, "", ""))
    assert r"{\shortstack{train\\videos}} & {\shortstack{validation\\loss}}" in text
