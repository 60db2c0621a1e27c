"""What ``track`` is told, and what it says: boxes of files, typed ones, several; its summary."""

import io
import re

import numpy as np
import pytest
from faults import scene

from esiamfc_lib import cli
from esiamfc_lib.commands import track
from esiamfc_lib.runtime.devices import choose_device, choose_precision

BOX = ",".join(map(str, scene.BOX))


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(track, "has_display", lambda: False)
    scene.network(tmp_path / "n.safetensors")
    scene.frames(tmp_path / "f", 4)

    def run(*arguments, typed=None):
        if typed is not None:
            terminal = io.StringIO(typed)
            terminal.isatty = lambda: True
            monkeypatch.setattr("sys.stdin", terminal)
        status = cli.main(["track", "f", "--weights", "n.safetensors", "--out", "o", *arguments])
        return status, capsys.readouterr()

    return run


def boxes(name="o/boxes.txt"):
    return np.loadtxt(name, delimiter=",")


@pytest.mark.parametrize(
    "truth",
    [
        "61,81,36,30\n64,83,36,30\n",  # OTB, GOT-10k
        "61\t81\t36\t30\r\n",  # OTB
        "61.0 81.0 36 30\nnan nan nan nan\n",
        "61,81,96,81,96,110,61,110\n",  # VOT: corners
    ],
)
def test_a_box_from_a_file_of_ground_truth(truth, run, tmp_path):
    (tmp_path / "groundtruth.txt").write_text(truth)
    assert run("--box", "groundtruth.txt")[0] == 0
    np.testing.assert_allclose(boxes()[0], scene.BOX, atol=0.01)


def test_a_file_that_has_no_box(run, tmp_path):
    (tmp_path / "g.txt").write_text("\n")
    assert "--box g.txt: the file is empty" in run("--box", "g.txt")[1].err
    (tmp_path / "g.txt").write_text("1,2,3\n")
    assert "g.txt, line 1: 3 numbers" in run("--box", "g.txt")[1].err
    (tmp_path / "g.txt").write_text("nan nan nan nan\n")
    assert "four finite numbers" in run("--box", "g.txt")[1].err
    assert "four numbers X,Y,W,H are expected, or a file" in run("--box", "gone.txt")[1].err


def test_without_a_box_and_a_terminal(run):
    status, said = run()
    assert status == 2
    assert "--box X,Y,W,H or --box FILE is needed: there is no terminal" in said.err


def test_boxes_are_typed_where_no_window_can_be_seen(run, tmp_path):
    status, said = run(typed=f"1,2\n999,0,30,30\n{BOX}\n200,100,40,60\n\n")
    assert status == 0
    assert "look at o/first_frame.jpg" in said.out
    assert (tmp_path / "o/first_frame.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert "is none in a frame of 320×240 pixels" in said.out
    assert boxes("o/mot.txt")[:2, 2:6].tolist() == [[61, 81, 36, 30], [201, 101, 40, 60]]
    for nothing in ("", "\n", "1,2\n"):
        status, said = run(typed=nothing)
        assert (status, "no box is given" in said.err) == (2, True)


def test_objects_do_not_disturb_each_other(run):
    """Boxes of several are those of each alone."""
    run("--box", BOX)
    alone = boxes()
    run("--box", "200,100,40,60", "--box", BOX)
    both = boxes("o/mot.txt")
    np.testing.assert_allclose(both[1::2, 2:6], alone + np.array([1, 1, 0, 0]), atol=1e-9)


def test_the_summary_is_one_line(run):
    status, said = run("--box", BOX, "--format", "csv", "--video", "v/film.webm")
    assert status == 0
    device = choose_device("auto").type
    where = f"{device}, {choose_precision('auto', device)[0]}"
    pattern = rf"4 frames in [\d.]+ s \([\d.]+ frames/s\): (.*); {where}; (\S+), (\S+)\n"
    shares, film, table = re.fullmatch(pattern, said.out).groups()
    assert sum(int(share) for share in re.findall(r"(\d+)%", shares)) == pytest.approx(100, abs=3)
    assert {"tracking", "drawing and writing"} <= set(re.split(r" \d+%(?:, )?", shares))
    assert film.endswith("/v/film.webm")
    assert table == "o/boxes.csv"
    assert "ends in .mp4, .webm" in run("--box", BOX, "--video", "film.gif")[1].err
