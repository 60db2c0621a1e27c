"""int8 on x86 processors, by the convolutions of oneDNN that PyTorch brings along.

Measured on one core with AMX (Sapphire Rapids), three search regions: stem 7 ms and each branch
3 ms, half of what bf16 takes. Activations are uint8 and channels last between the layers; ReLU and
rounding to the next layer's steps happen inside the convolution. The crops are uint8 already."""

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib.deploy.quantisation import Int8Layer, Quantised
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.devices import cpu_flags
from esiamfc_lib.tracking.engine import Engine


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
        bf16 = {"avx512_bf16", "amx_bf16"} & cpu_flags()
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
