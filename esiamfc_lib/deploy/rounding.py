"""Rounding a layer's weights to int8 so that its output, not each weight, changes least.

Rounding to the nearest step treats every weight alone. It undid fine-tuning here: the published
SiamFC weights were int8 once, so a branch fine-tuned from them differs from the baseline by less
than half a step nearly everywhere, and nearest rounding gave the baseline back, with features 30 %
off. Rounding one input after the other, and letting those still to come make up for the error,
keeps them within 2 % (GPTQ: Frantar et al., ICLR 2023, after LeCun et al., Optimal Brain Damage).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
