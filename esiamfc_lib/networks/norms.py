"""BatchNorm that is folded into convolutions, or was."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from esiamfc_lib.errors import StudyError


def folded(model: nn.Module) -> nn.Module:
    """A copy in eval mode with every BatchNorm folded into the convolution before it (exact)."""
    model = copy.deepcopy(model).eval()
    for sequence in [m for m in model.modules() if isinstance(m, nn.Sequential)]:
        for i in range(1, len(sequence)):
            if isinstance(sequence[i], nn.BatchNorm2d):
                sequence[i - 1] = fuse_conv_bn_eval(sequence[i - 1], sequence[i])
                sequence[i] = nn.Identity()
    return model


@torch.no_grad()
def check_norms(model: nn.Module, learn: bool) -> None:
    """A StudyError where BatchNorm is to ``learn`` that was folded into the weights, and leaves its
    input as it is: with the statistics of a batch all activations would change their scale."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    identity = all(
        bool((layer.running_mean == 0).all() and (layer.bias == 0).all())
        and torch.allclose(layer.running_var + layer.eps, layer.weight.square(), rtol=1e-4)
        for layer in norms
    )
    if learn and identity:
        raise StudyError("train_norms: BatchNorm is folded into these weights, set it to false")
