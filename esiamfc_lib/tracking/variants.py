"""What each choice of the tracking loop is worth: the loop with one choice changed at a time.

The choices are those in which public SiamFC trackers differ although they cite the same paper.
``esiamfc evaluate --ablation`` runs them all.
"""

from collections.abc import Callable

import cv2
import numpy as np
import pandas as pd

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import geometry
from esiamfc_lib.tracking.siamfc import SiamFCTracker


class RoundedCrops(SiamFCTracker):
    """Squares are rounded to whole pixels of the frame before they are resized."""

    def _crops(self, image, center, sides, size):
        crops = []
        for side in sides.round().clip(min=1).astype(int):
            # corners in whole pixels, and with them a centre between two where the side is even
            middle = np.array([round(c - (side - 1) / 2) + (side - 1) / 2 for c in center])
            square = geometry.crop(image, middle, side, side)
            crops.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR))
        return np.stack(crops)


class AreaCrops(SiamFCTracker):
    """Squares larger than the crop are shrunk by averaging, which avoids aliasing."""

    def _crops(self, image, center, sides, size):
        crops = []
        for side in sides:
            square = geometry.crop(image, center, side, max(size, round(side)))
            crops.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
        return np.stack(crops)


class SwappedColours(SiamFCTracker):
    """The network, trained in RGB, is given all crops in BGR."""

    def _crops(self, image, center, sides, size):
        return np.ascontiguousarray(super()._crops(image, center, sides, size)[..., ::-1])


class BilinearResponse(SiamFCTracker):
    """The response is up-sampled bilinearly."""

    def _upsampled(self, responses):
        side = responses.shape[1] * self.parameters.response_up
        return np.stack(
            [cv2.resize(r, (side, side), interpolation=cv2.INTER_LINEAR) for r in responses]
        )


class PenaltyOnLogits(SiamFCTracker):
    """The scale penalty multiplies the response with its bias, also where that is negative."""

    def _floor(self):
        return 0.0


# Name → (what is changed, the loop, changed parameters).
VARIANTS: dict[str, tuple[str, Callable[..., SiamFCTracker], dict]] = {
    "as built": ("the paper's parameters", SiamFCTracker, {}),
    "rounded crops": ("crop corners in whole pixels", RoundedCrops, {}),
    "area crops": ("averaging where a crop shrinks", AreaCrops, {}),
    "swapped colours": ("BGR in place of RGB", SwappedColours, {}),
    "bilinear response": ("bilinear in place of bicubic up-sampling", BilinearResponse, {}),
    "no up-sampling": ("response of 17 cells of 8 px", SiamFCTracker, {"response_up": 1}),
    "penalty on logits": ("scale penalty includes the bias", PenaltyOnLogits, {}),
    "no penalty": ("scale penalty 1", SiamFCTracker, {"scale_penalty": 1.0}),
    "scale step 1.02": ("in place of 1.0375", SiamFCTracker, {"scale_step": 1.02}),
    "scale step 1.062": ("in place of 1.0375", SiamFCTracker, {"scale_step": 1.062}),
    "one scale": ("the size never changes", SiamFCTracker, {"scale_num": 1}),
    "no window": ("window influence 0", SiamFCTracker, {"window_influence": 0.0}),
    "strong window": ("window influence 0.35", SiamFCTracker, {"window_influence": 0.35}),
    "moving exemplar": ("exemplar updated by 0.01 a frame", SiamFCTracker, {"exemplar_lr": 0.01}),
}


def parameters(variant: str, tracking: TrackingParameters) -> TrackingParameters:
    """The loop's parameters with those of the variant."""
    return tracking.model_copy(update=VARIANTS[variant][2])


def variant_table(summary: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """One row a variant: its scores, and how far from the loop as it is built.

    Columns: variant, change, success, precision, success_gain, precision_gain, better, worse
    (sequences whose success differs by more than .01), sequences.
    """
    wide = scores.pivot(index="sequence", columns="tracker", values="success")
    gains = wide.sub(wide["as built"], axis=0)
    means = summary.groupby("tracker")[["success", "precision"]].first().loc[list(VARIANTS)]
    table = means.join((means - means.loc["as built"]).add_suffix("_gain"))
    table.insert(0, "change", [change for change, _, _ in VARIANTS.values()])
    table["better"], table["worse"] = (gains > 0.01).sum(), (gains < -0.01).sum()
    return table.rename_axis("variant").reset_index().assign(sequences=len(wide))
