"""From a video, a folder or a camera to boxes and an annotated video."""

import io
import json

import cv2
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.commands import track as command
from esiamfc_lib.data import geometry, images
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
    tracked = list(video.track_video(IdentityTracker(), source, [BOX], out))
    assert [boxes.tolist() for boxes, _ in tracked] == [[BOX.tolist()]] * 4
    np.testing.assert_allclose(np.loadtxt(out / "boxes.txt", delimiter=","), [BOX] * 4)
    again = video.open_video(str(out / "tracked.mp4"))
    frames = list(again.frames)
    assert again.total == len(frames) == 4
    assert frames[0].shape == (60, 80, 3)
    # RGB came back as RGB: red is the strongest far from all that is drawn.
    assert frames[0][50, 70, 0] > 150 > frames[0][50, 70, 2]


def test_an_interruption_leaves_whole_files(folder, tmp_path):
    frames = video.track_video(IdentityTracker(), video.open_video(str(folder)), [BOX], tmp_path)
    next(frames)
    next(frames)
    frames.close()
    assert len((tmp_path / "boxes.txt").read_text().splitlines()) == 2
    assert cv2.VideoCapture(str(tmp_path / "tracked.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


class Drifting(IdentityTracker):
    """Moves by a step of its own a frame; counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.network = []

    def update(self, image):
        self.network.append(image.shape)
        self.box = self.box + np.array([self.box[0] / 10, 1, 0, 0])
        return self.box


def test_several_objects_in_one_pass(folder, tmp_path):
    read = []
    source = video.open_video(str(folder))
    frames = (read.append(0) or image for image in source.frames)
    tracker, other = Drifting(), np.array([40.0, 30, 12, 9])
    source = video.Source(frames, 4)
    found = [boxes for boxes, _ in video.track_video(tracker, source, [BOX, other], tmp_path)]
    assert len(read) == 4  # each frame once
    assert len(tracker.network) == 6  # two updates in three frames, of one network
    assert not hasattr(tracker, "box")  # the one that is given is left alone
    np.testing.assert_allclose(
        found[1], np.stack([BOX, other]) + np.array([[2, 1, 0, 0], [4, 1, 0, 0]])
    )
    rows = np.loadtxt(tmp_path / "mot.txt", delimiter=",")
    assert rows[:, :2].tolist() == [[frame, i] for frame in (1, 2, 3, 4) for i in (1, 2)]
    np.testing.assert_allclose(
        rows[:, 2:6], geometry.to_one_based(np.concatenate(found)), atol=0.005
    )
    assert (rows[:, 6:] == [1, -1, -1, -1]).all()


def test_the_formats_say_the_same():
    boxes = np.arange(24.0).reshape(3, 2, 4) + 0.125
    table = pd.read_csv(io.StringIO(video.boxes_text(boxes, "boxes.csv")))
    assert list(table) == ["frame", "object", "x", "y", "w", "h"]
    assert table["frame"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["object"].tolist() == [1, 2] * 3
    np.testing.assert_allclose(table[list("xywh")], boxes.reshape(-1, 4), atol=0.006)
    records = pd.DataFrame(json.loads(video.boxes_text(boxes, "boxes.json")))
    np.testing.assert_allclose(records, table, atol=0.011)
    lines = video.boxes_text(boxes[:, :1], "boxes.txt").splitlines()
    assert lines[1] == "8.12,9.12,10.12,11.12"
    assert (
        video.boxes_text(boxes, "mot.txt").splitlines()[3]
        == "2,2,13.12,14.12,14.12,15.12,1,-1,-1,-1"
    )


def test_another_format_takes_the_place_of_the_former_one(folder, tmp_path):
    def track(*given):
        source = video.open_video(str(folder))
        list(video.track_video(IdentityTracker(), source, [BOX], tmp_path, *given))
        return sorted(path.name for path in tmp_path.iterdir() if path.is_file())

    assert track() == ["boxes.txt", "tracked.mp4"]
    assert track("tracked.mp4", "json") == ["boxes.json", "tracked.mp4"]
    (tmp_path / "tracked.mp4").unlink()
    with pytest.raises(StudyError, match=r"boxes\.json and .*tracked\.mp4 is no result"):
        track("tracked.mp4", "csv")
    (tmp_path / "boxes.json").unlink()
    with pytest.raises(StudyError, match=r"the name of a video ends in \.mp4, \.webm"):
        track("tracked.gif")
    with pytest.raises(StudyError, match="txt has room for one object, not for 2"):
        source = video.open_video(str(folder))
        next(video.track_video(IdentityTracker(), source, [BOX, BOX], tmp_path, form="txt"))
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_where_the_time_went():
    laps = video.Laps()
    assert laps.end("reading") >= 0
    laps.update({"reading": 1 - laps["reading"], "tracking": 3})
    expected = "frames in 4.0 s (60.0 frames/s): tracking 75%, reading 25%"
    assert laps.sentence(240, 240) == f"240 {expected}"
    laps["showing"] = 1e-9
    assert laps.sentence(240, 300) == f"240 of 300 {expected}"


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
        list(video.track_video(IdentityTracker(), video.Source([]), [BOX], tmp_path / "out"))


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
