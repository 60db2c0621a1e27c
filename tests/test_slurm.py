"""The scripts for ``sbatch``, started as SLURM would, with a false ``srun`` and ``scontrol``.

``tools/hosts_campaign.py`` runs them on a SLURM cluster.
"""

import os
import shlex
import subprocess
import sys

import pytest
from mini_vid import make_vid

from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.curation.store_check import merge
from esiamfc_lib.data.store import CropStore

# As many tasks as machines, one after the other; each knows its machine's number.
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for i in $(seq 0 $((SLURM_JOB_NUM_NODES - 1))); do SLURM_NODEID=$i "$@" || exit; done
"""
SCONTROL = """#!/bin/bash
[[ $* == "show hostnames node[3-4]" ]] && printf 'node3\\nnode4\\n'
"""
SAYS = """#!/bin/bash
echo "$@" >> "$SAID"
workers() { grep -c dask_worker "$SAID"; }
if [[ $* == *"cli store"* ]]; then until [[ $(workers) == 2 ]]; do sleep 0.1; done; fi
"""
JOB = {"SLURM_JOB_ID": "41", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[3-4]"}


@pytest.fixture
def job(root, tmp_path):
    """Runs a script with words and variables of SLURM; gives the exit status."""
    fakes = tmp_path / "bin"
    fakes.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("says", SAYS)):
        (fakes / name).write_text(text)
        (fakes / name).chmod(0o755)

    def run(script: str, *words, **variables) -> int:
        own = {"PATH": f"{fakes}:{os.environ['PATH']}", "SAID": str(tmp_path / "said")}
        own |= {"PYTHONPATH": str(root), "PYTHON": str(fakes / "says")}
        command = ["bash", str(root / "tools/slurm" / script), *map(str, words)]
        environment = os.environ | own | variables
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode

    return run


def test_parts_of_a_job_array_make_the_whole_store(job, tmp_path):
    make_vid(tmp_path / "vid", videos=3)
    curate(tmp_path / "vid", tmp_path / "whole", splits=["train"])
    for task in ("1", "2"):
        of_array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        given = (tmp_path / "vid", tmp_path / "parts", "--splits", "train")
        assert not job("parts.sbatch", *given, PYTHON=sys.executable, **of_array)
    merge(sorted((tmp_path / "parts").iterdir()), tmp_path / "store")
    assert CropStore(tmp_path / "store").digest == CropStore(tmp_path / "whole").digest


def test_every_machine_starts_its_processes_under_its_number(job, tmp_path):
    words = ("fusion", "--set", "fusion.title='two words'")
    assert not job("train.sbatch", *words, **JOB, SLURM_GPUS_ON_NODE="4")
    lines = [shlex.split(line) for line in (tmp_path / "said").read_text().splitlines()]
    for number, line in enumerate(lines):
        options = dict(zip(line[2:12:2], line[3:12:2], strict=True))
        assert options == {
            "--nnodes": "2",
            "--node-rank": str(number),
            "--nproc-per-node": "4",
            "--master-addr": "node3",
            "--master-port": "20041",
        }
        assert line[12:] == [
            "-m",
            "tools.train",
            *map(str.strip, words[:2]),
            "fusion.title=two words",
        ]
    assert len(lines) == 2


def test_a_command_gets_the_address_of_its_scheduler(job, tmp_path):
    assert not job("dask.sbatch", "store", "build", "vid", "store", **JOB)
    said = (tmp_path / "said").read_text()
    last = next(line for line in said.splitlines() if "esiamfc_lib.cli" in line)
    assert last.startswith("-m esiamfc_lib.cli store build vid store --scheduler tcp://")
    address = last.rpartition("//")[2]
    assert address.endswith(":20041") and "distributed.cli.dask_scheduler --port 20041" in said
    assert said.count(f"distributed.cli.dask_worker tcp://{address} --nthreads 1") == 2
