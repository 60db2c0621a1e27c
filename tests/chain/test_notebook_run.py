"""One papermill run: a fixture notebook for every way of failing."""

import json
import os
import re
import sys
import time
from pathlib import Path

import psutil
import pytest

from esiamfc_lib.chain import notebook_run
from esiamfc_lib.chain.fingerprint import check_notebook
from esiamfc_lib.chain.kernels import Kernels
from esiamfc_lib.chain.notebook_run import NotebookFailed, run_notebook
from esiamfc_lib.errors import StudyError

FIXTURES = Path(__file__).parents[1] / "fixtures"


def run(name: str, folder: Path, **options) -> Path:
    """Run a fixture; returns the file that it was asked to write."""
    output = folder / "output.txt"
    run_notebook(
        FIXTURES / f"{name}.ipynb",
        folder / "executed" / f"{name}.ipynb",
        {"output": str(output), **options.pop("parameters", {})},
        outputs=[output],
        **options,
    )
    return output


def test_success_injects_parameters_and_counts_cells(tmp_path):
    cells: list[int] = []
    output = run("succeeds", tmp_path, parameters={"value": 41}, on_cell=cells.append)
    assert output.read_text() == "42"
    assert cells == [1, 2, 3]  # defaults, injected parameters, work
    executed = json.loads((tmp_path / "executed" / "succeeds.ipynb").read_text())
    assert executed["cells"][-1]["outputs"]
    assert not (tmp_path / "executed" / "succeeds.log").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raises", "code cell 3: ZeroDivisionError: division by zero"),
        ("study_error", "the data set has no frames"),
        ("killed_kernel", "the kernel died in code cell 3"),
        ("exits", "code cell 3: SystemExit: 0"),
        ("writes_nothing", "ended without an error but did not write .*output.txt"),
    ],
)
def test_failures_are_told_apart_and_said_in_one_line(tmp_path, name, sentence):
    with pytest.raises(NotebookFailed, match=sentence) as failure:
        run(name, tmp_path)
    assert "\n" not in str(failure.value)
    log = tmp_path / "executed" / f"{name}.log"
    assert (str(log) in str(failure.value)) <= log.is_file()  # named only where it is
    assert (tmp_path / "executed" / f"{name}.ipynb").is_file()


@pytest.mark.parametrize(
    ("ename", "evalue", "sentence"),
    [
        ("OSError", "[Errno 28] No space left on device: '/a/b c'", "/a/b c: No space left on"),
        ("OSError", "[Errno 28] No space left on device", "code cell 3: No space left on device"),
        ("PermissionError", '[Errno 13] Permission denied: "it\'s"', "it's: Permission denied"),
        ("ValueError", "[Errno 1] no: 'x'", "code cell 3: ValueError: [Errno 1] no: 'x'"),
        ("DiskFullError", "no space left: the store", "no space left: the store"),
    ],
)
def test_what_the_system_refuses_in_a_cell_is_said_of_the_file(ename, evalue, sentence):
    assert notebook_run._sentence(ename, evalue, 3).startswith(sentence)


def test_kernel_that_cannot_start(tmp_path):
    with pytest.raises(NotebookFailed, match="did not start"):
        run("succeeds", tmp_path, environment={"PYTHONHOME": "/nowhere"})


def test_unknown_parameter(tmp_path):
    with pytest.raises(StudyError, match=r"succeeds\.ipynb has no parameter speed"):
        run("succeeds", tmp_path, parameters={"speed": 3})
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_parameters", "no cell tagged 'parameters'"),
        ("not_a_notebook", "is not a notebook"),
        ("absent", "no notebook"),
    ],
)
def test_unusable_notebooks(name, sentence):
    with pytest.raises(StudyError, match=sentence):
        check_notebook(FIXTURES / f"{name}.ipynb", {})


def test_paths_with_spaces_and_braces(tmp_path):
    folder = tmp_path / "a {value} folder"
    folder.mkdir()
    assert run("succeeds", folder).read_text() == "2"
    assert (folder / "executed" / "succeeds.ipynb").is_file()


class Noted(set):
    """A set that keeps what was ever in it in a list."""

    def __init__(self, every: list):
        super().__init__()
        self.every = every

    def add(self, item) -> None:
        self.every.append(item)
        super().add(item)


def test_no_process_outlives_the_notebook(tmp_path, monkeypatch):
    kernels, started = Kernels(), []
    monkeypatch.setattr(kernels, "running", Noted(started))
    worker = int(run("leaves_a_worker", tmp_path, kernels=kernels).read_text())
    (kernel,) = started
    deadline = time.monotonic() + 5
    while (running(worker) or running(kernel)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(worker)
    assert not running(kernel)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels are not forked")
def test_kernels_are_forked_from_one_process_and_end_with_it(tmp_path):
    kernels, parents = Kernels(), set()

    def look(number: int) -> None:
        (kernel,) = kernels.running
        parents.add(psutil.Process(kernel).ppid())

    def kill(number: int) -> None:
        kernels.warm.kill()

    given = {"parameters": {"value": 3}, "kernels": kernels}  # to a notebook that uses the library
    with kernels.ending():
        for name in ("one", "two"):
            assert run("shows_progress", tmp_path / name, **given, on_cell=look).is_file()
        assert parents == {kernels.warm.pid}
        with pytest.raises(NotebookFailed, match="the kernel died"):
            run("shows_progress", tmp_path / "three", **given, on_cell=kill)
    assert kernels.warm.poll() is not None
    assert not kernels.running


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.is_file() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_bars_reach_the_progress_file_as_plain_text(tmp_path):
    file = tmp_path / "progress.jsonl"
    run(
        "shows_progress",
        tmp_path,
        parameters={"value": 7},
        environment={"ESIAMFC_PROGRESS": str(file)},
    )
    assert re.fullmatch(r"counting: 100%\|#+\| 7/7 \[.*\]", file.read_text())
