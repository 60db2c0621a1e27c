"""A Dask scheduler and workers as processes of their own, as on other machines."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

QUIET = ("--no-dashboard",)


class Processes:
    """A scheduler on this machine, at ``address``, and the workers that a test starts; a context
    manager that ends them all."""

    def __init__(self, folder: Path):
        self.folder, self.workers = folder, {}
        file = folder / "scheduler.json"
        options = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file)]
        self.scheduler = self._start("dask_scheduler", *options)
        self.address = json.loads(waited(lambda: file.is_file() and file.read_text()))["address"]

    def worker(self, library: Path, *options: str, cwd: Path | None = None) -> subprocess.Popen:
        """A worker of one thread that finds the library in this folder."""
        name = f"worker-{len(self.workers)}"
        own = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder / name)]
        place = [self.address, "--name", name, *own, *options]
        self.workers[name] = self._start("dask_worker", *place, library=library, cwd=cwd)
        return self.workers[name]

    def _start(self, module: str, *words: str, library: Path | None = None, cwd=None):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(library or "")}
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words, *QUIET]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=cwd or self.folder, env=environment, stdout=log, stderr=log
            )

    def ready(self) -> None:
        """Wait until the scheduler knows the workers that live, and no other."""
        from distributed import Client

        alive = {name for name, process in self.workers.items() if process.poll() is None}

        def known() -> set:
            found = client.scheduler_info(n_workers=-1)["workers"].values()
            return {worker["name"] for worker in found if worker["status"] == "running"}

        with Client(self.address) as client:
            waited(lambda: known() == alive)

    def gone(self) -> None:
        """End all workers."""
        end(*self.workers.values())
        self.ready()

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        end(*self.workers.values(), self.scheduler)


def end(*processes: subprocess.Popen) -> None:
    """Kill processes, each by its own id."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def lives(pid: int) -> bool:
    """Whether a process still does something; nobody may have taken note of its end."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waited(condition, seconds: float = 60):
    """What a condition gives as soon as it is true."""
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)
    return found


def copy_of_library(library: Path, folder: Path, module: str, old: str, new: str) -> Path:
    """A folder with a copy of the package in which one text of one module is another."""
    shutil.copytree(library / "esiamfc_lib", folder / "esiamfc_lib")
    file = folder / "esiamfc_lib" / module
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    return folder
