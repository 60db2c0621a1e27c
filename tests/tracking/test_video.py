"""From a video, a folder or a camera to boxes and an annotated video."""

import cv2
import numpy as np
import pytest

from esiamfc_lib.commands import track as command
from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking import video
from esiamfc_lib.tracking.base import IdentityTracker

BOX = np.array([20.0, 10, 30, 15])


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    for i in range(4):
        image = np.full((60, 80, 3), (200, 40 * i, 0), np.uint8)
        images.write_image(folder / f"{i:03d}.jpg", image)
    (folder / "notes.txt").write_text("not a frame")
    return folder


def test_a_folder_becomes_boxes_and_a_video(folder, tmp_path):
    out = tmp_path / "out"
    source = video.open_video(str(folder))
    assert source.total == 4
    boxes = list(video.track_video(IdentityTracker(), source, BOX, out))
    assert len(boxes) == 4
    np.testing.assert_allclose(np.loadtxt(out / "boxes.txt", delimiter=","), [BOX] * 4)
    again = video.open_video(str(out / "tracked.mp4"))
    frames = list(again.frames)
    assert again.total == len(frames) == 4
    assert frames[0].shape == (60, 80, 3)
    # RGB came back as RGB: red is the strongest far from all that is drawn.
    assert frames[0][50, 70, 0] > 150 > frames[0][50, 70, 2]


def test_an_interruption_leaves_whole_files(folder, tmp_path):
    frames = video.track_video(IdentityTracker(), video.open_video(str(folder)), BOX, tmp_path)
    next(frames)
    next(frames)
    frames.close()
    assert len((tmp_path / "boxes.txt").read_text().splitlines()) == 2
    assert cv2.VideoCapture(str(tmp_path / "tracked.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_what_is_drawn():
    image = np.zeros((240, 320, 3), np.uint8)
    plain = video.annotated(image, BOX, None, 10)
    assert not image.any()  # a copy was drawn on
    assert plain[24, 35].tolist() == list(video.BOX_COLOUR)  # lower edge of the box
    bars = video.annotated(image, BOX + 150, np.array([1.0, 0.0]), 10)
    assert bars[25, 60].tolist() == list(video.BAR_COLOUR)  # the full bar of branch 0
    assert bars[36, 60].tolist() == [0, 0, 0]  # the empty bar of branch 1
    undecided = video.annotated(image, BOX + 150, np.array([np.nan, np.nan]), 10)
    assert not undecided[25:40, 60].any()
    video.annotated(image, np.array([-1e12, 5, 1e13, 3]), None, 10)  # no overflow


def test_faults_are_named(folder, tmp_path):
    with pytest.raises(StudyError, match="no video, folder or camera"):
        video.open_video(str(tmp_path / "nothing.mp4"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="no image"):
        video.open_video(str(tmp_path / "empty"))
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(StudyError, match="cannot be opened"):
        video.open_video(str(tmp_path / "text.mp4"))
    with pytest.raises(StudyError, match="no frame"):
        list(video.track_video(IdentityTracker(), video.Source([]), BOX, tmp_path / "out"))


def run_command(*arguments) -> int:
    from argparse import ArgumentParser

    parser = ArgumentParser()
    command.arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command(folder, tmp_path, capsys):
    from esiamfc_lib.networks import checkpoints
    from esiamfc_lib.networks.esiamfc import ESiamFC

    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ESiamFC(2, 0.125))
    out = tmp_path / "out"
    given = [folder, "--weights", weights, "--out", out]
    assert run_command(*given, "--box", "20,10,30,15") == 0
    assert "4 frames" in capsys.readouterr().out
    assert np.loadtxt(out / "boxes.txt", delimiter=",").shape == (4, 4)
    with pytest.raises(StudyError, match="--box a,b"):
        run_command(*given, "--box", "a,b")
    with pytest.raises(StudyError, match="four finite numbers"):
        run_command(*given, "--box", "nan,1,2,3")
    with pytest.raises(StudyError, match="one tracker"):
        run_command(*given, "--box", "20,10,30,15", "--fusion", "uniform", "max")
