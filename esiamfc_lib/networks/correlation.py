"""Cross-correlation of an exemplar's features with a search region's."""

import torch
from torch import Tensor


def cross_correlation(z: Tensor, x: Tensor) -> Tensor:
    """Slide the exemplar's features over the search region's, sample by sample. All products
    between a cell of the exemplar and a cell of the search region come from one batched matrix
    product; the response is the sum along the shifted diagonals. That is faster than a convolution
    with one group per sample, forward and backward, and runs in float32 whatever the precision of
    the network: the response sums thousands of terms. Exemplar features (N, C, h, w), or (1, C, h,
    w): one exemplar for all, and search features (N, C, H, W) → (N, H - h + 1, W - w + 1) float32.
    """
    n, c, height, width = x.shape
    h, w = z.shape[-2:]
    rows, columns = height - h + 1, width - w + 1
    with torch.autocast(x.device.type, enabled=False):
        kernel = z.float().permute(0, 2, 3, 1).reshape(len(z), h * w, c)
        cells = x.float().permute(0, 2, 3, 1).reshape(n, height * width, c)
        products = (kernel @ cells.transpose(1, 2)).contiguous()  # (N, h*w, H*W)
        cell = height * width
        strides = (h * w * cell, w * cell + width, cell + 1, width, 1)
        return products.as_strided((n, h, w, rows, columns), strides).sum((1, 2))


def correlation(z: Tensor, x: Tensor) -> Tensor:
    """As ``cross_correlation``, for inference: bf16 search features stay bf16. All cells of all
    search regions times the exemplar are then one product of matrices, whose sums over channels are
    made in float32 and rounded to bf16; their sum along the diagonals is float32. ``z`` is of one
    exemplar, (1, C, h, w); ``x`` channels last where it is bf16."""
    if x.dtype == torch.float32:
        return cross_correlation(z, x)
    (n, c, height, width), (h, w) = x.shape, z.shape[-2:]
    rows, columns = height - h + 1, width - w + 1
    kernel = z.to(x.dtype).permute(0, 2, 3, 1).reshape(h * w, c)
    cells = x.permute(0, 2, 3, 1).reshape(n * height * width, c)
    products = (cells @ kernel.T).float()  # (N*H*W, h*w)
    cell = h * w
    strides = (height * width * cell, width * cell, cell, width * cell + w, cell + 1)
    return products.as_strided((n, rows, columns, h, w), strides).sum((3, 4))
