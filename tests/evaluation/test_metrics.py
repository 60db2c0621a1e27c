"""Scores against hand-computed values, got10k's own code, and published figures."""

import json

import numpy as np
import pytest
from got10k.experiments import ExperimentOTB

from esiamfc_lib.data.geometry import polygon_to_box
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics

INIT, FAIL, SKIP = metrics.INITIALISED, metrics.FAILED, metrics.SKIPPED


def test_a_perfect_tracker_scores_20_of_21():
    truth = np.array([[10.0, 20, 30, 40], [11, 21, 30, 40], [12, 22, 30, 40]])
    scores = metrics.score(truth, truth)
    assert scores.success == pytest.approx(20 / 21)
    assert scores.precision == scores.normalised_precision == 1.0
    assert scores.average_overlap == pytest.approx(1.0)
    assert scores.frames == 3


def test_success_is_strict_and_precision_is_not():
    # Half of the box: IoU exactly 0.5; the centre is exactly 20 px off.
    truth = np.array([[0.0, 0, 80, 10]])
    boxes = np.array([[0.0, 0, 40, 10]])
    scores = metrics.score(boxes, truth)
    assert scores.average_overlap == pytest.approx(0.5)
    # Thresholds 0, .05 … .45 are exceeded: 10 of 21.
    assert scores.success == pytest.approx(10 / 21)
    assert scores.success_rate_50 == 0.0
    assert scores.precision == 1.0
    assert scores.precision_curve[19] == 0.0
    # 20 px of a width of 80 is 0.25, of a width of 100 exactly 0.2.
    assert scores.normalised_precision == 0.0
    wider = np.array([[0.0, 0, 100, 10]])
    boxes = np.array([[20.0, 0, 100, 10]])
    assert metrics.score(boxes, wider).normalised_precision == 1.0


def test_overlap_by_hand():
    # 10×10 boxes shifted by 5 in x: 50 common, 150 in all.
    scores = metrics.score(np.array([[5.0, 0, 10, 10]]), np.array([[0.0, 0, 10, 10]]))
    assert scores.average_overlap == pytest.approx(1 / 3)


def test_frames_without_truth_and_the_first_frame():
    truth = np.array([[0.0, 0, 10, 10], [np.nan] * 4, [0, 0, 10, 10], [0, 0, 10, 10]])
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 1, 1], [0, 0, 10, 10], [90, 90, 10, 10]])
    scores = metrics.score(boxes, truth)
    assert scores.frames == 3
    assert scores.average_overlap == pytest.approx(2 / 3)
    assert metrics.score(boxes, truth, skip_first=True).average_overlap == pytest.approx(1 / 2)


def test_lost_boxes_are_misses_not_errors():
    truth = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    boxes = np.array([[0.0, 0, 10, 10], [np.nan] * 4])
    scores = metrics.score(boxes, truth)
    assert scores.average_overlap == pytest.approx(0.5)
    assert scores.precision == 0.5


def test_scoring_changes_nothing_and_ignores_the_origin():
    rng = np.random.default_rng(0)
    truth = rng.uniform(5, 40, (20, 4))
    boxes = truth + rng.normal(0, 4, (20, 4))
    before = boxes.copy(), truth.copy()
    bounded = metrics.score(boxes, truth, bound=(60, 50))
    assert bounded.average_overlap != metrics.score(boxes, truth).average_overlap
    np.testing.assert_array_equal(boxes, before[0])
    np.testing.assert_array_equal(truth, before[1])
    shift = np.array([1, 1, 0, 0])
    assert (
        metrics.score(boxes + shift, truth + shift).success == metrics.score(boxes, truth).success
    )


def test_faults_are_named():
    with pytest.raises(StudyError, match=r"\(3, 4\).*\(2, 4\)"):
        metrics.score(np.ones((3, 4)), np.ones((2, 4)))
    with pytest.raises(StudyError, match="no frame"):
        metrics.score(np.ones((2, 4)), np.full((2, 4), np.nan))


def test_curves_are_those_of_got10k():
    rng = np.random.default_rng(1)
    truth = rng.uniform(5, 40, (50, 4))
    boxes = truth + rng.normal(0, 6, (50, 4))
    toolkit = object.__new__(ExperimentOTB)  # its constructor wants the data set
    toolkit.nbins_iou, toolkit.nbins_ce = 21, 51
    success, precision = toolkit._calc_curves(*toolkit._calc_metrics(boxes, truth))
    scores = metrics.score(boxes, truth)
    np.testing.assert_array_equal(scores.success_curve, success)
    np.testing.assert_array_equal(scores.precision_curve, precision)


def test_region_overlap_by_hand():
    square = np.array([0.0, 0, 10, 10])
    image = (50, 50)
    overlap = metrics.region_overlap
    # Half of the square, and of both only the left half of the image.
    assert overlap(square, [0.0, 0, 5, 10], image) == 0.5
    assert overlap(square, [0.0, 0, 5, 10], (5, 10)) == 1.0
    assert overlap(square, [20.0, 0, 10, 10], image) == 0.0
    assert overlap(square, [np.nan] * 4, image) == 0.0
    # A bow tie, as VOT's annotations contain it: two triangles inside the square.
    bow_tie = np.array([0.0, 0, 9, 9, 9, 0, 0, 9])
    assert 0.5 <= overlap(square, bow_tie, image) <= 0.62
    # Nothing is left of the truth: no answer is right or wrong.
    for truth, bound in ((square, (0, 0)), ([np.nan] * 8, image), ([1.0, 1, 0, 0], image)):
        assert np.isnan(overlap(truth, square, bound))


def test_region_overlap_counts_pixels_as_the_official_toolkit_does():
    def overlap(one, other):
        return metrics.region_overlap(np.array(one, float), np.array(other, float), (50, 40))

    # The square's pixels are 0 to 9 each way, 100 of them; those of the corners 0 … 10 are 121.
    assert overlap([0, 0, 10, 10], [0, 0, 10, 0, 10, 10, 0, 10]) == pytest.approx(100 / 121)
    # The box that encloses a region on its last pixels is the region.
    region = [3, 4, 12, 4, 12, 9, 3, 9]
    enclosing = polygon_to_box(np.array(region, float))
    assert enclosing.tolist() == [3, 4, 10, 6]
    assert overlap(region, enclosing) == 1.0
    # A rhombus of radius 5 has 61 pixels, 5 · 5 + 6 · 6.
    assert overlap([0, 0, 11, 11], [5, 0, 10, 5, 5, 10, 0, 5]) == pytest.approx(61 / 121)
    assert overlap([0, 0, 11, 11], [4.6, 0.4, 10.4, 5.4, 5.4, 9.6, -0.4, 4.6]) == pytest.approx(
        61 / 121
    )  # corners are rounded
    # Cut to the image: 5 × 10 pixels of both are left.
    assert metrics.region_overlap([-5, 0, 10, 10], [0, 0, 5, 10], (50, 40)) == 1.0


def test_supervised_scores_of_a_hand_made_case():
    """30 frames, lost in frame 12 (0-based) and once more right after the new start."""
    regions = np.tile([10.0, 10, 20, 20], (30, 1))
    half = np.array([10.0, 10, 10, 20])  # IoU 0.5
    record = [INIT] + [half] * 11 + [FAIL] + [SKIP] * 4 + [INIT] + [half] * 10 + [FAIL, SKIP]
    scores = metrics.supervised_score(record, regions, bound=(100, 100))
    assert scores.failures == 2
    # Frames 10, 11 of the first run; the second starts at 17, so 27 counts (28 is a failure).
    assert scores.frames == 3
    assert scores.accuracy == pytest.approx(0.5)
    with pytest.raises(StudyError, match="2 frames for 30 regions"):
        metrics.supervised_score(record[:2], regions, (100, 100))


def test_an_immediate_failure_leaves_no_accuracy():
    regions = np.tile([10.0, 10, 20, 20], (3, 1))
    scores = metrics.supervised_score([INIT, FAIL, SKIP], regions, (100, 100))
    assert np.isnan(scores.accuracy)
    assert (scores.failures, scores.frames) == (1, 0)


@pytest.mark.parametrize("tracker, targets", [("SiamFC", 100), ("KCF", 100), ("STAPLE", 99)])
def test_published_otb2015_scores_to_four_decimals(shared, tracker, targets):
    folder = shared / "real" / "published" / "OTB2015"
    published = json.loads((folder / f"{tracker}.json").read_text())
    successes, precisions = [], []
    for file in sorted((folder / "groundtruth").glob("*.txt")):
        if not (folder / tracker / file.name).is_file():
            continue
        boxes = np.loadtxt(folder / tracker / file.name, delimiter=",")
        scores = metrics.score(boxes, np.loadtxt(file, delimiter=","))
        expected = published["seq_wise"][file.stem]
        assert scores.success == pytest.approx(expected["success_score"], abs=5e-5), file.stem
        assert scores.precision == pytest.approx(expected["precision_score"], abs=5e-5), file.stem
        successes.append(scores.success)
        precisions.append(scores.precision)
    assert len(successes) == targets
    if targets == 100:
        assert np.mean(successes) == pytest.approx(published["overall"]["success_score"], abs=5e-5)
        assert np.mean(precisions) == pytest.approx(
            published["overall"]["precision_score"], abs=5e-5
        )
