"""Damaged run folders, records and notebooks: the stage runs again, or one sentence says why not.

The study only pretends to work (see ``fake_study``), and its notebooks run in this process.
"""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from fake_study import code, edit, make_project

from esiamfc_lib import cli
from esiamfc_lib.chain import notebook_run
from esiamfc_lib.chain.fingerprint import code_cells
from esiamfc_lib.chain.notebook_run import NotebookFailed
from esiamfc_lib.runtime.files import write_atomically

SHARDS = """
for file in ("index.npz", "shard-0000.mdb", "shard-0001.mdb"):
    path = run / "dataset" / "store" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.encode() * 99)
"""
ARTEFACTS = (
    "dataset/dataset.json",
    "dataset/store/manifest.json",
    "baseline/siamfc.safetensors",
    "embedding/features.npz",
    "embedding/umap.npy",
    "clustering/membership.csv",
    "clustering/centres.npz",
    "branches/1/branch.safetensors",
    "fusion/esiamfc.safetensors",
    "fusion/metrics.json",
    "results/scores.csv",
)
LARGE = ("dataset/store/index.npz", "dataset/store/shard-0000.mdb", "dataset/store/shard-0001.mdb")
OTHERS = ("notebooks/04_clustering.ipynb", ".progress/clustering", ".lock", "arms/arms.json")


def run_here(notebook, executed, parameters, outputs, **_):
    """In place of a kernel."""
    namespace = dict(parameters)
    try:
        for source in code_cells(notebook):
            exec(source, namespace)
    except OSError as error:
        said = notebook_run._sentence(type(error).__name__, str(error), 4)
        raise NotebookFailed(said) from None
    write_atomically(executed, "executed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project after a run."""
    root = make_project(tmp_path_factory.mktemp("finished") / "a project")
    edit(root, "01_dataset_prep", SHARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ESIAMFC_ROOT", str(root))
        patch.setattr(notebook_run, "run_notebook", run_here)
        patch.setattr("esiamfc_lib.chain.runner.environment", dict)
        assert cli.main(["run", "--profile", "tiny"]) == 0
    return root


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """A copy of it, in which nothing is left to do."""
    root = tmp_path / "a project"
    shutil.copytree(finished, root, symlinks=True)
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    monkeypatch.setattr(notebook_run, "run_notebook", run_here)
    monkeypatch.setattr("esiamfc_lib.chain.runner.environment", dict)
    (root / "data/tiny/calls.txt").unlink()
    return root


@pytest.fixture
def esiamfc(capsys):
    """Calls ``esiamfc run --profile tiny``; gives the status and what was said."""

    def call(*words: str) -> tuple[int, str]:
        status = cli.main(["run", "--profile", "tiny", *words])
        shown = capsys.readouterr()
        said = shown.out + shown.err
        assert "Traceback" not in said and "unexpected error" not in said, said
        return status, said

    return call


def contents(run: Path) -> dict[str, bytes]:
    """Of all artefacts."""
    return {name: (run / name).read_bytes() for name in (*ARTEFACTS, *LARGE)}


def deleted(path: Path) -> None:
    path.unlink()


def halved(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def of_another_run(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seed": 0', b'"seed": 1') + b" ")


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGES = (deleted, halved, emptied, garbage, of_another_run, dangling)


EVERY_DAMAGE = [(name, damage) for name in ("embedding/umap.npy", *LARGE) for damage in DAMAGES]
SOME_DAMAGE = [(name, damage) for name in ARTEFACTS for damage in (halved, of_another_run)]


@pytest.mark.parametrize(("name", "damage"), dict.fromkeys(EVERY_DAMAGE + SOME_DAMAGE))
def test_a_damaged_artefact_is_made_again(project, esiamfc, name, damage):
    run = project / "data/tiny"
    before = contents(run)
    damage(run / name)
    maker = name.rpartition("/store/")[0] or name.rpartition("/")[0]
    plan = dict(line.split(maxsplit=1) for line in esiamfc("--dry-run")[1].splitlines())
    assert plan[maker].startswith(f"run: {name} is ")
    status, said = esiamfc()
    assert status == 0, said
    assert said.startswith(f"{maker}: {name} is "), said
    assert (project / "data/tiny/calls.txt").read_text().split()[0] == maker
    assert contents(run) == before
    assert "nothing to do" in esiamfc()[1]


@pytest.mark.parametrize("name", ARTEFACTS + LARGE)
def test_a_folder_in_place_of_an_artefact_is_named(project, esiamfc, name):
    path = project / "data/tiny" / name
    path.unlink()
    path.mkdir()
    status, said = esiamfc()
    assert status == 1
    (sentence,) = [line for line in said.splitlines() if "failed" in line]
    assert str(path) in sentence and "Is a directory" in sentence


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", OTHERS)
def test_what_no_stage_reads_may_be_damaged(project, esiamfc, name, damage):
    path = project / "data/tiny" / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    damage(path)
    if name == ".lock" and damage is dangling:
        path.unlink()
    status, said = esiamfc()
    assert (status, "nothing to do" in said) == (0, True), said


def record(**changes):
    """Damages the record of stage clustering."""

    def change(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def text(content: str):
    return lambda file: file.write_text(content)


RECORDS = {
    "a list": text("[]"),
    "a number": text("3"),
    "null": text("null"),
    "nothing": text(""),
    "no JSON": text('{"stage": "clus'),
    "deep": text("[" * 100_000),
    "not text": garbage,
    "no fields": text("{}"),
    "unknown status": record(status="finished"),
    "status of another type": record(status=1),
    "running": record(status="running"),
    "failed": record(status="failed"),
    "no fingerprint": record(fingerprint=None),
    "empty fingerprint": record(fingerprint={}),
    "fingerprint of texts": record(fingerprint=dict.fromkeys(["inputs", "modules"], "x")),
    "fingerprint of a newer version": record(fingerprint={"code": {"a": "b"}}),
    "outputs a list": record(outputs=["clustering/centres.npz"]),
    "outputs a number": record(outputs={"clustering/centres.npz": 3}),
    "outputs elsewhere": record(outputs={"../../pyproject.toml": "0"}),
    "outputs of the system": record(outputs={"/etc/hostname": "0"}),
    "reports a text": record(reports="a report"),
    "a report that is gone": record(reports=["reports/tiny/gone.pdf"]),
    "a report of another type": record(reports=[{"a": 1}]),
}


@pytest.mark.parametrize(
    "damage", RECORDS.values(), ids=[name.replace(" ", "-") for name in RECORDS]
)
def test_a_damaged_record_makes_the_stage_run_again(project, esiamfc, damage):
    before = contents(project / "data/tiny")
    project_file = (project / "pyproject.toml").stat()
    damage(project / "data/tiny/clustering/provenance.json")
    status, said = esiamfc()
    assert status == 0, said
    assert (project / "data/tiny/calls.txt").read_text().split()[0] == "clustering"
    assert contents(project / "data/tiny") == before
    assert (project / "pyproject.toml").stat() == project_file
    assert "nothing to do" in esiamfc()[1]


HARMLESS = {
    "times in the future": record(started="2999-01-01T00:00:00+00:00", seconds=-1e9),
    "fields of a newer version": record(mood="good", kernel={"pid": 1, "created": 0.0}),
    "an environment of another machine": record(environment={"gpus": 3}),
}


@pytest.mark.parametrize("damage", HARMLESS.values(), ids=[n.replace(" ", "-") for n in HARMLESS])
def test_what_says_nothing_about_the_result_does_not_count(project, esiamfc, damage):
    damage(project / "data/tiny/clustering/provenance.json")
    assert "nothing to do" in esiamfc()[1]


def test_times_of_files_do_not_count(project, esiamfc):
    for path in (project / "data/tiny").rglob("*"):
        os.utime(path, (2**33, 2**33))
    assert "nothing to do" in esiamfc()[1]


def cells(content) -> str:
    return json.dumps({"cells": content, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


BROKEN = {
    "nothing": ("", "is not a notebook"),
    "no JSON": ("{", "is not a notebook"),
    "a list": ("[]", "is not a notebook"),
    "null": ("null", "is not a notebook"),
    "no cells": ("{}", "is not a notebook"),
    "cells a number": (cells(3), "is not a notebook"),
    "cells of texts": (cells(["1 + 1"]), "is not a notebook"),
    "a cell without source": (cells([{"cell_type": "code", "metadata": {}}]), "is not a notebook"),
    "a source that is a number": (
        cells([{"cell_type": "code", "metadata": {}, "source": 3}]),
        "is not a notebook",
    ),
    "metadata a list": (
        cells([{"cell_type": "code", "metadata": [], "source": ""}]),
        "is not a notebook",
    ),
    "no parameters": (cells([code("1 + 1", 1)]), "no cell tagged 'parameters'"),
    "too few parameters": (cells([code("seed = 0", 0, "parameters")]), "has no parameter run_dir"),
    "parameters that are no Python": (
        cells([code("seed = ", 0, "parameters")]),
        "not valid Python",
    ),
}


@pytest.mark.parametrize(
    ("content", "sentence"), BROKEN.values(), ids=[name.replace(" ", "-") for name in BROKEN]
)
def test_a_broken_notebook_is_found_before_the_first_stage(project, esiamfc, content, sentence):
    file = project / "notebooks/07_results.ipynb"
    file.write_text(content)
    (project / "data/tiny/dataset/dataset.json").unlink()
    for words in ((), ("--dry-run",)):
        status, said = esiamfc(*words)
        assert (status, said.count("\n")) == (2, 1), said
        assert sentence in said and "07_results" in said
    assert not (project / "data/tiny/calls.txt").exists()


def test_a_cell_that_is_no_python_is_found_before_the_first_stage(project, esiamfc):
    edit(project, "07_results", "1 +")
    (project / "data/tiny/dataset/dataset.json").unlink()
    status, said = esiamfc()
    assert status == 2
    assert "07_results.ipynb: a cell is not valid Python" in said


def test_bytes_that_are_no_text_in_place_of_a_notebook(project, esiamfc):
    garbage(project / "notebooks/05_transfer_learning.ipynb")
    assert "05_transfer_learning.ipynb is not a notebook" in esiamfc()[1]
    (project / "notebooks/05_transfer_learning.ipynb").unlink()
    assert "no notebook " in esiamfc()[1]


PLACES = {
    "a file above": ("afile/run", "{root}/afile is not a folder"),
    "a file itself": ("afile", "{root}/afile is not a folder"),
    "a dangling link": ("link/run", "{root}/link is not a folder"),
}


@pytest.mark.parametrize(("place", "sentence"), PLACES.values(), ids=[*PLACES])
@pytest.mark.parametrize("key", ["run_dir", "report_dir"])
@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["run", "dry-run"])
def test_folders_are_checked_before_the_first_stage(project, esiamfc, place, sentence, key, words):
    (project / "afile").write_text("x")
    (project / "link").symlink_to(project / "afile/nowhere")
    status, said = esiamfc("--set", f"{key}={project / place}", *words)
    assert (status, said.count("\n")) == (2, 1), said
    assert said.startswith(f"esiamfc run: cannot write to {project / place}")
    assert sentence.format(root=project) in said
    assert not (project / "data/tiny/calls.txt").exists()


@pytest.mark.parametrize("name", ["clustering", "notebooks"])
def test_a_file_in_place_of_a_folder_of_the_run_is_named(project, esiamfc, name):
    place = project / "data/tiny" / name
    shutil.rmtree(place)
    place.write_text("x")
    status, said = esiamfc()
    assert (status, said.count("\n")) == (2, 1), said
    assert f"{place} is not a folder" in said


@pytest.mark.parametrize(
    "name", ["a b", "ünïcödé", "50%", "{braces}", "a'quote", "#hash", "sémi;colon"]
)
def test_run_folders_of_any_name(project, esiamfc, name):
    run = project / name / "run"
    status, said = esiamfc("--set", f"run_dir={json.dumps(str(run))}")
    assert status == 0, said
    assert contents(run).keys() == contents(project / "data/tiny").keys()
    assert "nothing to do" in esiamfc("--set", f"run_dir={json.dumps(str(run))}")[1]


def test_a_run_folder_behind_a_link(project, esiamfc):
    (project / "data/tiny").rename(project / "large disk")
    (project / "data/tiny").symlink_to(project / "large disk")
    assert "nothing to do" in esiamfc()[1]
    (project / "large disk/embedding/umap.npy").unlink()
    assert "embedding: done" in esiamfc()[1]


MISSING = {
    "baseline.weights=gone.npz": "baseline.weights: no file .*gone.npz",
    "branches.initial=gone.safetensors": "no file .*gone.safetensors",
    "results.published=gone.json": "no scores in gone.json: .*No such file",
    "results.selection=gone.json": "gone.json holds no choice .*No such file",
    "results.benchmarks=[uav123]": "no folder for benchmark uav123: add it to dataset.more_roots",
}


@pytest.mark.parametrize(("change", "sentence"), MISSING.items())
def test_what_the_profile_names_is_looked_for_before_the_first_stage(
    project, esiamfc, change, sentence
):
    (project / "data/tiny/dataset/dataset.json").unlink()
    status, said = esiamfc("--set", change)
    assert (status, said.count("\n")) == (2, 1), said
    assert re.search(sentence, said), said
    assert not (project / "data/tiny/calls.txt").exists()


def test_weights_of_the_wrong_kind_are_refused_before_the_first_stage(project, esiamfc):
    (project / "w.safetensors").write_text("no weights")
    shutil.rmtree(project / "data/tiny/baseline")
    (project / "data/tiny/dataset/dataset.json").unlink()
    status, said = esiamfc("--set", "baseline.weights=w.safetensors")
    assert status == 2
    assert "w.safetensors is not a safetensors file" in said
    assert not (project / "data/tiny/calls.txt").exists()


@pytest.mark.parametrize("folder", [".", "..", "/", "esiamfc_lib", "tests/x", "notebooks"])
@pytest.mark.parametrize("name", ["run_dir", "report_dir"])
def test_no_output_goes_over_the_project(project, esiamfc, name, folder):
    status, said = esiamfc("--dry-run", "--set", f"{name}={folder}")
    assert status == 2 and re.search("(is|holds|lies in) its own source", said), said


def test_a_run_folder_of_links_in_a_circle(project, esiamfc):
    (project / "L").symlink_to("L")
    for name in ("run_dir", "report_dir", "dataset.otb_root"):
        status, said = esiamfc("--dry-run", "--set", f"{name}=L")
        assert status == 2 and "Symlink loop" in said, said


def test_a_run_folder_in_the_data_is_refused(project, esiamfc):
    data = project / "otb"
    data.mkdir()
    words = ["dataset.source=vid", f"dataset.vid_root={data}", f"dataset.otb_root={data}"]
    for place, fault in ((data, "must lie apart"), (data / "run", "must lie apart")):
        settings = [word for change in (*words, f"run_dir={place}") for word in ("--set", change)]
        status, said = esiamfc(*settings)
        assert status == 2 and fault in said, said
    settings = [word for change in words[:2] for word in ("--set", change)]
    inside = project / "data/tiny/dataset/vid"
    (inside / "Data").mkdir(parents=True)
    status, said = esiamfc(*settings, "--set", f"dataset.otb_root={inside}")
    assert status == 2 and "must lie apart" in said, said
    assert (inside / "Data").is_dir()


def test_a_folder_that_is_not_the_chains_is_never_emptied(project, esiamfc):
    results = project / "data/tiny/results"
    shutil.rmtree(results)
    results.mkdir()
    (results / "thesis.tex").write_text("years of work")
    status, said = esiamfc("--force", "results")
    assert status == 1
    assert f"{results} has no provenance.json" in said
    assert (results / "thesis.tex").read_text() == "years of work"


def test_a_missing_package_is_named_before_the_first_stage(project, esiamfc, monkeypatch):
    monkeypatch.setattr("esiamfc_lib.chain.runner.versions", lambda: {"torch": "2"})
    status, said = esiamfc()
    assert status == 2
    assert "there is no got10k, lightning-fabric, lmdb" in said


def test_another_chain_in_the_folder_and_a_lock_that_cannot_be_had(project, esiamfc, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    status, said = esiamfc()
    assert status == 2
    assert "data/tiny/.lock: No locks available" in said


def test_a_full_disk_while_a_record_is_written(project, esiamfc, monkeypatch):
    (project / "data/tiny/embedding/umap.npy").unlink()
    real = os.fsync

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    status, said = esiamfc()
    assert status == 1
    (sentence,) = [line for line in said.splitlines() if "failed" in line]
    assert "embedding/provenance.json: No space left on device" in sentence
    monkeypatch.setattr(os, "fsync", real)
    assert esiamfc()[0] == 0
