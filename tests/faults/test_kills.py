"""Killed, run again: the same bytes, and no process that lives on; a small part of the campaign."""

import shutil
from pathlib import Path

import built_in
import pytest

from esiamfc_lib.synthetic import dataset
from tools import kill_campaign


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    kill_campaign.make_inputs(folder)
    return folder


@pytest.mark.parametrize("name", ["store build", "synthetic data"])
def test_a_killed_command_ends_in_the_same_bytes(inputs, tmp_path, name):
    (command,) = [one for one in kill_campaign.commands(inputs) if one.name == name]
    whole = tmp_path / "whole"
    whole.mkdir()
    assert not kill_campaign.finish(command, whole)
    expected = kill_campaign.digests(whole, command.made)
    assert len(expected) > 4
    out = tmp_path / "killed"
    out.mkdir()
    kill_campaign.killed(command, out, 0.7 * command.seconds)
    fault = kill_campaign.finish(command, out)
    kill_campaign.compare(command, expected, out, fault)
    assert not command.different
    assert not command.orphans
    assert not command.tracebacks


def test_a_video_that_another_process_has_just_made_is_kept(tmp_path, monkeypatch):
    """A worker outlives its killed parent for a moment, and may end what is begun again."""
    first = built_in.make(tmp_path / "first")
    planned = dataset.scene_of

    def overtaken(job, data):
        for folder in job.folders(Path()):
            shutil.copytree(first.root / folder, tmp_path / "second" / folder, dirs_exist_ok=True)
        return planned(job, data)

    def scene_of(job, data):
        scene = planned(job, data)
        render = scene.render
        scene.render = lambda: overtaken(job, data) and render()
        return scene

    monkeypatch.setattr(dataset, "scene_of", scene_of)
    second = built_in.make(tmp_path / "second")
    made = [kill_campaign.digests(one.root, lambda path: True) for one in (first, second)]
    assert made[0] == made[1]
    assert not list(second.root.rglob(".*.*"))
