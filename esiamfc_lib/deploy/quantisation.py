"""int8 networks as they are kept in files; ``python -m tools.quantise`` makes them.

Weights are int8, each output channel with a step of its own. Outputs after a ReLU are uint8, 255
steps of one size a layer from 0 to a cut-off; crops are uint8. The last layer's output, which the
correlation sums, is not rounded to steps. The file lies beside the model file and says of which
weights and crops it is."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files

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
            raise StudyError(f"int8 needs the file {path}: 'python -m tools.quantise' writes it")
        tensors, header = checkpoints.read_tensors(path, HEADER, "an int8 network")
        with checkpoints.reading(path, "an int8 network of this project"):
            stem = _layers(tensors, "stem", 2)
            branches = [_layers(tensors, f"branches.{j}", 3) for j in range(header["branches"])]
            about = header["weights"], header["crops"], header["count"]
            found = cls(*about, stem, tuple(branches))
        if found.weights != checkpoints.digest(model.state_dict()):
            raise StudyError(
                f"{path} belongs to other weights: run 'python -m tools.quantise' again"
            )
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
