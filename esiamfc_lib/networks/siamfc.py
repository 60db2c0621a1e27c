"""SiamFC: the stem, the branch, and the two as one network.

Fully convolutional AlexNet (Bertinetto et al. 2016, table 1), cut in two: the **stem** (conv1–2),
which all trackers of the ensemble share, and the **branch** (conv3–5), which every base tracker has
of its own. No layer is padded: the total stride of 8 holds everywhere, and an object that moves by
8 pixels moves by one cell of the response. Images are float32 RGB, 0 to 255, no mean subtracted,
(N, 3, H, W)."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.networks.correlation import cross_correlation
from esiamfc_lib.networks.first_conv import FirstConv

STRIDE = 8
RESPONSE_SCALE = 1e-3


def channels(full: int, width: float) -> int:
    """``full`` channels scaled by ``width``: a multiple of 8, at least 8; exact at width 1."""
    return full if width == 1 else max(8, 8 * round(full * width / 8))


def conv_block(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0
) -> list[nn.Module]:
    """A convolution, its BatchNorm, ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He initialisation of all convolutions; biases 0, BatchNorm identity. Features then start with
    unit variance, as the activations after BatchNorm, whatever the width: see ``Branch``."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            # The first weights are nearly uniform: the ensemble starts as the plain average.
            nn.init.normal_(layer.weight, std=0.01, generator=generator)


class Stem(nn.Module):
    """conv1–2: the shared part of the ensemble."""

    def __init__(self, width: float = 1.0):
        super().__init__()
        first, second = channels(96, width), channels(256, width)
        self.layers = nn.Sequential(
            FirstConv(3, first, 11, 2),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            *conv_block(first, second, 5, groups=2),
            nn.MaxPool2d(3, 2),
        )
        self.channels = second

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB 0–255 → (N, 256·width, h, w): 12×12 of 127, 28×28 of 255."""
        return self.layers(images)


class Branch(nn.Module):
    """conv3–5 and the bias of the response: what a base tracker has of its own. The response is
    ``scale * cross-correlation + bias`` with a learned bias and a fixed scale, the published 0.001
    at width 1. The correlation sums over all channels, so with fewer of them it and the gradient of
    the loss would shrink; the scale makes up for that: 0.001 · 256 / channels."""

    def __init__(self, width: float = 1.0):
        super().__init__()
        inputs, middle, outputs = (channels(n, width) for n in (256, 384, 256))
        self.layers = nn.Sequential(
            *conv_block(inputs, middle, 3),
            *conv_block(middle, middle, 3, groups=2),
            nn.Conv2d(middle, outputs, 3, groups=2),
        )
        self.bias = nn.Parameter(torch.zeros(1))
        self.scale = RESPONSE_SCALE * 256 / outputs
        self.channels = outputs

    def forward(self, stem_features: Tensor) -> Tensor:
        """(N, 256·width, h, w) stem features → (N, 256·width, h - 6, w - 6): 6×6 or 22×22."""
        return self.layers(stem_features)

    def response(self, z: Tensor, x: Tensor) -> Tensor:
        """Features of exemplar (N or 1, C, h, w) and search region (N, C, H, W) → logits
        (N, H - h + 1, W - w + 1): 17×17 for 255-pixel search images."""
        return self.scale * cross_correlation(z, x) + self.bias


class SiamFC(nn.Module):
    """The baseline: one stem, one branch. 2.34 million parameters at width 1. ``width`` is a factor
    on the number of channels, ``seed`` is of the initial weights."""

    def __init__(self, width: float = 1.0, seed: int = 0):
        super().__init__()
        self.width = width
        self.stem = Stem(width)
        self.branch = Branch(width)
        initialise(self, torch.Generator().manual_seed(seed))

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB 0–255 → (N, 256·width, h, w): 6×6 of 127, 22×22 of 255."""
        return self.branch(self.stem(images))

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """Exemplar (N or 1, 3, 127, 127), search (N, 3, 255, 255) → response (N, 17, 17)."""
        return self.branch.response(self.features(exemplar), self.features(search))


def layer_table(model: SiamFC) -> pd.DataFrame:
    """One row a convolution: its size, its output for exemplar and search region, parameters, those
    of the BatchNorm that follows included."""
    rows, sizes = [], [EXEMPLAR_SIZE, SEARCH_SIZE]
    parts = [("stem", layer) for layer in model.stem.layers]
    for part, layer in parts + [("branch", layer) for layer in model.branch.layers]:
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            # pooling has numbers where a convolution has pairs of them
            kernel, stride = int(np.max(layer.kernel_size)), int(np.max(layer.stride))
            sizes = [(size - kernel) // stride + 1 for size in sizes]
        if isinstance(layer, nn.Conv2d):
            facts = {"layer": f"conv{len(rows) + 1}", "part": part, "kernel": kernel}
            facts |= {"stride": stride, "groups": layer.groups, "channels": layer.out_channels}
            rows.append(facts | {"parameters": 0})
        rows[-1]["parameters"] += sum(parameter.numel() for parameter in layer.parameters())
        rows[-1] |= {"exemplar": sizes[0], "search": sizes[1]}
    return pd.DataFrame(rows)
