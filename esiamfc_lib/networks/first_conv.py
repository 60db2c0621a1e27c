"""The first convolution, by a way that is faster when a CPU learns in bf16."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FirstConv(nn.Conv2d):
    """conv1, stride 2; in bf16 training on a CPU by way of blocks of 2×2 pixels. The gradient of a
    convolution with three input channels leaves most of a processor's bf16 tiles empty. With each
    2×2 block as twelve channels the same sums are a convolution of stride 1 with a kernel of 6×6
    blocks: the whole step is 6 % (width 1) to 11 % (width 0.25) faster, but not forward alone or in
    fp32."""

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
