"""Run a command with trackers that may be in int8, faster than the study needs.

    python -m tools.int8 evaluate|track ... --precision int8

Everything is as for ``esiamfc``; ``python -m tools.quantise`` makes the network's int8 form, a file
beside its weights, which says of which weights and crops it is. Weights are int8, each output
channel with a step of its own. Outputs after a ReLU are uint8, 255 steps of one size a layer from 0
to a cut-off; crops are uint8. The last layer's output, which the correlation sums, is not rounded.

The convolutions are oneDNN's for x86 processors, which PyTorch brings along. Measured on one core
with AMX (Sapphire Rapids), three search regions: stem 7 ms and each branch 3 ms, half of what bf16
takes. Activations are channels last between the layers; ReLU and rounding to the next layer's steps
happen inside the convolution.
"""

import json
import sys
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from esiamfc_lib import cli
from esiamfc_lib.commands import evaluate, track
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import devices, files
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.spec import TrackerSpec

COMMANDS = {"evaluate": evaluate, "track": track}
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
            stem = _kept_layers(tensors, "stem", 2)
            branches = [
                _kept_layers(tensors, f"branches.{j}", 3) for j in range(header["branches"])
            ]
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


def _kept_layers(tensors: dict[str, Tensor], part: str, count: int) -> tuple[Int8Layer, ...]:
    values = [[tensors[f"{part}.{i}.{name}"] for name in FIELDS] for i in range(count)]
    return tuple(Int8Layer(*rest, float(step)) for *rest, step in values)


def beside(weights: str | Path) -> Path:
    """Where the int8 form of a model file is kept: ``x.safetensors`` → ``x.int8.safetensors``."""
    return Path(weights).with_suffix(".int8.safetensors")


class Int8Conv:
    """The convolution ``like`` of uint8 in steps of ``step``, and its ReLU; the last one has none
    and gives ``output``."""

    def __init__(self, layer: Int8Layer, like: nn.Conv2d, step: float, output: torch.dtype):
        self.layer, self.step = layer, step
        self.stride, self.groups = list(like.stride), like.groups
        last = layer.step == 0
        how = (1.0, 0, output, "none") if last else (layer.step, 0, torch.uint8, "relu")
        self.ending = *how, [], ""
        self.zeros = torch.zeros(len(layer.scale), dtype=torch.int64)
        self.packed: dict[tuple, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 (n, I, H, W), channels last → uint8, or ``output``, (n, O, H', W')."""
        ops, layer = torch.ops.onednn, self.layer
        shape = self.stride, [0, 0], [1, 1], self.groups
        if x.shape not in self.packed:  # oneDNN's order of the weights depends on the input's size
            weight = layer.weight, layer.scale, self.step, 0, *shape, list(x.shape)
            self.packed[x.shape] = ops.qconv_prepack(*weight)
        given = x, self.step, 0, self.packed[x.shape], layer.scale, self.zeros, layer.bias
        return ops.qconv2d_pointwise(*given, *shape, *self.ending)


class Int8Engine(Engine):
    """The engine; ``StudyError`` where PyTorch was built without oneDNN."""

    def __init__(self, model: SiamFC | ESiamFC, int8: Quantised):
        if not torch.backends.mkldnn.is_available():
            raise StudyError("int8 needs oneDNN, which this build of PyTorch lacks")
        super().__init__(model)
        if (count := len(int8.branches)) != self.k:
            raise StudyError(f"the int8 form has {count} branches, the network {self.k}")
        # Half the memory traffic where the processor multiplies bf16.
        bf16 = {"avx512_bf16", "amx_bf16"} & devices.cpu_flags()
        output = torch.bfloat16 if bf16 else torch.float32
        self.stem_layers = _layers(self.model.stem.layers, int8.stem, 1.0, output)
        self.branch_layers = [
            _layers(branch.layers, layers, int8.stem[-1].step, output)
            for branch, layers in zip(self.branches, int8.branches, strict=True)
        ]

    def images(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → the same memory as (n, 3, H, W)."""
        return torch.from_numpy(crops).permute(0, 3, 1, 2)

    def stem(self, images: Tensor) -> Tensor:
        """uint8 (n, 3, S, S) → uint8 (n, 256·width, 28, 28) for S = 255."""
        return _run(self.stem_layers, images)

    def branch(self, j: int, stem: Tensor) -> Tensor:
        """uint8 → bf16 (fp32 where the processor has no bf16) features (n, 256·width, 22, 22)."""
        return _run(self.branch_layers[j], stem)


def max_pool(x: Tensor) -> Tensor:
    """The stem's pooling, 3×3 with stride 2, of uint8, rows before columns; PyTorch's own takes no
    uint8 this large, and its quantised tensors are on their way out."""
    x = x.permute(0, 2, 3, 1)
    rows = torch.maximum(x[:, 0:-2:2], x[:, 1:-1:2])
    torch.maximum(rows, x[:, 2::2], out=rows)
    both = torch.maximum(rows[:, :, 0:-2:2], rows[:, :, 1:-1:2])
    torch.maximum(both, rows[:, :, 2::2], out=both)
    return both.permute(0, 3, 1, 2)


def _layers(
    layers: nn.Sequential, int8: tuple[Int8Layer, ...], step: float, output: torch.dtype
) -> list:
    """The layers without ReLUs, which belong to their convolutions; ``step``: of the input."""
    int8, result = iter(int8), []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            result.append(Int8Conv(next(int8), layer, step, output))
            step = result[-1].layer.step
        elif isinstance(layer, nn.MaxPool2d):
            result.append(max_pool)
        elif not isinstance(layer, nn.ReLU | nn.Identity):
            raise StudyError(f"no int8 form is known for the layer {type(layer).__name__}")
    return result


def _run(layers: list, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
"""Instruction sets of processors on which int8 is the fastest."""


class FastTrackerSpec(TrackerSpec):
    """A tracker as JSON, with int8; ``auto`` takes it where there is a file and a processor."""

    precision: Literal["auto", "fp32", "bf16", "int8"] = Field("fp32", description="of the network")
    int8: str = Field("", description="the network's int8 form; empty: beside the weights")

    def runs_on(self) -> tuple[str, str, str]:
        device, precision, reason = super().runs_on()
        on_cpu = torch.device(device).type == "cpu"
        if precision == "int8" and not on_cpu:
            raise StudyError(f"int8 runs on the CPU, not on {device!r}")
        if precision == "int8" and self.fusion == "soup":
            raise StudyError("a soup has no int8 form: choose fp32 or bf16")
        fast = sorted(INT8_FLAGS & devices.cpu_flags()) if self.precision == "auto" else []
        if fast and on_cpu and self.fusion != "soup" and self._int8_file().is_file():
            return device, "int8", f"there is an int8 form, and the processor has {fast[0]}"
        return device, precision, reason

    def engine(self, model: SiamFC | ESiamFC) -> Engine:
        if self.runs_on()[1] != "int8":
            return super().engine(model)
        int8 = Quantised.load(self._int8_file(), model)
        if self.kind == "branch":
            model, int8 = model.base_tracker(self.branch), int8.of_branch(self.branch)
        return Int8Engine(model, int8)

    def facts(self) -> dict:
        facts = super().facts()
        if facts.get("precision") == "int8":
            facts["int8"] = files.file_digest(self._int8_file())
        return facts

    def _int8_file(self) -> Path:
        return Path(self.int8 or beside(self.weights))


def with_int8(parser: ArgumentParser) -> None:
    """Lets the options of ``commands.evaluate.tracker_arguments`` name int8, too."""
    parser.set_defaults(kind_of_spec=FastTrackerSpec)
    (option,) = [action for action in parser._actions if action.dest == "precision"]
    option.choices = (*option.choices, "int8")
    option.help += "; int8 needs the file that 'python -m tools.quantise' writes"


def main(words: list[str]) -> int:
    """Run one of ``COMMANDS``."""
    top = ArgumentParser(prog="python -m tools.int8", description=__doc__.partition("\n")[0])
    top.add_argument("command", choices=COMMANDS)
    name = top.parse_args(words[:1]).command
    command = COMMANDS[name]

    def arguments(parser: ArgumentParser) -> None:
        command.arguments(parser)
        with_int8(parser)

    whole = SimpleNamespace(__doc__=command.__doc__, arguments=arguments, main=command.main)
    return cli.run(f"python -m tools.int8 {name}", lambda: whole, words[1:])


if __name__ == "__main__":
    from tools import int8  # by the name by which other processes know its classes

    sys.exit(int8.main(sys.argv[1:]))
