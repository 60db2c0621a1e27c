"""BatchNorm that is folded into convolutions, or was: how to fold it, and how to bring it back."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.siamfc import SiamFC


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
def has_identity_norms(model: nn.Module) -> bool:
    """Whether every BatchNorm leaves its input as it is, as after folding."""
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    return all(
        bool((layer.running_mean == 0).all() and (layer.bias == 0).all())
        and torch.allclose(layer.running_var + layer.eps, layer.weight.square(), rtol=1e-4)
        for layer in norms
    )


@torch.no_grad()
def calibrate_norms(model: SiamFC | ESiamFC, images: Iterable[Tensor]) -> None:
    """Give identity BatchNorm layers the statistics of real activations, in place. The network,
    left in eval mode, stays the same function: what a layer takes away by its new statistics, its
    factor and offset give back. Needed before a network with folded BatchNorm trains with BatchNorm
    in training mode: without it, all activations would change scale. ``images`` are batches float32
    (N, 3, H, W), some hundred images in all.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    sums = {layer: torch.zeros(3, layer.num_features, dtype=torch.float64) for layer in norms}

    def watch(layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].double().transpose(0, 1).flatten(1).cpu()
        count = torch.full_like(values[:, 0], values.shape[1])
        sums[layer] += torch.stack([count, values.sum(1), (values * values).sum(1)])

    handles = [layer.register_forward_pre_hook(watch) for layer in norms]
    model.eval()
    for batch in images:
        for branch in branches_of(model):
            branch(model.stem(batch))
    for handle in handles:
        handle.remove()
    for layer, (count, total, squares) in sums.items():
        if count[0] == 0:
            continue
        mean = total / count
        variance = squares / count - mean * mean
        factor = layer.weight.double() / (layer.running_var.double() + layer.eps).sqrt()
        layer.bias += (factor * (mean - layer.running_mean)).to(layer.bias)
        layer.weight.copy_(factor * (variance + layer.eps).sqrt())
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
