"""Many sequences at once against one by one."""

import built_in
import numpy as np
import pytest
import torch
from PIL import Image

from esiamfc_lib.data import benchmarks, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import runs
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.lockstep import track_many
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.tracking.spec import tracker_specs

WIDTH = 0.125
LENGTHS = (5, 2, 7, 1, 4)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    """Five sequences of five lengths and frame sizes."""
    rng, result = np.random.default_rng(0), []
    for s, length in enumerate(LENGTHS):
        folder = tmp_path_factory.mktemp(f"sequence{s}")
        coarse = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
        size = (200 + 10 * s, 160)
        texture = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC))
        for i in range(length):
            images.write_image(folder / f"{i:03d}.jpg", np.roll(texture, (i, 2 * i), (0, 1)))
        frames = tuple(str(path) for path in sorted(folder.glob("*.jpg")))
        boxes = np.tile([60.0 + s, 50, 30, 24], (length, 1))
        result.append(Sequence(f"s{s}", frames, boxes))
    return result


def trackers():
    ensemble = ESiamFC(3, WIDTH, seed=2)
    # The features of an untrained network are large; weights this small leave the softmax open.
    torch.nn.init.normal_(ensemble.cluster_weights.linear.weight, std=1e-5,
                          generator=torch.Generator().manual_seed(0))  # fmt: skip
    return {
        "SiamFC": SiamFCTracker(SiamFC(WIDTH, seed=1)),
        "all branches": ESiamFCTracker(ensemble),
        "some branches": ESiamFCTracker(ensemble, threshold=0.3275),
        "max": ESiamFCTracker(ensemble, "max"),
    }


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", trackers())
def test_the_boxes_are_those_of_one_by_one(sequences, name, together):
    tracker = trackers()[name]
    alone = [tracker.track_sequence(sequence)[0] for sequence in sequences]
    many = sorted(track_many(tracker, sequences, slots=3, together=together), key=lambda m: m[0])
    assert [len(boxes) for _, boxes, _ in many] == list(LENGTHS)
    for one, (_, boxes, seconds) in zip(alone, many, strict=True):
        np.testing.assert_allclose(boxes, one, atol=1e-3 if together else 0)
        assert seconds.shape == (len(boxes),)
        assert (seconds > 0).all()


def test_some_share_a_branch_and_some_do_not(sequences):
    """The sparse case is only tested where the sequences do differ in their branches."""
    tracker, chosen = trackers()["some branches"], set()
    for sequence in sequences:
        tracker.init(images.read_image(sequence.frames[0]), sequence.boxes[0])
        chosen.add(tracker.active_branches)
    assert len(chosen) > 1


def test_results_come_as_sequences_end_and_threads_stay(sequences):
    before = torch.get_num_threads()
    order = [i for i, _, _ in track_many(trackers()["SiamFC"], sequences)]
    assert sorted(order) == list(range(len(sequences)))
    assert order[0] == LENGTHS.index(1)
    assert torch.get_num_threads() == before
    assert list(track_many(trackers()["SiamFC"], [])) == []


def test_a_broken_frame_is_named(sequences, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    bad = Sequence("bad", (*sequences[0].frames[:2], str(broken)), sequences[0].boxes[:3])
    for together in (False, True):
        with pytest.raises(StudyError, match=r"broken\.jpg"):
            list(track_many(trackers()["SiamFC"], [*sequences, bad], together=together))


def test_evaluation_in_lockstep_is_cached_and_has_keys_of_its_own(tmp_path):
    data = built_in.make(tmp_path / "data", otb_sequences=3, vot_sequences=2, got10k_sequences=2)
    weights = tmp_path / "siamfc.safetensors"
    checkpoints.save(weights, SiamFC(WIDTH, seed=1))
    chosen = tracker_specs(["identity", "siamfc"], siamfc=weights)

    def files(out, *options):
        runs.evaluate(chosen, "otb2015", data.otb, out, lockstep=options[0])
        return {
            part: {p.name: p.read_bytes() for p in (out / part / "SiamFC").iterdir()}
            for part in ("boxes", "keys", "times")
        }

    single, many = files(tmp_path / "a", False), files(tmp_path / "b", True)
    assert single["boxes"] == many["boxes"]
    assert single["keys"].keys() == many["keys"].keys()
    assert single["keys"] != many["keys"]
    again = files(tmp_path / "b", True)
    assert again == many  # also the times: nothing was tracked again
    vot, _ = benchmarks.read_benchmark("vot2018", data.vot)
    runs.track_benchmark(chosen, vot, "vot2018", tmp_path / "vot", lockstep=True)
    assert len(list((tmp_path / "vot/boxes/SiamFC").glob("*.txt"))) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_boxes_of_one_by_one(sequences):
    model = SiamFC(WIDTH, seed=1)
    tracker = SiamFCTracker(model, engine=Engine(model, "cuda"))
    alone = [tracker.track_sequence(sequence)[0] for sequence in sequences]
    for i, boxes, _ in track_many(tracker, sequences):
        np.testing.assert_allclose(boxes, alone[i], atol=1e-3)
