"""Small built-in data sets for the tests."""

from pathlib import Path

from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.layouts import Folders
from esiamfc_lib.synthetic.settings import BuiltIn

SMALL = {
    **{"seed": 0, "families": 6, "separation": 1.0, "hues": 1.0, "conflict": 0.0},
    **{"train_videos": 1, "val_videos": 1, "video_frames": 4, "width": 160, "height": 120},
    **{"otb_sequences": 1, "vot_sequences": 1, "got10k_sequences": 1, "test_frames": 4},
}


def settings(**changes) -> BuiltIn:
    """A few small frames a split, but for what is given."""
    return BuiltIn(**{**SMALL, **changes})


def make(root: Path, workers: int = 1, **changes) -> Folders:
    """Build the data set of ``settings(**changes)``."""
    return build(root, settings(**changes), workers)
