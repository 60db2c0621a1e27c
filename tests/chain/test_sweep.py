"""A sweep: its points, what they share, and what a fault in one of them does."""

import io
import json
from argparse import ArgumentParser

import pytest
from fake_study import KERNEL, code, make_project

from esiamfc_lib.artefacts import Artefacts
from esiamfc_lib.chain import sweep
from esiamfc_lib.chain.arms import branch_pairs
from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.commands import run as command
from esiamfc_lib.errors import StudyError


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(tmp_path))
    return make_project(tmp_path)


def called(folder) -> list[str]:
    """Names of the stages that ran in a point's folder."""
    file = folder / "calls.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.is_file() else []


def test_points_are_all_combinations(project):
    swept = sweep.points(
        "tiny", ["seed=3"], ["dataset.train_videos=10,20", "clustering.method=pikmeans,random"]
    )
    assert [point.name for point in swept] == [
        "train_videos=10,method=pikmeans",
        "train_videos=10,method=random",
        "train_videos=20,method=pikmeans",
        "train_videos=20,method=random",
    ]
    last = swept[-1]
    assert last.values == {"dataset.train_videos": 20, "clustering.method": "random"}
    assert last.profile.stages["dataset"].train_videos == 20
    assert last.profile.stages["clustering"].method == "random"
    assert {stage.seed for stage in last.profile.stages.values()} == {3}
    (only,) = sweep.points("tiny", [], ["baseline.lr=0.1", "fusion.lr=0.2"])
    assert only.name == "baseline.lr=0.1,fusion.lr=0.2"
    assert last.profile.run == project / "data/tiny/train_videos=20,method=random"


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (["dataset.train_videos="], "expected different values"),
        (["dataset.train_videos=5,5"], "expected different values"),
        (["dataset.train_videos=[5"], "not valid YAML"),
        (["dataset.train_videos=5", "dataset.train_videos=6"], "is swept already"),
        (["dataset.vid_root=a/b"], "cannot be the name of a folder"),
        (["run_dir=a,b"], "cannot be swept"),
        (["dataset.train_video=5"], "unknown parameter 'train_video'"),
        (["dataset.train_videos=many"], "train_videos"),
    ],
)
def test_faults_of_an_axis(project, axes, sentence):
    with pytest.raises(StudyError, match=sentence):
        sweep.points("tiny", [], axes)


def test_equal_stages_are_made_once(project):
    stream = io.StringIO()
    swept = sweep.points("tiny", [], ["clustering.method=pikmeans,random"])
    assert sweep.run(swept, stream)
    first, second = (point.profile.run for point in swept)
    assert len(called(first)) == 10  # two branches
    own = ["clustering", "comparison", "branches/0", "branches/1", "fusion", "results", "controls"]
    assert called(second) == own
    assert (second / "baseline").resolve() == first / "baseline"
    listed = json.loads((project / "data/tiny/sweep.json").read_text())
    assert [point["values"] for point in listed] == [
        {"clustering.method": "pikmeans"},
        {"clustering.method": "random"},
    ]

    # in another order nothing is made again, and what is shared has moved to the point that leads
    assert sweep.run(swept[::-1], stream)
    assert not (second / "baseline").is_symlink() and (first / "baseline").is_symlink()
    assert len(called(second)) == len(own) + 3  # notebooks say where they work: drawn again


def test_a_point_put_before_others_takes_over_what_they_have_made(project):
    stream = io.StringIO()
    (late,) = sweep.points("tiny", [], ["clustering.method=kmeans"])
    assert sweep.run([late], stream)
    made = (late.profile.run / "baseline").stat().st_ino
    early, late = sweep.points("tiny", [], ["clustering.method=pikmeans,kmeans"])
    assert sweep.run([early, late], stream)
    assert (early.profile.run / "baseline").stat().st_ino == made
    assert (late.profile.run / "baseline").is_symlink()


def test_a_point_that_fails_does_not_stop_the_others(project):
    notebook = project / "notebooks" / "04_clustering.ipynb"
    found = json.loads(notebook.read_text())
    found["cells"].append(code("assert method != 'random', 'no chance'", 99))
    notebook.write_text(json.dumps(found | {"metadata": KERNEL}))
    stream = io.StringIO()
    swept = sweep.points("tiny", [], ["clustering.method=random,kmeans"])
    assert not sweep.run(swept, stream)
    assert "no chance" in stream.getvalue()
    assert "controls" in called(swept[1].profile.run)


def test_the_command_tells_what_would_run(project, capsys):
    parser = ArgumentParser()
    command.arguments(parser)
    options = ["--profile", "tiny", "--sweep", "dataset.train_videos=5,6", "--dry-run"]
    assert command.main(parser.parse_args(options)) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "train_videos=5" and "train_videos=6" in shown
    assert not Artefacts(project / "data/tiny/train_videos=5").results.exists()


def test_every_arm_of_the_scaling_profile_has_the_same_budget(root, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    profile = load_profile("scaling")
    budget = branch_pairs(profile.stages, profile.arms)
    start = profile.arms["all"]["branches"]
    for name, stages in profile.arms.items():
        expected = start.epochs * start.pairs_per_epoch if name == "all" else budget
        assert branch_pairs(stages, profile.arms) == expected, name
        assert stages["branches"].pairs_per_epoch % stages["branches"].batch_size == 0
