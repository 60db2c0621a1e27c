"""Augmentation of training pairs, on the device and for the whole batch in one step.

Every pair's draw is a pure function of (seed, pair number), like the pair itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from esiamfc_lib.config import TrainingParameters
from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.training.pairs import PairBatch, uniform

LUMINANCE = (0.299, 0.587, 0.114)
# Draws of augmentation are independent of the draws of sampling with the same seed.
STREAM = 0x5EED


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random; the default changes nothing.

    Attributes:
        search_size: side of the search image that the network gets; with 239 it can be shifted by
            up to 8 pixels within the 255 of the crop.
        translation: largest shift of the search image's content, pixels. As in SiamFC's public
            training code the label stays where it is, so keep it within the label's radius.
        stretch: largest relative change of the side of each image.
        grey: share of pairs turned grey, both images alike.
    """

    search_size: int = SEARCH_SIZE
    translation: float = 0.0
    stretch: float = 0.0
    grey: float = 0.0

    @property
    def margin(self) -> int:
        """Pixels around the exemplar that stretching needs (``PairDataset(margin=...)``)."""
        return int(np.ceil(self.stretch * EXEMPLAR_SIZE / 2)) if self.stretch else 0


PAPER = Augmentation(search_size=239, translation=8.0, stretch=0.05, grey=0.25)
AUGMENTATIONS = {"none": Augmentation(), "paper": PAPER}


def margin(parameters: TrainingParameters) -> int:
    """Pixels around the exemplar that the augmentation needs: the ``margin`` of the pairs."""
    return AUGMENTATIONS[parameters.augmentation].margin


def augment(
    batch: PairBatch, augmentation: Augmentation | None = None, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn a batch of uint8 pixels into the network's input.

    Args:
        batch: on the device where the work is to be done.
        augmentation: None changes nothing but the type.
        seed: of the draws.

    Returns:
        exemplar float32 (B, 3, 127, 127) and search float32 (B, 3, s, s), RGB in 0..255,
        s = ``search_size``, channels_last as the batch.
    """
    a = augmentation or Augmentation()
    exemplar, search = batch.exemplar.float(), batch.search.float()
    draws = uniform(seed ^ STREAM, batch.number.cpu().numpy(), 5)
    u = torch.from_numpy(2 * draws - 1).to(exemplar.device, torch.float32)  # -1..1
    still = torch.zeros_like(u[:, :2])
    exemplar = resample(exemplar, EXEMPLAR_SIZE, a.stretch * u[:, 0], still)
    search = resample(search, a.search_size, a.stretch * u[:, 1], a.translation * u[:, 2:4])
    if a.grey:
        chosen = u[:, 4] < 2 * a.grey - 1
        exemplar, search = grey(exemplar, chosen), grey(search, chosen)
    return exemplar, search


def resample(
    images: torch.Tensor, size: int, stretch: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    """The central ``size`` pixels of images (B, 3, S, S), stretched and shifted one by one.

    Args:
        stretch: (B,) relative: at 0.05 a pixel of the result is 1.05 pixels of the image.
        shift: (B, 2) x, y pixels by which the window moves.
    """
    side = images.shape[-1]
    if not (stretch.any() or shift.any()):
        start = (side - size) // 2
        return images[..., start : start + size, start : start + size]
    scale = size / side * (1 + stretch)
    theta = torch.zeros(len(images), 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = 2 * shift / side
    grid = F.affine_grid(theta, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def grey(images: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, H, W) of which the chosen (B,) have three equal channels."""
    weights = torch.tensor(LUMINANCE, device=images.device).view(1, 3, 1, 1)
    return torch.where(chosen.view(-1, 1, 1, 1), (images * weights).sum(1, keepdim=True), images)
