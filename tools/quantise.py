"""Make the int8 form of a network, on crops that it was trained on; written beside its weights.

    python -m tools.quantise WEIGHTS --store DIR [--crops N] [--out FILE]

Weights become int8, each output channel with a step of its own; the steps of the outputs after a
ReLU are chosen so that rounding and cutting off lose least. Crops are those of the training data
and never a test frame's.

A layer's weights are rounded so that its output, not each weight, changes least. Rounding to the
nearest step treats every weight alone. It undid fine-tuning here: the published SiamFC weights were
int8 once, so a branch fine-tuned from them differs from the baseline by less than half a step
nearly everywhere, and nearest rounding gave the baseline back, with features 30 % off. Rounding one
input after the other, and letting those still to come make up for the error, keeps them within 2 %
(GPTQ: Frantar et al., ICLR 2023, after LeCun et al., Optimal Brain Damage).
"""

import hashlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esiamfc_lib import cli
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.validation import within
from tools.int8 import Int8Layer, Quantised, beside

STEPS, BINS = 255, 4096
LARGEST = 127
DAMPING = 0.01  # of the mean of the diagonal: keeps the inverse tame where inputs are few
BLOCK = 64  # columns whose errors reach the later ones in one product


def second_moments(layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """Mean products of a convolution's inputs (n, C, H, W) with each other: (groups, K, K); K is
    the number of inputs per output of the layer, which has no padding."""
    inner = layer.weight[0].numel()
    total, count = torch.zeros(layer.groups, inner, inner), 0
    for one in inputs:  # one by one: the patches are K times as large as the input
        patches = F.unfold(one[None], layer.kernel_size, stride=layer.stride)[0]
        patches = patches.reshape(layer.groups, inner, -1)
        total += patches @ patches.transpose(1, 2)
        count += patches.shape[-1]
    return total / count


def channel_scales(weight: Tensor) -> Tensor:
    """(O,) step of each output channel: its largest weight is 127; 1 for a channel of zeros."""
    largest = weight.abs().flatten(1).amax(1)
    return torch.where(largest > 0, largest / LARGEST, 1.0)


def rounded(weight: Tensor, scale: Tensor, moments: Tensor) -> Tensor:
    """int8 (O, I, h, w) with an output as near as can be to that of the float ``weight``; ``scale``
    and ``moments`` are of ``channel_scales`` and ``second_moments``."""
    rows, scales = weight.flatten(1).chunk(len(moments)), scale.chunk(len(moments))
    parts = [_rounded(*part) for part in zip(rows, scales, moments, strict=True)]
    return torch.cat(parts).reshape(weight.shape).to(torch.int8)


def _rounded(weight: Tensor, scale: Tensor, moments: Tensor) -> Tensor:
    """One group: (O, K) → whole numbers (O, K)."""
    # Inputs of the most energy first, while there are many left to make up for their errors.
    order = torch.argsort(moments.diagonal(), descending=True, stable=True)
    w, step = weight[:, order].double(), scale.double()
    h = moments[order][:, order].double()
    h.diagonal().add_(DAMPING * h.diagonal().mean().clamp(min=1e-12))
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(h))
    upper = torch.linalg.cholesky(inverse, upper=True)
    result = torch.empty_like(w)
    for start in range(0, w.shape[1], BLOCK):
        stop = min(start + BLOCK, w.shape[1])
        errors = torch.zeros(len(w), stop - start, dtype=w.dtype)
        for i in range(start, stop):
            column = (w[:, i] / step).round().clamp(-LARGEST, LARGEST)
            error = (w[:, i] - column * step) / upper[i, i]
            w[:, i:stop] -= error[:, None] * upper[i, i:stop]
            result[:, i], errors[:, i - start] = column, error
        w[:, stop:] -= errors @ upper[start:stop, stop:]
    back = torch.empty_like(result)
    back[:, order] = result
    return back


def training_crops(store: CropStore, count: int = 24) -> np.ndarray:
    """Crops of the training split, evenly spaced over its tracks: uint8 (n, 255, 255, 3) RGB,
    fewer than ``count`` where there are no more."""
    tracks = np.flatnonzero((store.tracks["split"] == "train").to_numpy()).tolist()
    if not tracks:
        raise StudyError(f"{store.path} has no training videos to calibrate on")
    evenly = (tracks[i * len(tracks) // count] for i in range(count))
    # Another frame each time that a track is met.
    chosen = dict.fromkeys((t, i * 17 % len(store.frames(t))) for i, t in enumerate(evenly))
    if len(chosen) < count:  # short tracks were met too often
        chosen |= dict.fromkeys((t, i) for t in tracks for i in range(len(store.frames(t))))
    return np.stack([store.read(*crop) for crop in list(chosen)[:count]])


def quantise(model: SiamFC | ESiamFC, crops: np.ndarray) -> Iterator[Quantised | str]:
    """Layer by layer, each on the outputs of the int8 layers before it: yields the name of each
    part as it is begun, and last the network. ``crops`` are uint8 (n, 255, 255, 3) RGB, two dozen.
    """
    if crops.ndim != 4 or not len(crops) or crops.dtype != np.uint8:
        raise StudyError(f"int8 needs uint8 crops (n, H, W, 3), not {crops.dtype} {crops.shape}")
    network = folded(model).float().cpu().requires_grad_(False)
    digest = hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest()
    with torch.inference_mode():
        yield "stem"
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
        stem, features = _part(network.stem.layers, images)
        branches = []
        for j, branch in enumerate(branches_of(network)):
            yield f"branch {j}"
            branches.append(_part(branch.layers, features)[0])
    state = checkpoints.digest(model.state_dict())
    yield Quantised(state, digest, len(crops), stem, tuple(branches))


def _part(layers: nn.Sequential, x: Tensor) -> tuple[tuple[Int8Layer, ...], Tensor]:
    """The int8 layers of a part, and its output as they give it."""
    result: list[Int8Layer] = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            scale = channel_scales(layer.weight)
            weight = rounded(layer.weight, scale, second_moments(layer, x))
            real = weight.float() * scale[:, None, None, None]
            x = torch.nn.functional.conv2d(x, real, layer.bias, layer.stride, groups=layer.groups)
            result.append(Int8Layer(weight, scale, layer.bias.clone(), 0.0))
        elif isinstance(layer, nn.ReLU):
            x = layer(x)
            last, step = result[-1], _cut_off(x) / STEPS
            result[-1] = Int8Layer(last.weight, last.scale, last.bias, step)
            x = (x / step).round().clamp(max=STEPS) * step
        else:
            x = layer(x)
    return tuple(result), x


def _cut_off(output: Tensor) -> float:
    """The cut-off whose rounding and cutting together lose least, in mean squares: the largest
    output would spend most steps on a few outliers. Zeros are exact whatever the steps."""
    largest = float(output.max())
    if not np.isfinite(largest) or largest <= 0:
        raise StudyError("int8: the outputs of a layer are all 0, or not finite")
    counts = torch.histc(output[output > 0], BINS, 0.0, largest).numpy().astype(np.float64)
    values = (np.arange(BINS) + 0.5) / BINS * largest
    tops = np.linspace(0.2, 1.0, 81)[:, None] * largest
    # Rounding to steps is off by a twelfth of the step squared, on average.
    lost = np.where(values <= tops, (tops / STEPS) ** 2 / 12, (values - tops) ** 2)
    return float(tops[int(np.argmin(lost @ counts)), 0])


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="a SiamFC or an ESiamFC, any known format")
    store = "crop store of the training"
    parser.add_argument("--store", required=True, type=Path, metavar="DIR", help=store)
    parser.add_argument("--crops", type=within(1, 999), default=24, metavar="N", help="default: 24")
    place = "default: beside the weights, *.int8.safetensors"
    parser.add_argument("--out", type=Path, metavar="FILE", help=place)


def main(args: Namespace) -> int:
    out = args.out or beside(args.weights)
    path = files.writable_file(out, args.weights, args.store)
    model, _ = published.load_any(args.weights)
    crops = training_crops(CropStore(args.store), args.crops)
    steps = quantise(model, crops)
    total = 2 + len(branches_of(model))  # the stem, the branches, the whole
    *_, result = progress(steps, "int8", total=total, unit="part")
    result.save(path)
    few = f" ({args.crops} asked for: it has no more)" if len(crops) < args.crops else ""
    sys.stdout.write(f"{path}: digest {result.digest}, {len(crops)} crops of {args.store}{few}\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.quantise", lambda: sys.modules[__name__], sys.argv[1:]))
