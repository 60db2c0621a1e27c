"""One run of the check: its sizes, its clock, its rows, and what the parts share."""

import importlib
import json
import os
import platform
import signal
import time
import traceback
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch

from esiamfc_lib.runtime.devices import choose_device
from esiamfc_lib.runtime.files import write_atomically
from speed import Row, row
from speed.gpu import PARTS, timing

SLACK = 1.3  # a part may take so many times its share before it is cut off from outside


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    videos: int  # that are learned from; 1.75 tracks in each on average
    video_frames: int
    sequences: int  # held out, of each test layout
    test_frames: int
    batches: tuple[int, ...]
    seconds: float  # that one measurement takes
    loaders: tuple[int, ...]
    curators: tuple[int, ...]  # processes
    curated: int  # videos for each process
    lockstep: tuple[int, ...]  # sequences at once
    pairs: int  # of the real training
    points: int  # of its learning curve
    short_pairs: int  # of each of the trainings that are compared
    branch_pairs: int
    held_out: int  # pairs
    ensemble: tuple[int, ...]  # pairs of baseline, common start, a branch, fusion; seeds
    formed: tuple[int, int]  # images that a convolution learns from, and that are tracked
    matrix: int  # side of the largest matrix product
    samples: tuple[int, int]  # vectors that are clustered, and their length
    correct: int  # sequences whose boxes are compared


FULL = Sizes(
    **{"videos": 3000, "video_frames": 10, "sequences": 96, "test_frames": 60},
    **{"batches": (8, 32, 128, 512), "seconds": 0.3, "loaders": (1, 2, 4, 8, 12, 16)},
    **{"curators": (1, 2, 4, 8, 16), "curated": 100, "lockstep": (1, 8, 32, 100, 400)},
    **{"pairs": 500_000, "points": 10, "short_pairs": 100_000, "branch_pairs": 50_000},
    **{"ensemble": (40_000, 40_000, 8_000, 12_000, 6), "formed": (64, 300)},
    **{"held_out": 1024, "matrix": 8192, "samples": (3000, 2304), "correct": 4},
)
SHORT = Sizes(
    **{"videos": 8, "video_frames": 4, "sequences": 2, "test_frames": 6},
    **{"batches": (2,), "seconds": 0.0, "loaders": (1,)},
    **{"curators": (1, 2), "curated": 2, "lockstep": (1, 3)},
    **{"pairs": 64, "points": 2, "short_pairs": 16, "branch_pairs": 16},
    **{"ensemble": (32, 16, 8, 8, 2), "formed": (2, 2)},
    **{"held_out": 8, "matrix": 256, "samples": (200, 32), "correct": 2},
)


@dataclass(frozen=True)
class PartRow(Row):
    """A row, the part that it belongs to, and what is to be said of it."""

    part: str
    note: str = ""


class OverTimeError(BaseException):
    """A part is cut off; no ``except Exception`` may hold that up."""


class Run:
    """What is measured on what, and what was found.

    Attributes:
        device, gpu: where the networks run, and whether that is a GPU.
        sizes, width, k, folder: how much; of the networks; of the ensemble; to work in.
        rows: what was found so far.
        weights: (SiamFC in eval mode on the CPU) of the real training, once there was one."""

    def __init__(self, args: Namespace, folder: Path):
        self.device = choose_device(args.device)
        self.gpu = timing.is_gpu(self.device)
        self.sizes = FULL if self.gpu else SHORT
        self.width = args.width or (1.0 if self.gpu else 0.125)
        self.k, self.folder, self.json = args.k, folder, args.json
        self.chosen = args.only or list(PARTS)
        self.seconds = 60 * (args.minutes or (8.0 if self.gpu else 2.0))
        if not self.gpu:
            torch.set_num_threads(1)  # beside other work threads that wait busily stand still
        self.cores = len(os.sched_getaffinity(0))
        self.rows: list[PartRow] = []
        self.weights = None
        self.part, self.ends = "", 0.0

    def all(self) -> list[PartRow]:
        """Every part in its share of what is left of the time."""
        self.began = time.perf_counter()
        self.part = "run"
        self.add(*self._machine())
        for i, part in enumerate(self.chosen):
            left = max(1.0, self.seconds - (time.perf_counter() - self.began))
            share = left * PARTS[part] / sum(PARTS[p] for p in self.chosen[i:])
            self._measure(part, share)
        self.part = "run"
        taken = time.perf_counter() - self.began
        self.add("the whole run; reference: what it was given", taken, self.seconds, "s", less=True)
        return self.rows

    def _machine(self) -> tuple:
        card = torch.cuda.get_device_name(self.device) if self.gpu else "no GPU"
        facts = f"torch {torch.__version__}, CUDA {torch.version.cuda}, OpenCV {cv2.__version__}, "
        facts += f"NumPy {np.__version__}, Python {platform.python_version()}, width {self.width:g}"
        if self.gpu:
            facts += f", cuDNN {torch.backends.cudnn.version()}"
        else:
            facts += ": a short run on the CPU, which tests the check and measures nothing"
        return f"cores beside {card}", self.cores, 16, "cores", "", False, facts

    def _measure(self, part: str, share: float) -> None:
        self.part, start = part, time.perf_counter()
        self.ends = start + share
        with self.attempt(part, whole=True):
            measure = importlib.import_module(f"speed.gpu.{part}").measure
            with _cut_off(SLACK * share + 5 if self.gpu else 0):
                measure(self)
        self.part = part
        if self.gpu:
            with self.attempt("free memory"):
                torch.cuda.synchronize(self.device)
                torch.cuda.empty_cache()
        taken = time.perf_counter() - start
        self.add(f"time of {part}; reference: its share", taken, share, "s", less=True)

    def add(
        self,
        name: str,
        ours: float,
        reference: float,
        unit: str,
        target: str = "",
        less: bool = False,
        note: str = "",
    ) -> None:
        """Keep a row, show it, and write all of them to the file."""
        plain = row(name, float(ours), float(reference), unit, target, less)
        values = vars(plain) | {"ratio": plain.ratio if reference and ours else 0.0}
        found = PartRow(**values, part=self.part, note=note)
        self.rows.append(found)
        said = f"  ({note.splitlines()[-1]})" if note else ""
        line = f"{self.part}: {name}: {found.ours:.5g} / {found.reference:.5g} {unit}{said}"
        print(line, flush=True)
        if self.json:
            text = json.dumps([asdict(one) for one in self.rows], indent=1) + "\n"
            write_atomically(self.json, text)

    @contextmanager
    def attempt(self, what: str, whole: bool = False) -> Iterator[None]:
        """What goes wrong inside becomes a row, with the traceback as its note; what is cut off
        ends the whole part."""
        try:
            yield
        except Exception:
            self.add(f"{what}: failed", 0, 1, "done", note=traceback.format_exc())
        except OverTimeError:
            if not whole:
                raise
            self.add(f"{what}: cut off", 0, 1, "done", note=traceback.format_exc())

    def left(self) -> float:
        """Seconds that the part still has."""
        return self.ends - time.perf_counter()

    def time_for(self, what: str, need: float) -> bool:
        """Whether ``need`` seconds are left; a row says what is left out where they are not."""
        if not self.gpu or self.left() >= need:
            return True
        self.add(f"{what}: left out, no time", 0, 1, "done")
        return False

    # What several parts need is made when the first of them asks.

    @cached_property
    def data(self):
        """The built-in data, and their crops: ``speed.gpu.data.Data``."""
        return importlib.import_module("speed.gpu.data").Data(self)

    @cached_property
    def peak(self) -> dict[str, float]:
        """FLOP/s of the fastest matrix product, by precision."""
        return importlib.import_module("speed.gpu.card").peaks(self)

    @cached_property
    def forms_to_learn(self) -> tuple[str, ...]:
        """The fastest form of every convolution, forward and backward."""
        return importlib.import_module("speed.gpu.convolutions").fastest(self, learning=True)

    @cached_property
    def forms_to_track(self) -> tuple[str, ...]:
        """The fastest form of every convolution, forward."""
        return importlib.import_module("speed.gpu.convolutions").fastest(self, learning=False)

    @cached_property
    def crops(self):
        """All crops, decoded, in the device's memory: ``speed.gpu.resident.Resident``."""
        return importlib.import_module("speed.gpu.resident").Resident(self.data.store, self)

    @cached_property
    def lying(self) -> list[torch.Tensor]:
        """The frames of the held-out sequences in the device's memory, step by step."""
        return importlib.import_module("speed.gpu.lockstep").lying(self.data.sequences, self)

    def model(self):
        """A SiamFC that was trained: by the real training, or as long as a moment lasts."""
        if self.weights is None:
            self.weights = importlib.import_module("speed.gpu.learning").brief(self)
        return self.weights


@contextmanager
def _cut_off(seconds: float) -> Iterator[None]:
    """Raise ``OverTimeError`` in the block after so many seconds; 0: never."""

    def stop(*_) -> None:
        raise OverTimeError(f"cut off after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
