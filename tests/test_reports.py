"""What a stage leaves for people: the same content gives the same bytes."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib import reports
from esiamfc_lib.config import ResultsParameters
from esiamfc_lib.errors import StudyError


@pytest.fixture
def parameters(tmp_path):
    return ResultsParameters(run_dir=str(tmp_path / "run"), report_dir=str(tmp_path / "report"))


def drawn():
    figure, axis = plt.subplots()
    axis.plot([0, 1], [0, 1])
    return figure


def test_figures_come_in_two_forms_and_the_same_bytes(parameters):
    files = [parameters.reports / "figures" / f"line.{ending}" for ending in ("pdf", "png")]
    reports.save_figure(drawn(), parameters, "line")
    first = [file.read_bytes() for file in files]
    reports.save_figure(drawn(), parameters, "line")
    assert [file.read_bytes() for file in files] == first
    plt.close("all")


def test_pictures_of_the_data_lie_apart(parameters):
    reports.save_figure(drawn(), parameters, "frame", photographs=True)
    assert (parameters.reports / "figures" / "photographs" / "frame.png").is_file()
    plt.close("all")


def test_tables_keep_full_precision_in_csv_and_round_in_latex(parameters):
    table = pd.DataFrame({"tracker": ["A_1"], "success": [1 / 3]})
    reports.save_table(table, parameters, "scores", caption="Scores.")
    csv = (parameters.reports / "tables" / "scores.csv").read_text()
    tex = (parameters.reports / "tables" / "scores.tex").read_text()
    assert csv == "tracker,success\nA_1,0.3333333333333333\n"
    assert r"A\_1 & 0.333 \\" in tex
    assert r"\caption{Scores.}" in tex and r"\label{tab:report_scores}" in tex


def test_a_table_without_a_caption_is_data_alone(parameters):
    reports.save_table(pd.DataFrame({"a": [1]}), parameters, "raw")
    assert [file.name for file in parameters.reports.rglob("*.*")] == ["raw.csv"]


def test_metrics_are_plain_json_in_both_places(parameters):
    given = {"auc": np.float64(0.5), "sizes": np.array([1, 2]), "none": float("nan"), 3: "key"}
    assert reports.save_metrics(given, parameters) == {
        "auc": 0.5,
        "sizes": [1, 2],
        "none": None,
        "3": "key",
    }
    text = (parameters.folder / "metrics.json").read_text()
    assert text == (parameters.reports / "metrics" / "results.json").read_text()
    assert json.loads(text)["none"] is None
    assert reports.load_metrics(parameters.folder) == json.loads(text)


@pytest.mark.parametrize("text", [None, "{", "[1]"])
def test_metrics_that_cannot_be_read_say_which_stage_to_run(parameters, text):
    parameters.folder.mkdir(parents=True, exist_ok=True)
    if text is not None:
        (parameters.folder / "metrics.json").write_text(text)
    with pytest.raises(StudyError, match=r"metrics.json is (missing|damaged).*run stage 'results'"):
        reports.load_metrics(parameters.folder)


@pytest.mark.parametrize("text", [None, "{", "[1]", "{}", "3"])
def test_the_last_answer_is_the_one_that_metrics_hold(parameters, text):
    reports.save_metrics({"answer": "No: +0.002 AUC."}, parameters)
    assert reports.last_answer(parameters) == "The last run's answer: No: +0.002 AUC."
    file = parameters.folder / "metrics.json"
    file.unlink() if text is None else file.write_text(text)
    assert reports.last_answer(parameters) == "No earlier run has left an answer."


def test_names_of_files_have_no_blanks(parameters):
    name = "07_curves_built-in, otb2015 layout"
    reports.save_figure(drawn(), parameters, name)
    reports.save_table(pd.DataFrame({"a": [1]}), parameters, name, caption="A.")
    found = sorted(path.name for path in parameters.reports.rglob("*.*"))
    assert found == [f"07_curves_built-in_otb2015_layout.{e}" for e in ("csv", "pdf", "png", "tex")]
    plt.close("all")


def test_a_control_counts_with_its_closer_comparison():
    """The others stay as they are; with none compared more closely, all do."""
    table = pd.DataFrame({"minus": ["SiamFC", "Uniform"], "low_all": [0.1, -0.2]})
    closer = pd.DataFrame({"minus": ["SiamFC", "equal_budget SiamFC"], "low_all": [0.3, 0.4]})
    found = reports.with_closer(table, closer).set_index("minus")["low_all"]
    assert found.to_dict() == {"Uniform": -0.2, "SiamFC": 0.3, "equal_budget SiamFC": 0.4}
    pd.testing.assert_frame_equal(reports.with_closer(table, pd.DataFrame()), table)
