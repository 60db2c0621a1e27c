"""Seconds of a piece of work, on the GPU's own clock where it runs there."""

import contextlib
import io
import time
from collections.abc import Callable
from statistics import median

import torch

BLOCKS = 5  # a measurement is the median of so many


def is_gpu(device: torch.device) -> bool:
    """Whether there are events, graphs and pinned memory for the device."""
    return device.type == "cuda"


def quiet() -> contextlib.redirect_stderr:
    """Without the progress bars of a training, which would stand between the rows."""
    return contextlib.redirect_stderr(io.StringIO())


def wait(device: torch.device) -> None:
    """Until everything that was started on the device is done."""
    if is_gpu(device):
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, budget: float) -> float:
    """Median seconds of one call, among blocks of calls that take about ``budget`` together.

    Three calls warm up (one where the budget is 0). On a GPU two events around a block time it:
    they count the gaps between kernels, in which the GPU waits for the next launch, as the work
    does.
    """
    for _ in range(3 if budget else 1):
        work()
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    once = time.perf_counter() - start
    calls = max(1, round(budget / BLOCKS / max(once, 1e-6)))
    blocks = max(1, min(BLOCKS, int(budget / max(once * calls, 1e-6)) + 1))
    return median(_block(work, calls, device) for _ in range(blocks)) / calls


def _block(work: Callable[[], object], calls: int, device: torch.device) -> float:
    if is_gpu(device):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(calls):
            work()
        last.record()
        torch.cuda.synchronize(device)
        return first.elapsed_time(last) / 1e3
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return time.perf_counter() - start
