"""Screening and video features, on a small store with a small network."""

import numpy as np
import pandas as pd
import pytest
import torch
from mini_vid import make_vid

from esiamfc_lib.clustering import embedding
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data import exemplars
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.siamfc import SiamFC


def embedded(store, model, **changes):
    """Video features, with small values of what notebook 03 takes from its parameters."""
    values = {"frames_per_track": 5, "min_frames": 4, "keep_fraction": 0.7, "keep_rounds": "up"}
    values |= {"batch_size": 64}
    return embedding.embed(store, model, **values | changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedding")
    curate(make_vid(folder / "vid", videos=3, frames=6, val=1), folder / "store")
    return CropStore(folder / "store")


@pytest.fixture(scope="module")
def model():
    return SiamFC(width=0.1, seed=1)


@pytest.fixture(scope="module")
def features(store, model):
    return embedded(store, model, batch_size=4, weights_digest="abc")


def by_pairs(features, keep_fraction):
    """Screening as a loop over pairs of frames."""
    m = len(features)
    total = np.zeros(m)
    for i in range(m):
        for j in range(m):
            if i != j:
                total[i] += float(np.dot(features[i], features[j]))
    order = sorted(range(m), key=lambda i: -total[i])
    kept = np.zeros(m, bool)
    kept[order[: int(np.ceil(keep_fraction * m - 1e-9))]] = True
    return kept, total / (m - 1)


@pytest.mark.parametrize("m", [4, 40])
def test_screening_keeps_what_the_loop_over_pairs_keeps(m):
    rng = np.random.default_rng(m)
    for _ in range(10):
        x = rng.standard_normal((m, 30)) + 1
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        kept, agreement = embedding.screen(x, 0.95, "up")
        expected, total = by_pairs(x, 0.95)
        assert np.array_equal(kept, expected)
        np.testing.assert_allclose(agreement, total, atol=1e-5)
    assert kept.sum() == {4: 4, 40: 38}[m]


@pytest.mark.parametrize("m", [1, 4, 19, 20, 40])
def test_rounded_down_screening_drops_one_at_least(m):
    """As the published code's ``int(0.95 n)``; rounded up, nothing drops out below 20 frames."""
    x = np.eye(41, dtype=np.float32)[:m] * 0.6
    x[:, -1] = 0.8
    down, up = (embedding.screen(x, 0.95, rounds)[0].sum() for rounds in ("down", "up"))
    assert down == {1: 1, 4: 3, 19: 18, 20: 19, 40: 38}[m]
    assert up == {1: 1, 4: 4, 19: 19, 20: 19, 40: 38}[m]


def test_screening_drops_the_odd_one_out():
    x = np.array([[1.0, 0], [0.8, 0.6], [0, 1], [0.96, 0.28]])
    kept, agreement = embedding.screen(x, 0.75, "up")
    assert kept.tolist() == [True, True, False, True]
    assert agreement[2] == pytest.approx((0 + 0.6 + 0.28) / 3)
    assert embedding.screen(x[:1], 0.95, "up")[0].tolist() == [True]


def test_evenly_spaced():
    assert evenly_spaced(5, 40).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(101, 5).tolist() == [0, 25, 50, 75, 100]


def test_features_are_what_the_network_says(store, model, features):
    """One track by hand: exemplars from the middle of the crops, network, screening, mean."""
    crops = np.stack([store.read(2, i)[64:191, 64:191] for i in range(5 + 1)])
    chosen = crops[evenly_spaced(6, 5)]
    with torch.no_grad():
        x = model.eval().features(torch.from_numpy(chosen).permute(0, 3, 1, 2).float()).flatten(1)
    x = (x / x.norm(dim=1, keepdim=True)).numpy()
    kept, _ = embedding.screen(x, 0.7, "up")
    mean = x[kept].mean(axis=0)
    np.testing.assert_allclose(features.features[2], mean / np.linalg.norm(mean), atol=1e-5)
    assert kept.sum() == 4


def test_table_says_what_was_left_out(store, features):
    assert features.features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features.features, axis=1), 1, atol=1e-6)
    assert list(features.tracks) == list(store.tracks["track"])
    row = features.table.iloc[0]
    assert (row["frames"], row["sampled"], row["kept"]) == (6, 5, 4)
    assert int(row["screened_frames"]) in store.frames(0)
    assert row["reason"] == "the screened frames agree least with the others"


def test_short_tracks_are_dropped(store, model):
    found = embedded(store, model, frames_per_track=40, min_frames=6, keep_fraction=1.0)
    short = store.tracks["frames"] < 6
    assert short.any()
    assert list(found.tracks) == list(store.tracks.loc[~short, "track"])
    assert (found.table.loc[short, "reason"] == "fewer than 6 frames").all()
    assert (found.table.loc[short, "kept"] == 0).all()
    assert (found.table.loc[~short, "reason"] == "").all()
    with pytest.raises(StudyError, match="none of 6 tracks has 7 frames"):
        embedded(store, model, min_frames=7)


@pytest.mark.parametrize("changes", [{"batch_size": 64}, {"workers": 2}])
def test_batches_and_workers_change_nothing(store, model, features, changes, monkeypatch):
    monkeypatch.setattr(embedding, "JOB_TRACKS", 3)
    again = embedded(store, model, weights_digest="abc", **changes)
    np.testing.assert_allclose(again.features, features.features, atol=1e-6)
    pd.testing.assert_frame_equal(again.table, features.table)


def test_mixed_precision_stays_close(store, model, features):
    rough = embedded(store, model, precision="bf16")
    cosine = (rough.features * features.features).sum(axis=1)
    assert cosine.min() > 0.99


def test_dask_scheduler(store, model, features):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        found = embedded(store, model, scheduler=cluster.scheduler_address)
    np.testing.assert_allclose(found.features, features.features, atol=1e-6)


def test_file(features, tmp_path):
    path = tmp_path / "features.npz"
    features.save(path)
    first = path.read_bytes()
    features.save(path)
    assert path.read_bytes() == first
    read = embedding.VideoFeatures.load(path, "abc")
    assert np.array_equal(read.features, features.features)
    assert list(read.tracks) == list(features.tracks)
    pd.testing.assert_frame_equal(read.table, features.table)
    with pytest.raises(StudyError, match=r"holds features of weights abc, not of def: run"):
        embedding.VideoFeatures.load(path, "def")


def test_bad_files(features, tmp_path):
    path = tmp_path / "features.npz"
    with pytest.raises(StudyError, match="run notebook 03 first"):
        embedding.VideoFeatures.load(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(StudyError, match="not a file of video features"):
        embedding.VideoFeatures.load(path)
    np.savez(path, features=features.features)
    with pytest.raises(StudyError, match="not a file of video features"):
        embedding.VideoFeatures.load(path)
    embedding.VideoFeatures(
        np.full((2, 3), np.nan, np.float32),
        np.array(["a", "b"]),
        pd.DataFrame({"track": ["a", "b"]}),
    ).save(path)
    with pytest.raises(StudyError, match="row 0 has length nan"):
        embedding.VideoFeatures.load(path)


def test_dead_network_is_reported(store):
    dead = SiamFC(width=0.1)
    for parameter in dead.parameters():
        torch.nn.init.zeros_(parameter)
    with pytest.raises(StudyError, match="features are zero or NaN"):
        embedded(store, dead)


def test_thumbnails(store):
    tracks = store.tracks["track"].tolist()
    pictures = exemplars.thumbnails(store, tracks[:2], side=32)
    assert pictures.shape == (2, 32, 32, 3)
    assert pictures.dtype == np.uint8
    with pytest.raises(StudyError, match="no track 'nowhere/7'"):
        exemplars.thumbnails(store, ["nowhere/7"])
