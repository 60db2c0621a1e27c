"""How many threads a stage should have, and how they should wait, on an idle and a busy machine.

A training step of a narrow network has many short parallel regions. OpenMP's threads spin at the
end of each, for some milliseconds, until all have come: fast while every thread has a core of its
own; where another process has taken one, all spin until it gives the core back. Measured are
steps of the baseline's training (width 0.25, 8 pairs), each setting in a process of its own, the
settings in turn; ``busy``: beside as many processes as there are cores, which compute without end.
"""

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from contextlib import contextmanager
from statistics import median

import torch

from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.devices import choose_precision
from esiamfc_lib.training.tasks import BaselineTask
from speed import Row, row
from speed.training import RADIUS, noise, our_step

SPIN = "while True: pass"
SETTINGS = {
    "two threads that spin (OpenMP's default)": (2, {}),
    "two threads, OMP_WAIT_POLICY=PASSIVE": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
    **{
        f"two threads, GOMP_SPINCOUNT={count}": (2, {"GOMP_SPINCOUNT": str(count)})
        for count in (1_000, 10_000, 30_000, 100_000)
    },
    "one thread": (1, {}),
}
"""Setting -> threads, and the environment of its process; the first one is the reference."""


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="of all settings (default 5)")
    parser.add_argument("--width", type=float, default=0.25, help="of the network (default 0.25)")


def rows(args: Namespace) -> list[Row]:
    """All measurements."""
    found = []
    for load, others in (("idle", 0), ("busy", os.cpu_count() or 1)):
        taken = {name: [] for name in SETTINGS}
        with _busy(others):
            for _ in range(args.rounds):
                for name, (threads, environment) in SETTINGS.items():
                    taken[name].append(_measured(args, threads, environment))
        rates = {name: median(values) for name, values in taken.items()}
        reference = next(iter(rates.values()))
        found += [row(f"{load}: {n}", rate, reference, "steps/s") for n, rate in rates.items()]
    return found


@contextmanager
def _busy(count: int):
    """While ``count`` other processes compute."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _measured(args: Namespace, threads: int, environment: dict[str, str]) -> float:
    """Steps a second, in a process of its own: OpenMP reads its settings once."""
    call = f"from speed.threads import steps; print(steps({threads}, {args.width}, {args.seconds}))"
    done = subprocess.run(
        [sys.executable, "-c", call],
        env={**os.environ, "OMP_NUM_THREADS": str(threads), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def steps(threads: int, width: float, seconds: float) -> float:
    """Training steps a second of this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cpu")
    step = our_step(
        BaselineTask(SiamFC(width), **RADIUS), device, choose_precision("auto", "cpu")[0]
    )
    batch = noise(8, 0, device)
    for _ in range(3):
        step(batch)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step(batch)
        count += 1
    return count / (time.perf_counter() - start)
