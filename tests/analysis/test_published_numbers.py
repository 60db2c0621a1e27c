"""Published numbers beside ours."""

import math
import shlex

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.analysis import published_numbers
from esiamfc_lib.chain import profiles
from esiamfc_lib.commands import evaluate, run
from esiamfc_lib.errors import StudyError


def scores(benchmark: str = "otb2015", n: int = 3, **by_tracker: float) -> pd.DataFrame:
    """Success by tracker; the precision is 0.1 above it; every sequence adds 0.01 to both."""
    rows = [
        {"tracker": name, "benchmark": benchmark, "sequence": f"s{i}",
         "success": value + 0.01 * i, "precision": value + 0.01 * i + 0.1}
        for name, value in by_tracker.items()
        for i in range(n)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(ao=math.nan, sr50=math.nan, sr75=math.nan)


BOTH = {"SiamFC": 0.5, "ESiamFC": 0.6, "Branch 0": 0.9}


def cell(table: published_numbers.PaperTable, tracker: str, source: str, column: str) -> str:
    wide = table.wide
    return wide.loc[(wide["tracker"] == tracker) & (wide["from"] == source), column].item()


def test_published_numbers_stand_with_their_source():
    table = pd.read_csv(published_numbers.FILE)
    assert list(table) == list(published_numbers.CELL) and not table.isna().any(axis=None)
    assert set(zip(table["benchmark"], table["metric"], strict=True)) <= set(
        published_numbers.COLUMNS
    )
    assert len(table) == 11
    assert table["source"].str.len().min() > 10
    values = table.set_index(["implementation", "benchmark", "metric"])["value"]
    assert values["siamfc-pytorch", "otb2015", "success"] == 0.578
    assert values["paper", "dtb70", "gain"] == 0.086


def test_ours_are_means_over_sequences_and_say_on_how_many():
    table = published_numbers.published_table(scores(**BOTH), {"otb2015": 100})
    assert cell(table, "SiamFC", "siamfc-pytorch", "OTB-2015 AUC") == "0.578"
    assert cell(table, "SiamFC", "this study", "OTB-2015 AUC") == "0.510 (3 of 100)"
    assert cell(table, "ESiamFC", "this study", "OTB-2015 precision") == "0.710 (3 of 100)"
    assert "Branch 0" not in table.wide["tracker"].tolist()
    complete = published_numbers.published_table(scores(**BOTH), {"otb2015": 3})
    assert cell(complete, "ESiamFC", "this study", "OTB-2015 AUC") == "0.610"


def test_gains_are_ratios_of_the_means():
    frame = pd.concat([scores(**BOTH), scores("dtb70", n=40, **BOTH)])
    table = published_numbers.published_table(frame, {"otb2015": 3, "dtb70": 40})
    ours, theirs = (value + 0.1 + 0.01 * np.arange(40).mean() for value in (0.6, 0.5))
    row = table.cells[(table.cells["benchmark"] == "dtb70") & table.cells["low"].notna()].iloc[0]
    assert row["value"] == pytest.approx(ours / theirs - 1)
    assert row["low"] < row["value"] < row["high"]
    assert cell(table, "ESiamFC", "this study", "DTB70 gain").startswith(
        f"{ours / theirs - 1:+.1%} ["
    )
    assert cell(table, "SiamFC", "this study", "DTB70 gain") == "–"


def test_interval_of_a_gain_against_a_hand_computed_one():
    """Two sequences: the draws are (a, a), (a, b), (b, b), with odds 1 : 2 : 1."""
    frame = scores(n=2, SiamFC=0.0, ESiamFC=0.0)
    frame["precision"] = [0.5, 0.5, 0.5, 1.0]
    gain, low, high = published_numbers.relative_gain(frame, "ESiamFC", "SiamFC")
    assert gain == pytest.approx(0.5)
    assert (low, high) == (pytest.approx(0.0), pytest.approx(1.0))


def test_a_constant_ratio_has_no_doubt():
    frame = scores(n=5, SiamFC=0.5, ESiamFC=0.5)
    frame.loc[frame["tracker"] == "ESiamFC", "precision"] *= 1.2
    assert published_numbers.relative_gain(frame, "ESiamFC", "SiamFC") == pytest.approx(
        (0.2, 0.2, 0.2)
    )


def test_gains_over_nothing_are_refused():
    with pytest.raises(StudyError, match="no precision"):
        published_numbers.relative_gain(scores(n=1, SiamFC=-0.1, ESiamFC=0.5), "ESiamFC", "SiamFC")


def test_every_empty_cell_of_ours_has_a_note():
    table = published_numbers.published_table(
        scores(**BOTH), {"otb2015": 100}, profile="real", run_dir="data/real"
    )
    marks = table.notes["mark"].tolist()
    assert marks == ["[a]", "[b]", "[c]", "[d]"]
    for column in published_numbers.COLUMNS.values():
        if not column.startswith("OTB"):
            assert cell(table, "ESiamFC", "this study", column) in marks
    assert "no DTB70 data" in table.notes["missing"].tolist()


def test_the_commands_of_the_notes_can_be_typed(monkeypatch, root):
    """Each is parsed by the command that it names, its --set by the profile it is for."""
    from argparse import ArgumentParser

    monkeypatch.chdir(root)
    table = published_numbers.published_table(
        scores(**BOTH).head(0), {}, profile="real", run_dir="data/real"
    )
    assert len(table.notes) == len(published_numbers.TITLES)
    for command in table.notes["command"]:
        program, name, *words = shlex.split(command)
        assert program == "esiamfc"
        parser = ArgumentParser()
        {"run": run, "evaluate": evaluate}[name].arguments(parser)
        args = parser.parse_args(words)
        if name == "run":
            profile = profiles.load_profile(args.profile, args.set)
            assert profile.stages["results"].benchmarks
            given = profile.stages["dataset"]
            assert "DIR" in (given.otb_root, *given.more_roots.values())


def test_built_in_data_does_not_stand_beside_published_numbers():
    own = scores("built-in, otb2015 layout", **BOTH)
    table = published_numbers.published_table(own, {"built-in, otb2015 layout": 3})
    assert cell(table, "SiamFC", "this study", "OTB-2015 AUC") == "[a]"
    assert "this study" not in set(table.cells["implementation"])
    assert "built-in" in table.notes["missing"][0]


def test_got10k_test_rows_without_truth_stay_empty():
    frame = scores("got10k-test", **BOTH).assign(success=math.nan, precision=math.nan)
    table = published_numbers.published_table(frame, {"got10k-test": 180})
    assert cell(table, "SiamFC", "this study", "GOT-10k AO") == "[b]"
    assert "server" in table.notes["missing"][1]
