"""The frontier: its settings, its numbers, its figure."""

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.analysis.frontier import chosen_top, frontier
from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures import scores
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.tracking.spec import TrackerSpec


def test_every_setting_has_a_row_and_a_point(tmp_path):
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (15, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    for i in range(4):
        images.write_image(tmp_path / f"{i}.jpg", np.roll(texture, 2 * i, axis=1))
    frames = tuple(str(tmp_path / f"{i}.jpg") for i in range(4))
    boxes = np.array([60.0, 40, 30, 20]) + np.arange(4)[:, None] * np.array([2, 0, 0, 0])
    sequence = Sequence("shift", frames, boxes)
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ESiamFC(3, 0.125, seed=1))
    spec = TrackerSpec(name="x", kind="ensemble", weights=str(weights))
    table = frontier(spec, [sequence], tops=(1, 2, 3), thresholds=(1.0,), local_scales=(0, 5))
    assert len(table) == 2 * 5
    assert table["cut"].tolist() == ["all", "top", "top", "top", "threshold"] * 2
    whole = table[table["local_scales"] == 0].set_index(["cut", "value"])
    assert whole.loc[("top", 3.0), "success"] == whole.loc[("all", 0.0), "success"]
    assert whole.loc[("top", 1.0), "branches"] == whole.loc[("threshold", 1.0), "branches"] == 1
    assert whole.loc[("top", 1.0), "success"] == whole.loc[("threshold", 1.0), "success"]
    assert (table["fps"] > 0).all()
    axis = scores.frontier(table).axes[0]
    assert len(axis.texts) == len(table)
    low, high = axis.get_ylim()
    assert high - low >= 0.05 - 1e-9  # a few thousandths do not look like a difference
    assert low < table["success"].min() <= table["success"].max() < high
    with pytest.raises(StudyError, match="ensemble with cluster weights"):
        frontier(spec.model_copy(update={"fusion": "uniform"}), [sequence])
    with pytest.raises(StudyError, match="on some sequences"):
        frontier(spec, [])


@pytest.mark.parametrize(
    "successes, top", [((0.5, 0.595, 0.61), 2), ((0.589, 0.595, 0.60), 2), ((0.5, 0.5, 0.5), 0),
                       ((0.592, 0.5, 0.5), 1)],
)  # fmt: skip
def test_as_few_branches_as_lose_little_are_chosen(successes, top):
    rows = [("all", 0.0, 0, 0.601), ("threshold", 0.5, 0, 0.9), ("top", 1.0, 5, 0.9)]
    rows += [("top", float(m), 0, s) for m, s in zip((1, 2, 3), successes, strict=True)]
    table = pd.DataFrame(rows, columns=["cut", "value", "local_scales", "success"])
    assert chosen_top(table) == top
