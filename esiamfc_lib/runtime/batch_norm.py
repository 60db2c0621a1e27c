"""BatchNorm of a batch that several processes share."""

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


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
            total = all_reduce(torch.cat([values.sum((0, 2, 3)), count]))
            mean, n = total[:-1] / total[-1].detach(), total[-1].detach()
            centred = values - mean[:, None, None]
            variance = all_reduce((centred * centred).sum((0, 2, 3))) / n
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
