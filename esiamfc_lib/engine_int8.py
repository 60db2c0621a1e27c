"""int8 on x86 processors, by the convolutions of oneDNN that PyTorch brings along.

Measured on one core with AMX (Sapphire Rapids), three search regions: stem 7 ms and each branch
3 ms, half of what bf16 takes. Activations are uint8 and channels last between the layers; ReLU and
rounding to the next layer's steps happen inside the convolution. The crops are uint8 already.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib.devices import cpu_flags
from esiamfc_lib.engine import Engine
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import ESiamFC, SiamFC
from esiamfc_lib.quantisation import STEPS, Calibration


@dataclass
class Int8Conv:
    """A convolution of uint8, and its ReLU unless it is the last one.

    Attributes:
        weight: int8 (O, I, h, w); times ``scale`` (O,) it is the real one.
        bias: float32 (O,).
        step, next_step: of the input and of the output; 0 where the output is not rounded.
        output: type of an output that is not rounded.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor
    stride: list[int]
    groups: int
    step: float
    next_step: float
    output: torch.dtype
    packed: dict[tuple, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, layer: nn.Conv2d, step: float, next_step: float, output: torch.dtype) -> "Int8Conv":
        """Quantise a convolution with folded BatchNorm, every output channel by itself."""
        weight, scale = int8_weight(layer)
        bias = layer.bias.detach().float()
        stride = list(layer.stride)
        return cls(weight, scale, bias, stride, layer.groups, step, next_step, output)

    def __call__(self, x: Tensor) -> Tensor:
        """uint8 (n, I, H, W), channels last → uint8, or ``output``, (n, O, H', W')."""
        ops, none, one = torch.ops.onednn, [0, 0], [1, 1]
        weight = self.packed.get(x.shape)
        if weight is None:  # oneDNN's order of the weights depends on the size of the input
            weight = self.packed[x.shape] = ops.qconv_prepack(
                self.weight, self.scale, self.step, 0, self.stride, none, one, self.groups,
                list(x.shape),
            )  # fmt: skip
            self.zeros = torch.zeros(len(self.scale), dtype=torch.int64)
        rounded = self.next_step > 0
        return ops.qconv2d_pointwise(
            x, self.step, 0, weight, self.scale, self.zeros, self.bias, self.stride, none, one,
            self.groups, self.next_step if rounded else 1.0, 0,
            torch.uint8 if rounded else self.output, "relu" if rounded else "none", [], "",
        )  # fmt: skip


class Int8Engine(Engine):
    """The engine.

    Raises:
        StudyError: PyTorch was built without oneDNN.
    """

    def __init__(self, model: SiamFC | ESiamFC, calibration: Calibration):
        if not torch.backends.mkldnn.is_available():
            raise StudyError("int8 by PyTorch needs oneDNN; take backend onnxruntime")
        super().__init__(model, "cpu", "int8")
        # Half the memory traffic where the processor multiplies bf16.
        bf16 = {"avx512_bf16", "amx_bf16"} & cpu_flags()
        output = torch.bfloat16 if bf16 else torch.float32
        conv1, conv2 = (top / STEPS for top in calibration.stem)
        self.stem_layers = _quantised(self.model.stem.layers, [1.0, conv1, conv2], output)
        self.branch_layers = [
            _quantised(branch.layers, [conv2, *(top / STEPS for top in tops), 0.0], output)
            for branch, tops in zip(self.branches, calibration.branches, strict=True)
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


def int8_weight(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """int8 weight and float32 (O,) scale; a channel of zeros gets scale 1."""
    weight = layer.weight.detach().float()
    largest = weight.abs().amax((1, 2, 3))
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return (weight / scale[:, None, None, None]).round().to(torch.int8), scale


def max_pool(x: Tensor) -> Tensor:
    """The stem's pooling, 3×3 with stride 2, of uint8, rows before columns.

    PyTorch's own does not take uint8 this large, and its quantised tensors are on their way out.
    """
    x = x.permute(0, 2, 3, 1)
    rows = torch.maximum(x[:, 0:-2:2], x[:, 1:-1:2])
    torch.maximum(rows, x[:, 2::2], out=rows)
    both = torch.maximum(rows[:, :, 0:-2:2], rows[:, :, 1:-1:2])
    torch.maximum(both, rows[:, :, 2::2], out=both)
    return both.permute(0, 3, 1, 2)


def _quantised(layers: nn.Sequential, steps: list[float], output: torch.dtype) -> list:
    """The layers without ReLUs, which belong to their convolutions; ``steps``: between them."""
    steps = iter(zip(steps[:-1], steps[1:], strict=True))
    result = []
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            result.append(Int8Conv.of(layer, *next(steps), output))
        elif isinstance(layer, nn.MaxPool2d):
            result.append(max_pool)
        elif not isinstance(layer, nn.ReLU | nn.Identity):
            raise StudyError(f"no int8 form is known for the layer {type(layer).__name__}")
    return result


def _run(layers: list, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x
