"""A command over hosts with addresses of their own; ``tools/hosts_campaign.py`` has the others."""

import sys
import time

import pytest
from hosts import Cluster, Hosts, refused, under_way
from mini_vid import make_vid
from processes import end, lives

from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore


@pytest.fixture(scope="module")
def hosts():
    if reason := refused():
        pytest.skip(reason)
    with Hosts(3) as hosts:
        yield hosts
    assert not any(lives(process.pid) for process in hosts.started)


def test_a_store_is_the_same_where_one_host_dies_and_one_loses_the_network(hosts, root, tmp_path):
    make_vid(tmp_path / "vid", videos=16, frames=20)
    curate(tmp_path / "vid", tmp_path / "here", splits=["train"])
    cluster = Cluster(tmp_path / "cluster", hosts)
    dies, _ = cluster.worker_on(1, root), cluster.worker_on(2, root)
    out = tmp_path / "there"
    words = [sys.executable, "-m", "esiamfc_lib.cli", "store", "build", tmp_path / "vid", out]
    words += ["--splits", "train", "--scheduler", cluster.address]
    build = hosts.start(0, words, tmp_path / "log.txt", PYTHONPATH=str(root))
    assert under_way(out, build), (tmp_path / "log.txt").read_text()
    end(dies)
    with hosts.unplugged(2):
        time.sleep(10)
        assert build.poll() is None, "it needs no network"
    assert build.wait(120) == 0, (tmp_path / "log.txt").read_text()
    assert CropStore(out).digest == CropStore(tmp_path / "here").digest
