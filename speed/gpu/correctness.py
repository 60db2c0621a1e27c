"""Does the device compute what the CPU computes: boxes, losses, resumed trainings, clusters."""

import copy
import time
import warnings
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib.clustering.centroids import Centroids
from esiamfc_lib.clustering.size_control import BalancedControl, iterate
from esiamfc_lib.config import BaselineParameters
from esiamfc_lib.networks.checkpoints import digest
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.lockstep import track_many
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.loop import Training
from esiamfc_lib.training.pairs import PairDataset
from speed.gpu.card import tf32_set
from speed.gpu.clusters import TorchCentroids, starts
from speed.gpu.data import success_auc
from speed.gpu.resident import PAIRS
from speed.gpu.run import Run
from speed.gpu.steps import PLAIN, Learner, Variant, noise, task_of
from speed.gpu.timing import quiet, seconds_of
from speed.gpu.tracking import cut_to, ensemble_of, tracker_of

NEAR, LOSS = 1e-3, 1e-4  # px; of the loss
CPU = torch.device("cpu")


def measure(run: Run) -> None:
    """Losses, boxes, determinism, clusters."""
    for kind in ("baseline", "branch", "fusion"):
        with run.attempt(f"loss of {kind}"):
            losses(run, kind)
    single = run.model()
    for name, model in (("SiamFC", single), (f"ESiamFC k = {run.k}", ensemble_of(single, run.k))):
        with run.attempt(f"boxes of {name}"):
            boxes(run, name, model)
    with run.attempt("resuming"):
        deterministic(run)
    with run.attempt("PIk-means"):
        clusters(run)


def losses(run: Run, kind: str) -> None:
    """The loss of one batch in training mode, and after a step of SGD."""
    start, found = run.model(), {}
    if kind == "fusion":
        start = ensemble_of(start, run.k)
    dataset = PairDataset(run.data.store, run.data.split[0], length=8, **PAIRS)
    images = dataset.__getitems__(list(range(8)))[:2]
    for name, device, variant, tf32 in (
        ("CPU", CPU, PLAIN, False),
        ("fp32", run.device, PLAIN, False),
        ("TF32", run.device, Variant(tf32=True), True),
        ("bf16", run.device, Variant("bf16", channels_last=True), False),
    ):
        learner = Learner(task_of(kind, run.width, run.k, copy.deepcopy(start)), variant, device)
        there = [part.to(device) for part in images]
        with learner.settings(), tf32_set(tf32):
            first = float(learner.loss(*there).detach())
            learner.step(*there)
            found[name] = first, float(learner.loss(*there).detach())
    for name in ("fp32", "TF32", "bf16"):
        for i, when in enumerate(("loss of a batch", "loss after a step")):
            away = abs(found[name][i] - found["CPU"][i])
            said = f"{kind}, {when}, {name} on {run.device.type}; reference: fp32 on the CPU"
            target = f"within {LOSS:g}" * (name == "fp32")
            run.add(said, found[name][i], found["CPU"][i], "loss", target, note=f"away {away:.2g}")


def boxes(run: Run, name: str, model) -> None:
    """The library's trackers on the device against those on the CPU."""
    count = min(40, run.sizes.test_frames)
    sequences = [cut_to(one, count) for one in run.data.sequences[: run.sizes.correct]]

    def tracked(device: str, precision: str) -> list[np.ndarray]:
        found = track_many(tracker_of(model, device, precision), sequences)
        return [each[1] for each in sorted(found, key=lambda each: each[0])]

    reference = tracked("cpu", "fp32")
    auc = success_auc(reference, sequences)
    for kind, precision, tf32 in (("fp32", "fp32", False), ("TF32", "fp32", True),
                                  ("bf16", "bf16", False)):  # fmt: skip
        if kind == "TF32" and not run.gpu:
            continue
        with tf32_set(tf32):
            found = tracked(str(run.device), precision)
        away = np.concatenate([np.abs(a - b).max(1) for a, b in zip(found, reference, strict=True)])
        said = f"{name}, {kind} on {run.device.type} against fp32 on the CPU"
        target = "all" * (kind == "fp32")
        note = f"largest difference {away.max():.2g} px"
        run.add(f"{said}: boxes within {NEAR:g} px", (away <= NEAR).mean(), 1, "share", target,
                note=note)  # fmt: skip
        run.add(f"{said}: AUC", success_auc(found, sequences), auc, "AUC")


class KilledError(Exception):
    """Ends a training in the middle."""


def deterministic(run: Run) -> None:
    """A training that was killed and resumed, against one that was not: the same bits, or which
    operation is not deterministic; and what determinism costs."""
    told = set()
    for precision in ("fp32", "bf16"):
        for pools, name in ((nn.MaxPool2d, "as it is"), (OrderedPool, "pooling in a fixed order")):
            with run.attempt(f"resuming, {precision}, {name}"):
                with determinism() as warned:
                    whole, again, resumed = (
                        trained(run, pools, precision, f"{precision}-{pools.__name__}-{how}", how)
                        for how in ("whole", "again", "killed")
                    )
                new = sorted(operations(warned) - told)
                told |= set(new)
                note = f"not deterministic by its own word: {', '.join(new)}" if new else ""
                said = f"resumed after a kill, {precision}, deterministic algorithms, {name}"
                target = "1" * (pools is OrderedPool or not run.gpu)
                run.add(f"{said}: the same bits as without", resumed == whole, 1, "yes", target,
                        note=note)  # fmt: skip
                run.add(f"{said}: a second run has the same bits", again == whole, 1, "yes")
    batch = 32 if run.gpu else 2
    for precision in ("fp32", "bf16"):
        variant = Variant(precision, channels_last=True)
        usual = step_seconds(run, variant, batch, nn.MaxPool2d)
        for pools, name in ((nn.MaxPool2d, ""), (OrderedPool, ", pooling in a fixed order")):
            with determinism():
                taken = step_seconds(run, variant, batch, pools)
            said = f"a step of the baseline, batch {batch}, {precision}, deterministic algorithms"
            run.add(f"{said}{name}; reference: without", batch / taken, batch / usual, "pairs/s")


class determinism:
    """Deterministic algorithms where PyTorch has them; the warnings of those that it has not."""

    def __enter__(self) -> list:
        self.catcher = warnings.catch_warnings(record=True)
        caught = self.catcher.__enter__()
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        return caught

    def __exit__(self, *error) -> None:
        torch.use_deterministic_algorithms(False)
        self.catcher.__exit__(*error)


def operations(warned: list) -> set[str]:
    """Names of the operations that have no deterministic way."""
    texts = (str(one.message) for one in warned)
    return {text.split()[0] for text in texts if "deterministic" in text}


def trained(run: Run, pools: type, precision: str, name: str, how: str) -> str:
    """Digest of the weights that the library's loop ends with, killed in the middle or not."""
    steps, batch = (60, 8) if run.gpu else (4, 2)
    settings = BaselineParameters(
        width=run.width,
        epochs=2,
        pairs_per_epoch=steps // 2 * batch,
        batch_size=batch,
        threads=0,
        device=str(run.device),
        precision=precision,
        checkpoint_seconds=1e6,
    )
    tracks, _ = run.data.split
    dataset = PairDataset(run.data.store, tracks, length=settings.pairs_per_epoch, **PAIRS)

    def training(settings: BaselineParameters = settings) -> Training:
        model = with_pools(SiamFC(run.width), pools)
        pairs = PairLoader(dataset, batch, pin_memory=run.gpu)
        return Training(task_of("baseline", run.width, run.k, model), settings, pairs,
                        run.folder / f"training-{name}")  # fmt: skip

    if how == "killed":
        one = training(settings.model_copy(update={"checkpoint_seconds": 0.0}))
        one._learn = killed_after(one._learn, steps // 4 + 1)
        with suppress(KilledError), quiet():
            one.run()
    with quiet():
        return digest(training().run().model.state_dict())


def killed_after(learn, steps: int):
    """``learn`` that raises at the step after so many."""
    left = iter(range(steps))

    def some(batch) -> float:
        if next(left, None) is None:
            raise KilledError
        return learn(batch)

    return some


def step_seconds(run: Run, variant: Variant, batch: int, pools: type) -> float:
    """Seconds of a step."""
    task = task_of("baseline", run.width, run.k, with_pools(SiamFC(run.width), pools))
    learner = Learner(task, variant, run.device)
    images = noise(batch, run.device)
    return seconds_of(lambda: learner.step(*images), run.device, run.sizes.seconds)


class OrderedPool(nn.MaxPool2d):
    """Max-pooling whose backward adds in a fixed order: PyTorch's on CUDA adds by atomic
    operations, in the order in which threads come, where windows overlap."""

    def forward(self, x: Tensor) -> Tensor:
        return _Ordered.apply(x, self.kernel_size, self.stride)


class _Ordered(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, kernel: int, stride: int) -> Tensor:
        out, index = nn.functional.max_pool2d(x, kernel, stride, return_indices=True)
        context.save_for_backward(index)
        context.facts = x.shape, kernel, stride
        return out

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple:
        (index,), (shape, kernel, stride) = context.saved_tensors, context.facts
        rows, columns = gradient.shape[-2:]
        total = torch.zeros(shape, dtype=gradient.dtype, device=gradient.device)
        # For one place within the windows no two windows share a pixel.
        first = torch.arange(rows, device=index.device)[:, None] * stride * shape[-1]
        first = first + torch.arange(columns, device=index.device) * stride
        for dy in range(kernel):
            for dx in range(kernel):
                here = index == first + (dy * shape[-1] + dx)
                last = dy + stride * (rows - 1) + 1, dx + stride * (columns - 1) + 1
                total[..., dy : last[0] : stride, dx : last[1] : stride] += gradient * here
        return total, None, None


def with_pools(model: SiamFC, kind: type) -> SiamFC:
    """The model with pooling layers of a kind; no weight changes."""
    for i, layer in enumerate(model.stem.layers):
        if isinstance(layer, nn.MaxPool2d):
            model.stem.layers[i] = kind(layer.kernel_size, layer.stride)
    return model


def clusters(run: Run) -> None:
    """PIk-means with its products on the device against NumPy's, from the same starts."""
    n, d = run.sizes.samples
    rng = np.random.default_rng(0)
    kinds = rng.standard_normal((2 * run.k, d))
    x = kinds[np.arange(n) % len(kinds)] + 2.0 * rng.standard_normal((n, d))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    for count, size, kind in ((n, d, np.float64), (n, d, np.float32), (3 * n, 4 * d, np.float32)):
        if size != d and not run.gpu:
            continue
        if size != d:
            x = rng.standard_normal((count, size), np.float32) + np.repeat(
                rng.standard_normal((12, size), np.float32), -(-count // 12), axis=0
            )[:count] * 0.5  # fmt: skip
            x /= np.linalg.norm(x, axis=1, keepdims=True)
        found, taken = [], []
        for make in (lambda x: Centroids(x), lambda x: TorchCentroids(x, run.device)):
            samples = make(x.astype(kind))
            start = time.perf_counter()
            samples.start_at(starts(count, run.k, 0))
            control = BalancedControl(0.005, 0.005, count, run.k, 0.02, 20)
            with tf32_set(False):
                found.append(iterate(samples, control, 60))
            taken.append(time.perf_counter() - start)
        ours, theirs = found[1], found[0]
        said = f"PIk-means, {count} × {size} {np.dtype(kind).name}, on {run.device.type}"
        note = f"{len(ours.history['loss'])} and {len(theirs.history['loss'])} iterations"
        run.add(f"{said}: labels equal to NumPy's", (ours.labels == theirs.labels).mean(), 1,
                "share", "all", note=note)  # fmt: skip
        run.add(f"{said}; reference: NumPy", taken[1], taken[0], "s", less=True)
