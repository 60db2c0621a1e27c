"""Several machines on this one: network namespaces with addresses of their own on a bridge.

They share this machine's files and processors, but neither its network nor its name. Making them
takes root's rights on Linux and the command ``ip``; everything is gone when the block ends.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from processes import Processes, end, waited

ETC = Path("/etc/netns")  # ip puts what lies here over /etc, for one namespace
ADDRESSES = "10.77.0"  # seen by these hosts alone: their switch is a namespace, too


def refused() -> str:
    """Why there can be no such hosts here; empty where there can."""
    if sys.platform != "linux" or not shutil.which("ip") or not shutil.which("unshare"):
        return "network namespaces need Linux with ip (iproute2) and unshare"
    name = f"esiamfc-{os.getpid()}-asked"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted here: {error.stderr.strip()}"
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


class Hosts:
    """So many hosts, number 0 first, and the processes that were started on them."""

    def __init__(self, count: int):
        self.names = [f"esiamfc-{os.getpid()}-{i}" for i in range(count)]
        self.switch = f"esiamfc-{os.getpid()}-switch"
        self.started: list[subprocess.Popen] = []

    def __enter__(self) -> "Hosts":
        _ip("netns", "add", self.switch)
        _ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.switch, "link", "set", "bridge", "up")
        known = "".join(f"{self.address(i)} host{i}\n" for i in range(len(self.names)))
        for i, name in enumerate(self.names):
            (ETC / name).mkdir(parents=True)
            (ETC / name / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
            _ip("netns", "add", name)
            pair = ["type", "veth", "peer", "name", f"port{i}", "netns", self.switch]
            _ip("-n", name, "link", "add", "eth0", *pair)
            _ip("-n", name, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", self.switch, "link", "set", f"port{i}", "master", "bridge", "up")
        return self

    def __exit__(self, *error) -> None:
        end(*self.started)
        for name in (*self.names, self.switch):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
            shutil.rmtree(ETC / name, ignore_errors=True)

    def address(self, i: int) -> str:
        return f"{ADDRESSES}.{i + 1}"

    def on(self, i: int, hidden: Path | None = None) -> list[str]:
        """What to put before a command to run it on a host, where a folder may be ``hidden``."""
        name = ["sh", "-c", 'hostname "$0" && exec "$@"', f"host{i}"]
        words = ["ip", "netns", "exec", self.names[i], "unshare", "--uts"]
        if hidden is None:
            return [*words, *name]
        cover = ["sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(hidden)]
        return [*words, "--mount", *cover, *name]

    def start(self, i: int, words: list, log: Path, hidden=None, cwd=None, **environment: str):
        """A process on a host; what it says is added to a file."""
        own = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", **environment}
        with log.open("ab") as file:
            command = [*self.on(i, hidden), *map(str, words)]
            process = subprocess.Popen(command, cwd=cwd, env=own, stdout=file, stderr=file)
        self.started.append(process)
        return process

    @contextmanager
    def unplugged(self, i: int):
        """Within the block a host has no network."""
        _ip("-n", self.switch, "link", "set", f"port{i}", "down")
        try:
            yield
        finally:
            _ip("-n", self.switch, "link", "set", f"port{i}", "up")


class Cluster(Processes):
    """A Dask scheduler on host 0 and workers on the others."""

    def __init__(self, folder: Path, hosts: Hosts):
        self.folder, self.workers, self.hosts = folder, {}, hosts
        folder.mkdir(parents=True)
        file = folder / "scheduler.json"
        options = ["--host", hosts.address(0), "--port", "0", "--scheduler-file", file]
        self.scheduler = self._on(0, "dask_scheduler", *options)
        self.address = json.loads(waited(lambda: file.is_file() and file.read_text()))["address"]

    def worker_on(self, i: int, library: Path, hidden: Path | None = None) -> subprocess.Popen:
        """A worker of one thread on a host; it has registered when this returns."""
        name = f"worker-{len(self.workers)}"
        own = ["--nthreads", "1", "--no-nanny", "--local-directory", self.folder / name]
        place = [self.address, "--host", self.hosts.address(i), "--name", name, *own]
        log = self.folder / "log.txt"
        known = log.read_text().count("Registered to:")
        process = self._on(i, "dask_worker", *place, library=library, hidden=hidden)
        self.workers[name] = process
        waited(lambda: log.read_text().count("Registered to:") > known, 300)
        return process

    def _on(self, i: int, module: str, *words, library: Path | str = "", hidden=None):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *words, "--no-dashboard"]
        log, path = self.folder / "log.txt", str(library)
        # elsewhere than in the project, which Python would find before the library that is meant
        return self.hosts.start(i, command, log, hidden, self.folder, PYTHONPATH=path)


def under_way(out: Path, process: subprocess.Popen, seconds: float = 120) -> bool:
    """Wait until a command has begun to write its results; False if it has ended before."""
    limit = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < limit:
        if any(path.is_file() and path.stat().st_size for path in out.rglob("[!.]*")):
            return True
        time.sleep(0.05)
    return False
