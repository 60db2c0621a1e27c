"""Training steps at every batch size, one change alone and all together; where the GPU waits."""

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import lightning_fabric  # noqa: F401 - takes seconds, which no measurement is to count
import numpy as np
import torch

from esiamfc_lib.config import BaselineParameters
from esiamfc_lib.training.loading import PairLoader, loader
from esiamfc_lib.training.pairs import PairDataset
from speed.gpu.convolutions import reform
from speed.gpu.flops import Work
from speed.gpu.resident import MIDDLE, PAIRS, gpu_decoder, rows_of
from speed.gpu.run import Run
from speed.gpu.steps import FASTEST, KINDS, PLAIN, TOGETHER, Learner, Variant, noise, task_of
from speed.gpu.timing import quiet, seconds_of, wait
from speed.training import TimedRun

ALONE = {
    "TF32": Variant(tf32=True),
    "bf16": Variant("bf16"),
    "channels_last": Variant(channels_last=True),
    "CUDA graph": Variant(graph=True),
    "cuDNN's search": Variant(benchmark=True),
    "bf16, channels_last": Variant("bf16", tf32=True, channels_last=True),
    "bf16, channels_last, CUDA graph": TOGETHER,
    "the same with cuDNN's search": Variant("bf16", True, True, True, benchmark=True),
    "the same, each convolution in its fastest form": FASTEST,
}
"""Changes of the plain step of the baseline."""
ON_CPU = "bf16", "bf16, channels_last", "the same, each convolution in its fastest form"
COMPILED = {
    "torch.compile with bf16, channels_last, CUDA graph": Variant("bf16", True, True, True, True),
    "torch.compile": Variant(compiled=True),
    "torch.compile with bf16, channels_last": Variant("bf16", True, True, compiled=True),
}
"""Those that take long to start; measured last."""
NAMES = {"baseline": "baseline", "branch": "one branch", "fusion": "fusion"}
LOADED = (8, 32)  # batch sizes with which loaders are measured


def measure(run: Run) -> None:
    """Steps on pairs that lie on the device; then loaders; then what has to be compiled."""
    work, plain, best = Work(run.width, run.k), {}, {}
    for kind in KINDS:
        for batch in run.sizes.batches:
            if run.time_for(f"{title(run, kind)}, batch {batch}", 3):
                steps(run, kind, batch, work, plain, best)
    loops(run, best)
    for batch in run.sizes.batches[::2] if run.gpu else ():
        for name, variant in COMPILED.items():
            if run.time_for(f"baseline, batch {batch}, {name}", 25):
                compiled(run, name, variant, batch, plain["baseline", batch])
    if not run.gpu:
        run.add("CUDA graphs, torch.compile: left out, there is no GPU", 0, 1, "done")


def title(run: Run, kind: str) -> str:
    return NAMES.get(kind, f"{run.k} branches at once")


def steps(run: Run, kind: str, batch: int, work: Work, plain: dict, best: dict) -> None:
    """A task at one batch size, the best variant against the plain one; the baseline has all."""
    pairs = batch * (run.k if kind == "six" else 1)
    name = f"{title(run, kind)}, batch {batch}{' each' * (kind == 'six')}"
    variants = ALONE
    if not run.gpu:
        variants = {name: ALONE[name] for name in ON_CPU}
    elif kind != "baseline":
        variants = {name: one for name, one in ALONE.items() if one in (TOGETHER, FASTEST)}
    with run.attempt(f"{name}, plain"):
        rate, memory = bare(run, kind, batch, PLAIN)
        plain[kind, batch] = rate, memory
    if (kind, batch) not in plain:
        return
    first, room = plain[kind, batch]
    for change, variant in variants.items():
        if variant.benchmark and not run.time_for(f"{name}, {change}", 8):
            continue
        with run.attempt(f"{name}, {change}"):
            rate, memory = bare(run, kind, batch, variant)
            run.add(f"{name}, {change}; reference: plain fp32", rate, first, "pairs/s")
            if variant.precision == "bf16" and rate > best.get((kind, batch), (0,))[0]:
                best[kind, batch] = rate, memory
    if (kind, batch) in best:
        rate, memory = best[kind, batch]
        flops = rate * work.step(kind) / 1e12
        said = f"{name}, the fastest: model FLOP/s; reference: bf16 matrix product of this run"
        note = f"{work.step(kind) / 1e9:.2f} GFLOP a pair, forward and backward"
        run.add(said, flops, run.peak["bf16"] / 1e12, "TFLOP/s", note=note)
        if run.gpu:
            said = f"{name}, the fastest: memory at most; reference: plain fp32"
            run.add(said, memory, room, "GB", less=True)
    if kind == "six" and ("branch", batch) in best and ("six", batch) in best:
        said = f"{name}, {pairs} pairs a step; reference: one branch alone"
        run.add(said, best["six", batch][0], best["branch", batch][0], "pairs/s")


def bare(run: Run, kind: str, batch: int, variant: Variant) -> tuple[float, float]:
    """Pairs a second of a step on noise that lies on the device, and GB of memory at most."""
    pairs = batch * (run.k if kind == "six" else 1)
    if run.gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(run.device)
        held = torch.cuda.memory_allocated(run.device)
    task = task_of(kind, run.width, run.k)
    if variant.reformed:
        reform(task.model, run.forms_to_learn)
    learner = Learner(task, variant, run.device, lr=1e-4)
    with learner.settings():
        work = learner.stepper(*noise(pairs, run.device))
        taken = seconds_of(work, run.device, run.sizes.seconds)
    peak = torch.cuda.max_memory_allocated(run.device) - held if run.gpu else 0.0
    return pairs / taken, peak / 1e9


def compiled(run: Run, name: str, variant: Variant, batch: int, plain: tuple) -> None:
    """A step that torch.compile makes; and how long that takes."""
    with run.attempt(f"baseline, batch {batch}, {name}"):
        torch._dynamo.reset()
        start = time.perf_counter()
        rate, _ = bare(run, "baseline", batch, variant)
        whole = time.perf_counter() - start - run.sizes.seconds
        note = f"the first step came after {whole:.0f} s"
        said = f"baseline, batch {batch}, {name}; reference: plain fp32"
        run.add(said, rate, plain[0], "pairs/s", note=note)


# Where the GPU waits.


def loops(run: Run, best: dict) -> None:
    """The fastest step of the baseline when its pairs come from somewhere."""
    store, (tracks, _) = run.data.store, run.data.split
    sources = {
        f"{workers} loader processes": loaded(run, workers)
        for workers in run.sizes.loaders
        if workers <= max(run.cores, 1)
    }
    sources["crops that lie decoded on the device"] = resident(run)
    if find_spec("torchvision"):
        sources["JPEG decoded on the device"] = decoded(run)
    else:
        run.add("JPEG decoded on the device: left out, torchvision is not installed", 0, 1, "done")
    for batch in [b for b in run.sizes.batches if b in LOADED] or run.sizes.batches[:1]:
        if ("baseline", batch) not in best:
            continue
        bare_rate = best["baseline", batch][0]
        variant = TOGETHER if run.gpu else Variant("bf16", True, True)
        learner = Learner(task_of("baseline", run.width, run.k), variant, run.device)
        room = noise(batch, run.device)
        with run.attempt(f"loaders, batch {batch}"), learner.settings():
            step = learner.stepper(*room)
            for name, source in sources.items():
                if not run.time_for(f"{name}, batch {batch}", 3):
                    continue
                with run.attempt(f"{name}, batch {batch}"):
                    rate = driven(run, source(store, tracks, batch), room, step, batch)
                    waits = max(0.0, 1 - rate / bare_rate)
                    said = f"{name}, batch {batch}; reference: the step alone"
                    note = f"the device waits {waits:.0%} of the time"
                    run.add(said, rate, bare_rate, "pairs/s", note=note)
        with run.attempt(f"the library's loop, batch {batch}"):
            rate = library(run, batch)
            said = f"the library's loop (training.loop), batch {batch}; reference: the step alone"
            run.add(said, rate, bare_rate, "pairs/s")


def driven(run: Run, batches: Iterator, room: tuple, step: Callable, batch: int) -> float:
    """Pairs a second of copying batches into ``room`` and learning from them."""
    for _ in range(4):
        fill(room, next(batches))
        step()
    wait(run.device)
    start, steps, most = time.perf_counter(), 0, 4 * run.sizes.seconds
    while not steps or time.perf_counter() - start < most:
        fill(room, next(batches))
        step()
        steps += 1
        if steps % 16 == 0:
            wait(run.device)  # or the queue of launches would end long after the clock
    wait(run.device)
    return steps * batch / (time.perf_counter() - start)


def fill(room: tuple, images: tuple) -> None:
    for place, pixels in zip(room, images, strict=True):
        place.copy_(pixels, non_blocking=True)


def loaded(run: Run, workers: int) -> Callable:
    """Pairs of the library's loader."""

    def source(store, tracks, batch: int) -> Iterator[tuple]:
        dataset = PairDataset(store, tracks, length=batch * 10**5, **PAIRS)
        pairs = PairLoader(dataset, batch, workers, pin_memory=run.gpu)
        return ((one.exemplar, one.search) for one in pairs.epoch(0))

    return source


def resident(run: Run) -> Callable:
    """Pairs by their rows in the device's memory."""

    def source(store, tracks, batch: int) -> Iterator[tuple]:
        crops, seed = run.crops, 0
        while True:
            for rows in rows_of(store, tracks, 1000 * batch, batch, seed, run.device):
                yield crops.images(*rows)
            seed += 1

    return source


def decoded(run: Run) -> Callable:
    """Pairs whose JPEG bytes the device decodes."""

    def source(store, tracks, batch: int) -> Iterator[tuple]:
        decode = gpu_decoder(run.device)
        of_row = np.repeat(np.arange(len(store.index.track_id)), np.diff(store.index.offset))

        def jpeg(row: int) -> torch.Tensor:
            track = int(of_row[row])
            data = store.read_bytes(track, row - store.rows(track).start)
            return torch.frombuffer(bytearray(data), dtype=torch.uint8)

        for rows in rows_of(store, tracks, 1000 * batch, batch, 0, torch.device("cpu")):
            pixels = torch.stack(decode([jpeg(int(row)) for row in rows.flatten()]))
            yield pixels[:batch, :, MIDDLE, MIDDLE], pixels[batch:]

    return source


def library(run: Run, batch: int) -> float:
    """Pairs a second of the whole loop of the library: loading, log and checkpoints included."""
    steps = 400 if run.gpu else 8
    settings = BaselineParameters(
        width=run.width,
        epochs=1,
        pairs_per_epoch=batch * steps,
        batch_size=batch,
        threads=0,
        workers=min(8, run.cores - 1) if run.gpu else 0,
        device=str(run.device),
    )
    tracks, _ = run.data.split
    dataset = PairDataset(run.data.store, tracks, length=settings.pairs_per_epoch, **PAIRS)
    task = task_of("baseline", run.width, run.k)
    loop = TimedRun(task, settings, loader(dataset, settings), run.folder / f"loop-{batch}")
    try:
        with quiet():
            loop.run()
    finally:
        torch.use_deterministic_algorithms(False)  # the loop has them, the steps here have not
    return loop.pairs_per_second()[0]
