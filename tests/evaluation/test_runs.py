"""Fan-out, cache, resumption, tables; with small networks on the built-in data."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import built_in
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib import figures
from esiamfc_lib.commands import evaluate as command
from esiamfc_lib.data import benchmarks
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics, runs
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs
from tools import ablation

WIDTH, FRAMES = 0.125, 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return built_in.make(
        tmp_path_factory.mktemp("evaluation") / "built-in",
        otb_sequences=3,
        vot_sequences=2,
        got10k_sequences=2,
        test_frames=FRAMES,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    checkpoints.save(folder / "siamfc.safetensors", SiamFC(WIDTH, seed=1))
    checkpoints.save(folder / "esiamfc.safetensors", ESiamFC(2, WIDTH, seed=2))
    np.savez(folder / "centroids.npz", centres=np.eye(2, 6 * 6 * 32, dtype=np.float32))
    return {
        "siamfc": folder / "siamfc.safetensors",
        "esiamfc": folder / "esiamfc.safetensors",
        "centroids": folder / "centroids.npz",
    }


EVERYTHING = ["identity", "siamfc", "branches", "uniform", "max", "nearest_centroid",
              "cluster_weight", "oracle"]  # fmt: skip


def content(folder: Path, *parts: str) -> dict[str, bytes]:
    """Relative name → bytes of every file of the named parts, but what a kill left half-written."""
    found = [file for part in parts for file in (folder / part).rglob("*") if file.is_file()]
    files = [file for file in found if not file.name.startswith(".")]
    files += [folder / part for part in parts if (folder / part).is_file()]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


SAME = ("boxes", "keys", "scores.json", "summary.csv", "summary.tex")


@pytest.fixture(scope="module")
def done(data, weights, tmp_path_factory):
    """Every tracker on the built-in OTB, one worker."""
    out = tmp_path_factory.mktemp("done")
    scores = runs.evaluate(tracker_specs(EVERYTHING, **weights), "otb2015", data.otb, out)
    return out, scores


def test_every_tracker_has_a_row_for_every_sequence(done, data):
    out, scores = done
    assert tuple(scores.columns) == scoring.COLUMNS
    names = ["Identity", "SiamFC", "Branch 0", "Branch 1", "Uniform", "Max", "Nearest centroid",
             "ESiamFC", "Oracle"]  # fmt: skip
    assert list(dict.fromkeys(scores["tracker"])) == names
    assert len(scores) == len(names) * 3
    assert scores["success"].between(0, 1).all()
    assert (scores["frames"] == FRAMES).all()
    for name in names:
        assert len(list((out / "boxes" / name).glob("*.txt"))) == 3


def test_the_written_tables(done):
    out, scores = done
    written = pd.read_csv(out / "scores.csv")
    assert list(written.columns[:7]) == [
        "tracker", "benchmark", "sequence", "success", "precision", "frames", "fps",
    ]  # fmt: skip
    np.testing.assert_allclose(written["success"], scores["success"])
    assert written.loc[written["tracker"] == "SiamFC", "fps"].gt(0).all()
    assert written.loc[written["tracker"] == "Oracle", "fps"].isna().all()
    everything = json.loads((out / "scores.json").read_text())
    assert everything["missing"] == []
    assert len(everything["scores"]) == len(scores)
    summary = pd.read_csv(out / "summary.csv")
    assert summary["success"].is_monotonic_decreasing
    assert (summary["sequences"] == 3).all()
    mean = scores.groupby("tracker")["success"].mean()
    for row in summary.itertuples():
        assert row.success == pytest.approx(mean[row.tracker])
    assert "\\begin{tabular}" in (out / "summary.tex").read_text()


def test_built_in_data_is_called_built_in_in_every_table_and_figure(done, data):
    out, scores = done
    name = "built-in, otb2015 layout"
    assert set(scores["benchmark"]) == {name}
    for file in ("scores.csv", "summary.csv", "summary.tex", "scores.json"):
        assert "otb2015" not in (out / file).read_text().replace(name, "")
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    curves = scoring.curves(out, ["SiamFC", "Identity"], sequences, "otb2015")
    drawn = [
        figures.success_precision(curves, title=name, total=3),
        figures.attribute_dots(scoring.by_attribute(scores), title=name),
        figures.sequence_heatmap(scores, title=name),
    ]
    for figure in drawn:
        titles = [figure.get_suptitle(), *(axis.get_title() for axis in figure.axes)]
        assert any(title.startswith(name) for title in titles), titles
    plt.close("all")


def test_boxes_are_those_of_the_tracker_in_the_files_coordinates(done, data, weights):
    out, _ = done
    sequence = benchmarks.read_benchmark("otb2015", data.otb)[0][1]
    (spec,) = tracker_specs(["siamfc"], siamfc=weights["siamfc"])
    boxes, _ = spec.build().track_sequence(sequence)
    file = np.loadtxt(out / "boxes" / "SiamFC" / f"{sequence.name}.txt", delimiter=",")
    np.testing.assert_allclose(file, boxes + np.array([1, 1, 0, 0]), atol=5.1e-4)
    read = scoring.read_boxes(out, "SiamFC", sequence, "otb2015")
    np.testing.assert_allclose(read, boxes, atol=5.1e-4)


def test_the_oracle_is_the_best_branch_of_each_sequence(done):
    _, scores = done
    wide = scores.pivot(index="sequence", columns="tracker", values="success")
    best = wide[["Branch 0", "Branch 1"]].max(axis=1)
    np.testing.assert_array_equal(wide["Oracle"], best)


def test_two_workers_write_the_same_bytes(done, data, weights, tmp_path):
    out, _ = done
    runs.evaluate(tracker_specs(EVERYTHING, **weights), "otb2015", data.otb, tmp_path, workers=2)
    assert content(tmp_path, *SAME) == content(out, *SAME)
    assert len(content(out, "boxes")) == 9 * 3


KILLED = """
import sys
from esiamfc_lib.evaluation.runs import evaluate
from esiamfc_lib.tracking.spec import tracker_specs
weights, root, out = sys.argv[1:]
trackers = tracker_specs(["branches", "uniform", "oracle"], esiamfc=weights)
evaluate(trackers, "otb2015", root, out)
"""


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(data, weights, tmp_path):
    trackers = tracker_specs(["branches", "uniform", "oracle"], esiamfc=weights["esiamfc"])
    runs.evaluate(trackers, "otb2015", data.otb, tmp_path / "whole")
    killed = tmp_path / "killed"
    arguments = [str(weights["esiamfc"]), str(data.otb), str(killed)]
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], stderr=subprocess.DEVNULL, env=os.environ
    )
    while run.poll() is None and not list(killed.glob("keys/*/*.json")):
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    kept = {file: file.stat().st_mtime_ns for file in killed.glob("keys/*/*.json")}
    assert 0 < len(kept) < 9
    runs.evaluate(trackers, "otb2015", data.otb, killed)
    assert content(killed, *SAME) == content(tmp_path / "whole", *SAME)
    assert all(file.stat().st_mtime_ns == since for file, since in kept.items())


def test_only_what_changed_runs_again(data, weights, tmp_path, monkeypatch):
    tracked = []
    track = runs._track

    def counted(job):
        tracked.append((job.spec.name, job.sequence.name))
        return track(job)

    monkeypatch.setattr(runs, "_track", counted)
    model = tmp_path / "model.safetensors"
    checkpoints.save(model, SiamFC(WIDTH, seed=1))
    trackers, out = tracker_specs(["identity", "siamfc"], siamfc=model), tmp_path / "out"
    runs.evaluate(trackers, "otb2015", data.otb, out)
    assert len(tracked) == 6
    runs.evaluate(trackers, "otb2015", data.otb, out)
    assert len(tracked) == 6

    # The same name, other weights: new boxes.
    before = content(out, "boxes/SiamFC")
    checkpoints.save(model, SiamFC(WIDTH, seed=5))
    runs.evaluate(trackers, "otb2015", data.otb, out)
    assert [name for name, _ in tracked[6:]] == ["SiamFC"] * 3
    assert content(out, "boxes/SiamFC") != before

    # Another parameter of the loop.
    tracking = {"tracking": trackers[1].tracking.model_copy(update={"scale_step": 1.1})}
    runs.evaluate(tracker_specs(["siamfc"], siamfc=model, **tracking), "otb2015", data.otb, out)
    assert len(tracked) == 12

    # A result that was touched, one that is gone.
    (out / "boxes" / "Identity" / "Otb000.txt").write_text("1,1,1,1\n" * FRAMES)
    (out / "boxes" / "Identity" / "Otb001.txt").unlink()
    (out / "keys" / "Identity" / "Otb002.json").write_text("{")
    runs.evaluate(tracker_specs(["identity"]), "otb2015", data.otb, out)
    assert sorted(tracked[12:]) == [("Identity", f"Otb00{i}") for i in range(3)]


def test_a_name_does_not_matter_to_the_key_and_the_weights_do(weights):
    one = TrackerSpec(name="a", kind="siamfc", weights=str(weights["siamfc"]))
    assert one.facts() == one.model_copy(update={"name": "b"}).facts()
    assert one.facts() != one.model_copy(update={"precision": "bf16"}).facts()
    uniform, largest = tracker_specs(["uniform", "max"], esiamfc=weights["esiamfc"])
    assert uniform.facts() != largest.facts()
    keys = {json.dumps(spec.facts(), sort_keys=True) for spec in ablation.specs(weights["siamfc"])}
    assert len(keys) == 14


def test_vot_supervised_from_files(data, weights, tmp_path):
    trackers = tracker_specs(["identity", "siamfc", "oracle"], **weights)
    scores = runs.evaluate(trackers, "vot2018", data.vot, tmp_path)
    assert scores["failures"].notna().all()
    assert scores["success"].isna().all()
    sequence = benchmarks.read_benchmark("vot2018", data.vot)[0][0]
    file = scoring.result_file(tmp_path, "boxes", "SiamFC", sequence.name)
    record = scoring.read_supervised(file)
    assert record[0] == metrics.INITIALISED
    assert len(record) == FRAMES
    read = scoring.read_boxes(tmp_path, "SiamFC", sequence, "vot2018")
    np.testing.assert_array_equal(read[0], sequence.boxes[0])


def test_a_lost_target_is_given_back_after_five_frames(data):
    """A tracker that jumps away is lost in its first frame, every time."""
    from esiamfc_lib.evaluation import supervised
    from esiamfc_lib.tracking.base import IdentityTracker

    class Jumps(IdentityTracker):
        def update(self, image):
            return self.box + np.array([1000, 0, 0, 0])

    sequence = benchmarks.read_benchmark("vot2018", data.vot)[0][0]
    long = benchmarks.VOTSequence(
        "long", sequence.frames * 2, np.tile(sequence.boxes, (2, 1)),
        regions=np.tile(sequence.regions, (2, 1)),
    )  # fmt: skip
    record, seconds = supervised.track_supervised(Jumps(), long)
    assert record == [1, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0]
    assert (seconds > 0).tolist() == [entry > 0 for entry in record]


def test_summary_weighs_as_the_protocols_say():
    rows = [
        {"tracker": "T", "benchmark": "b", "success": 0.2, "precision": 0.4, "ao": 0.1,
         "accuracy": 0.5, "failures": 1, "frames": 100, "counted": 10},
        {"tracker": "T", "benchmark": "b", "success": 0.4, "precision": 0.8, "ao": 0.4,
         "accuracy": np.nan, "failures": 2, "frames": 200, "counted": 0},
        {"tracker": "T", "benchmark": "b", "success": 0.6, "precision": 0.6, "ao": 0.4,
         "accuracy": 0.8, "failures": 0, "frames": 300, "counted": 20},
    ]  # fmt: skip
    (row,) = scoring.summary(
        pd.DataFrame(rows).reindex(columns=list(scoring.COLUMNS)), total=7
    ).to_dict("records")
    assert (row["sequences"], row["of"]) == (3, 7)
    assert row["success"] == pytest.approx(0.4)  # mean over sequences
    assert row["ao"] == pytest.approx((0.1 * 10 + 0.4 * 20) / 30)  # over frames
    assert row["accuracy"] == pytest.approx((0.5 * 10 + 0.8 * 20) / 30)
    assert row["failures"] == pytest.approx(0.5)  # 3 in 600 frames


def test_by_attribute(done):
    _, scores = done
    table = scoring.by_attribute(scores)
    everything = table[table["attribute"] == "all"].set_index("tracker")["success"]
    pd.testing.assert_series_equal(
        everything.sort_index(), scores.groupby("tracker")["success"].mean(), check_names=False
    )
    assert (table.loc[table["attribute"] == "all", "sequences"] == 3).all()
    known = set(" ".join(scores["attributes"]).split()) | {"all"}
    assert set(table["attribute"]) == known


def test_curves_average_to_the_scores(done, data):
    out, scores = done
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    curves = scoring.curves(out, ["SiamFC", "Identity"], sequences, "otb2015")
    mean = scores.groupby("tracker")[["success", "precision"]].mean()
    by = curves.set_index(["tracker", "measure", "threshold"])["share"]["SiamFC"]
    assert by["success"].mean() == pytest.approx(mean.loc["SiamFC", "success"])
    assert by["precision"][20] == pytest.approx(mean.loc["SiamFC", "precision"])
    assert (curves["sequences"] == 3).all()
    with pytest.raises(StudyError, match="no such score"):
        vot, _ = benchmarks.read_benchmark("vot2018", data.vot)
        runs.evaluate(tracker_specs(["identity"]), "vot2018", data.vot, out / "vot")
        scoring.curves(out / "vot", ["Identity"], vot, "vot2018")


def test_the_quick_score_is_the_same(done, data, weights):
    _, scores = done
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    (spec,) = tracker_specs(["siamfc"], siamfc=weights["siamfc"])
    expected = scores.loc[scores["tracker"] == "SiamFC", "success"].mean()
    assert metrics.mean_auc(spec.build(), sequences) == pytest.approx(expected, abs=0.01)


def test_the_submission_holds_the_test_sequences_only(data, tmp_path):
    import benchmark_layouts

    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    benchmark_layouts.got10k_test(tmp_path / "GOT-10k", sequences)
    out = tmp_path / "out"
    runs.evaluate(tracker_specs(["identity"]), "got10k-val", data.got10k, out)
    scores = runs.evaluate(tracker_specs(["identity"]), "got10k-test", tmp_path / "GOT-10k", out)
    assert scores["success"].isna().all()
    sequences, _ = benchmarks.read_benchmark("got10k-test", tmp_path / "GOT-10k")
    path = scoring.submission(out, "Identity", sequences, out / "zips" / "Identity.zip")
    with zipfile.ZipFile(path) as archive:
        names = sorted(archive.namelist())
        lines = archive.read("GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt").splitlines()
    assert len(names) == 6
    assert all(name.startswith("GOT-10k_Test_00000") for name in names)
    assert names[:2] == [
        f"GOT-10k_Test_000001/GOT-10k_Test_000001_{k}.txt" for k in ("001", "time")
    ]
    assert len(lines) == FRAMES


def test_a_dask_cluster_does_the_same(done, data, tmp_path):
    distributed = pytest.importorskip("distributed")
    out, _ = done
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        runs.evaluate(tracker_specs(["identity"]), "otb2015", data.otb, tmp_path, scheduler=address)
    assert content(tmp_path, "boxes/Identity") == content(out, "boxes/Identity")


def test_faults_are_named(data, weights, tmp_path):
    twice = tracker_specs(["identity"]) * 2
    with pytest.raises(StudyError, match="two trackers have one name"):
        runs.evaluate(twice, "otb2015", data.otb, tmp_path)
    with pytest.raises(StudyError, match="no such file"):
        runs.evaluate(tracker_specs(["siamfc"], siamfc="nowhere"), "otb2015", data.otb, tmp_path)
    with pytest.raises(StudyError, match="'siamfc' needs the baseline"):
        tracker_specs(["siamfc"])
    with pytest.raises(StudyError, match="'oracle' needs the ensemble"):
        tracker_specs(["oracle"], siamfc=weights["siamfc"])
    with pytest.raises(StudyError, match="unknown tracker 'kcf'"):
        tracker_specs(["kcf"])
    with pytest.raises(StudyError, match="parameter 'name'"):
        TrackerSpec.validated({"name": "../up", "kind": "identity"})
    with pytest.raises(StudyError, match="holds a SiamFC, not a ESiamFC"):
        tracker_specs(["branches"], esiamfc=weights["siamfc"])
    sequence = benchmarks.read_benchmark("otb2015", data.otb)[0][0]
    with pytest.raises(StudyError, match="cannot read"):
        scoring.read_boxes(tmp_path, "SiamFC", sequence, "otb2015")
    file = scoring.result_file(tmp_path, "boxes", "SiamFC", sequence.name)
    file.parent.mkdir(parents=True)
    file.write_text("1,2,3,4\n1,2\n")
    with pytest.raises(StudyError, match="line 2"):
        scoring.read_boxes(tmp_path, "SiamFC", sequence, "otb2015")
    file.write_bytes(b"\0\xff" * 20)
    with pytest.raises(StudyError, match="not UTF-8 text"):
        scoring.read_boxes(tmp_path, "SiamFC", sequence, "otb2015")
    file.write_text("1,2,3,4\n")
    with pytest.raises(StudyError, match="1 lines for 6 frames"):
        scoring.read_boxes(tmp_path, "SiamFC", sequence, "otb2015")


def run_command(*arguments) -> int:
    from argparse import ArgumentParser

    parser = ArgumentParser()
    command.arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_writes_tables_and_figures(data, weights, tmp_path, capsys):
    status = run_command(
        "--benchmark", "otb2015", "--root", data.otb, "--out", tmp_path, "--identity",
        "--weights", weights["siamfc"], "--weights", weights["esiamfc"],
        "--fusion", "uniform", "nearest_centroid", "--centroids", weights["centroids"],
        "--set", "scale_step=1.05", "--limit", 2,
    )  # fmt: skip
    assert status == 0
    names = set(pd.read_csv(tmp_path / "scores.csv")["tracker"])
    assert names == {"siamfc", "esiamfc Uniform", "esiamfc Nearest centroid", "Identity"}
    figures = {file.stem for file in (tmp_path / "figures").glob("*.png")}
    assert figures >= {"curves", "sequences", "attributes", "worst_1", "best_2"}
    assert "Identity" in capsys.readouterr().out
    status = run_command(
        "--benchmark", "vot2018", "--root", data.vot, "--out", tmp_path / "vot", "--identity"
    )
    assert (tmp_path / "vot" / "figures" / "attributes.pdf").is_file()


def test_the_command_names_faults(data, weights, tmp_path):
    given = ["--benchmark", "otb2015", "--root", data.otb, "--out", tmp_path]
    with pytest.raises(StudyError, match="nothing to evaluate"):
        run_command(*given)
    with pytest.raises(StudyError, match="unknown parameter 'speed'"):
        run_command(*given, "--weights", weights["siamfc"], "--set", "speed=3")
    with pytest.raises(StudyError, match="NAME=VALUE"):
        run_command(*given, "--weights", weights["siamfc"], "--set", "speed")
    with pytest.raises(SystemExit):
        run_command(*given, "--identity", "--workers", 0)
