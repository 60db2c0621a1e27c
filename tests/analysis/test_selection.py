"""Choices on held-out videos: the rule, the search, and that no test sequence is opened."""

import json
import shutil
import subprocess
import sys

import built_in
import numpy as np
import optuna
import pandas as pd
import pytest

from esiamfc_lib import cli
from esiamfc_lib.analysis import selected_tracking
from esiamfc_lib.analysis.intervals import sentence
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import segments
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs
from tools import choose

WIDTH = 0.125
PLAN = {"starts": 2, "length": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return built_in.make(
        tmp_path_factory.mktemp("selection") / "built-in",
        val_videos=2,
        video_frames=8,
        test_frames=5,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for i in range(3):
        checkpoints.save(folder / f"epoch-{i}.safetensors", SiamFC(WIDTH, seed=i))
    checkpoints.save(folder / "esiamfc.safetensors", ESiamFC(2, WIDTH, seed=2))
    return folder


def siamfc(weights, i: int = 0) -> TrackerSpec:
    (spec,) = tracker_specs(["siamfc"], siamfc=weights / f"epoch-{i}.safetensors")
    return spec.model_copy(update={"name": f"epoch {i}"})


# The rule.


def table(**gains: np.ndarray) -> pd.DataFrame:
    """Scores of a published tracker, 0.5 everywhere, and of candidates: (sequences, starts)."""
    shape = next(iter(gains.values())).shape
    sequence, start = (index.ravel() for index in np.indices(shape))
    places = {"benchmark": "vid-val", "sequence": sequence.astype(str), "start": start}
    candidates = {"published": np.zeros(shape)} | gains
    return pd.concat(
        [
            pd.DataFrame({"tracker": name, **places, "success": 0.5 + gain.ravel()})
            for name, gain in candidates.items()
        ],
        ignore_index=True,
    ).assign(precision=1.0)


def test_a_gain_beyond_luck_is_taken_and_the_largest_of_several():
    rng = np.random.default_rng(0)
    small, large = (gain + rng.normal(0, 0.01, (12, 4)) for gain in (0.05, 0.10))
    result = choose.decided(table(small=small, large=large), "published", PLAN)
    assert result["chosen"] == "large"
    assert result["reason"].startswith("large replaces published: vid-val: large − published: +0.1")
    assert 0 < result["interval"][0] < 0.1 < result["interval"][1]


def test_where_the_intervals_overlap_the_published_value_stays():
    lucky = np.random.default_rng(1).normal(0.02, 0.1, (6, 4))
    result = choose.decided(table(lucky=lucky), "published", PLAN)
    assert lucky.mean() > 0
    assert result["chosen"] == "published"
    assert "published stays: no candidate is better beyond chance" in result["reason"]
    assert result["interval"][0] < 0 < result["interval"][1]
    published, candidate = result["candidates"]
    assert published["difference"] is None
    assert candidate["difference"] == pytest.approx(lucky.mean())
    assert candidate["success"] == pytest.approx(0.5 + lucky.mean())


def test_the_best_of_many_has_to_be_better_than_the_luckiest_of_many():
    """Forty candidates that differ by luck alone: one of them looks significant by itself."""
    rng = np.random.default_rng(3)
    luck = {f"c{i:02d}": rng.normal(0, 0.05, (8, 1)) for i in range(40)}
    result = choose.decided(table(**luck), "published", PLAN)
    assert any((row["low"] or 0) > 0 for row in result["candidates"])
    assert result["chosen"] == "published"


# Checkpoints.


def test_checkpoints_are_compared_on_the_validation_tracks(data, weights, tmp_path):
    trackers = [siamfc(weights, i) for i in range(3)]
    result = choose.select(trackers, data.vid, tmp_path, **PLAN)
    names = {sequence.name for sequence in segments.read_segments("vid-val", data.vid)}
    assert set(result["sequences"]) == names
    assert [row["tracker"] for row in result["candidates"]] == ["epoch 0", "epoch 1", "epoch 2"]
    chosen = int(result["chosen"][-1])
    assert result["weights"] == f"epoch-{chosen}.safetensors"
    assert result["weights_digest"] == files.file_digest(weights / result["weights"])
    assert json.loads((tmp_path / "selection.json").read_text(encoding="utf-8")) == result


def test_a_choice_needs_two(data, weights, tmp_path):
    with pytest.raises(StudyError, match="two trackers"):
        choose.select([siamfc(weights)], data.vid, tmp_path)


# The search.

SAME = ("selection.json", "multistart.csv")


@pytest.fixture(scope="module")
def tuned(data, weights, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned")
    return out, choose.tune(siamfc(weights), data.vid, out, trials=12, seed=4, **PLAN)


def test_every_trial_is_in_the_result(tuned):
    out, result = tuned
    names = [row["tracker"] for row in result["candidates"]]
    assert names == ["published", *(f"trial {i:04d}" for i in range(12))]
    for row in result["candidates"][1:]:
        assert set(row["parameters"]) == set(choose.SPACE)
        for name, value in row["parameters"].items():
            low, high, _ = choose.SPACE[name]
            assert low <= value <= high
    assert len({str(row["parameters"]) for row in result["candidates"]}) == 13
    scores = pd.read_csv(out / "multistart.csv")
    assert set(scores["tracker"]) == set(names)


def test_the_result_is_what_notebook_07_takes(tuned):
    out, result = tuned
    values = selected_tracking(out / "selection.json")
    assert values == result["tracking"]
    row = next(r for r in result["candidates"] if r["tracker"] == result["chosen"])
    expected = TrackingParameters(**row["parameters"])
    assert TrackingParameters(**values) == expected


def test_a_search_that_was_cut_off_makes_the_same_trials(tuned, data, weights, tmp_path):
    out, _ = tuned
    arguments = (siamfc(weights), data.vid, tmp_path)

    class Enough(Exception):
        pass

    def stop(number: int, score: float) -> None:
        if number == 10:
            raise Enough

    with pytest.raises(Enough):
        choose.tune(*arguments, trials=12, seed=4, on_trial=stop, **PLAN)
    # A trial that was asked for and never told, as a kill leaves it.
    journal = choose.JournalFileBackend(str(tmp_path / "study.journal"))
    study = optuna.load_study(study_name="tracking", storage=choose.JournalStorage(journal))
    study.ask()
    made = []
    choose.tune(
        *arguments, trials=12, seed=4, on_trial=lambda number, score: made.append(number), **PLAN
    )
    assert made == [11]
    for name in SAME:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_a_study_of_something_else_is_not_continued(tuned, data, weights):
    out, _ = tuned
    for other in ({"seed": 5}, {"seed": 4, "limit": 1}):
        with pytest.raises(StudyError, match="belongs to another tracker, data, plan or space"):
            choose.tune(siamfc(weights), data.vid, out, trials=1, **other, **PLAN)


def test_a_damaged_study_is_named(data, weights, tmp_path):
    (tmp_path / "study.journal").write_text("not json\nneither\n")
    with pytest.raises(StudyError, match=r"study\.journal is damaged"):
        choose.tune(siamfc(weights), data.vid, tmp_path, trials=1, **PLAN)


@pytest.mark.parametrize("text", ["", "{}", '{"tracking": {"scale_setp": 1}}', '{"tracking": 3}'])
def test_a_file_without_a_choice_is_refused(text, tmp_path):
    (tmp_path / "selection.json").write_text(text)
    with pytest.raises(StudyError):
        selected_tracking(tmp_path / "selection.json")


# Test sequences.

WATCHED = """
import json, sys
opened = []
sys.addaudithook(
    lambda event, args: opened.append(str(args[0]))
    if event in ("open", "os.listdir", "os.scandir") and isinstance(args[0], (str, bytes))
    else None
)
from esiamfc_lib import cli
words = json.loads(sys.argv[1])
if words[0] == "choose":
    from tools import choose
    status = cli.run("choose", lambda: choose, words[1:])
else:
    status = cli.main(words)
print(json.dumps({"status": status, "opened": sorted(set(opened))}))
"""


def opened_by(command: list) -> list[str]:
    """Every file and folder that a command opens, by the interpreter's audit events."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, json.dumps([str(part) for part in command])],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["status"] == 0, done.stderr
    return report["opened"]


def under(paths: list[str], *folders) -> list[str]:
    return [path for path in paths if any(path.startswith(str(folder)) for folder in folders)]


COMMON = ["--starts", "2", "--segment", "5"]


def test_no_test_sequence_is_opened_before_the_final_run(data, weights, tmp_path):
    """Files and folders opened while choosing; the evaluation after it shows that we would see."""
    benchmarks = (data.otb, data.vot, data.got10k)
    one = ["--weights", weights / "epoch-0.safetensors"]
    both = [*one, "--weights", weights / "epoch-1.safetensors"]
    given = ["--vid-root", data.vid, *COMMON]
    choice = opened_by(["choose", *given, *both, "--out", tmp_path / "choice"])
    search = opened_by(["choose", *given, *one, "--trials", "2", "--out", tmp_path / "search"])
    for opened in (choice, search):
        assert under(opened, data.vid / "Data/VID/val")
        assert not under(opened, *benchmarks)
        assert not under(opened, data.vid / "Data/VID/train")
    final = ["--benchmark", "otb2015", "--root", data.otb, "--out", tmp_path / "final"]
    assert under(opened_by(["evaluate", *final, *one, *COMMON]), data.otb)


def test_choosing_works_where_the_benchmarks_are_not(data, weights, tmp_path):
    root = tmp_path / "moved"
    shutil.copytree(data.vid, root)
    files = [weights / "esiamfc.safetensors", weights / "epoch-0.safetensors"]
    options = [word for file in files for word in ("--weights", str(file))]
    out = tmp_path / "out"
    given = ["--vid-root", str(root), "--out", str(out), *COMMON, *options]
    assert cli.run("choose", lambda: choose, given) == 0
    result = json.loads((out / "selection.json").read_text(encoding="utf-8"))
    assert [row["tracker"] for row in result["candidates"]] == ["esiamfc ESiamFC", "epoch-0"]


# The command line.


def test_search_takes_one_tracker(data, weights, tmp_path, capsys):
    given = ["--vid-root", str(data.vid), "--out", str(tmp_path), "--trials", "2"]
    for i in range(2):
        given += ["--weights", str(weights / f"epoch-{i}.safetensors")]
    assert cli.run("choose", lambda: choose, given) == 2
    assert "--trials takes one tracker; the options name 2" in capsys.readouterr().err


def test_evaluate_from_many_starts_compares_with_the_first_tracker(data, weights, tmp_path, capsys):
    given = ["evaluate", "--benchmark", "vid-val", "--root", str(data.vid), "--out", str(tmp_path)]
    given += ["--weights", str(weights / "epoch-0.safetensors"), "--identity"]
    assert cli.main(given) == 2
    assert "vid-val has no protocol of its own: give --starts N" in capsys.readouterr().err
    assert cli.main([*given, *COMMON]) == 0
    printed = capsys.readouterr().out
    row = pd.read_csv(tmp_path / "differences.csv").iloc[0]
    assert (row["tracker"], row["minus"], row["starts"]) == ("Identity", "epoch-0", 4)
    assert sentence(row) in printed
