"""Trackers, in frames a second, against the plain loop: NCHW, BatchNorm apart, branch by branch.

Speed is measured at width 1 on noise of 640×480, where it does not depend on the weights: the
ensemble is made of copies of one network. With --on, accuracy is measured beside it, on sequences
in OTB layout; boxes are kept in --out, so that a second call goes on.
"""

import os
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

import cv2
import joblib
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import benchmarks, geometry, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.evaluation import runs
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.lockstep import track_many
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from speed import Row, row, seconds
from tools.int8 import FastTrackerSpec, Int8Engine, Quantised, beside
from tools.quantise import quantise

BOX = np.array([280.0, 200, 80, 80])
ROUNDS = 5
NEAR = 0.01  # px
PRODUCT = 2048  # side of the matrices whose product shows the processor's peak
Entry = tuple[SiamFCTracker, str, str]  # tracker, name of its reference, target
PRECISIONS = ("fp32", "bf16", "int8")
LOCAL = TrackingParameters(local_scales=5)


class PlainEngine(Engine):
    """The network as it is trained."""

    def prepared(self, model):
        return model.eval().requires_grad_(False)

    def exemplar(self, crops):
        return super().exemplar(crops).contiguous()


class PlainTracker(SiamFCTracker):
    """The loop of the public trackers on that network."""

    def __init__(self, model):
        super().__init__(model, engine=PlainEngine(model))

    def _upsampled(self, responses):
        side = responses.shape[1] * self.parameters.response_up
        return np.stack(
            [cv2.resize(r, (side, side), interpolation=cv2.INTER_CUBIC) for r in responses]
        )


class PlainEnsembleTracker(PlainTracker):
    """Every branch has its own correlation; the mean comes last."""

    network = ESiamFC

    def _kernel(self, exemplar):
        return self.engine.model.stem(exemplar)

    def respond(self, crops):
        with torch.inference_mode():
            stem = self.engine.stem(self.engine.images(crops))
            return self.engine.model.responses(self.kernel, stem).mean(1).numpy()

    def _floor(self):
        return float(np.mean([float(branch.bias) for branch in self.engine.model.branches]))


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``python -m speed tracking``."""
    add = parser.add_argument
    add("--width", type=float, default=1.0, help="of the networks (default: 1)")
    add("--branches", type=int, default=6, metavar="K", help="default: 6")
    add("--frames", type=int, default=12, metavar="N", help="timed (default: 12)")
    add("--threads", type=int, nargs="+", default=[1], metavar="N", help="default: 1")
    add("--on", type=Path, nargs="+", action="append", default=[], metavar="PATH",
        help="accuracy: sequences in OTB layout, then SiamFC or ESiamFC files, with their int8 "
        "forms beside them; may be repeated")  # fmt: skip
    add("--limit", type=int, default=0, metavar="N", help="sequences for accuracy; 0: all")
    add(
        "--exact",
        type=int,
        default=12,
        metavar="N",
        help="frames of each sequence in which boxes are compared with the plain loop's",
    )
    add("--no-speed", action="store_true", help="accuracy alone")
    add("--out", type=Path, default=Path("bench-tracking"), metavar="DIR", help="boxes are kept")


def rows(args: Namespace) -> list[Row]:
    """Speed, then what is outside the network, then accuracy."""
    single = SiamFC(args.width)
    ensemble = ESiamFC.assembled([single] * args.branches)
    frames = np.random.default_rng(0).integers(0, 256, (args.frames + 3, 480, 640, 3), np.uint8)
    *_, int8 = quantise(single, np.ascontiguousarray(frames[:2, :255, :255]))
    several = Quantised(int8.weights, int8.crops, int8.count, int8.stem,
                        int8.branches * args.branches)  # fmt: skip
    results = []
    for count in () if args.no_speed else args.threads:
        with threads(count):
            trackers = _siamfc(single, int8, count) | _esiamfc(ensemble, several, count)
            results += _compared(trackers, frames)
            if count == 1:
                results += _roofline(ensemble, results)
                results += _outside(single, int8, frames)
    if not args.no_speed:
        results += _lockstep(single, int8, frames)
    for root, *files in args.on:
        for weights in files:
            results += _exactness(args, root, weights) + _accuracy(args, root, weights)
    return results


def _engine(model: SiamFC | ESiamFC, int8: Quantised, precision: str) -> Engine:
    return Int8Engine(model, int8) if precision == "int8" else Engine(model, precision=precision)


def _siamfc(single: SiamFC, int8: Quantised, count: int) -> dict[str, Entry]:
    found: dict[str, Entry] = {"plain SiamFC": (PlainTracker(single), "", "")}
    for precision in PRECISIONS:
        tracker = SiamFCTracker(single, engine=_engine(single, int8, precision))
        target = "33 frames/s, aim 60" * ((precision, count) == ("int8", 1))
        found[f"SiamFC, torch {precision}, {count} thread"] = tracker, "plain SiamFC", target
    tracker = SiamFCTracker(single, LOCAL, engine=_engine(single, int8, "int8"))
    found[f"SiamFC, torch int8, local scales, {count} thread"] = tracker, "plain SiamFC", target
    return found


def _esiamfc(ensemble: ESiamFC, int8: Quantised, count: int) -> dict[str, Entry]:
    found: dict[str, Entry] = {"plain ESiamFC": (PlainEnsembleTracker(ensemble), "", "")}
    k = ensemble.k

    def add(precision: str, m: int, target: str = "", local: bool = False) -> None:
        # Uniform runs all branches, whatever untrained cluster weights say.
        chosen = {"fusion": "uniform"} if m == k else {"fusion": "cluster_weight", "top": m}
        chosen["parameters"] = LOCAL if local else None
        tracker = ESiamFCTracker(ensemble, **chosen, engine=_engine(ensemble, int8, precision))
        kind = f"{precision}{', local scales' * local}"
        name = f"ESiamFC k = {k}, {m} run, torch {kind}, {count} thread"
        found[name] = tracker, "plain ESiamFC", target * (count == 1)

    for precision in PRECISIONS:
        target = {"fp32": "ratio 1.4", "int8": "13 frames/s, ratio 4.5"}
        add(precision, k, target.get(precision, ""))
    for m in sorted({m for m in (1, 2, 3) if m < k}):
        add("int8", m, "30 frames/s, ratio 10")
        add("int8", m, local=True)
    add("int8", k, local=True)
    return found


def _compared(entries: dict[str, Entry], frames: np.ndarray) -> list[Row]:
    """Frames a second of trackers that take turns.

    Each tracker's fastest round counts: on a shared machine the other rounds measure its
    neighbours, and a ratio of two such times says nothing about the code.
    """
    best = dict.fromkeys(entries, 0.0)
    for _ in range(ROUNDS):
        for name, (tracker, _, _) in entries.items():
            best[name] = max(best[name], _fps(tracker, frames))
    return [
        row(name, best[name], best[plain], "frames/s", target)
        for name, (_, plain, target) in entries.items()
        if plain
    ]


def _roofline(ensemble: ESiamFC, measured: list[Row]) -> list[Row]:
    """What an exact loop in fp32 could reach at most: the convolutions of a frame at the peak of
    this run's matrix products and nothing else, against the plain loop. Products are counted as
    they stand in the sums, two operations each; Winograd's algorithm, which rounds otherwise, needs
    fewer."""
    crops = torch.zeros(len(SiamFCTracker(SiamFC(0.125)).scales), 3, 255, 255)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        stem = ensemble.stem(crops)
        for branch in ensemble.branches:
            branch(stem)
    square = torch.ones(PRODUCT, PRODUCT)
    taken = min(seconds(lambda: square @ square, 1) for _ in range(ROUNDS))
    peak, work = 2 * PRODUCT**3 / taken, counter.get_total_flops()
    plain = next(r.reference for r in measured if r.name.startswith("ESiamFC"))
    title = (
        f"ESiamFC k = {ensemble.k}, fp32, bound: {work / 1e9:.0f} GFLOP a frame at "
        f"{peak / 1e9:.0f} GFLOP/s of a matrix product, 1 thread; reference: plain loop"
    )
    return [row(title, peak / work, plain, "frames/s")]


def _outside(single: SiamFC, int8: Quantised, frames: np.ndarray) -> list[Row]:
    """Milliseconds of a frame of 640×480 that are not the network's; and of its decoding."""
    tracker = SiamFCTracker(single, engine=Int8Engine(single, int8))
    tracker.init(frames[0], BOX)
    rest = []
    for frame in frames[1:]:
        start = time.perf_counter()
        crops = tracker.search_crops(frame)
        before = time.perf_counter()
        responses = tracker.respond(crops)
        after = time.perf_counter()
        tracker.locate(frame, responses)
        rest.append(time.perf_counter() - after + before - start)
    outside = 1e3 * float(np.median(rest[2:]))
    title = "outside the network at 640×480, int8; reference: 3 ms"
    results = [row(title, outside, 3.0, "ms", "3 ms", less_is_better=True)]
    smooth = cv2.resize(frames[0][:48, :64], (640, 480), interpolation=cv2.INTER_CUBIC)
    jpeg = images.encode_jpeg(smooth)
    decoding = 1e3 * seconds(lambda: images.decode_image(jpeg))
    update = 1e3 / max(_fps(tracker, frames) for _ in range(ROUNDS))
    title = "a frame with decoding, SiamFC int8; reference: without"
    results.append(row(title, update + decoding, update, "ms", "", less_is_better=True))
    return results


def _lockstep(single: SiamFC, int8: Quantised, frames: np.ndarray) -> list[Row]:
    """Whole sequences, decoding included: in lock-step against one process a core."""
    cores = len(os.sched_getaffinity(0))
    smooth = [cv2.GaussianBlur(frame, (0, 0), 4) for frame in frames]
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"{i:04d}.jpg" for i in range(len(smooth))]
        for file, frame in zip(files, smooth, strict=True):
            images.write_image(file, frame)
        one = Sequence("noise", tuple(files * 2), np.tile(BOX, (2 * len(files), 1)))
        sequences = [one] * (4 * cores)
        # Two, as one whose weights are packed cannot be sent to a process.
        tracker, fresh = (SiamFCTracker(single, engine=Int8Engine(single, int8)) for _ in range(2))
        total = sum(len(sequence) for sequence in sequences)
        with joblib.Parallel(n_jobs=cores) as parallel:
            parallel(joblib.delayed(_alone)(tracker, one) for _ in range(cores))  # starts them
            apart, together = [], []
            jobs = [joblib.delayed(_alone)(tracker, each) for each in sequences]
            for _ in range(ROUNDS):
                apart.append(seconds(lambda: parallel(jobs), 1, 0))
                together.append(seconds(lambda: list(track_many(fresh, sequences)), 1, 0))
    title = f"track_many, SiamFC int8, {cores} cores; reference: one process a core"
    return [row(title, total / min(together), total / min(apart), "frames/s", "ratio 1")]


def _alone(tracker: SiamFCTracker, sequence: Sequence) -> np.ndarray:
    with threads(1):
        return tracker.track_sequence(sequence)[0]


def _exactness(args: Namespace, root: Path, weights: Path) -> list[Row]:
    """Share of the boxes in fp32, all branches, that are those of the plain loop."""
    sequences, _ = benchmarks.read_benchmark("otb2015", root, args.limit)
    model, _ = published.load_any(weights)
    if isinstance(model, ESiamFC):
        pair = PlainEnsembleTracker(model), ESiamFCTracker(model, "uniform")
    else:
        pair = PlainTracker(model), SiamFCTracker(model)
    near = []
    with threads(1):
        for sequence in sequences:
            n = min(args.exact, len(sequence))
            short = Sequence(sequence.name, sequence.frames[:n], sequence.boxes[:n])
            plain, ours = (tracker.track_sequence(short)[0] for tracker in pair)
            near += list(np.abs(plain - ours).max(axis=1) <= NEAR)
    title = f"boxes within {NEAR} px of the plain loop's, {weights.stem} fp32, all branches"
    title += f", {len(sequences)} sequences × {args.exact} frames"
    return [row(title, float(np.mean(near)), 1.0, "share", "all")]


def _accuracy(args: Namespace, root: Path, weights: Path) -> list[Row]:
    """Mean success AUC, and mean IoU with the boxes in fp32, of a weights file."""
    sequences, _ = benchmarks.read_benchmark("otb2015", root, args.limit)
    kind = "OTB" if benchmarks.title("otb2015", root) == "otb2015" else "built-in"
    results = []
    for name, spec in _specs(weights).items():
        out = args.out / f"{root.name}-{spec.name}"
        with threads(1):
            scores = runs.evaluate([spec], "otb2015", root, out, limit=args.limit)
        boxes = {s.name: scoring.read_boxes(out, spec.name, s, "otb2015") for s in sequences}
        auc = float(scores["success"].mean())
        if name == "fp32":
            exact, exact_auc = boxes, auc
        agreement = np.mean([geometry.iou(boxes[n], exact[n]).mean() for n in exact])
        where = f"{spec.name} on {len(sequences)} {kind} sequences"
        target = "within .01" if "top" in name else "within .005"
        results += [
            row(f"success AUC, {where}; reference: fp32", auc, exact_auc, "AUC", target),
            row(f"IoU with the fp32 boxes, {where}", float(agreement), 1.0, "IoU"),
        ]
    return results


def _specs(weights: Path) -> dict[str, FastTrackerSpec]:
    """What is compared for a weights file: fp32 first."""
    ensemble = isinstance(published.load_any(weights)[0], ESiamFC)
    changes: dict[str, dict] = {"fp32": {}, "bf16": {"precision": "bf16"}}
    if beside(weights).is_file():
        changes["int8"] = {"precision": "int8"}
        for m in (1, 2) if ensemble else ():
            changes[f"int8 top {m}"] = changes["int8"] | {"top": m}
    kind = "ensemble" if ensemble else "siamfc"
    return {
        name: FastTrackerSpec(
            name=f"{weights.stem} {name}", kind=kind, weights=str(weights), **change
        )
        for name, change in changes.items()
    }


def _fps(tracker: SiamFCTracker, frames: np.ndarray) -> float:
    """Frames a second by the median frame, after two to warm up."""
    tracker.init(frames[0], BOX)
    taken = []
    for frame in frames[1:]:
        start = time.perf_counter()
        tracker.update(frame)
        taken.append(time.perf_counter() - start)
    return float(1 / np.median(taken[2:]))
