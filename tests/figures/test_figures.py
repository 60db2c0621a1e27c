"""Figures of the data and of the trainings, drawn from small data."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from mini_vid import frame, make_video

from esiamfc_lib import figures
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data.images import write_image
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.data.vid import VID
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.base import record
from esiamfc_lib.tracking.siamfc import SiamFCTracker


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_video_sheet_shows_frames_with_their_boxes(tmp_path):
    for seed, video in enumerate("abc"):
        make_video(tmp_path, video, frames=4, seed=seed)
    figure = figures.video_sheet(VID(tmp_path), count=2, frames=3)
    first = figure.axes[0]
    assert len(figure.axes) == 6
    assert first.get_title() == "frame 0"
    assert len(first.images) == 1
    assert len(first.patches) == 2


@pytest.fixture
def sequence(tmp_path):
    for i in range(5):
        write_image(tmp_path / f"{i}.png", frame(seed=3))
    boxes = np.tile([30.0, 20, 20, 25], (5, 1))
    return Sequence("walk", tuple(str(tmp_path / f"{i}.png") for i in range(5)), boxes)


def test_responses_lie_where_they_look(sequence):
    tracker = SiamFCTracker(SiamFC(0.1, seed=0).eval(), TrackingParameters())
    recorded = record(tracker, sequence, count=3)
    assert [seen.index for seen in recorded] == [1, 2, 4]
    assert all(seen.response.shape == (272, 272) for seen in recorded)
    np.testing.assert_array_equal(recorded[-1].box, tracker.box)
    figure = figures.response_strip(recorded, "SiamFC on walk")
    assert figure.get_suptitle() == "SiamFC on walk"
    for axis, seen in zip(figure.axes, recorded, strict=True):
        x, y, w, h = seen.region
        image, response = axis.images
        assert response.get_extent() == [x - 0.5, x + w - 0.5, y + h - 0.5, y - 0.5]
        assert axis.get_xlim() == (-0.5, image.get_array().shape[1] - 0.5)
        assert len(axis.patches) == 2


def test_strip_shows_frames_from_first_to_last_with_all_boxes(sequence):
    lost = np.full((5, 4), np.nan)
    figure = figures.frame_strip(sequence, {"SiamFC": sequence.boxes + 1, "lost": lost})
    assert [axis.get_title() for axis in figure.axes] == [f"frame {i}" for i in range(1, 6)]
    assert all(len(axis.patches) == 2 for axis in figure.axes)
    assert figure.get_suptitle() == "walk"
    assert [text.get_text() for text in figure.legends[0].texts] == [
        "ground truth",
        "SiamFC",
        "lost",
    ]
