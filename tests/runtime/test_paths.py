"""Notebooks that are run by hand work beside the run: they read it and never write into it."""

import pytest

from esiamfc_lib.config import (
    ClusteringParameters,
    FusionParameters,
    SweepParameters,
    TransferParameters,
)
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import paths


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has come to notebook 06."""
    monkeypatch.delenv(paths.CHAIN, raising=False)
    names = "dataset/dataset.json", "dataset/store/manifest.json", "baseline/siamfc.safetensors"
    names += "embedding/features.npz", "embedding/umap.npy", "clustering/membership.csv"
    names += "clustering/centres.npz", "branches/0/branch.safetensors", "fusion/metrics.json"
    names += "branches/1/branch.safetensors", "notebooks/04_clustering.ipynb", ".progress/x"
    for name in names:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("of the run")
    return tmp_path / "run"


def explored(model, run, **changes):
    values = model().model_dump() | {"run_dir": str(run), "report_dir": str(run / "r")} | changes
    return model.from_notebook(values)


def contents(folder):
    return {file: file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_notebook_run_by_hand_reads_the_run_and_writes_beside_it(run, capsys):
    before = contents(run)
    p = explored(ClusteringParameters, run)
    assert p.artefacts.features.read_text() == "of the run"
    (p.folder / "membership.csv").write_text("explored")
    assert p.artefacts.partition.joinpath("membership.csv").read_text() == "explored"
    assert not p.artefacts.centres.exists()  # the whole stage is the exploration's now
    assert contents(run) == before
    assert p.reports.is_relative_to(run.with_name("run.explore"))
    assert "writes" in capsys.readouterr().out


def test_a_branch_is_explored_alone_and_later_notebooks_see_what_was_made(run):
    (explored(TransferParameters, run, cluster_id=1).folder / "branch.safetensors").write_text(
        "mine"
    )
    p = explored(FusionParameters, run)
    assert p.artefacts.branch(0).read_text() == "of the run"
    assert p.artefacts.branch(1).read_text() == "mine"
    assert (run / "branches/1/branch.safetensors").read_text() == "of the run"


def test_the_chain_writes_into_the_run(run, monkeypatch):
    monkeypatch.setenv(paths.CHAIN, "1")
    p = explored(ClusteringParameters, run)
    assert p.run == run and p.reports == run / "r"
    assert not run.with_name("run.explore").exists()


def test_what_is_missing_names_the_notebook_that_makes_it(run):
    (run / "embedding/features.npz").unlink()
    sentence = r"features\.npz is missing: run notebook 03, or 'esiamfc run --until embedding'"
    with pytest.raises(StudyError, match=sentence):
        explored(ClusteringParameters, run)


def test_a_stage_that_the_run_has_lost_is_no_broken_link(run):
    explored(FusionParameters, run)
    (run / "fusion").rename(run / "gone")
    assert (explored(FusionParameters, run).folder).is_dir()
    assert not (run / "fusion").exists()


def test_a_sweep_can_be_explored(run):
    (run / "sweep.json").write_text("[]")
    p = explored(SweepParameters, run)
    assert (p.run / "sweep.json").read_text() == "[]" and p.run != run
