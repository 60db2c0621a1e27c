"""Segments of sequences, and trackers run on them."""

import built_in
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.data import geometry, vid
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics, runs, segments
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.spec import tracker_specs

WIDTH = 0.125


def cut_into(sequence, **changes):
    """Segments of eight perturbed starts in each direction, but for the changes."""
    return segments.segments(sequence, **{"starts": 8, "perturbations": 1} | changes)


def moving(n: int, name: str = "moving") -> Sequence:
    """A box of 20 × 10 that goes one pixel to the right each frame."""
    boxes = np.tile([0.0, 40.0, 20.0, 10.0], (n, 1))
    boxes[:, 0] = np.arange(n)
    return Sequence(name, tuple(f"{i:04d}.jpg" for i in range(n)), boxes, ("fast",), "car")


def numbers(segment: segments.Segment) -> list[int]:
    """Frame numbers of a segment of ``moving``."""
    return [int(name[:4]) for name in segment.frames]


def test_starts_are_spaced_evenly_and_backward_ones_mirror_them():
    cut = cut_into(moving(500), starts=5, length=100)
    assert [(s.start, s.direction) for s in cut] == [
        *[(start, "forward") for start in (0, 100, 200, 300, 400)],
        *[(start, "backward") for start in (499, 399, 299, 199, 99)],
    ]
    assert numbers(cut[1]) == list(range(100, 200))
    assert numbers(cut[6]) == list(range(399, 299, -1))
    # Boxes travel with their frames: x is the frame's number.
    np.testing.assert_array_equal(cut[6].boxes[1:, 0], np.arange(398, 299, -1))


def test_segments_say_where_they_come_from_and_have_names_of_their_own():
    cut = cut_into(moving(300), starts=4, perturbations=2)
    assert len({segment.name for segment in cut}) == len(cut) == 4 * 2 * 2
    assert {(s.source, s.attributes, s.family) for s in cut} == {("moving", ("fast",), "car")}
    assert [s.perturbation for s in cut[:4]] == [0, 1, 0, 1]


def test_only_forward():
    cut = cut_into(moving(300), starts=3, backward=False)
    assert {segment.direction for segment in cut} == {"forward"}
    assert len(cut) == 3


@pytest.mark.parametrize("n, frames, starts", [(120, 80, 8), (30, 20, 8), (6, 4, 3), (2, 2, 1)])
def test_short_sequences_give_shorter_segments_and_none_twice(n, frames, starts):
    cut = cut_into(moving(n), starts=8, perturbations=0)
    assert {len(segment) for segment in cut} == {frames}
    assert len(cut) == 2 * starts
    assert len({segment.frames for segment in cut}) == len(cut)


def test_one_frame_gives_no_segment():
    assert cut_into(moving(1)) == []


def test_a_start_without_truth_moves_to_the_nearest_frame_that_has_it():
    sequence = moving(300)
    sequence.boxes[95:103] = np.nan  # the second of three starts is 100; 103 is nearest
    cut = cut_into(sequence, starts=3, length=100, backward=False)
    assert [segment.start for segment in cut] == [0, 103, 200]
    assert all(np.isfinite(segment.boxes[0]).all() for segment in cut)


def test_a_segment_mostly_without_truth_is_left_out():
    sequence = moving(300)
    sequence.boxes[101:160] = np.nan
    cut = cut_into(sequence, starts=3, length=100, backward=False)
    assert [segment.start for segment in cut] == [0, 200]
    sequence.boxes[1:] = np.nan
    assert cut_into(sequence) == []


def test_no_perturbation_gives_the_true_box():
    cut = cut_into(moving(300), perturbations=0)
    for segment in cut:
        np.testing.assert_array_equal(segment.boxes[0], [segment.start, 40, 20, 10])


def test_perturbed_boxes_stay_within_their_bounds_and_fill_them():
    sequence = moving(300)
    cut = cut_into(sequence, starts=50, perturbations=8, shift=0.2, scale=0.25)
    given = np.array([segment.boxes[0] for segment in cut])
    true = np.array([sequence.boxes[segment.start] for segment in cut])
    factor = given[:, 2:] / true[:, 2:]
    np.testing.assert_allclose(factor[:, 0], factor[:, 1])
    assert 0.8 <= factor.min() < 0.81 and 1.24 < factor.max() <= 1.25
    moved = (geometry.center(given) - geometry.center(true)) / true[:, 2:]
    assert -0.2 <= moved.min() < -0.19 and 0.19 < moved.max() <= 0.2
    assert abs(moved.mean()) < 0.02
    # Only the first box changes, and never that of the sequence.
    np.testing.assert_array_equal(cut[0].boxes[1:], sequence.boxes[1 : len(cut[0])])
    np.testing.assert_array_equal(sequence.boxes, moving(300).boxes)


def test_a_perturbation_depends_on_the_seed_and_its_place_alone():
    def boxes(name: str = "moving", **plan) -> dict:
        cut = cut_into(moving(300, name), **plan)
        return {s.name.partition("/")[2]: s.boxes[0].tolist() for s in cut}

    few, more = boxes(starts=3, perturbations=1), boxes(starts=5, perturbations=2)
    shared = few.keys() & more.keys()
    assert len(shared) == 6
    assert all(few[name] == more[name] for name in shared)
    for other in (boxes(starts=3, seed=1), boxes("other", starts=3)):
        assert all(few[name] != other[name] for name in few)
    assert len({tuple(box) for box in more.values()}) == len(more)


@pytest.mark.parametrize(
    "plan",
    [{"starts": 0}, {"length": 1}, {"perturbations": -1}, {"shift": 0.5}, {"scale": -0.1}],
)
def test_plans_that_make_no_sense_are_refused(plan):
    with pytest.raises(StudyError, match="multi-start needs"):
        cut_into(moving(300), **plan)


# Trackers on segments.


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return built_in.make(
        tmp_path_factory.mktemp("multistart") / "built-in",
        val_videos=2,
        video_frames=9,
        otb_sequences=2,
        test_frames=12,
    )


@pytest.fixture(scope="module")
def trackers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    checkpoints.save(folder / "siamfc.safetensors", SiamFC(WIDTH, seed=1))
    checkpoints.save(folder / "esiamfc.safetensors", ESiamFC(2, WIDTH, seed=2))
    return tracker_specs(
        ["identity", "siamfc", "branches", "cluster_weight", "oracle"],
        siamfc=folder / "siamfc.safetensors",
        esiamfc=folder / "esiamfc.safetensors",
    )


PLAN = {"starts": 3, "length": 6, "perturbations": 1}


@pytest.fixture(scope="module")
def sequences(data):
    return segments.read_segments("otb2015", data.otb)


@pytest.fixture(scope="module")
def done(sequences, trackers, tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    return out, segments.evaluate_segments(trackers, sequences, "otb2015", out, **PLAN)


def test_a_row_for_every_tracker_and_segment(done):
    out, scores = done
    assert tuple(scores.columns) == segments.COLUMNS
    assert len(scores) == 6 * 2 * 3 * 2  # trackers, sequences, starts, directions
    assert (scores["frames"] == 5).all()  # the first one, where the box is given, does not count
    assert scores["success"].between(0, 1).all()
    pd.testing.assert_frame_equal(pd.read_csv(out / "multistart.csv", keep_default_na=False),
                                  scores, check_dtype=False)  # fmt: skip


def test_the_tracker_starts_from_the_perturbed_box_and_is_scored_from_the_next_frame(
    done, sequences
):
    _, scores = done
    cut = [segment for one in sequences for segment in cut_into(one, **PLAN)]
    found = scores[scores["tracker"] == "Identity"]["success"].to_numpy()
    for segment, success in zip(cut, found, strict=True):
        still = np.tile(segment.boxes[0], (len(segment) - 1, 1)).round(3)
        expected = metrics.score(still, segment.boxes[1:]).success
        assert success == pytest.approx(expected, abs=1e-9)
    assert len(set(found)) > 1


def test_the_oracle_is_the_best_branch_of_every_segment(done):
    _, scores = done
    wide = scores.pivot(
        index=["sequence", "start", "direction"], columns="tracker", values="success"
    )
    np.testing.assert_array_equal(wide["Oracle"], wide[["Branch 0", "Branch 1"]].max(axis=1))


def content(out) -> dict[str, bytes]:
    files = [*(out / "boxes").rglob("*.txt"), *(out / "keys").rglob("*"), out / "multistart.csv"]
    return {str(f.relative_to(out)): f.read_bytes() for f in files if f.is_file()}


def test_two_workers_give_the_same_bytes(done, sequences, trackers, tmp_path):
    out, _ = done
    segments.evaluate_segments(trackers, sequences, "otb2015", tmp_path, workers=2, **PLAN)
    assert content(out) == content(tmp_path)


def test_runs_that_are_there_are_kept_and_another_seed_runs_anew(
    sequences, trackers, tmp_path, monkeypatch
):
    one = [trackers[1]]
    segments.evaluate_segments(one, sequences, "otb2015", tmp_path, **PLAN)
    tracked = []
    original = runs._track
    monkeypatch.setattr(runs, "_track", lambda *job: tracked.append(job) or original(*job))
    segments.evaluate_segments(one, sequences, "otb2015", tmp_path, **PLAN)
    assert not tracked
    next((tmp_path / "boxes").rglob("*.txt")).unlink()
    segments.evaluate_segments(one, sequences, "otb2015", tmp_path, **PLAN)
    assert len(tracked) == 1
    segments.evaluate_segments(one, sequences, "otb2015", tmp_path, **PLAN, seed=5)
    assert len(tracked) == 1 + 12


@pytest.mark.parametrize("benchmark", ["vid-val", "got10k-val", "vot2018"])
def test_other_data_runs_one_pass(benchmark, data, trackers, tmp_path):
    root = {"vid-val": data.vid, "got10k-val": data.got10k, "vot2018": data.vot}[benchmark]
    sequences = segments.read_segments(benchmark, root)
    scores = segments.evaluate_segments(trackers[:2], sequences, benchmark, tmp_path, **PLAN)
    assert set(scores["benchmark"]) == {benchmark}
    assert scores["success"].notna().all() and scores["frames"].gt(0).all()
    if benchmark == "vid-val":
        names = {sequence.name for sequence in vid.validation_sequences(data.vid)}
        assert set(scores["sequence"]) == names


def test_data_without_truth_is_refused(trackers, tmp_path):
    with pytest.raises(StudyError, match="no sequence has the ground truth"):
        segments.evaluate_segments(trackers[:1], [moving(1)], "otb2015", tmp_path, starts=1)
