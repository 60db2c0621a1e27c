"""The tracking loop against hand-computed cases; the ensemble against its parts."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking import base, siamfc, spec
from esiamfc_lib.tracking.base import IdentityTracker
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker, sparse
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from tools import ablation

WIDTH = 0.125
BOX = np.array([60.0, 40, 30, 20])  # centre 74.5, 49.5; s_z = sqrt(55 · 45)


@pytest.fixture(scope="module")
def frames():
    """Five frames of texture that shifts by (3, 2) pixels a frame."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    texture = np.asarray(Image.fromarray(texture).resize((250, 200), Image.Resampling.BICUBIC))
    return [
        np.ascontiguousarray(texture[30 - 2 * i : 150 - 2 * i, 30 - 3 * i : 190 - 3 * i])
        for i in range(5)
    ]


@pytest.fixture(scope="module")
def model():
    return SiamFC(WIDTH, seed=1)


@pytest.fixture(scope="module")
def ensemble():
    model = ESiamFC(3, WIDTH, seed=2)
    for i, branch in enumerate(model.branches):
        torch.nn.init.constant_(branch.bias, -1.0 - i)
    generator = torch.Generator().manual_seed(0)
    # The features of an untrained network are large; weights this small leave the softmax open.
    torch.nn.init.normal_(model.cluster_weights.linear.weight, std=1e-5, generator=generator)
    return model


class Told(SiamFCTracker):
    """A tracker whose responses are told beforehand."""

    def __init__(self, model, responses, **parameters):
        super().__init__(model, TrackingParameters(**parameters))
        self.responses = responses

    def respond(self, crops):
        assert crops.shape == (len(self.scales), 255, 255, 3)
        return np.array(self.responses, np.float32)


def peak(row: int, column: int, height: float = 1.0) -> np.ndarray:
    """(17, 17): a smooth hill at a cell."""
    rows, columns = np.mgrid[:17, :17]
    return height * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 4.0)


def test_the_peak_moves_the_box_by_its_cells(model, frames):
    # Two cells right, one up; the same on all scales, so the size stays.
    tracker = Told(model, [peak(7, 10)] * 3, window_influence=0.0)
    tracker.init(frames[0], BOX)
    box = tracker.update(frames[1])
    side = np.sqrt(55 * 45) * 255 / 127
    moved = np.array([2.0, -1.0]) * 8 * side / 255
    # The up-sampled grid has no point on the cell itself: half of a sixteenth beside it.
    tolerance = 0.51 / 16 * 8 * side / 255
    np.testing.assert_allclose(box[:2], BOX[:2] + moved, atol=tolerance)
    np.testing.assert_allclose(box[2:], BOX[2:])
    # The response map covers 17 cells of 8 search pixels about the last position.
    np.testing.assert_allclose(geometry.center(tracker.last_region), [74.5, 49.5])
    np.testing.assert_allclose(tracker.last_region[2:], 17 * 8 * side / 255)
    assert tracker.last_response.shape == (272, 272)


def test_a_central_peak_moves_nothing(model, frames):
    tracker = Told(model, [peak(8, 8)] * 3)
    tracker.init(frames[0], BOX)
    step = 8 / 16 * np.sqrt(55 * 45) * 255 / 127 / 255
    np.testing.assert_allclose(tracker.update(frames[1])[:2], BOX[:2], atol=0.51 * step)


def test_a_higher_peak_on_another_scale_changes_the_size_slowly(model, frames):
    tracker = Told(model, [peak(8, 8), peak(8, 8), peak(8, 8, 1.1)])
    tracker.init(frames[0], BOX)
    growth = (1 - 0.59) + 0.59 * 1.0375
    np.testing.assert_allclose(tracker.update(frames[1])[2:], BOX[2:] * growth)
    tracker.responses = [peak(8, 8, 1.1), peak(8, 8), peak(8, 8)]
    shrink = (1 - 0.59) + 0.59 / 1.0375
    np.testing.assert_allclose(tracker.update(frames[2])[2:], BOX[2:] * growth * shrink)


def test_a_change_of_scale_must_be_worth_the_penalty(model, frames):
    # 1 % higher is less than the penalty of 2.55 %.
    tracker = Told(model, [peak(8, 8), peak(8, 8), peak(8, 8, 1.01)])
    tracker.init(frames[0], BOX)
    np.testing.assert_allclose(tracker.update(frames[1])[2:], BOX[2:])


def test_the_penalty_does_not_reward_negative_responses(frames):
    model = SiamFC(WIDTH, seed=1)
    torch.nn.init.constant_(model.branch.bias, -2.0)
    told = [peak(8, 8) - 2] * 3  # peaks of -1, as of a lost target
    for kind, size in (
        (Told, BOX[2:]),
        (type("Naive", (ablation.PenaltyOnLogits, Told), {}), None),
    ):
        tracker = kind(model, told)
        tracker.init(frames[0], BOX)
        box = tracker.update(frames[1])
        if size is None:
            assert (box[2:] < BOX[2:]).all()
        else:
            np.testing.assert_allclose(box[2:], size)


def test_the_size_stays_within_limits(model, frames):
    tracker = Told(model, [peak(8, 8, 2), peak(8, 8), peak(8, 8)], scale_step=3.0, scale_lr=1.0)
    tracker.init(frames[0], BOX)
    for _ in range(4):
        box = tracker.update(frames[1])
    np.testing.assert_allclose(box[2:], BOX[2:] * 0.2)
    tracker.responses = tracker.responses[::-1]
    for _ in range(6):
        box = tracker.update(frames[1])
    np.testing.assert_allclose(box[2:], BOX[2:] * 5.0)


def test_the_window_prefers_the_centre(model, frames):
    twin = peak(8, 8) + peak(8, 14, 1.02)
    far = Told(model, [twin] * 3, window_influence=0.0)
    near = Told(model, [twin] * 3)
    for tracker in (far, near):
        tracker.init(frames[0], BOX)
        tracker.update(frames[1])
    assert far.box[0] - BOX[0] > 15
    assert abs(near.box[0] - BOX[0]) < 2
    np.testing.assert_allclose(siamfc._cosine_window(272).sum(), 1.0, rtol=1e-5)


def test_a_flat_response_leaves_the_target_where_it_was(model, frames):
    tracker = Told(model, np.full((3, 17, 17), -2.0))
    tracker.init(frames[0], BOX)
    np.testing.assert_allclose(tracker.update(frames[1]), BOX, atol=1.0)


class Matcher(SiamFCTracker):
    """Template matching in place of the network: the same geometry, known to find the target."""

    def _remember(self, exemplar, rate=1.0):
        self.template = exemplar[0].permute(1, 2, 0).numpy()

    def respond(self, crops):
        images = crops.astype(np.float32)
        maps = [cv2.matchTemplate(i, self.template, cv2.TM_CCOEFF_NORMED) for i in images]
        return np.stack(maps)[:, ::8, ::8]


def test_crops_and_responses_share_one_geometry(model, frames):
    """A shift of 3, 2 pixels a frame comes out as that, to a fraction of a response cell."""
    tracker = Matcher(model)
    tracker.init(frames[0], BOX)
    for i in range(1, 5):
        box = tracker.update(frames[i])
        np.testing.assert_allclose(geometry.center(box), [74.5 + 3 * i, 49.5 + 2 * i], atol=0.8)
    np.testing.assert_allclose(box[2:], BOX[2:], rtol=0.05)


def test_growth_is_followed(model, frames):
    tracker = Matcher(model)
    tracker.init(frames[0], BOX)
    for i in range(1, 9):
        zoom = 1.02**i
        matrix = np.array([[zoom, 0, 74.5 * (1 - zoom)], [0, zoom, 49.5 * (1 - zoom)]])
        box = tracker.update(cv2.warpAffine(frames[0], matrix, (160, 120)))
    np.testing.assert_allclose(box[2:], BOX[2:] * 1.02**8, rtol=0.05)
    np.testing.assert_allclose(geometry.center(box), [74.5, 49.5], atol=1.0)


def test_colour_order_matters_and_is_rgb(model, frames):
    tracker = SiamFCTracker(model)
    seen = []
    tracker._remember = seen.append
    red = np.zeros((100, 100, 3), np.uint8)
    red[..., 0] = 200
    tracker.init(red, BOX)
    tensor = seen[0]
    assert tensor.shape == (1, 3, 127, 127)
    assert tensor.dtype == torch.float32
    assert tensor[0].mean((1, 2)).tolist() == [200.0, 0.0, 0.0]
    tracker.init(Image.fromarray(red), BOX)
    assert torch.equal(seen[1], tensor)


@pytest.mark.parametrize(
    "box",
    [
        [-10, -5, 30, 20],
        [150, 110, 30, 30],
        [159, 119, 20, 20],
        [-19, -19, 20, 20],
        [20, 20, 1, 1],
        [0, 0, 160, 120],
        [30, 40, 2, 60],
    ],
)
def test_any_box_with_an_area_is_followed(model, frames, box):
    tracker = SiamFCTracker(model)
    tracker.init(frames[0], np.array(box, float))
    for frame in frames[1:3]:
        result = tracker.update(frame)
        assert np.isfinite(result).all()
        assert (result[2:] > 0).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 300, 3), (90, 120), (90, 120, 1)])
def test_any_frame_size_grey_or_colour(model, shape):
    frame = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    tracker = SiamFCTracker(model)
    tracker.init(frame, [0, 0, 5, 4])
    assert np.isfinite(tracker.update(frame)).all()


def test_grey_frames_become_three_equal_channels(frames):
    grey = frames[0][..., 0]
    for image in (grey, grey[..., None], Image.fromarray(grey)):
        assert np.array_equal(base.rgb(image), np.repeat(grey[..., None], 3, axis=2))


def test_a_sequence_may_begin_just_beside_the_frame(frames):
    """As perturbed boxes do; the fault of another box names the frame."""
    tracker = base.IdentityTracker()

    def begun(*box):
        boxes = np.array([[0, 0, 9, 9], box], float)
        tracker.begin(frames[0], Sequence("s", ("a.jpg", "b.jpg"), boxes), 1)
        return tracker.box.tolist()

    assert begun(165, -23, 20, 20) == [159, -19, 20, 20]
    assert begun(140.25, -19, 20, 20) == [140.25, -19, 20, 20]
    with pytest.raises(StudyError, match=r"^b.jpg: the box .* is none in a frame"):
        begun(400, 0, 20, 20)
    with pytest.raises(StudyError, match=r"^b.jpg: a box is four finite numbers"):
        begun(np.nan, 0, 20, 20)


def test_faults_are_named(model, ensemble, frames):
    tracker = SiamFCTracker(model)
    for box in ([np.nan, 0, 5, 5], [0, 0, np.inf, 5], [0, 0, 5]):
        with pytest.raises(StudyError, match="four finite numbers"):
            tracker.init(frames[0], np.array(box))
    for box in ([0, 0, 0, 5], [0, 0, 5, -1]):
        with pytest.raises(StudyError, match="four finite numbers, with an area"):
            tracker.init(frames[0], np.array(box, float))
    for box in ([160, 9, 20, 20], [9, -20, 20, 20], [-9, -9, 9e9, 9e9], [400, 300, 20, 20]):
        for one in (tracker, ESiamFCTracker(ensemble), base.IdentityTracker()):
            with pytest.raises(StudyError, match="none in a frame of 160×120 pixels"):
                one.init(frames[0], np.array(box, float))
    with pytest.raises(StudyError, match="uint8"):
        tracker.init(frames[0].astype(float), BOX)
    with pytest.raises(StudyError, match="1 or 3 channels, not 4"):
        tracker.init(np.zeros((9, 9, 4), np.uint8), BOX)
    with pytest.raises(StudyError, match="'scale_num' = 2: Input should be 1, 3"):
        TrackingParameters.validated({"scale_num": 2})
    with pytest.raises(StudyError, match="branches 0 to 2, not 3"):
        BranchTracker(ensemble, 3)
    with pytest.raises(StudyError, match="fusion is one of"):
        ESiamFCTracker(ensemble, "median")
    with pytest.raises(StudyError, match="needs the centroids"):
        ESiamFCTracker(ensemble, "nearest_centroid")
    with pytest.raises(StudyError, match=r"centroids \(2, .*\) for 3 branches"):
        ESiamFCTracker(ensemble, "nearest_centroid", np.eye(2), model)


def test_the_given_model_is_left_alone(model, frames):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    tracker = SiamFCTracker(model)
    tracker.init(frames[0], BOX)
    tracker.update(frames[1])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def fused_by_the_parts(ensemble, exemplar, search, fuse):
    model = ensemble.eval()
    with torch.inference_mode():
        z, x = model.stem(exemplar), model.stem(search)
        return fuse(model.responses(z, x), model.cluster_weights(z))


@pytest.mark.parametrize(
    "fusion, fuse",
    [
        ("uniform", lambda responses, weights: responses.mean(1)),
        ("max", lambda responses, weights: responses.amax(1)),
        (
            "cluster_weight",
            lambda responses, weights: (responses * weights[..., None, None]).sum(1),
        ),
    ],
)
def test_one_correlation_equals_the_fused_branches(ensemble, frames, fusion, fuse):
    tracker = ESiamFCTracker(ensemble, fusion)
    tracker.init(frames[0], BOX)
    crops = geometry.crop_many(frames[1], np.array([74.5, 49.5]), np.array([90.0, 100, 110]), 255)
    search = torch.from_numpy(crops).permute(0, 3, 1, 2).float()
    exemplar = tracker._exemplar(frames[0])
    ours = tracker.respond(crops)
    expected = fused_by_the_parts(ensemble, exemplar, search, fuse)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    if fusion != "max":
        assert tracker.fusion_weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_cluster_weights_are_those_of_the_module(ensemble, frames):
    tracker = ESiamFCTracker(ensemble)
    tracker.init(frames[0], BOX)
    with torch.inference_mode():
        expected = ensemble.eval().cluster_weights(ensemble.stem(tracker._exemplar(frames[0])))[0]
    np.testing.assert_allclose(tracker.fusion_weights, expected, atol=1e-4)
    assert tracker.fusion_weights.std() > 0.001


def test_the_nearest_centroid_runs_its_branch_alone(ensemble, model, frames):
    probe = SiamFCTracker(model)
    probe.init(frames[0], BOX)
    feature = probe.kernel.flatten().numpy()
    centroids = np.stack([-feature, feature, np.zeros_like(feature)]) / np.linalg.norm(feature)
    nearest = ESiamFCTracker(ensemble, "nearest_centroid", centroids, model)
    alone = BranchTracker(ensemble, 1)
    for tracker in (nearest, alone):
        tracker.init(frames[0], BOX)
    assert nearest.fusion_weights.tolist() == [0, 1, 0]
    assert nearest.active_branches == (1,)
    for frame in frames[1:]:
        np.testing.assert_allclose(nearest.update(frame), alone.update(frame), atol=1e-6)


def test_an_ensemble_of_equal_branches_is_its_branch(model, frames):
    same = ESiamFC.assembled([model] * 3)
    trackers = [SiamFCTracker(model)]
    trackers += [ESiamFCTracker(same, fusion) for fusion in ("uniform", "max", "cluster_weight")]
    for tracker in trackers:
        tracker.init(frames[0], BOX)
    for frame in frames[1:]:
        first, *rest = (tracker.update(frame) for tracker in trackers)
        for box in rest:
            np.testing.assert_allclose(box, first, atol=0.1)


def test_weights_belong_to_the_sequence(ensemble, frames):
    tracker = ESiamFCTracker(ensemble)
    tracker.init(frames[0], BOX)
    first = tracker.fusion_weights
    tracker.update(frames[1])
    assert tracker.fusion_weights is first
    tracker.init(frames[0][::-1].copy(), BOX)
    assert not np.allclose(tracker.fusion_weights, first, atol=1e-6)


def test_a_running_update_moves_the_exemplar(model, frames):
    still = SiamFCTracker(model)
    moving = SiamFCTracker(model, TrackingParameters(exemplar_lr=0.5))
    for tracker in (still, moving):
        tracker.init(frames[0], BOX)
        before = tracker.kernel.clone()
        tracker.update(frames[3])
        assert torch.equal(tracker.kernel, before) == (tracker is still)


@pytest.fixture(scope="module")
def sequence(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for i, frame in enumerate(frames):
        images.write_image(folder / f"{i:04d}.jpg", frame)
    paths = tuple(str(path) for path in sorted(folder.glob("*.jpg")))
    boxes = BOX + np.arange(5)[:, None] * np.array([3, 2, 0, 0])
    return Sequence("shift", paths, boxes)


def test_a_sequence_is_tracked_the_same_way_twice(model, sequence):
    tracker = SiamFCTracker(model)
    boxes, seconds = tracker.track_sequence(sequence)
    again, _ = tracker.track_sequence(sequence)
    np.testing.assert_array_equal(boxes, again)
    np.testing.assert_array_equal(boxes[0], sequence.boxes[0])
    assert boxes.shape == (5, 4)
    assert seconds.shape == (5,)
    assert (seconds > 0).all()


def test_got10k_runs_it_as_one_of_its_own(model, sequence):
    boxes, times = SiamFCTracker(model).track(list(sequence.frames), sequence.boxes[0])
    assert boxes.shape == (5, 4)
    assert len(times) == 5


def test_identity_never_moves(sequence):
    boxes, _ = IdentityTracker().track_sequence(sequence)
    np.testing.assert_array_equal(boxes, np.tile(sequence.boxes[0], (5, 1)))


def test_bf16_stays_close(model, sequence):
    exact, _ = SiamFCTracker(model).track_sequence(sequence)
    engine = Engine(model, precision="bf16")
    rounded, _ = SiamFCTracker(model, engine=engine).track_sequence(sequence)
    np.testing.assert_allclose(rounded, exact, atol=1.5)


@pytest.mark.parametrize("name", [name for name in ablation.VARIANTS if name != "as built"])
def test_every_variant_of_the_loop_runs(model, sequence, name):
    _, loop, changes = ablation.VARIANTS[name]
    tracker = loop(model, TrackingParameters(**changes))
    tracker.init(images.read_image(sequence.frames[0]), np.array([-5.0, -3, 70, 90]))
    assert np.isfinite(tracker.update(images.read_image(sequence.frames[1]))).all()


def test_rounded_crops_equal_exact_ones_on_whole_pixels(model, frames):
    rounded, exact = ablation.RoundedCrops(model), SiamFCTracker(model)
    sides = np.array([51.0])
    a = rounded._crops(frames[0], np.array([70.0, 60.0]), sides, 51)
    b = exact._crops(frames[0], np.array([70.0, 60.0]), sides, 51)
    np.testing.assert_array_equal(a, b)
    outside = rounded._crops(frames[0], np.array([-200.0, 60.0]), sides, 51)
    assert np.ptp(outside, axis=(1, 2)).max() == 0


def test_swapped_colours_are_those_of_exemplar_and_search_regions(model, frames):
    plain, swapped = SiamFCTracker(model), ablation.SwappedColours(model)
    plain.init(np.ascontiguousarray(frames[0][..., ::-1]), BOX)
    swapped.init(frames[0], BOX)
    box = plain.update(np.ascontiguousarray(frames[1][..., ::-1]))
    np.testing.assert_array_equal(swapped.update(frames[1]), box)


def test_published_weights_follow_a_real_target(shared):
    from esiamfc_lib.data import benchmarks
    from esiamfc_lib.evaluation import metrics

    weights = shared / "real" / "weights" / "siamfc_2016-08-17_color_bnfolded.npz"
    sequences, _ = benchmarks.read_benchmark("otb2015", shared / "real" / "OTB")
    crossing = next(s for s in sequences if s.name == "Crossing")
    start = Sequence("Crossing", crossing.frames[:16], crossing.boxes[:16])
    boxes, _ = SiamFCTracker(published.load_siamfc(weights)).track_sequence(start)
    assert metrics.score(boxes, start.boxes).average_overlap > 0.75


def test_sparse_weights_by_hand():
    weights = np.array([0.1, 0.4, 0.3, 0.2])
    assert sparse(weights) is weights
    assert sparse(weights, top=4) is weights
    np.testing.assert_allclose(sparse(weights, top=1), [0, 1, 0, 0])
    np.testing.assert_allclose(sparse(weights, top=2), [0, 4 / 7, 3 / 7, 0])
    np.testing.assert_allclose(sparse(weights, threshold=0.2), [0, 4 / 9, 3 / 9, 2 / 9])
    np.testing.assert_allclose(sparse(weights, threshold=0.9), [0, 1, 0, 0])
    np.testing.assert_allclose(sparse(weights, top=2, threshold=0.35), [0, 1, 0, 0])
    np.testing.assert_allclose(sparse(np.full(3, 1 / 3), top=2), [0.5, 0.5, 0])


def test_sparse_fusion_cuts_nothing_or_runs_less(ensemble, frames):
    trackers = {
        "all": ESiamFCTracker(ensemble),
        "top 3": ESiamFCTracker(ensemble, top=3),
        "low": ESiamFCTracker(ensemble, threshold=1e-9),
        "one": ESiamFCTracker(ensemble, top=1),
    }
    for tracker in trackers.values():
        tracker.init(frames[0], BOX)
    best = int(np.argmax(trackers["all"].fusion_weights))
    alone = BranchTracker(ensemble, best)
    alone.init(frames[0], BOX)
    assert trackers["one"].active_branches == (best,)
    for frame in frames[1:]:
        boxes = {name: tracker.update(frame) for name, tracker in trackers.items()}
        np.testing.assert_array_equal(boxes["top 3"], boxes["all"])
        np.testing.assert_array_equal(boxes["low"], boxes["all"])
        np.testing.assert_allclose(boxes["one"], alone.update(frame), atol=1e-6)
    for wrong in ({"top": -1}, {"threshold": 1.5}):
        with pytest.raises(StudyError, match="top is 0 or more"):
            ESiamFCTracker(ensemble, **wrong)
    with pytest.raises(StudyError, match="not with 'uniform'"):
        ESiamFCTracker(ensemble, "uniform", top=1)


def test_scaling_the_weights_moves_no_box(ensemble, frames):
    """Why it is free to make the weights that are left sum to 1."""

    class Shrunk(ESiamFCTracker):
        def _weights(self, exemplar, stem):
            return 0.6 * super()._weights(exemplar, stem)

    plain, shrunk = ESiamFCTracker(ensemble), Shrunk(ensemble)
    for tracker in (plain, shrunk):
        tracker.init(frames[0], BOX)
    for frame in frames[1:]:
        np.testing.assert_allclose(shrunk.update(frame), plain.update(frame), atol=1e-6)


def test_upsampling_is_opencv_s(model):
    responses = np.random.default_rng(0).normal(size=(3, 17, 17)).astype(np.float32)
    ours = SiamFCTracker(model)._upsampled(responses)
    for one, response in zip(ours, responses, strict=True):
        theirs = cv2.resize(response, (272, 272), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(one, theirs, atol=2e-6)


def test_local_scales_are_the_whole_search_around_the_peak(model, frames):
    """Responses there are those of the whole search region; elsewhere those of the middle scale."""
    asked = []

    class Asking(SiamFCTracker):
        def _upsampled(self, responses):
            asked.append(responses.copy())
            return super()._upsampled(responses)

    whole, local = Asking(model), Asking(model, TrackingParameters(local_scales=5))
    for tracker in (whole, local):
        tracker.init(frames[0], BOX)
        tracker.update(frames[1])
    full, part = asked
    np.testing.assert_allclose(part[1], full[1], rtol=1e-4, atol=1e-4 * np.abs(full).max())
    row, column = (np.clip(i - 2, 0, 12) for i in np.unravel_index(full[1].argmax(), full[1].shape))
    inside = np.zeros((17, 17), bool)
    inside[row : row + 5, column : column + 5] = True
    for scale in (0, 2):
        np.testing.assert_array_equal(part[scale][~inside], part[1][~inside])
        # The crops' own rounding to whole grey levels is all that can differ.
        spread = np.ptp(full[scale])
        np.testing.assert_allclose(part[scale][inside], full[scale][inside], atol=0.02 * spread)
        assert np.abs(part[scale] - part[1])[inside].max() > 0.05 * spread
    with pytest.raises(StudyError, match="'local_scales' = 4: Input should be 0, 1, 3"):
        TrackingParameters.validated({"local_scales": 4})


@pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4cut", "npy", "other"])
def test_a_damaged_file_of_centroids_is_named(content, ensemble, tmp_path):
    path = tmp_path / "c.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with path.open("wb") as file:
            (np.save if content == "npy" else np.savez)(file, np.zeros((3, 4)))
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ensemble)
    given = {"name": "Nearest", "kind": "ensemble", "fusion": "nearest_centroid"}
    one = spec.TrackerSpec(**given, weights=str(weights), centroids=str(path))
    with pytest.raises(StudyError, match=r"centroids file '.*c.npz' cannot be read: "):
        one.build()
