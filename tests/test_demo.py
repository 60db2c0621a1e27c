"""The demo: its files are those that were made, and it tracks, writes and says what to try next."""

import json
import re

import cv2
import numpy as np
import pytest

from esiamfc_lib import cli
from esiamfc_lib.commands import demo
from esiamfc_lib.data.geometry import iou
from esiamfc_lib.networks.checkpoints import load
from esiamfc_lib.runtime.files import file_digest
from esiamfc_lib.tracking import video

ABOUT = json.loads((demo.DEMO / demo.ABOUT).read_text("utf-8"))
FEW = 12  # frames


def test_the_files_are_those_that_were_made(root):
    for part, name in (("weights", demo.WEIGHTS), ("clip", demo.CLIP)):
        assert ABOUT[part]["file"] == name
        assert ABOUT[part]["sha256"] == file_digest(demo.DEMO / name)
    model, header = load(demo.DEMO / demo.WEIGHTS)
    assert header["licence"] == ABOUT["licence"] == "MIT"
    assert header["source"] == ABOUT["weights"]["source"] and model.k > 1
    pictures = root / "docs/pictures/demo.gif"
    sizes = [file.stat().st_size for file in (demo.DEMO / demo.CLIP, pictures)]
    assert sizes[0] < 1e6 and sizes[1] < 1.5e6


def test_the_clip_is_the_scene_of_its_seed_and_no_profile_trains_with_that(root):
    from tools import demo as maker

    assert (ABOUT["clip"]["seed"], ABOUT["clip"]["scene"]) == (maker.SEED, maker.SCENE)
    for profile in (root / "notebooks/profiles").glob("*.yaml"):
        assert f"seed: {maker.SEED}" not in profile.read_text("utf-8")
    drawn = maker.scene()
    frames = list(video.open_video(str(demo.DEMO / demo.CLIP)).frames)
    assert len(frames) == len(ABOUT["clip"]["truth"]) == maker.FRAMES
    for t in (0, 57):
        image, truth = drawn.frame(t)
        assert ABOUT["clip"]["truth"][t] == [each.box.tolist() for each in truth]
        assert np.abs(image.astype(int) - frames[t]).mean() < 12  # after the encoder


@pytest.fixture
def short(monkeypatch):
    """The clip's first frames alone."""
    whole = video.open_video

    def few(name):
        clip = whole(name)
        frames = (frame for frame, _ in zip(clip.frames, range(FEW), strict=False))
        return video.Source(frames, FEW, clip.fps, clip.path)

    monkeypatch.setattr(video, "open_video", few)
    content = json.dumps({"clip": ABOUT["clip"] | {"truth": ABOUT["clip"]["truth"][:FEW]}})
    monkeypatch.setattr(demo, "_about", lambda: json.loads(content)["clip"])


def test_the_demo(short, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo"]) == 0
    said = capsys.readouterr().out
    overlap = float(re.search(rf"{FEW} frames, mean overlap .*?([\d.]+) \(", said)[1])
    rows = np.loadtxt("esiamfc_demo/mot.txt", delimiter=",")
    boxes = rows[:, 2:6].reshape(FEW, -1, 4) - (1, 1, 0, 0)
    truth = np.array(ABOUT["clip"]["truth"][:FEW])
    assert overlap == pytest.approx(iou(boxes[1:], truth[1:]).mean(), abs=0.01)
    assert overlap > 0.5
    assert int(cv2.VideoCapture("esiamfc_demo/tracked.mp4").get(cv2.CAP_PROP_FRAME_COUNT)) == FEW
    for hint in ("esiamfc track VIDEO", "Tracker.load(", "esiamfc run", "notebooks"):
        assert hint in said
    weights = re.search(r"--weights (\S+)", said)[1]
    assert file_digest(weights) == ABOUT["weights"]["sha256"]


def test_a_file_of_the_user_is_never_replaced(short, tmp_path, capsys):
    (tmp_path / demo.WEIGHTS).write_text("mine")
    assert cli.main(["demo", "--out", str(tmp_path)]) == 2
    assert "is another file than the demo's" in capsys.readouterr().err
    assert (tmp_path / demo.WEIGHTS).read_text() == "mine"
