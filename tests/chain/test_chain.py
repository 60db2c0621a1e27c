"""The study itself, end to end, at its smallest: the smoke profile on the built-in data."""

import csv
import html
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser import lab

from esiamfc_lib.config import STAGES
from esiamfc_lib.data.benchmarks import READERS

pytestmark = pytest.mark.timeout(1500)  # seconds; the study takes under 180 on two idle cores


@pytest.fixture(scope="module")
def smoke(root, tmp_path_factory):
    """Runs the chain in a folder of its own; gives a function that runs it again."""
    missing = [
        m.notebook for m in STAGES if not (root / "notebooks" / f"{m.notebook}.ipynb").is_file()
    ]
    if missing:
        pytest.skip(f"not written yet: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("smoke run")

    def command(name: str, *arguments: str) -> list[str]:
        run = [sys.executable, "-m", "esiamfc_lib.cli", "run", "--profile", "smoke", "-n", "2"]
        run += ["--set", f"run_dir={folder / name / 'data'}"]
        return [*run, "--set", f"report_dir={folder / name / 'reports'}", *arguments]

    def run(name: str = "first", *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command(name, *arguments),
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    run.folder, run.command = folder, command
    return run


def test_every_stage_leaves_its_files_and_its_record(smoke):
    data = smoke.folder / "first" / "data"
    for name in (
        "dataset",
        "baseline",
        "embedding",
        "clustering",
        "comparison",
        "branches/0",
        "branches/1",
        "fusion",
        "results",
        "controls",
    ):
        record = json.loads((data / name / "provenance.json").read_text())
        assert record["status"] == "done"
        assert f"{name}/metrics.json" in record["outputs"]
        json.loads((data / name / "metrics.json").read_text())


def test_reports_hold_figures_and_tables_in_both_forms(smoke):
    reports = smoke.folder / "first" / "reports"
    figures, tables = ({*(reports / name).rglob("*.*")} for name in ("figures", "tables"))
    assert figures and tables
    for path in figures:
        assert {path.with_suffix(".pdf"), path.with_suffix(".png")} <= figures, path
    shown = {path for path in tables if path.suffix == ".tex"}
    assert shown and {path.with_suffix(".csv") for path in shown} < tables  # some are only data


def test_scores_name_every_tracker(smoke):
    with (smoke.folder / "first" / "data" / "results" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"Identity", "SiamFC", "Branch 0", "Branch 1", "Uniform", "Nearest centroid", "ESiamFC"}
    assert {row["tracker"] for row in rows} == names
    assert {row["benchmark"] for row in rows} == {
        f"built-in, {name} layout" for name in ("otb2015", "vot2018", "got10k-val")
    }


def test_the_reports_name_no_benchmark_without_saying_that_the_data_is_built_in(smoke):
    """Tables, page and metrics of notebooks 07 and 08, and the names of all files."""
    reports = smoke.folder / "first" / "reports"
    made = [path for path in reports.rglob("*") if path.is_file()]
    for path in made:
        named = any(benchmark in path.name for benchmark in READERS)
        assert not named or "built-in" in path.name, path
    texts = [reports / "metrics" / "controls.json", *reports.glob("tables/0[78]_*")]
    texts = [path for path in texts if "07_paper" not in path.name]
    assert len(texts) > 10
    told = {path: path.read_text(encoding="utf-8") for path in texts}
    page = (reports / "report.md").read_text(encoding="utf-8")
    beside = r"(?s)<details><summary>(Published numbers|What is missing|07 paper).*?</details>"
    told["page"] = re.sub(beside, "", page)
    assert len(told["page"]) < len(page)
    for place, text in told.items():
        plain = re.sub(r"built-in[,_ ] ?(\S+?)[ _]layout", "", text.replace("\\_", "_"))
        assert not [benchmark for benchmark in READERS if benchmark in plain], place
    numbers = (reports / "tables" / "07_paper_numbers.csv").read_text(encoding="utf-8")
    assert "Published numbers" in page and "this study" not in numbers


def test_every_notebook_answers_its_question(smoke):
    reports = smoke.folder / "first" / "reports"
    for name in ("fusion", "results", "controls"):
        metrics = json.loads((reports / "metrics" / f"{name}.json").read_text())
        assert metrics["answer"].startswith(("Yes: ", "No: ")), name
        assert metrics["answer"] in (reports / "report.md").read_text()
        assert metrics["answer"] in html.unescape((reports / "index.html").read_text())


def test_what_is_said_of_the_fusion_is_in_its_metrics(smoke):
    metrics = json.loads((smoke.folder / "first/reports/metrics/fusion.json").read_text())
    losses, saved = metrics["held_out_losses"], metrics["saved"]
    assert {"average", "fusion", "mean of the branches", "branch 0", "branch 1"} < set(losses)
    assert losses["best branch of each track"] <= min(losses["branch 0"], losses["branch 1"])
    assert losses["fusion"] == pytest.approx(metrics["best"]["validation"]["loss"], rel=1e-3)
    shown = [losses["fusion"], losses["average"], saved["mean"]]
    shown.append(metrics["rank_correlation_of_weights"])
    for value, form in zip(shown, (".4f", ".4f", "+.4f", "+.2f"), strict=True):
        assert format(value, form).replace("-", "−") in metrics["answer"]
    assert metrics["answer"].startswith("Yes" if saved["low"] > 0 else "No")


def test_a_second_run_does_nothing(smoke):
    done = smoke()
    assert done.returncode == 0
    assert "nothing to do" in done.stdout


def test_killed_while_training_it_ends_in_the_same_bytes(smoke, root):
    data = smoke.folder / "killed" / "data"
    chain = subprocess.Popen(
        smoke.command("killed"), cwd=root, start_new_session=True, stdout=subprocess.DEVNULL
    )
    while not (data / "baseline" / "state.pt").is_file():
        assert chain.poll() is None, "the chain ended before it was killed"
        time.sleep(0.05)
    os.killpg(chain.pid, signal.SIGKILL)
    chain.wait()
    assert not (data / "baseline" / "siamfc.safetensors").exists()

    done = smoke("killed", "--until", "embedding")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dataset: it has not run" not in done.stdout
    first = smoke.folder / "first"
    for file in (
        "dataset/metrics.json",
        "baseline/metrics.json",
        "baseline/siamfc.safetensors",
        "embedding/metrics.json",
        "embedding/features.npz",
        "embedding/umap.npy",
    ):
        assert (first / "data" / file).read_bytes() == (data / file).read_bytes(), file
    tables = sorted((smoke.folder / "killed" / "reports" / "tables").glob("*.csv"))
    assert tables
    for table in tables:
        assert (first / "reports" / "tables" / table.name).read_bytes() == table.read_bytes(), table


def test_a_fault_in_the_parameters_starts_nothing(smoke):
    done = smoke("third", "--set", "baseline.epochs=two")
    assert done.returncode == 2
    assert done.stderr == (
        "esiamfc run: smoke.yaml: baseline: parameter 'epochs' = 'two': "
        "Input should be a valid integer\n"
    )
    assert not (smoke.folder / "third").exists()


@pytest.mark.skipif(lab.MISSING != "", reason=lab.MISSING or "is here")
def test_every_notebook_is_explored_in_jupyterlab(smoke, root, tmp_path):
    """Run All in each, as a user does it; every control moves its picture; the run stays."""
    first = smoke.folder / "first" / "data"
    before = {file: file.read_bytes() for file in first.rglob("*") if file.is_file()}
    for source in sorted((first / "notebooks").glob("*.ipynb")):
        (tmp_path / source.name).write_text(lab.without_outputs(source), encoding="utf-8")
    shots = Path(os.environ.get("ESIAMFC_SCREENSHOTS", tmp_path / "shots"))
    moved = {}
    with lab.lab(tmp_path, root, shots) as jupyter:
        for notebook in sorted(path.stem for path in tmp_path.glob("*.ipynb")):
            content = jupyter.run_all(f"{notebook}.ipynb")
            faults = [fault for cell in content["cells"] for fault in lab.faults(cell)]
            assert not faults, f"{notebook}: {faults}"
            changed = jupyter.move_controls(notebook)
            assert all(changed), f"{notebook}: controls that move nothing: {changed}"
            moved[notebook[:2]] = moved.get(notebook[:2], 0) + len(changed)
            jupyter.close_kernels()
    assert {name for name, count in moved.items() if count} == {"01", "03", "04", "06", "07"}
    assert before == {file: file.read_bytes() for file in first.rglob("*") if file.is_file()}


def test_an_experiment_takes_the_place_of_the_test_sets(smoke):
    """On what the smoke run has made: only notebook 10 is executed."""
    predicted = (
        "[{arm: main, measure: headroom, above: 1.0}, {arm: main, measure: share, below: 1}]"
    )
    own = ["--set", f"experiment.predictions={predicted}", "--set", "experiment.pairs=32"]
    refused = smoke("first", *own)
    assert refused.returncode == 2 and "experiment.hypothesis is empty: write it" in refused.stderr
    own += ["--set", "experiment.hypothesis=There is much to choose between."]
    unknown = smoke("first", *own[2:], *(part.replace("main", "nobody") for part in own[:2]))
    assert unknown.returncode == 2 and "no 'nobody', only main" in unknown.stderr
    done = smoke("first", *own)
    assert done.returncode == 0, done.stdout + done.stderr
    ran = [line.partition(":")[0] for line in done.stdout.splitlines() if ": done in" in line]
    assert ran == ["experiment"]
    reports = smoke.folder / "first" / "reports"
    metrics = json.loads((reports / "metrics" / "experiment.json").read_text())
    assert metrics["answer"].startswith("Refuted: There is much to choose between. Of 2")
    assert metrics["verdicts"][0]["verdict"] == "refuted"
    assert (reports / "figures" / "10_headroom.png").is_file()
    assert "<h1>Refuted: of 2 predictions" in (reports / "index.html").read_text()
