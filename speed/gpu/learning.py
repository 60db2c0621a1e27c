"""A real training: SiamFC from scratch, with its learning curve; batch sizes and schedules at equal
numbers of pairs; then a branch on one cluster of the tracks.

All of it learns from crops that lie on the device, by captured steps (``speed.gpu.steps``).
"""

import copy
import math
import time
from dataclasses import dataclass

import numpy as np
import torch

from esiamfc_lib.clustering.size_control import BalancedControl, ClusteringRun, iterate
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.loss import balanced_loss
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from speed.gpu.card import tf32_set
from speed.gpu.clusters import TorchCentroids, starts
from speed.gpu.convolutions import reform
from speed.gpu.data import TRACKS, standing, success_auc
from speed.gpu.lockstep import track_all
from speed.gpu.resident import rows_of
from speed.gpu.run import Run
from speed.gpu.steps import TOGETHER, Learner, Variant, autocast, task_of
from speed.gpu.timing import wait

LR, LR_LAST, BATCH = 1e-2, 1e-5, 8  # as published
BRANCH_LR = 1e-3, 1e-4
SEGMENT = 20_000  # pairs whose rows are drawn at once
TOLERANCE = 0.02  # of the clusters' sizes


@dataclass(frozen=True)
class Schedule:
    """A batch size, the learning rate of the first and the last part of the training, the share of
    the pairs in which the rate rises from nothing, and the seed of weights and pairs."""

    batch: int
    lr: float
    lr_last: float
    warm_up: float = 0.0
    seed: int = 0

    def __str__(self) -> str:
        rising = f", the first {self.warm_up:.0%} rising" * bool(self.warm_up)
        again = f", seed {self.seed}" * bool(self.seed)
        return f"batch {self.batch}, lr {self.lr:g}{rising}{again}"


def scaled(batch: int, power: float, warm_up: float = 0.0) -> Schedule:
    """The published schedule for another batch: lr × (batch / 8) ** power, its end as well."""
    factor = (batch / BATCH) ** power
    return Schedule(batch, LR * factor, LR_LAST * factor, warm_up)


PUBLISHED = Schedule(BATCH, LR, LR_LAST)
COMPARED = (
    PUBLISHED,
    scaled(32, 1),
    scaled(32, 0.5),
    Schedule(BATCH, LR, LR_LAST, seed=1),
    scaled(128, 0.5),
    scaled(128, 1, warm_up=0.05),
    scaled(32, 0),
    scaled(128, 0),
    scaled(512, 0.5, warm_up=0.05),
    scaled(512, 1, warm_up=0.05),
)
"""In the order of what matters most: as many as there is time for."""


def measure(run: Run) -> None:
    """The long training, as published; then the short ones; then a branch."""
    sizes, tracks = run.sizes, len(run.data.store.index.track_id)
    said = "tracks that are learned from; reference: what a real training is to have"
    run.add(said, tracks, TRACKS, "tracks", f">= {TRACKS}")
    model = learned(run, PUBLISHED, sizes.pairs, sizes.points)
    with run.attempt("branch"):
        if run.time_for("branch", 10):
            one_branch(run, model)
    reference, rate = None, None
    for schedule in COMPARED if run.gpu else COMPARED[:2]:
        need = 1.3 * sizes.short_pairs / rate if rate else 10
        if not run.time_for(f"{sizes.short_pairs:,} pairs, {schedule}", need):
            continue
        with run.attempt(f"{schedule}"):
            start = time.perf_counter()
            found = trained(run, schedule, sizes.short_pairs, model=None)
            rate = sizes.short_pairs / (time.perf_counter() - start)
            loss, auc = judged(run, found)
            reference = reference or (loss, auc)
            name = f"SiamFC, {sizes.short_pairs:,} pairs, {schedule}"
            also = f"reference: {PUBLISHED}"
            run.add(f"{name}: held-out AUC; {also}", auc, reference[1], "AUC", note=f"{rate:.0f} pairs/s")  # fmt: skip # noqa: E501
            run.add(f"{name}: held-out loss; {also}", loss, reference[0], "loss", less=True)


def brief(run: Run) -> SiamFC:
    """A SiamFC that has learned for a moment, where no real training came before."""
    pairs = 20_000 if run.gpu else 64
    return trained(run, scaled(32 if run.gpu else 4, 0), pairs, model=None)


def learned(run: Run, schedule: Schedule, pairs: int, points: int) -> SiamFC:
    """The real training: a row of its loss and AUC at every point of the curve."""
    still = standing(run.data.sequences)
    assert run.crops and run.lying  # made now, and not in the time of the training
    start, measuring, learned_from = time.perf_counter(), 0.0, 0

    def at(done: int, model: SiamFC) -> bool:
        nonlocal measuring, learned_from
        before, learned_from = time.perf_counter(), done
        run.weights = model  # what is left when the training is cut off
        loss, auc = judged(run, model)
        name = f"SiamFC from scratch, {done:,} of {pairs:,} pairs, {schedule}"
        run.add(f"{name}: held-out AUC; reference: never moving", auc, still, "AUC")
        run.add(
            f"{name}: held-out loss; reference: a response of 0",
            loss,
            math.log(2),
            "loss",
            less=True,
        )
        measuring += time.perf_counter() - before
        so_far = time.perf_counter() - start
        last = done + schedule.batch > pairs
        return last or run.time_for(f"the pairs after {done:,}", so_far / done * pairs / points)

    model = trained(run, schedule, pairs, model=None, points=points, at=at)
    taken = time.perf_counter() - start - measuring
    name = f"SiamFC from scratch, {learned_from:,} pairs in {taken:.0f} s; "
    name += "reference: 500,000 in 8 minutes"
    run.add(name, learned_from / taken, 500_000 / 480, "pairs/s", "500,000 pairs")
    return model


def trained(
    run: Run,
    schedule: Schedule,
    pairs: int,
    model: SiamFC | ESiamFC | None,
    kind: str = "baseline",
    tracks: list[np.ndarray] | None = None,
    points: int = 10,
    at=None,
    clip: float = 0.0,
    draw: int = 0,
    **options,
) -> SiamFC | ESiamFC:
    """Train on resident crops: a copy in eval mode on the CPU. ``tracks``: where the pairs come
    from, a batch from each; by default all that are learned from. The rate falls by one factor from
    each tenth of the pairs to the next; ``at`` gets the pairs so far and the model after each of
    the ``points``, and says whether to go on. ``clip``: of ``Learner``; ``draw``: trainings with
    other numbers draw other pairs; ``options``: of ``Task``. An ArithmeticError where the loss is
    not finite."""
    batch = schedule.batch
    variant = TOGETHER if run.gpu else Variant()
    model = copy.deepcopy(model or SiamFC(run.width, schedule.seed))
    reform(model, run.forms_to_learn)
    task = task_of(kind, run.width, run.k, model, **options)
    learner = Learner(task, variant, run.device, schedule.lr, run.crops.images, clip)
    tracks = tracks or [run.data.split[0]]
    place = torch.zeros(2, batch * len(tracks), dtype=torch.int64, device=run.device)
    total, done = max(1, pairs // batch), 0
    ends = {round(total * (i + 1) / points) for i in range(points)}
    with learner.settings():
        step = learner.stepper(*place)
        while done < total:
            count = min(max(1, SEGMENT // batch), total - done)
            seed = 10**12 * draw + 10**10 * schedule.seed + 1000 * done
            parts = [
                rows_of(run.data.store, part, count * batch, batch, seed + j, run.device)
                for j, part in enumerate(tracks)
            ]
            for rows in torch.cat(parts, 2):
                rate = rate_at(done / total, schedule)
                if rate != (rate_at((done - 1) / total, schedule) if done else None):
                    learner.sgd.lr.fill_(rate)
                place.copy_(rows)
                step()
                done += 1
                if done in ends:
                    _finite(learner, schedule, done * batch)
                    if at and not at(done * batch, snapshot(learner)):
                        return snapshot(learner)
    return snapshot(learner)


def rate_at(share: float, schedule: Schedule) -> float:
    """The learning rate when this share of the pairs is done."""
    tenth = min(9, int(10 * share))
    rate = schedule.lr * (schedule.lr_last / schedule.lr) ** (tenth / 9)
    if share < schedule.warm_up:
        rate *= max(share, 1e-3) / schedule.warm_up
    return rate


def _finite(learner: Learner, schedule: Schedule, pairs: int) -> None:
    if not torch.isfinite(learner.total):
        raise ArithmeticError(f"{schedule}: the loss is {learner.total} before pair {pairs:,}")


def snapshot(learner: Learner) -> SiamFC | ESiamFC:
    """The network as it is, in eval mode on the CPU, its convolutions as they are defined."""
    model = copy.deepcopy(learner.task.model)
    reform(model, ("as it is",) * 5)
    return model.to("cpu", memory_format=torch.contiguous_format).eval()


def judged(run: Run, model: SiamFC) -> tuple[float, float]:
    """Loss on held-out pairs in fp32, and AUC on held-out sequences."""
    with tf32_set(False):
        loss = held_out_loss(run, model, run.data.split[1])
        options = run.device, "fp32", run.cores, run.lying
        boxes = track_all(model, run.data.sequences, *options)
    return loss, success_auc(boxes, run.data.sequences)


@torch.no_grad()
def held_out_loss(run: Run, model: SiamFC, tracks: np.ndarray) -> float:
    """Mean loss on pairs of these tracks, which are the same at every call."""
    batch = min(32, run.sizes.held_out)
    task = task_of("baseline", run.width, run.k, copy.deepcopy(model)).to(run.device).eval()
    learner_labels = task.labels(
        torch.empty(batch, 17, 17, device=run.device),
        torch.ones(batch, dtype=torch.bool, device=run.device),
    )
    losses = []
    for rows in rows_of(run.data.store, tracks, run.sizes.held_out, batch, 99, run.device):
        images = [part.float() for part in run.crops.images(*rows)]
        with autocast(run.device, "fp32"):
            losses.append(balanced_loss(task.learned(*images), learner_labels))
    return float(torch.stack(losses).mean())


def one_branch(run: Run, model: SiamFC) -> None:
    """The tracks in k balanced clusters of the model's features; a branch learns on the first."""
    train, held = run.data.split
    start = time.perf_counter()
    features = video_features(run, model)
    embedded = time.perf_counter() - start
    start = time.perf_counter()
    samples, found = clustered(run, features[train], seed=0)
    wait(run.device)
    sizes = np.bincount(found.labels, minlength=run.k)
    said = f"PIk-means of {len(train):,} tracks, k = {run.k}: smallest cluster; reference: largest"
    note = f"embedding {embedded:.1f} s, clustering {time.perf_counter() - start:.1f} s, "
    note += f"{len(found.history['loss'])} iterations, {found.reason}"
    run.add(said, sizes.min(), sizes.max(), "tracks", note=note)
    centres = samples.means(found.labels, sizes)
    nearest = (features[held] @ centres.T).argmax(1)
    own = held[nearest == 0]
    own = own if len(own) else held
    schedule = Schedule(BATCH, *BRANCH_LR)
    start = time.perf_counter()
    branch = trained(run, schedule, run.sizes.branch_pairs, model, "branch",
                     [train[found.labels == 0]])  # fmt: skip
    rate = run.sizes.branch_pairs / (time.perf_counter() - start)
    before, after = (held_out_loss(run, each, own) for each in (model, branch))
    name = f"one branch, {run.sizes.branch_pairs:,} pairs of one cluster, {schedule}: loss on its "
    name += f"{len(own)} held-out tracks; reference: the baseline"
    run.add(name, after, before, "loss", less=True, note=f"{rate:.0f} pairs/s")


def clustered(run: Run, features: np.ndarray, seed: int) -> tuple[TorchCentroids, ClusteringRun]:
    """PIk-means of features (n, d) in k clusters of equal size."""
    n, samples = len(features), TorchCentroids(features, run.device)
    samples.start_at(starts(n, run.k, seed))
    control = BalancedControl(0.005, 0.005, n, run.k, TOLERANCE, 20)
    return samples, iterate(samples, control, 100)


@torch.inference_mode()
def video_features(run: Run, model: SiamFC) -> np.ndarray:
    """float32 (tracks, d) unit vectors: the mean of a track's exemplar features, without
    screening."""
    network, found = folded(model).to(run.device, memory_format=torch.channels_last), []
    store = run.data.store
    of_row = torch.from_numpy(
        np.repeat(np.arange(len(store.index.track_id)), np.diff(store.index.offset))
    ).to(run.device)
    total = None
    for first in range(0, len(store), 512):
        rows = torch.arange(first, min(first + 512, len(store)), device=run.device)
        exemplars, _ = run.crops.images(rows, rows[:1])
        found = torch.nn.functional.normalize(network.features(exemplars.float()).flatten(1))
        if total is None:
            total = torch.zeros(len(store.index.track_id), found.shape[1], device=run.device)
        total.index_add_(0, of_row[rows], found)
    return torch.nn.functional.normalize(total).cpu().numpy()
