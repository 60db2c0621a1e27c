"""BatchNorm of a batch that several processes share."""

import torch
from torch import Tensor, nn

from esiamfc_lib.runtime.devices import summed


class _Sum(torch.autograd.Function):
    """A sum over all processes, and its gradient: the sum of theirs."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        return summed(values)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return summed(gradient)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose batch is the global one, on any device (torch's own needs a GPU). With it,
    many processes that share a batch compute what one process would."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), N of this process → the same, normalised over the N of all processes."""
        if not self.training:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            values = x.float()
            # In two steps, as the variance is lost to rounding in "mean square less squared mean".
            count = values.new_tensor([values.numel() / values.shape[1]])
            total = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count]))
            mean, n = total[:-1] / total[-1].detach(), total[-1].detach()
            centred = values - mean[:, None, None]
            variance = _Sum.apply((centred * centred).sum((0, 2, 3))) / n
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * n / (n - 1), self.momentum)
                self.num_batches_tracked += 1
            scale = self.weight * torch.rsqrt(variance + self.eps)
            return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronise_norms(module: nn.Module) -> None:
    """Make every BatchNorm of a module see the global batch, in place; names stay the same."""
    for layer in module.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SyncBatchNorm2d
