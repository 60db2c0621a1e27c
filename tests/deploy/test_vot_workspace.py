"""The TraX server and the workspace; the toolkit itself is not needed."""

import configparser
import io
import json
import re
import shlex
import subprocess
import sys
from argparse import ArgumentParser

import built_in
import numpy as np
import pytest
import yaml

from esiamfc_lib.data import benchmarks
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking.base import IdentityTracker
from tools import trax
from tools import vot_workspace as command


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return built_in.make(tmp_path_factory.mktemp("vot workspace") / "built-in", vot_sequences=2)


def requests(sequence) -> str:
    region = ",".join(f"{value:g}" for value in sequence.regions[0])
    frames = [frame.replace(" ", "%20") for frame in sequence.frames]
    lines = [f'@@TRAX:initialize "file://{frames[0]}" "{region}" "key=value"']
    lines += [f'@@TRAX:frame "file://{frame}"' for frame in frames[1:]]
    return "\n".join(["a line of something else", *lines, "@@TRAX:quit", ""])


def boxes(replies: str) -> np.ndarray:
    return np.array(
        [
            [float(number) for number in match.split(",")]
            for match in re.findall(r'@@TRAX:state "([^"]*)"', replies)
        ]
    )


def test_the_server_answers_with_boxes_in_vot_coordinates(data):
    sequence = benchmarks.read_benchmark("vot2018", data.vot)[0][0]
    replies = io.StringIO()
    trax.serve(IdentityTracker(), io.StringIO(requests(sequence)), replies)
    assert replies.getvalue().startswith('@@TRAX:hello "trax.version=3"')
    expected = benchmarks.to_file(np.tile(sequence.boxes[0], (4, 1)), "vot")
    np.testing.assert_allclose(boxes(replies.getvalue()), expected, atol=1e-3)


def test_the_server_names_faults(data):
    for line, fault in (
        ('@@TRAX:dance "x"\n', "the request 'dance' is unknown"),
        ('@@TRAX:initialize "http://x" "1,2,3,4"\n', "path of a file"),
        ('@@TRAX:initialize "file:///nowhere.jpg" "1,2,3,4"\n', "no such file"),
    ):
        with pytest.raises(StudyError, match=fault):
            trax.serve(IdentityTracker(), io.StringIO(line), io.StringIO())


def run_command(*arguments) -> int:
    parser = ArgumentParser()
    command.arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


def test_the_workspace_runs_the_tracker_as_the_toolkit_would(data, tmp_path, capsys):
    workspace = tmp_path / "work space"
    assert run_command(workspace, "--root", data.vot, "--identity") == 0
    assert f"'{workspace}'" in capsys.readouterr().out
    config = yaml.safe_load((workspace / "config.yaml").read_text())
    assert config["stack"] == "vot2018/shortterm"
    names = (workspace / "sequences" / "list.txt").read_text().split()
    assert names == ["vot000", "vot001"]
    facts = (workspace / "sequences" / "vot000" / "sequence").read_text().splitlines()
    assert {"length=4", "width=160", "height=120"} <= set(facts)
    assert len(list((workspace / "sequences" / "vot000" / "color").glob("*.jpg"))) == 4
    # The reader of benchmarks takes a workspace as well.
    read, _ = benchmarks.read_benchmark("vot2018", workspace)
    assert [sequence.name for sequence in read] == names
    assert (
        read[0].labels.keys() == benchmarks.read_benchmark("vot2018", data.vot)[0][0].labels.keys()
    )

    registry = configparser.ConfigParser(interpolation=None)
    registry.read(workspace / "trackers.ini")
    line = shlex.split(registry["Identity"]["command"])
    assert line[0] == sys.executable
    done = subprocess.run(
        line, input=requests(read[0]), capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert boxes(done.stdout).shape == (4, 4)


def test_relative_paths_become_absolute(data, tmp_path, monkeypatch):
    from esiamfc_lib.networks import checkpoints
    from esiamfc_lib.networks.siamfc import SiamFC

    checkpoints.save(tmp_path / "my model.safetensors", SiamFC(0.125))
    monkeypatch.chdir(tmp_path)
    run_command("ws", "--root", data.vot, "--weights", "my model.safetensors",
                "--stack", "vot2022/shorttermbox")  # fmt: skip
    spec = json.loads((tmp_path / "ws" / "specs" / "my_model.json").read_text())
    assert spec["weights"] == str(tmp_path / "my model.safetensors")


def test_anchors_are_50_frames_apart_and_point_the_longer_way():
    values = command.anchors(160)
    assert len(values) == 160
    assert {i: value for i, value in enumerate(values) if value} == {0: 1, 50: 1, 100: -1, 150: -1}


def test_faults_are_named(data, tmp_path):
    with pytest.raises(StudyError, match="without a tracker"):
        run_command(tmp_path / "ws", "--root", data.vot)
    with pytest.raises(StudyError, match="already there"):
        run_command(tmp_path, "--root", data.vot, "--identity")
