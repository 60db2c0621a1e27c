"""Work in many processes: killed ones, and workers that are not like this machine."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from faults import scene
from mini_vid import make_video
from processes import Processes, copy_of_library, end, lives, waited

from esiamfc_lib.clustering.embedding import embed
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import runs
from esiamfc_lib.networks.checkpoints import save
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import parallel
from esiamfc_lib.runtime.parallel import spread
from esiamfc_lib.tracking.spec import tracker_specs

SEQUENCES = 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler; every test starts its own workers."""
    pytest.importorskip("distributed")
    with Processes(tmp_path_factory.mktemp("cluster")) as processes:
        yield processes


@pytest.fixture
def workers(cluster):
    yield cluster
    cluster.gone()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sequences, a network, and the boxes that this machine finds."""
    folder = tmp_path_factory.mktemp("data")
    scene.otb(folder / "otb", [f"S{i}" for i in range(SEQUENCES)], count=25)
    scene.network(folder / "n.safetensors")
    evaluated(folder, folder / "here")
    return folder


def evaluated(data, out, scheduler="", weights=""):
    trackers = tracker_specs(["siamfc"], siamfc=weights or data / "n.safetensors")
    runs.evaluate(trackers, "otb2015", data / "otb", out, scheduler=scheduler)


def made(out) -> dict[str, bytes]:
    """All that an evaluation keeps, but for the times."""
    found = [*(out / "boxes").rglob("*.txt"), *(out / "keys").rglob("*.json")]
    return {str(file.relative_to(out)): file.read_bytes() for file in found}


NO_FACTS = lambda job: {}  # noqa: E731 - by its code, where a function would travel by its name


def faults_of(given, **options):
    """What the work on a cluster stops with, in seconds and in words."""
    begun = time.monotonic()
    with pytest.raises(StudyError) as caught:
        list(given(**options))
    assert time.monotonic() - begun < 60
    said = str(caught.value)
    assert "\n" not in said and "Traceback" not in said
    return said


def test_workers_that_are_not_like_this_machine(workers, data, root, tmp_path, monkeypatch):
    """Code, weights or the package itself: told of before any work, and nothing is kept."""
    out = tmp_path / "out"
    moved = "self.center = self.center + cells", "self.center = self.center + 3 + cells"
    other = copy_of_library(root, tmp_path / "other", "tracking/siamfc.py", *moved)
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    (lacking / "esiamfc_lib.py").write_text("raise ModuleNotFoundError('no esiamfc_lib here')\n")
    network = data / "n.safetensors"

    def said() -> str:
        return faults_of(lambda: evaluated(data, out, workers.address) or [])

    good = workers.worker(root)
    spoilt = workers.worker(other)
    workers.ready()
    assert " differs from this machine: esiamfc_lib is " in said()
    end(spoilt)
    spoilt = workers.worker(lacking)
    workers.ready()
    assert "no esiamfc_lib here" in said()
    end(spoilt)
    # the same path, other weights: relative paths count from each worker's folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    save(elsewhere / network.name, SiamFC(0.125, seed=9).eval())
    spoilt = workers.worker(root, cwd=elsewhere)
    end(good)
    workers.ready()
    monkeypatch.chdir(data)
    again = faults_of(lambda: evaluated(data, out, workers.address, network.name) or [])
    assert " differs from this machine: weights is " in again
    assert not list((out / "boxes").rglob("*.txt"))


def test_one_worker_of_one_thread_does_the_work_itself(workers, root):
    worker = workers.worker(root)
    workers.ready()
    assert not list(spread(os.readlink, [], 1, workers.address, NO_FACTS))
    found = list(spread(os.readlink, ["/proc/self"] * 3, 1, workers.address, NO_FACTS))
    assert found == [str(worker.pid)] * 3


def test_a_worker_killed_in_its_work_changes_no_byte(workers, data, root, tmp_path):
    first, _ = workers.worker(root), workers.worker(root)
    workers.ready()
    out = tmp_path / "out"
    work = threading.Thread(target=evaluated, args=(data, out, workers.address))
    work.start()
    waited(lambda: list((out / "boxes").rglob("*.txt")))
    end(first)
    work.join()
    assert made(out) == made(data / "here")
    assert len(made(out)) == 2 * SEQUENCES


def test_other_data_at_a_worker(workers, root, tmp_path, monkeypatch):
    """Curation and embedding prove by a frame and by the store that they see the same."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, seed in ((here, 0), (there, 7)):
        make_video(folder / "vid", "train_0", frames=4, seed=seed)
        curate(folder / "vid", folder / "store", splits=["train"])
    monkeypatch.chdir(here)
    plan = {"frames_per_track": 2, "min_frames": 2, "keep_fraction": 1.0, "batch_size": 4}
    plan |= {"keep_rounds": "up"}
    given = CropStore("store"), SiamFC(0.1, seed=1)
    # relative paths count from each worker's folder
    like = workers.worker(root, cwd=here)
    workers.ready()
    assert curate("vid", "far", splits=["train"], scheduler=workers.address)["tracks"] == 2
    assert len(embed(*given, **plan, scheduler=workers.address)) == 2
    workers.worker(root, cwd=there)
    end(like)
    workers.ready()
    said = faults_of(
        curate, vid_root="vid", store_path="other", splits=["train"], scheduler=workers.address
    )
    assert " differs from this machine: data is " in said
    said = faults_of(lambda: embed(*given, **plan, scheduler=workers.address))
    assert " differs from this machine: data is " in said


def test_nobody_is_there(workers, root, monkeypatch):
    monkeypatch.setattr(parallel, "DASK_SECONDS", 2)
    given = {"function": time.sleep, "jobs": [0.2] * 30, "workers": 1, "proof": NO_FACTS}
    for address in ("nonsense", "tcp://", "http://127.0.0.1:1", "tcp://127.0.0.1:1"):
        assert f"Dask at {address}: " in faults_of(spread, **given, scheduler=address)
    assert "0/1 workers" in faults_of(spread, **given, scheduler=workers.address)
    both = workers.worker(root), workers.worker(root)
    workers.ready()
    threading.Timer(1, end, both).start()
    assert "0/1 workers" in faults_of(spread, **given, scheduler=workers.address)


def test_the_scheduler_is_lost(root, tmp_path):
    pytest.importorskip("distributed")
    with Processes(tmp_path) as cluster:
        cluster.worker(root)
        cluster.ready()
        threading.Timer(1, end, [cluster.scheduler]).start()
        given = {"function": time.sleep, "jobs": [0.2] * 30, "workers": 1, "proof": NO_FACTS}
        assert "lost" in faults_of(spread, **given, scheduler=cluster.address)


def test_a_local_worker_that_is_killed_is_one_sentence():
    def killed(job):
        if job == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    with pytest.raises(StudyError, match="a worker process was killed"):
        list(spread(killed, range(6), 2))


ORPHANS = """
import os, sys, time
from esiamfc_lib.runtime.parallel import spread

def work(job):
    print(os.getpid(), flush=True)
    time.sleep(60)

list(spread(work, range(2), 2))
"""


def test_no_worker_outlives_its_parent_for_long(tmp_path):
    with (tmp_path / "pids").open("w+") as file:
        parent = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=file)
        pids = waited(lambda: len(found := (tmp_path / "pids").read_text().split()) == 2 and found)
    end(parent)
    time.sleep(2)
    assert not [pid for pid in map(int, pids) if lives(pid)]
