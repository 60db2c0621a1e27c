"""Training steps, each against a plain one of the same run, and the loop around them.

The plain step is what public SiamFC trainings run: float32, NCHW, a grouped convolution as
correlation. Pairs of both are the same, and both are measured in turn, so that a busy machine
slows both.
"""

import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from esiamfc_lib.config import BaselineParameters, DatasetParameters
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.loss import balanced_loss, response_labels
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.devices import choose_device, choose_precision
from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.training.loading import PairLoader, loader
from esiamfc_lib.training.loop import Training, fit
from esiamfc_lib.training.measure import inputs_of
from esiamfc_lib.training.pairs import PairBatch, PairDataset
from esiamfc_lib.training.stem_features import keep_stem_features, pairs_of
from esiamfc_lib.training.tasks import BaselineTask, BranchTask, FusionTask, Task
from speed import Row, row

RADIUS = {"radius": 16.0}
BRANCH = RADIUS | {"diversity_weight": 0.0}
FUSION = RADIUS | {"temperature": 1.0, "entropy_weight": 0.0}
PAIRS = {"frame_range": 100, "negative_fraction": 0.0, "hard_negatives": False}


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--width", type=float, default=1.0, help="of the networks (default 1)")
    parser.add_argument("--batch", type=int, default=8, help="pairs a step (default 8)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default auto)")
    parser.add_argument("--k", type=int, default=6, help="branches (default 6)")


def rows(args: Namespace) -> list[Row]:
    """All measurements."""
    torch.set_num_threads(args.threads)
    device = choose_device(args.device)
    precision = choose_precision("auto", device)[0]
    return step_rows(args, device, precision) + loop_rows(args)


def step_rows(args: Namespace, device: torch.device, precision: str) -> list[Row]:
    """The steps of the three tasks, bare: no loading, no logging."""
    batch, found = noise(args.batch, 0, device), []

    def add(name: str, target: str, task: Task, reference: Callable) -> None:
        ours = our_step(task, device, precision)
        mine, theirs = in_turn(lambda: ours(batch), lambda: reference(batch), args.repeats, device)
        found.append(row(name, args.batch / mine, args.batch / theirs, "pairs/s", target))

    add(
        f"baseline step, {precision} against plain fp32",
        ">= 2.2",
        BaselineTask(SiamFC(args.width), **RADIUS),
        plain_step(SiamFC(args.width), device, frozen_stem=False),
    )
    add(
        f"branch step, stem frozen, {precision} against plain fp32",
        ">= 3",
        BranchTask(SiamFC(args.width), **BRANCH),
        plain_step(SiamFC(args.width), device, frozen_stem=True),
    )
    add(
        f"fusion step, k = {args.k}, {precision} against fp32",
        "",
        FusionTask(ESiamFC(args.k, args.width), [0], **FUSION),
        our_step(FusionTask(ESiamFC(args.k, args.width), [0], **FUSION), device, "fp32"),
    )
    return found


def loop_rows(args: Namespace) -> list[Row]:
    """The whole loop with loading, log and checkpoints against its bare steps; bf16 and fp32."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = DatasetParameters(
            train_videos=24,
            val_videos=1,
            video_frames=20,
            otb_sequences=1,
            vot_sequences=1,
            got10k_sequences=1,
            test_frames=2,
        )
        layout = build(folder / "data", BuiltIn.of(videos), workers=1)
        curate(layout.vid, folder / "store", workers=1)
        store = CropStore(folder / "store")

        def parameters(**values) -> BaselineParameters:
            return BaselineParameters(
                batch_size=args.batch, threads=args.threads, device=args.device, **values
            )

        settings = parameters(epochs=1, pairs_per_epoch=args.batch * 40, checkpoint_seconds=5.0)
        pairs = loader(PairDataset(store, length=settings.pairs_per_epoch, **PAIRS), settings)
        run = TimedRun(BaselineTask(SiamFC(args.width), **RADIUS), settings, pairs, folder / "loop")
        run.run()
        looped, bare = run.pairs_per_second()
        found = [
            row(
                "loop with loading, log and checkpoints / bare step",
                looped,
                bare,
                "pairs/s",
                ">= 0.95",
            )
        ]
        losses = {}
        for kind in ("fp32", "bf16"):
            settings = parameters(epochs=3, pairs_per_epoch=args.batch * 30, precision=kind)
            train, validation = (
                loader(PairDataset(store, length=length, seed=seed, **PAIRS), settings)
                for length, seed in ((settings.pairs_per_epoch, 0), (args.batch * 12, 1))
            )
            result = fit(
                BaselineTask(SiamFC(0.25), **RADIUS),
                settings,
                train,
                folder / kind,
                validation=validation,
            )
            losses[kind] = result.history[-1]["validation"]["loss"]
        return [
            *found,
            kept_row(args, store, folder),
            row(
                "validation loss after 3 epochs, bf16 / fp32",
                losses["bf16"],
                losses["fp32"],
                "loss",
                "0.98 to 1.02",
            ),
        ]


def kept_row(args: Namespace, store: CropStore, folder: Path) -> Row:
    """A branch that learns from kept features against one that learns from images, loading
    included on both sides; keeping the features is paid once for all branches and not counted."""
    device = choose_device(args.device)
    precision = choose_precision("auto", device)[0]
    kept = keep_stem_features(store, SiamFC(args.width).eval(), folder, device=args.device)
    size, batches = args.batch, 8

    def epoch(kept) -> Callable[[], None]:
        pairs = PairLoader(pairs_of(kept, store, length=batches * size, **PAIRS), size)
        step = our_step(BranchTask(SiamFC(args.width), **BRANCH), device, precision)
        return lambda: [step(batch.to(device)) for batch in pairs.epoch(0)]

    ours, reference = in_turn(epoch(kept), epoch(None), args.repeats, device)
    pairs = batches * size
    return row(
        "branch from kept stem features against from images", pairs / ours, pairs / reference,
        "pairs/s", "",
    )  # fmt: skip


class TimedRun(Training):
    """Notes when each step begins and how long it takes, in the loop itself: both figures come
    from the same seconds, whatever else the machine does."""

    def _learn(self, batch: PairBatch) -> float:
        start = time.perf_counter()
        loss = super()._learn(batch)
        self.noted = [*getattr(self, "noted", []), (start, time.perf_counter() - start)]
        return loss

    def pairs_per_second(self, warm_up: int = 5) -> tuple[float, float]:
        """Of the loop, and of its steps alone; without the first steps."""
        noted = self.noted[warm_up:]
        size, steps = self.parameters.batch_size, len(noted) - 1
        return (
            size * steps / (noted[-1][0] - noted[0][0]),
            size * steps / sum(taken for _, taken in noted[:-1]),
        )


def noise(size: int, seed: int, device: torch.device) -> PairBatch:
    """A batch of random pixels, in the memory order of the loader."""
    generator = torch.Generator().manual_seed(seed)
    images = [
        torch.randint(
            0, 256, (size, side, side, 3), generator=generator, dtype=torch.uint8
        ).permute(0, 3, 1, 2)
        for side in (127, 255)
    ]
    return PairBatch(
        *images,
        torch.zeros(size, dtype=torch.int64),
        torch.ones(size, dtype=torch.bool),
        torch.arange(size),
    ).to(device)


def our_step(task: Task, device: torch.device, precision: str) -> Callable[[PairBatch], None]:
    """The step of the training loop, without the loop."""
    task.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(task.learners.parameters(), 1e-4, 0.9, weight_decay=5e-4)

    def step(batch: PairBatch) -> None:
        with autocast(device, precision):
            loss, _ = task(
                task.frozen(*inputs_of(batch, augmentation="none"), batch.track),
                batch.track,
                batch.positive,
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def plain_step(
    model: SiamFC, device: torch.device, frozen_stem: bool
) -> Callable[[PairBatch], None]:
    """The reference: float32, NCHW, grouped convolution."""
    model.to(device).train()
    if frozen_stem:
        model.stem.requires_grad_(False).eval()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, 1e-4, 0.9, weight_decay=5e-4)
    labels = response_labels(17, radius=16).to(device)

    def step(batch: PairBatch) -> None:
        z, x = (model.branch(model.stem(images.float().contiguous())) for images in batch[:2])
        n, c, h, w = x.shape
        response = F.conv2d(x.reshape(1, n * c, h, w), z, groups=n)[0]
        loss = balanced_loss(model.branch.scale * response + model.branch.bias, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as the loop uses it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def in_turn(
    ours: Callable, reference: Callable, repeats: int, device: torch.device
) -> tuple[float, float]:
    """Median seconds of both, measured alternately after one warm-up each."""
    works: list[Callable] = [ours, reference]
    taken: list[list[float]] = [[], []]
    for repeat in range(repeats + 1):
        for work, times in zip(works, taken, strict=True):
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat:
                times.append(time.perf_counter() - start)
    return median(taken[0]), median(taken[1])
