"""What a response should be, and the loss that it learns from."""

import torch
import torch.nn.functional as F
from torch import Tensor

from esiamfc_lib.networks.siamfc import STRIDE


def response_labels(size: int, *, radius: float) -> Tensor:
    """Where the response should be positive: (size, size) float32 of 0 and 1. A cell is positive
    when its distance from the centre is at most ``radius`` pixels of the search image, that is
    ``STRIDE * |u - c| <= radius`` (Bertinetto et al. 2016, equation 4)."""
    offset = STRIDE * (torch.arange(size) - (size - 1) / 2)
    distance = torch.hypot(offset[:, None], offset[None, :])
    return (distance <= radius).float()


def balanced_loss(responses: Tensor, labels: Tensor) -> Tensor:
    """The mean over samples of ``sample_losses``: a scalar."""
    return sample_losses(responses, labels).mean()


def sample_losses(responses: Tensor, labels: Tensor) -> Tensor:
    """Logistic loss in which positives and negatives of a sample count for one half each.
    ``responses`` are (N, H, W) logits, ``labels`` (H, W) or (N, H, W) of 0 and 1. A sample without
    positives (a pair of two different objects) or without negatives weighs all its cells equally.
    The mean over cells of each sample: (N,)."""
    labels = labels.expand_as(responses)
    positives = labels.sum((1, 2), keepdim=True)
    negatives = labels[0].numel() - positives
    both = (positives > 0) & (negatives > 0)
    share = torch.where(both, 0.5, 1.0)
    weights = share * (labels / positives.clamp(min=1) + (1 - labels) / negatives.clamp(min=1))
    losses = F.binary_cross_entropy_with_logits(responses.float(), labels, reduction="none")
    return (weights * losses).sum((1, 2))
