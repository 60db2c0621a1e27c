"""The tracker of users: the README's lines as they stand there, and what they promise."""

import copy
import re
import subprocess
import sys

import got10k.trackers
import numpy as np
import pytest
from PIL import Image

from esiamfc_lib import Tracker
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data.images import write_image
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker

BOX = (40.5, 30, 30, 20)


@pytest.fixture
def frames():
    """A field of dots that moves by (3, 1) pixels a frame."""
    dots = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    field = dots.repeat(4, axis=0).repeat(4, axis=1)
    return [np.ascontiguousarray(field[9 - i : 129 - i, 9 - 3 * i : 169 - 3 * i]) for i in range(3)]


@pytest.fixture
def files(tmp_path):
    networks = {"siamfc": SiamFC(0.125, seed=1), "esiamfc": ESiamFC(3, 0.125, seed=1)}
    for name, network in networks.items():
        checkpoints.save(tmp_path / f"{name}.safetensors", network)
    return {name: tmp_path / f"{name}.safetensors" for name in networks}


def test_the_lines_of_the_readme(root, files, frames, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text("utf-8"), re.DOTALL)
    (lines,) = [block for block in blocks if "import Tracker" in block]
    assert len([line for line in lines.splitlines() if line]) == 4
    monkeypatch.chdir(files["esiamfc"].parent)
    x, y, w, h = BOX
    seen = {"frame": frames[0], "x": x, "y": y, "w": w, "h": h}
    exec(lines, seen)
    tracker = seen["tracker"]
    assert seen["box"].shape == (4,) and tracker.response.shape == (272, 272)
    assert tracker.weights.shape == (3,) and tracker.weights.sum() == pytest.approx(1)
    assert f"ESiamFC of 3 branches, {tracker.precision} on {tracker.device} (" in repr(tracker)


@pytest.mark.parametrize("kind", ["siamfc", "esiamfc"])
def test_it_is_the_tracker_of_the_study(kind, files, frames):
    tracker = Tracker.load(files[kind], device="cpu", precision="fp32", tracking={"scale_num": 5})
    model = checkpoints.load(files[kind])[0]
    loop = TrackingParameters(scale_num=5)
    ours = (SiamFCTracker if kind == "siamfc" else ESiamFCTracker)(model, parameters=loop)
    assert tracker.box is tracker.response is tracker.weights is None
    for one in (tracker, ours):
        one.init(frames[0], BOX)
    for frame in frames[1:]:
        assert (tracker.update(frame) == ours.update(frame)).all()
        assert (tracker.response == ours.last_response).all()
        assert (tracker.region == ours.last_region).all() and (tracker.box == ours.box).all()
    assert (tracker.weights is None) == (kind == "siamfc")
    assert (tracker.name, tracker.device, tracker.precision) == (kind, "cpu", "fp32")


def test_colours(files, frames):
    tracker = Tracker.load(files["esiamfc"], device="cpu", precision="fp32")

    def boxes(seen, **colour):
        tracker.init(seen[0], BOX, **colour)
        return [tracker.update(frame).tolist() for frame in seen[1:]]

    expected, weights = boxes(frames), tracker.weights
    pictures = [Image.fromarray(frame) for frame in frames]
    reverse = [frame[..., ::-1] for frame in frames]
    assert boxes(reverse, colour="BGR") == expected and (tracker.weights == weights).all()
    assert boxes(reverse) != expected or (tracker.weights != weights).any()
    assert boxes(pictures) == boxes(pictures, colour="BGR") == expected
    grey = [frame[..., 0] for frame in frames]
    assert boxes(grey, colour="BGR") == boxes(grey)
    with pytest.raises(StudyError, match="colour is RGB or BGR, not 'HSV'"):
        tracker.init(frames[0], BOX, colour="HSV")


def test_a_copy_follows_another_object(files, frames):
    tracker, alone = (Tracker.load(files["esiamfc"], device="cpu") for _ in range(2))
    other = copy.copy(tracker)
    assert other._loop.engine is tracker._loop.engine  # one network in memory
    alone.init(frames[0], BOX)
    tracker.init(frames[0], BOX)
    other.init(frames[0], (80, 60, 20, 20))
    for frame in frames[1:]:
        other.update(frame)
        assert tracker.update(frame).tolist() == alone.update(frame).tolist()
    assert other.box.tolist() != tracker.box.tolist()


def test_it_is_one_of_got10k(files, frames, tmp_path):
    tracker = Tracker.load(files["siamfc"], device="cpu", precision="fp32")
    assert isinstance(tracker, got10k.trackers.Tracker)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, frame in zip(paths, frames, strict=True):
        Image.fromarray(frame).save(path)
    boxes, seconds = tracker.track([str(path) for path in paths], np.array(BOX))
    tracker.init(frames[0], BOX)
    assert boxes.tolist() == [list(BOX), *(tracker.update(frame).tolist() for frame in frames[1:])]
    assert (seconds > 0).all()


@pytest.mark.parametrize(
    ("box", "frame", "sentence"),
    [
        (BOX, "frame.jpg", "a frame is an array or a PIL image, not 'frame.jpg'"),
        (BOX, np.zeros((9, 9, 3)), "a frame is uint8 .*, not float64"),
        ("1,2,3,4", None, "a box is four numbers x, y, w, h, not '1,2,3,4'"),
        ((1, 2, 3), None, "a box is four finite numbers"),
        ((500, 2, 9, 9), None, "none in a frame of 160×120 pixels"),
    ],
)
def test_wrong_input_is_said(box, frame, sentence, files, frames):
    tracker = Tracker.load(files["siamfc"], device="cpu")
    with pytest.raises(StudyError, match="update needs the first frame before it"):
        tracker.update(frames[0])
    with pytest.raises(StudyError, match=sentence):
        tracker.init(frames[0] if frame is None else frame, box)


def test_wrong_files_and_options_are_said(files, tmp_path):
    with pytest.raises(StudyError, match="no such file"):
        Tracker.load(tmp_path / "nothing.safetensors")
    write_image(tmp_path / "picture.jpg", np.zeros((9, 9, 3), np.uint8), 90)
    with pytest.raises(StudyError, match=r"picture\.jpg"):
        Tracker.load(tmp_path / "picture.jpg")
    with pytest.raises(StudyError, match=r"Tracker\.load: unknown parameter 'fast'"):
        Tracker.load(files["siamfc"], fast=True)
    with pytest.raises(StudyError, match="'precision' = 'fp8'"):
        Tracker.load(files["siamfc"], precision="fp8")


def test_the_trackers_below_say_what_to_do_with_a_file(files):
    load = r"Tracker\.load\(file\) makes a tracker from a file"
    for of_file in (SiamFCTracker, ESiamFCTracker, lambda file: BranchTracker(file, 0)):
        with pytest.raises(StudyError, match=f"not '.*safetensors': .*{load}"):
            of_file(str(files["siamfc"]))
    with pytest.raises(StudyError, match=f"of type SiamFC, not of type ESiamFC: .*{load}"):
        SiamFCTracker(ESiamFC(2, 0.1))


def test_importing_the_library_is_light():
    code = "import sys, esiamfc_lib; print('torch' in sys.modules, esiamfc_lib.Tracker.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "Tracker"]
