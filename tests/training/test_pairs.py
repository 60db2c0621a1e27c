"""Pairs: which they are, that nothing but (seed, epoch, index) decides it, and their pixels."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from mini_vid import make_vid

from esiamfc_lib.config import BaselineParameters
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.training.augmentation import augment, grey, margin, middle, resample
from esiamfc_lib.training.held_out import split_tracks, split_videos
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.pairs import PairBatch, PairDataset, uniform


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    curate(make_vid(folder / "vid", videos=4, frames=12), folder / "store")
    return CropStore(folder / "store")


def pairs_of(store, tracks=None, **options):
    usual = {"frame_range": 100, "negative_fraction": 0.0, "hard_negatives": False}
    return PairDataset(store, tracks, **(usual | options))


def batches(loader, epoch, start=0):
    return [
        (b.number.tolist(), b.track.tolist(), b.exemplar.sum().item(), b.search.sum().item())
        for b in loader.epoch(epoch, start)
    ]


def test_uniform_is_a_pure_function_of_the_number():
    whole = uniform(7, np.arange(10_000), 4)
    assert np.array_equal(whole[[5, 9000]], uniform(7, np.array([5, 9000]), 4))
    assert not np.array_equal(whole, uniform(8, np.arange(10_000), 4))
    assert whole.min() >= 0 and whole.max() < 1
    assert np.abs(whole.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(whole.var(axis=0) - 1 / 12).max() < 0.005
    assert np.abs(np.corrcoef(whole.T) - np.eye(4)).max() < 0.05
    assert abs(np.corrcoef(whole[:-1, 0], whole[1:, 0])[0, 1]) < 0.05


def test_frames_of_a_pair_are_near_and_of_one_track(store):
    data = pairs_of(store, length=2000, frame_range=3)
    pairs = data.pairs(np.arange(2000))
    offset, frame = store.index.offset, store.index.frame
    for row in ("exemplar", "search"):
        assert np.all(
            (pairs[row] >= offset[pairs["track"]]) & (pairs[row] < offset[pairs["track"] + 1])
        )
    distance = np.abs(frame[pairs["exemplar"]] - frame[pairs["search"]])
    assert distance.max() == 3 and distance.min() == 1  # another frame, never the same
    assert set(distance) == {1, 2, 3} and pairs["positive"].all()


def test_gap_is_counted_in_frames_not_in_crops(store):
    gappy = store.tracks.index[store.tracks["track"] == "train_0/1"].to_numpy()
    data = pairs_of(store, gappy, length=500, frame_range=1)
    pairs = data.pairs(np.arange(500))
    frame = store.index.frame
    at_1 = frame[pairs["exemplar"]] == 1  # frame 2 is missing: only frame 0 is in reach
    assert at_1.any() and set(frame[pairs["search"]][at_1]) == {0}


def test_only_the_given_tracks(store):
    data = pairs_of(store, np.array([1, 4]), length=300)
    assert set(data.pairs(np.arange(300))["track"]) == {1, 4}


def test_videos_are_drawn_alike_and_then_their_tracks(store):
    # Video 0 with both its tracks, video 1 with one: 1/4, 1/4, 1/2.
    drawn = pairs_of(store, np.array([0, 1, 2]), length=1).pairs(np.arange(20_000))["track"]
    assert np.bincount(drawn, minlength=3) / 20_000 == pytest.approx([0.25, 0.25, 0.5], abs=0.02)


def test_negative_pairs(store):
    tracks = np.arange(8)
    data = pairs_of(store, tracks, length=1, negative_fraction=0.4, hard_negatives=True)
    pairs = data.pairs(np.arange(5000))
    assert np.mean(~pairs["positive"]) == pytest.approx(0.4, abs=0.03)
    video, name = store.index.track_video, store.index.track_name
    negative = ~pairs["positive"]
    assert np.all(video[pairs["track"]][negative] != video[pairs["other"]][negative])
    assert np.all(name[pairs["track"]] == name[pairs["other"]])
    offset = store.index.offset
    assert np.all(
        (pairs["search"] >= offset[pairs["other"]]) & (pairs["search"] < offset[pairs["other"] + 1])
    )
    alone = pairs_of(store, np.array([0, 1]), length=1, negative_fraction=1.0)
    assert alone.pairs(np.arange(50))["positive"].all()  # there is no other video


def test_batches_hold_the_crops(store):
    data = pairs_of(store, length=8, margin=3)
    batch, pairs = data.__getitems__([0, 5]), data.pairs([0, 5])
    assert batch.exemplar.shape == (2, 3, 133, 133) and batch.search.shape == (2, 3, 255, 255)
    assert batch.exemplar.dtype == batch.search.dtype == torch.uint8
    for i in range(2):
        track = pairs["track"][i]
        first = store.rows(track).start
        crop = store.read(track, pairs["exemplar"][i] - first).transpose(2, 0, 1)
        assert np.array_equal(batch.exemplar[i].numpy(), crop[:, 61:194, 61:194])
        crop = store.read(track, pairs["search"][i] - first).transpose(2, 0, 1)
        assert np.array_equal(batch.search[i].numpy(), crop)


def test_order_does_not_depend_on_workers_or_restarts(store):
    data = pairs_of(store, length=22, seed=3)
    alone = PairLoader(data, 4)
    assert len(alone) == 5
    first, second = batches(alone, 0), batches(alone, 1)
    assert [n for b in first for n in b[0]] == list(range(20))
    assert [n for b in second for n in b[0]] == list(range(22, 42))
    assert [b[1] for b in first] != [b[1] for b in second]
    for workers in (1, 2):
        loader = PairLoader(data, 4, workers)
        assert batches(loader, 1) == second and batches(loader, 0) == first
        assert batches(loader, 1, start=3) == second[3:]


def test_a_batch_stays_as_it_was_given(store):
    # Workers fill the same memory over and over; what was handed out must not change with it.
    data = pairs_of(store, length=60, seed=3)
    kept = list(PairLoader(data, 4, 2).epoch(0))
    for one, other in zip(kept, PairLoader(data, 4).epoch(0), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert one.search.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_left_early_does_not_spoil_the_next(store):
    data = pairs_of(store, length=60, seed=3)
    loader = PairLoader(data, 4, 2)
    left = next(iter(loader.epoch(0)))
    assert batches(loader, 1) == batches(PairLoader(data, 4), 1)
    assert torch.equal(left.search, next(PairLoader(data, 4).epoch(0)).search)


def test_ranks_share_a_batch(store):
    data = pairs_of(store, length=16, seed=3)
    parts = [batches(PairLoader(data, 4, rank=rank, world=2), 0) for rank in range(2)]
    for i in range(4):
        assert sorted(parts[0][i][0] + parts[1][i][0]) == list(range(4 * i, 4 * i + 4))
    with pytest.raises(StudyError, match="batch_size = 3"):
        PairLoader(data, 3, world=2)


def test_fewer_pairs_than_a_batch(store):
    loader = PairLoader(pairs_of(store, length=3), 8)
    assert [b.number.tolist() for b in loader.epoch(1)] == [[3, 4, 5]]


def test_bad_parameters(store):
    for wrong, words in (
        ({"length": 0}, "length = 0"),
        ({"negative_fraction": 1.5}, "1.5"),
        ({"margin": 65}, "margin = 65"),
    ):
        with pytest.raises(StudyError, match=words):
            pairs_of(store, **({"length": 1} | wrong))
    with pytest.raises(StudyError, match="no tracks"):
        pairs_of(store, np.array([], int), length=1)


def test_split_videos():
    names = [f"v{i}" for i in range(20)] * 3
    train, validation = split_videos(names, 0.1)
    assert len(validation) == 2 and not train & validation and train | validation == set(names)
    assert split_videos(names[::-1], 0.1) == (train, validation)
    assert validation < split_videos(names, 0.3)[1]  # a larger share holds out the same ones, too
    assert split_videos(names, 0.0)[1] == set()
    with pytest.raises(StudyError, match="nothing is left"):
        split_videos(["only"], 0.1)


def ramp(size=255):
    x = torch.arange(size, dtype=torch.float32).expand(1, 3, size, size)
    return x.contiguous()


def test_resample_by_hand():
    assert torch.equal(middle(ramp(), 239)[0, 0, 0], torch.arange(8.0, 247.0))
    shifted = resample(ramp(), 239, torch.zeros(1, 2), torch.tensor([[5.0, 0.0]]))
    assert torch.allclose(shifted[0, 0, 0], torch.arange(13.0, 252.0), atol=1e-3)
    both = torch.cat([ramp()[:, :1], ramp()[:, :1].mT], dim=1)  # rises in x, then in y
    wider = resample(both, 127, torch.tensor([[0.05, -0.02]]), torch.zeros(1, 2))[0]
    assert torch.allclose(wider[0, 0], 127 + 1.05 * (torch.arange(127.0) - 63), atol=1e-3)
    assert torch.allclose(wider[1, :, 0], 127 + 0.98 * (torch.arange(127.0) - 63), atol=1e-3)


def test_grey_by_hand():
    image = torch.zeros(2, 3, 9, 9)
    image[:, 0] = 100
    toned = grey(image, torch.tensor([True, False]))
    assert torch.allclose(toned[0], torch.full((3, 9, 9), 29.9)) and torch.equal(toned[1], image[1])


def test_augment(store):
    data = pairs_of(store, length=64, margin=margin(BaselineParameters(augmentation="paper")))
    batch = data.__getitems__(list(range(8)))
    exemplar, search = augment(batch, augmentation="paper", seed=1)
    assert exemplar.shape == (8, 3, 127, 127) and search.shape == (8, 3, 239, 239)
    assert exemplar.dtype == torch.float32 and search.min() >= 0 and search.max() <= 255
    # A pair's augmentation does not depend on the batch that it is in.
    some = augment(PairBatch(*(tensor[3:5] for tensor in batch)), augmentation="paper", seed=1)
    assert torch.allclose(some[1], search[3:5], atol=1e-2)
    assert not torch.equal(augment(batch, augmentation="paper", seed=2)[1], search)
    reference = augment(batch, augmentation="reference", seed=1)
    assert [image.shape for image in reference] == [exemplar.shape, search.shape]
    plain = augment(batch, augmentation="none")
    assert torch.equal(plain[1], batch.search.float())
    assert torch.equal(plain[0], batch.exemplar[:, :, 4:131, 4:131].float())


@pytest.mark.parametrize(("augmentation", "most"), [("paper", 8.0), ("reference", 3.0)])
def test_augmentations_shift_and_stretch_as_they_say(augmentation, most):
    """Of ramps in x and y: the middle's place is the shift, the slopes are the stretches."""
    n, one = 256, ramp()[:, :1]
    ramps = torch.cat([one, one.mT, one], dim=1).expand(n, 3, 255, 255)
    number = torch.arange(n)
    batch = PairBatch(ramps[..., 60:195, 60:195], ramps, number, number >= 0, number)
    z, x = augment(batch, augmentation=augmentation)
    z, x = (image[image[:, 0, 0, -1] != image[:, 1, 0, -1]] for image in (z, x))  # those not grey
    assert 0.6 * n < len(x) < 0.9 * n
    for image, shift in ((z, 0.0), (x, most)):
        c = image.shape[-1] // 2
        middles = image[:, :2, c, c] - 127
        assert middles.abs().max() <= shift + 1e-2 and middles.abs().max() >= 0.9 * shift
        slope_x = (image[:, 0, c, c + 40] - image[:, 0, c, c - 40]) / 80
        slope_y = (image[:, 1, c + 40, c] - image[:, 1, c - 40, c]) / 80
        for slope in (slope_x, slope_y):
            assert 0.045 < (slope - 1).abs().max() < 0.0501
        apart = (slope_x - slope_y).abs().max()
        assert apart > 0.05 if augmentation == "reference" else apart < 1e-3


def test_split_tracks_agrees_between_stages_and_never_learns_from_val():
    videos = [f"v{i}" for i in range(10) for _ in range(2)] + ["w0", "w1"]
    tracks = pd.DataFrame({"video": videos, "split": ["train"] * 20 + ["val"] * 2})
    store = SimpleNamespace(tracks=tracks)
    train, held_out = split_tracks(store, 0.1)
    assert sorted([*train, *held_out]) == list(range(22))
    assert {20, 21} < set(held_out)
    assert len(held_out) == 4  # one training video of ten, with its two tracks, and val
    assert not set(tracks["video"][train]) & set(tracks["video"][held_out])

    members = np.arange(0, 22, 2)
    own_train, own_held_out = split_tracks(store, 0.1, members=members)
    assert set(own_train) == set(train) & set(members)
    assert set(own_held_out) == set(held_out) & set(members)
