"""int8 networks: made from a trained network and crops that it was trained on, kept in a file.

Weights become int8, each output channel with a step of its own (``rounding``). Outputs after a ReLU
become uint8, 255 steps of one size a layer from 0 to a cut-off; crops, those of the training data
and never a test frame's, are uint8. The last layer's output, which the correlation sums, is not
rounded to steps. The file lies beside the model file and says of which weights and crops it is.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from esiamfc_lib.deploy.rounding import channel_scales, rounded, second_moments
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files

if TYPE_CHECKING:
    from esiamfc_lib.data.store import CropStore

STEPS, BINS = 255, 4096
HEADER = "esiamfc-int8"
FORMAT = 1
FIELDS = ("weight", "scale", "bias", "step")


@dataclass(frozen=True)
class Int8Layer:
    """A convolution with folded BatchNorm; ``weight`` times ``scale`` is the real one."""

    weight: Tensor  # int8 (O, I, h, w)
    scale: Tensor  # (O,)
    bias: Tensor  # float32 (O,)
    step: float  # of the uint8 output, after the ReLU; 0 for the last layer, which has neither


@dataclass(frozen=True)
class Quantised:
    """An int8 network."""

    weights: str  # checkpoints.digest of the network's tensors
    crops: str  # digest of the crops
    count: int  # of the crops
    stem: tuple[Int8Layer, ...]  # conv1 and conv2
    branches: tuple[tuple[Int8Layer, ...], ...]  # conv3 to conv5 of each; a SiamFC has one

    @property
    def digest(self) -> str:
        """SHA-256 of its tensors."""
        return checkpoints.digest(self._tensors())

    def of_branch(self, j: int) -> "Quantised":
        return Quantised(self.weights, self.crops, self.count, self.stem, (self.branches[j],))

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        header = {"format": FORMAT, "weights": self.weights, "crops": self.crops}
        header |= {"count": self.count, "branches": len(self.branches), "digest": self.digest}
        data = safetensors_bytes(self._tensors(), {HEADER: json.dumps(header, sort_keys=True)})
        files.write_atomically(path, data)

    @classmethod
    def load(cls, path: str | Path, model: SiamFC | ESiamFC) -> "Quantised":
        """Read a network's int8 form; ``StudyError`` if it is damaged or of other weights."""
        if not Path(path).is_file():
            raise StudyError(f"int8 needs the file {path}: 'esiamfc quantise' writes it")
        tensors, header = checkpoints.read_tensors(path, HEADER, "an int8 network")
        with checkpoints.reading(path, "an int8 network of this project"):
            stem = _layers(tensors, "stem", 2)
            branches = [_layers(tensors, f"branches.{j}", 3) for j in range(header["branches"])]
            about = header["weights"], header["crops"], header["count"]
            found = cls(*about, stem, tuple(branches))
        if found.weights != checkpoints.digest(model.state_dict()):
            raise StudyError(f"{path} is of other weights: 'esiamfc quantise' writes it anew")
        return found

    def _tensors(self) -> dict[str, Tensor]:
        parts = {"stem": self.stem} | {f"branches.{j}": b for j, b in enumerate(self.branches)}
        tensors = {}
        for part, layers in parts.items():
            for i, layer in enumerate(layers):
                step = torch.tensor(layer.step, dtype=torch.float64)
                values = layer.weight.contiguous(), layer.scale, layer.bias, step
                tensors |= {f"{part}.{i}.{n}": v for n, v in zip(FIELDS, values, strict=True)}
        return tensors


def _layers(tensors: dict[str, Tensor], part: str, count: int) -> tuple[Int8Layer, ...]:
    values = [[tensors[f"{part}.{i}.{name}"] for name in FIELDS] for i in range(count)]
    return tuple(Int8Layer(*rest, float(step)) for *rest, step in values)


def beside(weights: str | Path) -> Path:
    """Where the int8 form of a model file is kept: ``x.safetensors`` → ``x.int8.safetensors``."""
    return Path(weights).with_suffix(".int8.safetensors")


def training_crops(store: "CropStore", count: int = 24) -> np.ndarray:
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
