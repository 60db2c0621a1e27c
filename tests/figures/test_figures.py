"""Figures of the data and of the trainings, drawn from small data."""

import matplotlib.pyplot as plt
import pytest
from mini_vid import make_video

from esiamfc_lib import figures
from esiamfc_lib.data.vid import VID


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
