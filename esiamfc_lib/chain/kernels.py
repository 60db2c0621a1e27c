"""Processes of the notebooks that run: no kernel may outlive the chain."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Kernels:
    """The kernels that run at this moment, so that all can be ended at once."""

    def __init__(self):
        self._running: set[int] = set()
        self.stopped = False

    def add(self, pid: int) -> None:
        """Remember a kernel by its process id; end it at once if all have been told to end."""
        self._running.add(pid)
        if self.stopped:
            end_kernel(pid)

    def discard(self, pid: int) -> None:
        """Forget a kernel that has ended."""
        self._running.discard(pid)

    def end_all(self) -> None:
        """Kill every kernel together with the processes it started."""
        self.stopped = True
        for pid in tuple(self._running):
            end_kernel(pid)

    def wait(self, seconds: float) -> None:
        """Wait until no kernel is left, at most ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:
            time.sleep(0.05)


def end_kernel(pid: int) -> None:
    """Kill a kernel and its workers; a kernel leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def end_leftover(kernel: Mapping[str, float]) -> None:
    """End a kernel that outlived its chain, if it still runs and is the process recorded."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process = psutil.Process(int(kernel["pid"]))
        if process.create_time() == kernel["created"]:
            end_kernel(process.pid)
            process.wait(timeout=10)


@contextmanager
def ending(kernels: Kernels) -> Iterator[None]:
    """On Ctrl-C or SIGTERM end the kernels and raise KeyboardInterrupt."""

    def stop(number, frame):
        kernels.end_all()
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if kernels.stopped:
            kernels.wait(seconds=5)
