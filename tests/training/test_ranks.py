"""Several processes as one: the losses of a single process, kills, folders that others lack."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import end

from esiamfc_lib import cli

HERE = Path(__file__).parent


def start(folder, scenario, world=1):
    """The processes of a training, as ``torchrun`` would start them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    place |= {"LOCAL_WORLD_SIZE": str(world), "GROUP_WORLD_SIZE": "1", "WORLD_SIZE": str(world)}
    place |= {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    paths = [str(HERE), *sys.path]
    return [
        subprocess.Popen(
            [sys.executable, str(HERE / "ranks.py"), str(folder), scenario],
            env=os.environ
            | place
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": os.pathsep.join(paths)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A training by one process; the same by two, of which one is killed in a second training; and
    by two more, which finish that. What they said, and what they found, by scenario and rank."""
    folder, said = tmp_path_factory.mktemp("ranks"), {}
    alone = start(folder, "alone")
    for scenario in ("killed", "again"):
        pair = start(folder, scenario, world=2)
        try:
            pair[1].wait(300)
            begun = time.monotonic()
            pair[0].wait(60)
            said[scenario, "seconds"] = time.monotonic() - begun
            for rank, process in enumerate(pair):
                said[scenario, rank] = process.stderr.read()
        finally:
            end(*pair)
    assert alone[0].wait(300) == 0, alone[0].stderr.read()
    found = {file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}
    return folder, said, found


def losses(facts):
    return [entry[kind]["loss"] for entry in facts["history"] for kind in ("train", "validation")]


def test_in_double_precision_two_processes_are_one(course):
    _, _, found = course
    one, two = losses(found["alone-double-0"]), losses(found["again-double-0"])
    assert two == pytest.approx(one, abs=2e-7)  # Fabric hands the sums on in single precision
    assert len(one) == 6 and one[-1] != pytest.approx(one[1], abs=1e-3)


def test_in_single_precision_they_differ_by_rounding(course):
    _, _, found = course
    one, two = losses(found["alone-single-0"]), losses(found["killed-single-0"])
    assert two == pytest.approx(one, abs=1e-4)


def test_all_processes_give_what_the_first_one_found(course):
    """Its history, with the figures that only it computed, and the model that only it has kept."""
    folder, _, found = course
    assert found["killed-single-0"] == found["killed-single-1"]
    assert all(
        entry.get("tracking", {"auc": 0})["auc"] < 1
        for entry in found["killed-single-1"]["history"]
    )
    assert (folder / "killed-0/single/best.safetensors").is_file()
    assert not (folder / "killed-1").exists()


def test_when_one_is_killed_the_other_says_so_and_both_go_on_later(course):
    """Within an epoch; the second process finds nothing in a folder of its own."""
    _, said, found = course
    assert "Traceback" not in said["killed", 0]
    assert "said: " in said["killed", 0]
    assert said["killed", "seconds"] < 50
    assert found["again-single-0"] == found["again-single-1"] == found["killed-single-0"]


def test_processes_that_would_train_otherwise_are_told_of(course):
    _, said, _ = course
    assert "differs from the first process: data was 0 and is 1" in said["again", 1]
    assert "said: " in said["again", 0]


def test_the_chain_is_not_what_torchrun_starts(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["run", "--profile", "smoke"]) == 2
    assert "it trains by -m tools.train" in capsys.readouterr().err
