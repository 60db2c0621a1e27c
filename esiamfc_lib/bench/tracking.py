"""Trackers, in frames a second, against the plain graph: BatchNorm apart, no channels last."""

import time
from argparse import ArgumentParser, Namespace

import numpy as np
import torch

from esiamfc_lib.bench import Row, row
from esiamfc_lib.networks import ESiamFC, SiamFC
from esiamfc_lib.tracking import ESiamFCTracker, SiamFCTracker

BOX = np.array([140.0, 100, 40, 40])


class PlainTracker(SiamFCTracker):
    """The same loop on the network as it is trained."""

    def _prepared(self, model):
        return model.eval().requires_grad_(False)

    def _tensor(self, crops):
        return super()._tensor(crops).contiguous()


class PlainEnsembleTracker(PlainTracker):
    """Every branch has its own correlation; the mean comes last."""

    def _remember(self, exemplar, rate=1.0):
        with torch.inference_mode():
            self.exemplar = self.model.stem(exemplar)

    def _respond(self, search):
        responses = self.model.responses(self.exemplar, self.model.stem(search))
        return responses.mean(1)

    def _floor(self):
        return 0.0


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``esiamfc bench tracking``."""
    parser.add_argument("--width", type=float, default=1.0, help="of the networks (default: 1)")
    parser.add_argument("--branches", type=int, default=6, metavar="K", help="default: 6")
    parser.add_argument("--frames", type=int, default=15, metavar="N", help="timed (default: 15)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1")


def rows(args: Namespace) -> list[Row]:
    """SiamFC and the ensemble, fp32 and bf16."""
    before = torch.get_num_threads()
    torch.set_num_threads(args.threads)
    frames = np.random.default_rng(0).integers(0, 256, (args.frames + 3, 240, 320, 3), np.uint8)
    single, ensemble = SiamFC(args.width), ESiamFC(args.branches, args.width)
    try:
        plain = _fps(PlainTracker(single), frames)
        plain_ensemble = _fps(PlainEnsembleTracker(ensemble), frames)
        results = []
        for precision in ("fp32", "bf16"):
            ours = _fps(SiamFCTracker(single, precision=precision), frames)
            results.append(row(f"SiamFC, {precision}", ours, plain, "frames/s"))
        for precision in ("fp32", "bf16"):
            # Uniform: untrained weights would leave most branches out, and flatter the figure.
            ours = _fps(ESiamFCTracker(ensemble, "uniform", precision=precision), frames)
            name = f"ESiamFC of {args.branches} branches, {precision}"
            results.append(row(name, ours, plain_ensemble, "frames/s"))
    finally:
        torch.set_num_threads(before)
    return results


def _fps(tracker: SiamFCTracker, frames: np.ndarray) -> float:
    """Frames a second by the median frame, after two to warm up."""
    tracker.init(frames[0], BOX)
    taken = []
    for frame in frames[1:]:
        start = time.perf_counter()
        tracker.update(frame)
        taken.append(time.perf_counter() - start)
    return float(1 / np.median(taken[2:]))
