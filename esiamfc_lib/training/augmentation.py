"""Augmentation of training pairs, on the device and for the whole batch in one step.

Every pair's draw is a pure function of (seed, pair number), like the pair itself.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.training.pairs import PairBatch, uniform

LUMINANCE = (0.299, 0.587, 0.114)
BLUR_TAPS = 7
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
        blur: share of images blurred.
        blur_sigma: largest blur, pixels.
        brightness, contrast, colour: largest relative change of level, of contrast about the
            image's mean, and of each channel; each image by itself.
    """

    search_size: int = SEARCH_SIZE
    translation: float = 0.0
    stretch: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 2.0
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0

    @property
    def margin(self) -> int:
        """Pixels around the exemplar that stretching needs (``PairDataset(margin=...)``)."""
        return int(np.ceil(self.stretch * EXEMPLAR_SIZE / 2)) if self.stretch else 0


PAPER = Augmentation(search_size=239, translation=8.0, stretch=0.05, grey=0.25)
AUGMENTATIONS = {"none": Augmentation(), "paper": PAPER}


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
    draws = uniform(seed ^ STREAM, batch.number.cpu().numpy(), 20)
    u = torch.from_numpy(2 * draws - 1).to(exemplar.device, torch.float32)  # -1..1
    still = torch.zeros_like(u[:, :2])
    exemplar = resample(exemplar, EXEMPLAR_SIZE, a.stretch * u[:, 0], still)
    search = resample(search, a.search_size, a.stretch * u[:, 1], a.translation * u[:, 2:4])
    if a.grey:
        chosen = u[:, 4] < 2 * a.grey - 1
        exemplar, search = grey(exemplar, chosen), grey(search, chosen)
    changed = []
    for image, v in ((exemplar, u[:, 5:11]), (search, u[:, 11:17])):
        if a.brightness or a.contrast or a.colour:
            image = relight(
                image, a.brightness * v[:, 0], a.contrast * v[:, 1], a.colour * v[:, 2:5]
            )
        if a.blur:
            width = (v[:, 5] + 1) / 2  # below ``blur``: blurred, the less the smaller
            image = blur(image, torch.where(width < a.blur, width / a.blur * a.blur_sigma, 0.0))
        changed.append(image)
    return changed[0], changed[1]


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


def relight(
    images: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, colour: torch.Tensor
) -> torch.Tensor:
    """Images with changed level (B,), contrast (B,) and channels (B, 3), kept within 0..255."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    gain = (1 + brightness.view(-1, 1, 1, 1)) * (1 + colour.view(-1, 3, 1, 1))
    return ((images - mean) * (1 + contrast.view(-1, 1, 1, 1)) + mean).mul(gain).clamp(0, 255)


def blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Images (B, 3, H, W) under Gaussians of sigma (B,) pixels; 0 leaves an image as it is."""
    chosen = sigma > 0
    if not chosen.any():
        return images
    some, sigma = images[chosen].contiguous(), sigma[chosen]
    count, height, width = len(some), *some.shape[-2:]
    taps = torch.arange(BLUR_TAPS, device=images.device) - BLUR_TAPS // 2
    kernel = torch.exp(-0.5 * (taps / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    half, flat = BLUR_TAPS // 2, some.view(1, 3 * count, height, width)
    flat = F.pad(flat, (half, half, half, half), mode="replicate")
    flat = F.conv2d(flat, kernel.view(3 * count, 1, 1, BLUR_TAPS), groups=3 * count)
    flat = F.conv2d(flat, kernel.view(3 * count, 1, BLUR_TAPS, 1), groups=3 * count)
    result = images.clone()
    result[chosen] = flat.view(count, 3, height, width)
    return result
