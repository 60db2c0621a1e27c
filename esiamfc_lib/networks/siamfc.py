"""The networks: stem, branch, SiamFC, cluster weights, ESiamFC; and the loss they learn from.

Fully convolutional AlexNet (Bertinetto et al. 2016, table 1), cut in two: the **stem** (conv1–2),
which all trackers of the ensemble share, and the **branch** (conv3–5), which every base tracker
has of its own. No layer is padded, so the total stride of 8 holds everywhere and an object that
moves by 8 pixels moves by one cell of the response.

Images are float32 RGB, 0 to 255, no mean subtracted, (N, 3, H, W).
"""

import copy

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from esiamfc_lib.errors import StudyError

EXEMPLAR_SIZE = 127
SEARCH_SIZE = 255
STRIDE = 8
RESPONSE_SCALE = 1e-3


def channels(full: int, width: float) -> int:
    """``full`` channels scaled by ``width``: a multiple of 8, at least 8; exact at width 1."""
    return full if width == 1 else max(8, 8 * round(full * width / 8))


def _block(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, padding: int = 0
) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """He initialisation of all convolutions; biases 0, BatchNorm identity.

    With unit-variance activations after BatchNorm, features then start with unit variance too,
    whatever the width, which is what ``Branch.scale`` counts on.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_in", nonlinearity="relu", generator=generator
            )
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        elif isinstance(layer, nn.Linear):
            # The first weights are nearly uniform: the ensemble starts as the plain average.
            nn.init.normal_(layer.weight, std=0.01, generator=generator)


def cross_correlation(z: Tensor, x: Tensor) -> Tensor:
    """Slide the exemplar's features over the search region's, sample by sample.

    All products between a cell of the exemplar and a cell of the search region come from one
    batched matrix product; the response is the sum along the shifted diagonals. That is faster
    than a convolution with one group per sample, forward and backward, and runs in float32
    whatever the precision of the network: the response sums thousands of terms.

    Args:
        z: (N, C, h, w) exemplar features, or (1, C, h, w): one exemplar for all.
        x: (N, C, H, W) search features.

    Returns:
        (N, H - h + 1, W - w + 1) float32.
    """
    n, c, height, width = x.shape
    h, w = z.shape[-2:]
    rows, columns = height - h + 1, width - w + 1
    with torch.autocast(x.device.type, enabled=False):
        kernel = z.float().permute(0, 2, 3, 1).reshape(len(z), h * w, c)
        cells = x.float().permute(0, 2, 3, 1).reshape(n, height * width, c)
        products = (kernel @ cells.transpose(1, 2)).contiguous()  # (N, h*w, H*W)
        per_sample, per_cell = h * w * height * width, height * width
        diagonals = products.as_strided(
            (n, h, w, rows, columns), (per_sample, w * per_cell + width, per_cell + 1, width, 1)
        )
        return diagonals.sum((1, 2))


def correlation(z: Tensor, x: Tensor) -> Tensor:
    """As ``cross_correlation``, for inference: bf16 search features stay bf16.

    All cells of all search regions times the exemplar are then one product of matrices, whose sums
    over channels are made in float32 and rounded to bf16; their sum along the diagonals is float32.

    Args:
        z: (1, C, h, w) exemplar features.
        x: (N, C, H, W) search features, channels last where they are bf16.
    """
    if x.dtype == torch.float32:
        return cross_correlation(z, x)
    (n, c, height, width), (h, w) = x.shape, z.shape[-2:]
    rows, columns = height - h + 1, width - w + 1
    kernel = z.to(x.dtype).permute(0, 2, 3, 1).reshape(h * w, c)
    cells = x.permute(0, 2, 3, 1).reshape(n * height * width, c)
    products = (cells @ kernel.T).float()  # (N*H*W, h*w)
    cell = h * w
    diagonals = products.as_strided(
        (n, rows, columns, h, w),
        (height * width * cell, width * cell, cell, width * cell + w, cell + 1),
    )
    return diagonals.sum((3, 4))


class FirstConv(nn.Conv2d):
    """conv1, stride 2; in bf16 training on a CPU by way of blocks of 2×2 pixels.

    The gradient of a convolution with three input channels leaves most of a processor's bf16 tiles
    empty. With the pixels of each 2×2 block as twelve channels the same sums are a convolution of
    stride 1 with a kernel of 6×6 blocks, which makes the whole step 6 % (width 1) to 11 % (width
    0.25) faster. Forward alone and in fp32 the plain form is the faster one.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) → (N, O, h, w), by either way."""
        learning = torch.is_grad_enabled() and self.weight.requires_grad
        if learning and images.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return self.by_blocks(images)
        return super().forward(images)

    def by_blocks(self, images: Tensor) -> Tensor:
        """The same convolution on blocks of pixels; odd sizes are filled up with zeros."""
        height, width = images.shape[-2:]
        blocks = F.pixel_unshuffle(F.pad(images, (0, width % 2, 0, height % 2)), 2)
        kernel = F.pixel_unshuffle(F.pad(self.weight, (0, 1, 0, 1)), 2)
        return F.conv2d(blocks, kernel, self.bias)


class Stem(nn.Module):
    """conv1–2: the shared part of the ensemble.

    Args:
        width: factor on the number of channels.
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        first, second = channels(96, width), channels(256, width)
        self.layers = nn.Sequential(
            FirstConv(3, first, 11, 2),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2),
            *_block(first, second, 5, groups=2),
            nn.MaxPool2d(3, 2),
        )
        self.channels = second

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB 0–255 → (N, 256·width, h, w): 12×12 of 127, 28×28 of 255."""
        return self.layers(images)


class Branch(nn.Module):
    """conv3–5 and the bias of the response: what a base tracker has of its own.

    The response is ``scale * cross-correlation + bias``, with a fixed scale and a learned bias. At
    width 1 the scale is the published 0.001. The correlation sums over all channels, so with
    fewer of them it shrinks in proportion, and so would the gradient of the loss; the scale makes
    up for that: 0.001 · 256 / channels.
    """

    def __init__(self, width: float = 1.0):
        super().__init__()
        inputs, middle, outputs = (channels(n, width) for n in (256, 384, 256))
        self.layers = nn.Sequential(
            *_block(inputs, middle, 3),
            *_block(middle, middle, 3, groups=2),
            nn.Conv2d(middle, outputs, 3, groups=2),
        )
        self.bias = nn.Parameter(torch.zeros(1))
        self.scale = RESPONSE_SCALE * 256 / outputs
        self.channels = outputs

    def forward(self, stem_features: Tensor) -> Tensor:
        """(N, 256·width, h, w) stem features → (N, 256·width, h - 6, w - 6): 6×6 or 22×22."""
        return self.layers(stem_features)

    def response(self, z: Tensor, x: Tensor) -> Tensor:
        """Response of search features ``x`` (N, C, H, W) to exemplar features ``z``.

        ``z`` is (N, C, h, w) or (1, C, h, w). Returns (N, H - h + 1, W - w + 1) logits, 17×17 for
        255-pixel search images.
        """
        return self.scale * cross_correlation(z, x) + self.bias


class SiamFC(nn.Module):
    """The baseline: one stem, one branch. 2.34 million parameters at width 1.

    Args:
        width: factor on the number of channels.
        seed: of the initial weights.
    """

    def __init__(self, width: float = 1.0, seed: int = 0):
        super().__init__()
        self.width = width
        self.stem = Stem(width)
        self.branch = Branch(width)
        initialise(self, torch.Generator().manual_seed(seed))

    def features(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) RGB 0–255 → (N, 256·width, h, w): 6×6 of 127, 22×22 of 255."""
        return self.branch(self.stem(images))

    def response(self, z: Tensor, x: Tensor) -> Tensor:
        """Features of exemplar (N or 1, C, 6, 6) and search (N, C, 22, 22) → (N, 17, 17) logits."""
        return self.branch.response(z, x)

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """Exemplar (N or 1, 3, 127, 127), search (N, 3, 255, 255) → response (N, 17, 17)."""
        return self.response(self.features(exemplar), self.features(search))


class ClusterWeights(nn.Module):
    """The fusion: how much each branch counts, from the exemplar alone.

    7.38 million parameters at width 1 and k = 6.
    """

    def __init__(self, k: int, width: float = 1.0):
        super().__init__()
        sizes = [channels(n, width) for n in (256, 384, 512, 1024)]
        self.layers = nn.Sequential(
            *_block(sizes[0], sizes[1], 3, stride=2, padding=1),  # 12×12 → 6×6
            *_block(sizes[1], sizes[2], 3, stride=2, padding=1),  # → 3×3
            nn.Conv2d(sizes[2], sizes[3], 3),
            nn.ReLU(inplace=True),
        )  # → 1×1
        self.linear = nn.Linear(sizes[3], k, bias=False)
        self.temperature = 1.0

    def logits(self, stem_features: Tensor) -> Tensor:
        """(N, 256·width, 12, 12) stem features of the exemplar → (N, k)."""
        return self.linear(self.layers(stem_features).mean((2, 3))).float()

    def forward(self, stem_features: Tensor) -> Tensor:
        """(N, 256·width, 12, 12) stem features of the exemplar → (N, k) weights that sum to 1."""
        return torch.softmax(self.logits(stem_features) / self.temperature, dim=1)


class ESiamFC(nn.Module):
    """The ensemble: one stem, k branches, and the module that weighs them.

    Args:
        k: number of branches.
        width: factor on the number of channels.
        seed: of the initial weights.
    """

    def __init__(self, k: int, width: float = 1.0, seed: int = 0):
        super().__init__()
        self.k, self.width = k, width
        self.stem = Stem(width)
        self.branches = nn.ModuleList(Branch(width) for _ in range(k))
        self.weights = ClusterWeights(k, width)
        initialise(self, torch.Generator().manual_seed(seed))

    @classmethod
    def assembled(cls, base_trackers: list[SiamFC], seed: int = 0) -> "ESiamFC":
        """An ensemble of copies of the base trackers; its cluster weights are new.

        Raises:
            StudyError: the base trackers do not share one stem.
        """
        model = cls(len(base_trackers), base_trackers[0].width, seed)
        stem = base_trackers[0].stem.state_dict()
        for j, tracker in enumerate(base_trackers):
            own = tracker.stem.state_dict()
            if not all(torch.equal(stem[name], own[name]) for name in stem):
                raise StudyError(
                    f"base trackers 0 and {j} have different stems: all branches of "
                    "an ensemble must come from one baseline"
                )
            model.branches[j].load_state_dict(tracker.branch.state_dict())
        model.stem.load_state_dict(stem)
        return model

    def base_tracker(self, j: int) -> SiamFC:
        """Branch ``j`` on the shared stem, as a SiamFC of its own (copies)."""
        model = SiamFC(self.width)
        model.stem.load_state_dict(self.stem.state_dict())
        model.branch.load_state_dict(self.branches[j].state_dict())
        return model.train(self.training)

    def responses(self, z: Tensor, x: Tensor) -> Tensor:
        """Response of every branch: (N, k, 17, 17).

        ``z`` and ``x`` are the stem's features of exemplar (N or 1, C, 12, 12) and search region
        (N, C, 28, 28).
        """
        return torch.stack([branch.response(branch(z), branch(x)) for branch in self.branches], 1)

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        """Exemplar (N or 1, 3, 127, 127), search (N, 3, 255, 255) → fused response (N, 17, 17)."""
        z = self.stem(exemplar)
        return fuse(self.responses(z, self.stem(search)), self.weights(z))


def branches_of(model: SiamFC | ESiamFC) -> list[Branch]:
    """All branches of a network; a SiamFC has one."""
    return list(model.branches) if isinstance(model, ESiamFC) else [model.branch]


def fuse(responses: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the branches: (N, k, H, W) and (N or 1, k) → (N, H, W)."""
    return (responses * weights[:, :, None, None]).sum(1)


def response_labels(size: int, radius: float = 16.0, stride: int = STRIDE) -> Tensor:
    """Where the response should be positive: (size, size) float32 of 0 and 1.

    A cell is positive when its distance from the centre is at most ``radius`` pixels of the search
    image, that is ``stride * |u - c| <= radius`` (Bertinetto et al. 2016, equation 4).
    """
    offset = stride * (torch.arange(size) - (size - 1) / 2)
    distance = torch.hypot(offset[:, None], offset[None, :])
    return (distance <= radius).float()


def balanced_loss(responses: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss in which positives and negatives of a sample count for one half each.

    Args:
        responses: (N, H, W) logits.
        labels: (H, W) or (N, H, W) of 0 and 1. A sample without positives (a pair of two different
            objects) or without negatives weighs all its cells equally.

    Returns:
        The mean over cells of each sample, then over samples: a scalar.
    """
    labels = labels.expand_as(responses)
    positives = labels.sum((1, 2), keepdim=True)
    negatives = labels[0].numel() - positives
    both = (positives > 0) & (negatives > 0)
    share = torch.where(both, 0.5, 1.0)
    weights = share * (labels / positives.clamp(min=1) + (1 - labels) / negatives.clamp(min=1))
    losses = F.binary_cross_entropy_with_logits(responses.float(), labels, reduction="none")
    return (weights * losses).sum((1, 2)).mean()


def folded(model: nn.Module) -> nn.Module:
    """A copy in eval mode with every BatchNorm folded into the convolution before it (exact)."""
    model = copy.deepcopy(model).eval()
    for sequence in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for i in range(1, len(sequence)):
            if isinstance(sequence[i], nn.BatchNorm2d):
                sequence[i - 1] = fuse_conv_bn_eval(sequence[i - 1], sequence[i])
                sequence[i] = nn.Identity()
    return model


def summary(model: SiamFC) -> pd.DataFrame:
    """One row a convolution: its size, its output for exemplar and search region, parameters.

    Parameters of the BatchNorm that follows count with their convolution.
    """
    layers = [layer for part in (model.stem.layers, model.branch.layers) for layer in part]
    rows, sizes = [], [EXEMPLAR_SIZE, SEARCH_SIZE]
    for layer in layers:
        count = sum(parameter.numel() for parameter in layer.parameters())
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            kernel, stride = (
                v[0] if isinstance(v, tuple) else v for v in (layer.kernel_size, layer.stride)
            )
            sizes = [(size - kernel) // stride + 1 for size in sizes]
        if isinstance(layer, nn.Conv2d):
            rows.append(
                {
                    "layer": f"conv{len(rows) + 1}",
                    "part": "stem" if len(rows) < 2 else "branch",
                    "kernel": kernel,
                    "stride": stride,
                    "groups": layer.groups,
                    "channels": layer.out_channels,
                    "parameters": count,
                }
            )
        elif count:
            rows[-1]["parameters"] += count
        rows[-1] |= {"exemplar": sizes[0], "search": sizes[1]}
    return pd.DataFrame(rows)
