"""What each choice of the tracking loop is worth: the loop with one choice changed at a time.

    python -m tools.ablation --root OTB --weights siamfc.safetensors --out DIR

The choices are those in which public SiamFC trackers differ although they cite the same paper.
Run from the repository's root; writes ``ablation.csv`` into DIR, beside the boxes and scores.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import benchmarks, geometry
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.runs import evaluate
from esiamfc_lib.networks import published
from esiamfc_lib.runtime.code import code_digest
from esiamfc_lib.runtime.files import file_digest, writable_folder
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.tracking.spec import TrackerSpec


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


class VariantSpec(TrackerSpec):
    """A SiamFC whose loop is one of ``VARIANTS``: the one with its name."""

    def build(self) -> SiamFCTracker:
        model = published.load_siamfc(self.weights)
        options = {"parameters": self.tracking, "name": self.name, "engine": self.engine(model)}
        return VARIANTS[self.name][1](model, **options)

    def facts(self) -> dict:
        loop = {"variant": self.name, "loop": file_digest(__file__)}
        return super().facts() | loop | {"code": code_digest(TrackerSpec.__module__)}


def specs(weights: Path, precision: str = "fp32") -> list[VariantSpec]:
    """The network of a model file with every variant of the loop."""
    given = {"kind": "siamfc", "weights": str(weights), "precision": precision}
    return [
        VariantSpec(name=name, tracking=TrackingParameters(**changes), **given)
        for name, (_, _, changes) in VARIANTS.items()
    ]


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


def main() -> int:
    """Track with every variant what has no result yet; write and show the table."""
    parser = ArgumentParser(prog="python -m tools.ablation", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--root", required=True, type=Path, metavar="DIR", help="folder of the benchmark")
    add("--benchmark", default="otb2015", choices=benchmarks.READERS, metavar="NAME")
    add("--weights", required=True, type=Path, metavar="FILE", help="of one SiamFC")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    add("--workers", type=int, default=1, help="processes, one thread each (default: 1)")
    add("--limit", type=int, default=0, help="sequences; 0: all")
    args = parser.parse_args()
    try:
        writable_folder(args.out)
        published.load_siamfc(args.weights)
        given = args.benchmark, args.root, args.out, args.workers
        scores = evaluate(specs(args.weights), *given, limit=args.limit)
    except StudyError as error:
        sys.stderr.write(f"ablation: {error}\n")
        return 2
    table = variant_table(pd.read_csv(args.out / "summary.csv"), scores)
    table.to_csv(args.out / "ablation.csv", index=False, lineterminator="\n")
    sys.stdout.write(table.to_string(index=False, float_format="%.4f") + "\n")
    return 0


if __name__ == "__main__":
    # by its full name: worker processes import the specs from there
    from tools import ablation

    sys.exit(ablation.main())
