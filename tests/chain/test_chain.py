"""The study itself, end to end, at its smallest: the smoke profile on the built-in data."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from esiamfc_lib.config import STAGES

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
        "branches/0",
        "branches/1",
        "fusion",
        "results",
    ):
        record = json.loads((data / name / "provenance.json").read_text())
        assert record["status"] == "done"
        assert f"{name}/metrics.json" in record["outputs"]
        json.loads((data / name / "metrics.json").read_text())


def test_reports_hold_figures_and_tables_in_both_forms(smoke):
    reports = smoke.folder / "first" / "reports"
    for folder, forms in (("figures", (".pdf", ".png")), ("tables", (".csv", ".tex"))):
        files = [path for path in (reports / folder).rglob("*") if path.is_file()]
        assert files
        for path in files:
            assert all(path.with_suffix(form).is_file() for form in forms), path


def test_scores_name_every_tracker(smoke):
    with (smoke.folder / "first" / "data" / "results" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = {"Identity", "SiamFC", "Branch 0", "Branch 1", "Uniform", "Nearest centroid", "ESiamFC"}
    assert {row["tracker"] for row in rows} == names
    assert {row["benchmark"] for row in rows} == {"otb2015", "vot2018", "got10k-val"}


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
