"""The chain's own behaviour, on notebooks that only pretend to work."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_study import edit, make_project

from esiamfc_lib.artefacts import FILES
from esiamfc_lib.chain import notebook_run
from esiamfc_lib.chain.fingerprint import code_cells
from esiamfc_lib.chain.graph import stale
from esiamfc_lib.chain.notebook_run import NotebookFailed
from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.chain.record import read_record
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import SiamFC, save
from esiamfc_lib.runtime.files import exclusive

ALL = [
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
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A project after its first run, and what that run said."""
    root = make_project(tmp_path_factory.mktemp("finished") / "a project")
    os.environ["ESIAMFC_ROOT"] = str(root)
    code, said = run()
    del os.environ["ESIAMFC_ROOT"]
    assert code == 0, said
    return root, said


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished project; its chain is empty of things to do."""
    root = tmp_path / "a project"
    shutil.copytree(finished[0], root)
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    (root / "data" / "tiny" / "calls.txt").unlink()
    return root


@pytest.fixture
def quick(project, monkeypatch) -> Path:
    """The same, with notebooks that run in this process: for what is not about kernels."""

    def run_here(notebook, executed, parameters, outputs, **_):
        namespace = dict(parameters)
        for source in code_cells(notebook):
            try:
                exec(source, namespace)
            except ZeroDivisionError as error:
                raise NotebookFailed(str(error)) from None
        executed.write_text("executed")

    monkeypatch.setattr(notebook_run, "run_notebook", run_here)
    return project


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Path:
    """A project in which nothing has run."""
    root = make_project(tmp_path / "a project")
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    return root


def study(*changes: str, **options) -> Chain:
    return Chain(load_profile("tiny", changes), io.StringIO(), **options)


def run(*changes: str, **options) -> tuple[int, str]:
    """Exit code and what was said."""
    chain = study(*changes, **options)
    return chain.run(), chain.stream.getvalue()


def calls(root: Path) -> list[str]:
    """Stages in the order in which they ended."""
    file = root / "data" / "tiny" / "calls.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.is_file() else []


def wait_for(condition, seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.is_file() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_first_run_runs_everything_in_order_and_records_it(finished):
    root, said = finished
    assert calls(root) == ALL
    assert "10 of 10 stage runs done" in said
    record = read_record(root / "data" / "tiny" / "branches" / "1")
    assert record.status == "done"
    assert record.fingerprint["parameters"]["cluster_id"] == 1
    assert set(record.outputs) == {"branches/1/branch.safetensors", "branches/1/metrics.json"}
    assert record.environment["versions"]["torch"]
    assert record.seconds > 0
    assert (root / "data/tiny/notebooks/05_transfer_learning_1.ipynb").is_file()


def test_second_run_does_nothing_and_says_so(project):
    code, said = run()
    assert code == 0
    assert "nothing to do, all 10 stage runs are up to date" in said
    assert calls(project) == []


def test_touching_one_picture_reruns_that_notebook_alone(quick):
    edit(quick, "03_embedding", "picture = 'another colour'")
    code, said = run()
    assert code == 0
    assert calls(quick) == ["embedding"]
    assert "embedding: the notebook's code changed" in said


def test_prose_outputs_and_file_times_do_not_count(quick):
    file = quick / "notebooks" / "03_embedding.ipynb"
    content = json.loads(file.read_text())
    content["cells"].insert(0, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "x"})
    content["cells"][-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x"}]
    file.write_text(json.dumps(content))
    os.utime(quick / "data/tiny/dataset/dataset.json")
    assert "nothing to do" in run()[1]


def test_changed_parameter_reruns_its_stage_and_what_reads_its_outputs(quick):
    code, said = run("clustering.kp=0.01")
    assert code == 0
    assert "clustering: kp: 0.005 -> 0.01" in said
    assert calls(quick) == ["clustering"]  # wrote the same bytes: nothing else runs
    edit(quick, "04_clustering", "read += str(kp).encode()")
    run("clustering.kp=0.01")
    assert calls(quick)[1:] == ALL[3:]


def test_missing_and_altered_outputs_are_made_again(quick):
    features = quick / "data/tiny/embedding/features.npz"
    features.unlink()
    assert "embedding/features.npz is missing" in run()[1]
    features.write_text("something else")
    assert "embedding/features.npz is not what the stage wrote" in run()[1]
    assert calls(quick) == ["embedding", "embedding"]


def test_missing_report_is_made_again(quick):
    picture = "p = pathlib.Path(os.environ['ESIAMFC_ROOT'], report_dir, 'map.pdf')"
    edit(
        quick,
        "03_embedding",
        f"{picture}; p.parent.mkdir(parents=True, exist_ok=True); p.touch()",
    )
    run()
    (quick / "reports" / "tiny" / "map.pdf").unlink()
    assert "reports/tiny/map.pdf is missing" in run()[1]
    assert calls(quick) == ["embedding", "embedding"]


def test_changed_starting_weights_count(quick):
    weights = quick / "start.safetensors"
    save(weights, SiamFC(0.125, seed=1))
    run("baseline.weights=start.safetensors", only="baseline")
    run("baseline.weights=start.safetensors", only="baseline")
    assert calls(quick) == ["baseline"]
    save(weights, SiamFC(0.125, seed=2))
    said = run("baseline.weights=start.safetensors", only="baseline")[1]
    assert "start.safetensors changed" in said


ADOPT = """
for path in mine:
    path.parent.mkdir(parents=True, exist_ok=True)
for name in ("dataset.json", "metrics.json"):
    (run / "dataset" / name).write_text("{}")
place = run / "dataset" / "store"
place.unlink() if place.is_symlink() else __import__("shutil").rmtree(place, ignore_errors=True)
place.symlink_to(pathlib.Path(os.environ["ESIAMFC_ROOT"], store))
"""


def test_a_finished_store_counts_by_its_manifest_and_outlives_the_stage(quick):
    manifest = quick / "elsewhere" / "manifest.json"
    manifest.parent.mkdir()
    manifest.write_text('{"tracks": 9}')
    names = FILES["dataset"].outputs
    edit(quick, "01_dataset_prep", f"mine = [run / n for n in {names}]\n{ADOPT}", 3)

    def again(**options):
        code, said = run("dataset.store=elsewhere", only="dataset", **options)
        assert code == 0, said
        return said

    assert "store: '' -> 'elsewhere'" in again()
    assert "up to date" in again()
    assert "dataset: --force" in again(force=("dataset",))
    assert manifest.read_text() == '{"tracks": 9}'  # the stage's folder was removed, not the store
    manifest.write_text('{"tracks": 8}')
    assert "elsewhere/manifest.json changed" in again()
    assert (quick / "data/tiny/dataset/store/manifest.json").read_text() == '{"tracks": 8}'
    manifest.unlink()
    with pytest.raises(StudyError, match=r"dataset\.store: .*elsewhere has no manifest\.json"):
        again()


def test_only_until_and_force(quick):
    run(force=("clustering",), until="03")
    assert calls(quick) == []  # 04 is forced but lies after 03
    run(force=("05_transfer_learning",), only="branches")
    assert calls(quick) == ["branches/0", "branches/1"]
    run(force=("branches/1",), until="branches")
    assert calls(quick)[2:] == ["branches/1"]


def test_force_starts_from_nothing(quick):
    checkpoint = quick / "data/tiny/baseline/checkpoint"
    checkpoint.write_text("half a training")
    edit(quick, "02_siamfc_training", "picture = 1")
    run(only="baseline")
    assert checkpoint.is_file()  # code of the notebook changed: checkpoints are kept
    run(only="baseline", force=("baseline",))
    assert not checkpoint.is_file()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            {"computing": {"esiamfc_lib.training.loop": "1"}},
            {"computing": {"esiamfc_lib.training.loop": "2"}},
            True,
        ),
        ({"computing": {}}, {"computing": {"esiamfc_lib.data.vid": "1"}}, True),
        ({"modules": {"esiamfc_lib.figures.clusters": "1"}}, {"modules": {}}, False),
        ({"parameters": {"lr": 0.1}}, {"parameters": {"lr": 0.2}}, True),
        ({"parameters": {"workers": 2}}, {"parameters": {"workers": 8}}, False),
        ({"inputs": {"dataset/store/manifest.json": "1"}}, {}, True),
        (
            {"inputs": {"dataset/dataset.json": "1"}},
            {"inputs": {"dataset/dataset.json": "2"}},
            False,
        ),
        ({"notebook": "1"}, {"notebook": "2"}, False),
    ],
)
def test_what_makes_old_checkpoints_useless(old, new, expected):
    nothing = {"notebook": "", "modules": {}, "computing": {}, "parameters": {}, "inputs": {}}
    assert stale(nothing | old, nothing | new) is expected


def test_checkpoints_of_another_training_are_dropped(quick):
    checkpoint = quick / "data/tiny/branches/0/checkpoint"
    checkpoint.touch()
    run("branches.workers=3", only="branches/0")
    assert checkpoint.is_file()
    run("branches.epochs=9", only="branches/0")
    assert not checkpoint.is_file()


def test_only_with_missing_input(fresh):
    code, said = run(only="clustering")
    assert code == 1
    assert "stage clustering failed: stage clustering needs" in said
    assert "run stage baseline first" in said


def test_dry_run_runs_nothing_and_gives_reasons(quick):
    edit(quick, "04_clustering", "picture = 1")
    plan = dict(study(force=("baseline",)).plan())
    assert plan["dataset"] == "up to date"
    assert plan["baseline"] == "run: --force"
    assert plan["embedding"] == "run if the outputs of baseline change"
    assert plan["clustering"] == "run: the notebook's code changed"
    assert plan["results"].startswith("run if the outputs of baseline, clustering")
    assert calls(quick) == []


def test_dry_run_of_a_new_study(fresh):
    assert {what for _, what in study().plan()} == {"run: it has not run"}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("1 / 0", "code cell 4: ZeroDivisionError: division by zero"),
        ("import signal; os.kill(os.getpid(), signal.SIGKILL)", "the kernel died in code cell 4"),
        ("from esiamfc_lib.errors import StudyError; raise StudyError('no frames')", "no frames"),
    ],
)
def test_a_failed_stage_stops_the_chain(project, fault, sentence):
    edit(project, "03_embedding", fault)
    edit(project, "04_clustering", "picture = 1")
    code, said = run()
    assert code == 1
    assert f"stage embedding failed: {sentence}" in said
    assert "03_embedding.ipynb" in said
    assert "Traceback" not in said
    assert calls(project) == []
    assert dict(study().plan())["embedding"] == "run: it failed last time"


def test_a_repaired_stage_runs_again_and_the_rest_after_it(quick):
    edit(quick, "03_embedding", "1 / 0")
    edit(quick, "04_clustering", "picture = 1")
    assert run()[0] == 1
    edit(quick, "03_embedding", "")
    assert run()[0] == 0
    assert calls(quick) == ["embedding", "clustering"]


def test_a_stage_that_writes_less_than_it_declares_has_failed(project):
    edit(project, "04_clustering", "(run / 'clustering/metrics.json').touch()", cell=3)
    (project / "data/tiny/clustering/centres.npz").unlink()
    code, said = run(only="clustering")
    assert code == 1
    assert "did not write" in said and "centres.npz" in said


def test_more_clusters_than_tracks_fails_before_training(quick):
    code, said = run("clustering.n_clusters=10", "seed=1")
    assert code == 1
    assert "clustering.n_clusters = 10 is larger than the number of tracks, 9" in said
    assert calls(quick) == ["dataset"]


def test_jobs_run_side_by_side(project):
    edit(
        project, "05_transfer_learning", "time.sleep(1.0); threads = os.environ['OMP_NUM_THREADS']"
    )
    assert run(jobs=2)[0] == 0
    lines = (project / "data/tiny/calls.txt").read_text().splitlines()
    spans = {line.split()[0]: tuple(map(float, line.split()[1:])) for line in lines}
    (begin_0, end_0), (begin_1, end_1) = spans["branches/0"], spans["branches/1"]
    assert max(begin_0, begin_1) < min(end_0, end_1)


def test_two_chains_on_one_folder_are_refused(quick):
    with (
        exclusive(quick / "data" / "tiny", "taken"),
        pytest.raises(StudyError, match="another chain"),
    ):
        run()


def test_killed_chain_leaves_no_kernel_and_goes_on_where_it_was(fresh):
    edit(fresh, "02_siamfc_training", SLEEPER)
    chain = start_chain()
    baseline = fresh / "data/tiny/baseline"
    wait_for(lambda: (baseline / "checkpoint").is_file() and read_pid(baseline))
    kernel = read_pid(baseline)
    assert runs(kernel)
    chain.kill()
    chain.wait()
    assert read_record(baseline).status == "running"
    assert dict(study().plan())["baseline"] == "run: it was interrupted"
    wait_for(lambda: not runs(kernel))
    assert run(until="baseline")[0] == 0
    assert calls(fresh) == ["dataset", "baseline"]  # the data set once, before the kill
    assert (baseline / "checkpoint").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_chain_ends_its_kernel_at_once(fresh, number):
    edit(fresh, "02_siamfc_training", SLEEPER)
    chain = start_chain()
    baseline = fresh / "data/tiny/baseline"
    wait_for(lambda: (baseline / "checkpoint").is_file() and read_pid(baseline))
    kernel = read_pid(baseline)
    begin = time.monotonic()
    chain.send_signal(number)
    _, errors = chain.communicate(timeout=20)
    assert chain.returncode == 128 + number
    assert errors == "esiamfc run: interrupted\n"
    assert time.monotonic() - begin < 10
    assert not runs(kernel)
    assert read_record(baseline).status == "running"


def read_pid(baseline: Path) -> int:
    """Of the kernel that sleeps; 0 until it has told."""
    return int((baseline / "checkpoint").read_text() or 0)


SLEEPER = """
# uses esiamfc_lib: its kernel is forked from the process that has loaded the libraries
checkpoint = run / "baseline" / "checkpoint"
if not checkpoint.is_file():
    checkpoint.write_text(str(os.getpid()))
    time.sleep(300)
"""


def start_chain() -> subprocess.Popen:
    """The chain as a process of its own."""
    command = [sys.executable, "-m", "esiamfc_lib.cli", "run", "--profile", "tiny"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
