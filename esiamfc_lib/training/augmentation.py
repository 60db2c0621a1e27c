"""Augmentation of training pairs, on the device and for the whole batch in one step.

Every pair's draw is a pure function of (seed, pair number), like the pair itself."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from esiamfc_lib.config import TrainingParameters
from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.training.pairs import PairBatch, uniform

SMALLER = 239  # side of the search image, so that it can be shifted within the 255 of the crop
# Pixels at most, and whether width and height of an image are stretched independently: "reference"
# as in ESiamFC's published code, "paper" is this project's own. The label stays where it is.
SHIFT = {"paper": 8.0, "reference": 3.0}
APART = {"paper": False, "reference": True}
STRETCH = 0.05  # largest relative change of a side of each image
GREY = 0.25  # share of pairs turned grey, both images alike
LUMINANCE = (0.299, 0.587, 0.114)
# Draws of augmentation are independent of the draws of sampling with the same seed.
STREAM = 0x5EED


def margin(parameters: TrainingParameters) -> int:
    """Pixels around the exemplar that stretching needs: ``PairDataset(margin=...)``."""
    return math.ceil(STRETCH * EXEMPLAR_SIZE / 2) if parameters.augmentation != "none" else 0


def augment(batch: PairBatch, *, augmentation: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Turn a batch of uint8 pixels into the network's input, on the device where the batch is.
    ``augmentation`` is ``none``, which changes nothing but the type, ``paper`` or ``reference``.
    Returns exemplar float32 (B, 3, 127, 127) and search float32 (B, 3, s, s), RGB in 0..255, s =
    239 or, with ``none``, 255; channels_last as the batch."""
    exemplar, search = batch.exemplar.float(), batch.search.float()
    if augmentation == "none":
        return middle(exemplar, EXEMPLAR_SIZE), middle(search, SEARCH_SIZE)
    draws = uniform(seed ^ STREAM, batch.number.cpu().numpy(), 7)
    u = torch.from_numpy(2 * draws - 1).to(exemplar.device, torch.float32)  # -1..1
    apart = APART[augmentation]
    z, x = (STRETCH * u[:, sides] for sides in ([0, 5 if apart else 0], [1, 6 if apart else 1]))
    exemplar = resample(exemplar, EXEMPLAR_SIZE, z, torch.zeros_like(z))
    search = resample(search, SMALLER, x, SHIFT[augmentation] * u[:, 2:4])
    chosen = u[:, 4] < 2 * GREY - 1
    return grey(exemplar, chosen), grey(search, chosen)


def middle(images: Tensor, size: int) -> Tensor:
    """The central ``size`` pixels of images (B, 3, S, S)."""
    start = (images.shape[-1] - size) // 2
    return images[..., start : start + size, start : start + size]


def resample(images: Tensor, size: int, stretch: Tensor, shift: Tensor) -> Tensor:
    """The central ``size`` pixels of images (B, 3, S, S), stretched and shifted one by one. At a
    ``stretch`` (B, 2), in x and y, of 0.05 a pixel of the result is 1.05 pixels of the image;
    ``shift`` (B, 2) are the x, y pixels by which the window moves."""
    side = images.shape[-1]
    scale = size / side * (1 + stretch)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, :, :2] = torch.diag_embed(scale)
    theta[:, :, 2] = 2 * shift / side
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def grey(images: Tensor, chosen: Tensor) -> Tensor:
    """Images (B, 3, H, W) of which the chosen (B,) have three equal channels."""
    weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
    return torch.where(chosen.view(-1, 1, 1, 1), (images * weights).sum(1, keepdim=True), images)
