"""Tracking: one by one, in lock-step by the library, and in lock-step with all on the device.

What all are measured against is one process a core of the same machine, which is how the study
tracks on a CPU.
"""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import joblib
import numpy as np
import torch

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.lockstep import track_many
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from speed.gpu.card import tf32_set
from speed.gpu.data import standing, success_auc
from speed.gpu.flops import Work
from speed.gpu.lockstep import Lockstep, LockstepTracker, track_all
from speed.gpu.run import Run
from speed.gpu.timing import wait

NEAR = 0.05  # px
GOALS = {"SiamFC": 5000, "ESiamFC": 2000}  # frames/s
FASTEST = "bf16, each convolution in its fastest form"
KINDS = "fp32", "bf16", FASTEST
SPREAD = 0.02  # of the branches' weights, in standard deviations of the baseline's


def measure(run: Run) -> None:
    """Speed of SiamFC and ESiamFC, where the time goes, and accuracy."""
    single = run.model()
    models = {"SiamFC": single, "ESiamFC": ensemble_of(single, run.k)}
    apart = {}
    for name, model in models.items():
        with run.attempt(f"{name}, one process a core"):
            apart[name] = a_process_a_core(run, model)
    for name, model in models.items():
        if name in apart:
            with run.attempt(f"{name}, one by one"):
                one_by_one(run, name, model, apart[name])
            lockstep(run, name, model, apart[name])
    with run.attempt("where the time goes"):
        where(run, models)
    for name, model in models.items():
        with run.attempt(f"{name}, accuracy"):
            accuracy(run, name, model)


def ensemble_of(model: SiamFC, k: int) -> ESiamFC:
    """An ensemble of branches near a trained one: its weights with noise, so that all differ."""
    trackers = []
    for j in range(k):
        one, generator = copy.deepcopy(model), torch.Generator().manual_seed(j)
        with torch.no_grad():
            for p in one.branch.parameters():
                if p.numel() > 1:
                    p += SPREAD * p.std() * torch.randn(p.shape, generator=generator)
        trackers.append(one)
    return ESiamFC.assembled(trackers).eval()


def tracker_of(model: SiamFC | ESiamFC, device: str, precision: str) -> SiamFCTracker:
    """The library's tracker of a network."""
    kind = ESiamFCTracker if isinstance(model, ESiamFC) else SiamFCTracker
    return kind(model, engine=Engine(model, device, precision))


def cut_to(sequence: Sequence, count: int) -> Sequence:
    """Its first frames."""
    return Sequence(sequence.name, sequence.frames[:count], sequence.boxes[:count])


def many(sequences: list[Sequence], count: int, frames: int) -> list[Sequence]:
    """As many sequences of so many frames as asked for: the same ones again under other names."""
    return [
        Sequence(f"{one.name}-{i}", one.frames[:frames], one.boxes[:frames])
        for i, one in ((i, sequences[i % len(sequences)]) for i in range(count))
    ]


def a_process_a_core(run: Run, model: SiamFC | ESiamFC) -> float:
    """Frames a second of one process on each core, fp32, decoding included."""
    frames = (8 if isinstance(model, ESiamFC) else 24) if run.gpu else 3
    jobs = many(run.data.sequences, run.cores, frames)
    with joblib.Parallel(n_jobs=run.cores) as parallel:
        work = joblib.delayed(alone)
        tracker = tracker_of(model, "cpu", "fp32")
        parallel(work(tracker, cut_to(one, 2)) for one in jobs)  # starts the processes
        start = time.perf_counter()
        parallel(work(tracker, one) for one in jobs)
        taken = time.perf_counter() - start
    return sum(len(one) for one in jobs) / taken


def alone(tracker: SiamFCTracker, sequence: Sequence) -> np.ndarray:
    """A sequence on one thread."""
    with threads(1):
        return tracker.track_sequence(sequence)[0]


def one_by_one(run: Run, name: str, model: SiamFC | ESiamFC, apart: float) -> None:
    """The library's tracker on one sequence after the other."""
    for precision in ("fp32", "bf16") if run.gpu else ("fp32",):
        tracker = tracker_of(model, str(run.device), precision)
        sequence = run.data.sequences[0]
        tracker.track_sequence(cut_to(sequence, 3))
        start = time.perf_counter()
        tracker.track_sequence(sequence)
        rate = len(sequence) / (time.perf_counter() - start)
        said = f"{name}, one sequence, the library's loop, {precision}"
        run.add(f"{said}; reference: one process a core", rate, apart, "frames/s")


def lockstep(run: Run, name: str, model: SiamFC | ESiamFC, apart: float) -> None:
    """More and more sequences at once."""
    goal, work = f">= {GOALS[name]:,} frames/s", Work(run.width, run.k)
    flop = work.frame(run.k if isinstance(model, ESiamFC) else 1)
    for count in run.sizes.lockstep:
        frames = 20 if run.gpu and count >= 100 else min(40, run.sizes.test_frames)
        sequences = many(run.data.sequences, count, frames)
        if not run.time_for(f"{name}, {count} sequences", 4):
            continue
        with run.attempt(f"{name}, the library's lock-step, {count} sequences"):
            if count <= 100:
                rate = of_library(run, model, sequences)
                said = f"{name}, {count} sequences, the library's lock-step, fp32"
                run.add(f"{said}; reference: one process a core", rate, apart, "frames/s")
        for kind in KINDS if run.gpu else (KINDS[0], KINDS[-1]):
            said = f"{name}, {count} sequences, all on the device, {kind}"
            with run.attempt(said), tf32_set(False):
                precision = "bf16" if kind.startswith("bf16") else "fp32"
                forms = run.forms_to_track if kind == FASTEST else ()
                resident, read = on_device(run, model, sequences, precision, forms)
                note = f"{resident * flop / 1e12:.3g} TFLOP/s of the network"
                for rate, how in ((resident, "frames lie there"), (read, "JPEG files")):
                    full = f"{said}, {how}; reference: one process a core"
                    run.add(full, rate, apart, "frames/s", goal * (count >= 100), note=note)


def of_library(run: Run, model: SiamFC | ESiamFC, sequences: list[Sequence]) -> float:
    """Frames a second of ``track_many``, decoding included."""
    tracker = tracker_of(model, str(run.device), "fp32")
    list(track_many(tracker, [cut_to(one, 2) for one in sequences], slots=len(sequences)))
    start = time.perf_counter()
    list(track_many(tracker, sequences, slots=len(sequences)))
    return sum(len(one) for one in sequences) / (time.perf_counter() - start)


def on_device(
    run: Run,
    model: SiamFC | ESiamFC,
    sequences: list[Sequence],
    precision: str,
    forms: tuple[str, ...],
) -> tuple[float, float]:
    """Frames a second with frames that lie on the device, and with files. The first frames, and
    the capture of the graph, are not counted; they come once."""
    if run.gpu:
        torch.cuda.empty_cache()
    with ThreadPoolExecutor(run.cores) as pool:
        tracker = LockstepTracker(model, run.device, precision, forms=forms)
        together = Lockstep(tracker, sequences)
        lying = together.on_device(pool)
        together.room.copy_(lying[0])
        together.tracker.start(together.room, np.stack([one.boxes[0] for one in sequences]))
        step = together.tracker.stepper(together.room)
        rates = []
        for frames in (iter(lying), together.from_files(pool)):
            for these in islice(frames, 1, 3):
                together.room.copy_(these, non_blocking=True)
                step()
            wait(run.device)
            start, steps = time.perf_counter(), 0
            for these in frames:
                together.room.copy_(these, non_blocking=True)
                step()
                steps += 1
            wait(run.device)
            rates.append(steps * len(sequences) / (time.perf_counter() - start))
    return rates[0], rates[1]


def where(run: Run, models: dict) -> None:
    """Parts of a step of the library's lock-step and of the one on the device, in ms a step."""
    count = 100 if run.gpu else 2
    sequences = many(run.data.sequences, count, 4)
    frames = [images.read_image(one.frames[1]) for one in sequences]
    for name, model in models.items():
        tracker = tracker_of(model, str(run.device), "fp32")
        clones = [copy.copy(tracker) for _ in sequences]
        for one, clone in zip(sequences, clones, strict=True):
            clone.begin(images.read_image(one.frames[0]), one)
        parts = of_the_library(run, clones, frames)
        show(run, f"{name}, a step of {count} sequences, the library's lock-step, fp32", parts)
        parts = of_the_device(run, model, sequences, np.stack(frames))
        precision = FASTEST if run.gpu else "fp32"
        show(run, f"{name}, a step of {count} sequences, all on the device, {precision}", parts)


def show(run: Run, name: str, parts: dict[str, float]) -> None:
    total = sum(parts.values())
    for part, taken in parts.items():
        run.add(f"{name}: {part}; reference: the step", 1e3 * taken, 1e3 * total, "ms")


def of_the_library(run: Run, clones: list[SiamFCTracker], frames: list) -> dict[str, float]:
    """Seconds of the parts of a step: crops on all cores, copy, network, peaks on all cores."""
    engine, best = clones[0].engine, {}
    with threads(1), ThreadPoolExecutor(run.cores) as pool:
        for _ in range(3):
            marks = [time.perf_counter()]

            def mark(marks: list = marks) -> None:
                wait(run.device)
                marks.append(time.perf_counter())

            crops = list(pool.map(lambda c, f: c.search_crops(f), clones, frames))
            mark()
            pixels = engine.images(np.concatenate(crops))
            mark()
            with torch.inference_mode():
                stem = engine.stem(pixels)
                features = [engine.branch(j, stem) for j in clones[0].active_branches]
                n = len(crops[0])
                found = torch.stack(
                    [c.fused([part[i * n : i * n + n] for part in features])
                     for i, c in enumerate(clones)]
                ).float()  # fmt: skip
            mark()
            responses = found.cpu().numpy()
            mark()
            list(pool.map(lambda c, f, r: c.locate(f, r), clones, frames, responses))
            mark()
            names = "crops", "copy", "network", "copy back", "peaks"
            taken = dict(zip(names, np.diff(marks), strict=True))
            best = {name: min(best.get(name, np.inf), taken[name]) for name in names}
    return best


def of_the_device(run: Run, model, sequences: list, frames: np.ndarray) -> dict[str, float]:
    """Seconds of the parts of a step, without the graph: copy of the frames, crops, network,
    peaks."""
    precision, forms = ("bf16", run.forms_to_track) if run.gpu else ("fp32", ())
    tracker = LockstepTracker(model, run.device, precision, forms=forms)
    host = torch.from_numpy(frames)
    host = host.pin_memory() if run.gpu else host
    tracker.start(host.to(run.device), np.stack([one.boxes[0] for one in sequences]))
    best: dict[str, float] = {}
    for _ in range(4):
        marks, made = [], host
        for work in (
            lambda frames: frames.to(run.device, non_blocking=True),
            tracker.search_crops,
            tracker.respond,
            tracker.locate,
        ):
            wait(run.device)
            marks.append(time.perf_counter())
            with torch.inference_mode():
                made = work(made)
        wait(run.device)
        marks.append(time.perf_counter())
        names = "copy of the frames", "crops", "network", "peaks"
        taken = dict(zip(names, np.diff(marks), strict=True))
        best = {name: min(best.get(name, np.inf), taken[name]) for name in names}
    return best


def accuracy(run: Run, name: str, model: SiamFC | ESiamFC) -> None:
    """Boxes and AUC of the loop on the device against the library's on the CPU, in fp32."""
    count = min(40, run.sizes.test_frames)
    sequences = [cut_to(one, count) for one in run.data.sequences[: run.sizes.correct]]
    tracker = tracker_of(model, "cpu", "fp32")
    reference = [boxes for _, boxes, _ in
                 sorted(track_many(tracker, sequences), key=lambda each: each[0])]  # fmt: skip
    of_cpu, still = success_auc(reference, sequences), standing(sequences)
    for kind in ("fp32", "bf16", FASTEST):
        precision, forms = kind[:4], run.forms_to_track if kind == FASTEST else ()
        with tf32_set(False):
            boxes = track_all(model, sequences, run.device, precision, run.cores, forms=forms)
        away = np.concatenate([np.abs(a - b).max(1) for a, b in zip(boxes, reference, strict=True)])
        said = f"{name}, all on the device, {kind}, against the library on the CPU, fp32"
        note = f"largest difference {away.max():.2g} px, median {np.median(away):.2g} px"
        target = "all" * (kind == "fp32")
        run.add(f"{said}: boxes within {NEAR} px", (away <= NEAR).mean(), 1, "share", target,
                note=note)  # fmt: skip
        auc = success_auc(boxes, sequences)
        run.add(f"{said}: AUC", auc, of_cpu, "AUC", note=f"never moving: {still:.3f}")
