"""Processes of the notebooks that run: no kernel may outlive the chain."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import PROGRESS
from esiamfc_lib.runtime.files import writable_folder

CACHES = (
    *("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "IPYTHONDIR"),
    *("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"),
)
"""Variables that name folders in which libraries keep things; without numba's no UMAP."""


@dataclass
class Kernels:
    """The kernels that run at this moment, by process id; ``stopped``: all have been ended."""

    running: set[int] = field(default_factory=set)
    stopped: bool = False
    warm: subprocess.Popen | None = None  # see ``warm.py``
    asking: threading.Lock = field(default_factory=threading.Lock)  # stages that run side by side

    def fork(self, argv: list[str], env: dict[str, str], cwd: str, log: str) -> int:
        """The process id of a new kernel, forked from a process that has loaded the libraries."""
        order = {"argv": argv, "env": env, "cwd": cwd, "log": log}
        with self.asking, Path(log).open("ab") as file:
            if self.warm is None or self.warm.poll() is not None:
                own = {name: value for name, value in env.items() if name != PROGRESS}
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": file}
                command = [sys.executable, "-P", str(Path(__file__).with_name("warm.py"))]
                apart = {"env": own, "start_new_session": True}  # Ctrl-C is for the chain alone
                self.warm = subprocess.Popen(command, text=True, **pipes, **apart)
            with suppress(BrokenPipeError):  # said below
                self.warm.stdin.write(json.dumps(order) + "\n")
                self.warm.stdin.flush()
            if pid := self.warm.stdout.readline():
                return int(pid)
        raise RuntimeError("the process that kernels are forked from has ended")

    @contextmanager
    def ending(self) -> Iterator[None]:
        """On Ctrl-C or SIGTERM kill every kernel with the processes that it started, and raise
        KeyboardInterrupt with the signal's number."""

        def stop(number, frame):
            self.stopped = True
            for pid in tuple(self.running):
                end_kernel(pid)
            raise KeyboardInterrupt(number)

        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread only
            return
        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            deadline = time.monotonic() + 5
            while self.stopped and self.running and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.warm:
                self.warm.communicate()  # it ends with its input


def end_kernel(pid: int) -> None:
    """Kill a kernel and its workers; a kernel leads a process group of its own."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def end_leftover(progress_file: Path) -> None:
    """End the processes of a stage that outlived their chain: they know its progress file."""
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(PROGRESS) == str(progress_file):
                process.kill()
                process.wait(timeout=10)


def caches(run: Path) -> dict[str, str]:
    """Folders in ``run`` for what libraries keep, where the user's own cannot be written."""
    try:
        writable_folder(Path("~/.cache/numba").expanduser())
    except (StudyError, RuntimeError):  # or nobody knows the user's folder
        return {name: str(writable_folder(run / ".cache" / name.lower())) for name in CACHES}
    return {}
