"""The study itself, end to end, at its smallest: the smoke profile on the built-in data."""

import csv
import json
import subprocess
import sys
import time

import pytest

from esiamfc_lib.config import STAGES


@pytest.fixture(scope="module")
def smoke(root, tmp_path_factory):
    """Runs the chain in a folder of its own; gives a function that runs it again."""
    missing = [
        m.notebook for m in STAGES if not (root / "notebooks" / f"{m.notebook}.ipynb").is_file()
    ]
    if missing:
        pytest.skip(f"not written yet: {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("smoke run")

    def run(name: str = "first", *arguments: str) -> subprocess.CompletedProcess:
        command = [
            sys.executable,
            "-m",
            "esiamfc_lib.cli",
            "run",
            "--profile",
            "smoke",
            "--set",
            f"run_dir={folder / name / 'data'}",
            "--set",
            f"report_dir={folder / name / 'reports'}",
            *arguments,
        ]
        return subprocess.run(
            command,
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    run.folder = folder
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
    text = json.dumps(rows).lower()
    for tracker in ("siamfc", "identity", "uniform", "cluster_weight"):
        assert tracker in text


def test_a_second_run_does_nothing_quickly(smoke):
    begin = time.monotonic()
    done = smoke()
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert time.monotonic() - begin < 15


def test_the_same_seed_gives_the_same_bytes(smoke):
    assert smoke("second", "--until", "clustering").returncode == 0
    first, second = smoke.folder / "first" / "data", smoke.folder / "second" / "data"
    for file in (
        "dataset/metrics.json",
        "baseline/metrics.json",
        "baseline/siamfc.safetensors",
        "embedding/metrics.json",
        "embedding/features.npz",
        "clustering/metrics.json",
        "clustering/membership.csv",
        "clustering/centres.npz",
    ):
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_a_fault_in_the_parameters_starts_nothing(smoke):
    done = smoke("third", "--set", "baseline.epochs=two")
    assert done.returncode == 2
    assert done.stderr == (
        "esiamfc run: smoke.yaml: baseline: parameter 'epochs' = 'two': "
        "Input should be a valid integer\n"
    )
    assert not (smoke.folder / "third").exists()
