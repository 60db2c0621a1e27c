"""The partition, and the study that compares partitions."""

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.clustering import membership, partition
from esiamfc_lib.clustering.comparison import (
    BALANCED,
    METHODS,
    PUBLISHED,
    Comparison,
    agreement_matrix,
    family_agreement,
)
from esiamfc_lib.clustering.embedding import VideoFeatures
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures import clusters, maps
from esiamfc_lib.networks import SiamFC, checkpoints


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(6)[:3], [30, 20, 10], axis=0)
    x = centres + 0.25 * rng.standard_normal(centres.shape)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    tracks = np.array([f"video{i:02d}/0" for i in range(60)], object)
    return VideoFeatures(x, tracks, pd.DataFrame({"track": tracks}), "digest")


@pytest.fixture(scope="module")
def study(features):
    return Comparison(features.features)


@pytest.mark.parametrize("method", partition.METHODS)
def test_partition_and_its_files(features, method, tmp_path):
    made = partition.cluster_tracks(features, method, n_clusters=3, seed=1)
    assert made.k == 3
    assert made.sizes.sum() == 60
    assert (made.sizes.tolist() == [20, 20, 20]) == (method != "kmeans")
    assert (made.table["second"] != made.table["cluster"]).all()
    if method == "kmeans":  # without control everybody is with the nearest, by Euclid's distance
        apart = features.features[:, None] - made.centres
        assert np.array_equal((apart**2).sum(axis=2).argmin(axis=1), made.labels)
    membership.save_partition(made, tmp_path)
    read = membership.load_partition(tmp_path)
    pd.testing.assert_frame_equal(read.table, made.table, check_dtype=False)
    assert np.array_equal(read.centres, made.centres)
    assert read.method == method
    again = tmp_path / "again"
    membership.save_partition(
        partition.cluster_tracks(features, method, n_clusters=3, seed=1), again
    )
    for name in (membership.TABLE, membership.CENTRES):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()


def test_models_of_another_split_are_refused(features, tmp_path):
    first, other = (
        partition.cluster_tracks(features, "random", n_clusters=3, seed=seed) for seed in (0, 1)
    )
    file = tmp_path / "branch.safetensors"
    checkpoints.save(file, SiamFC(0.125), training={"split": first.digest})
    membership.check_split([file], first)
    membership.save_partition(first, tmp_path)
    membership.check_split([file], membership.load_partition(tmp_path))
    with pytest.raises(StudyError, match=r"branch\.safetensors learned from another split"):
        membership.check_split([file], other)
    checkpoints.save(file, SiamFC(0.125))
    with pytest.raises(StudyError, match="learned from another split"):
        membership.check_split([file], first)


def test_the_published_rule_leaves_sizes_uneven(features):
    made = partition.cluster_tracks(features, "pikmeans", n_clusters=3, seed=1, stop="published")
    assert made.sizes.max() > made.sizes.min() + 1
    assert made.stopped == "no label changed"


@pytest.mark.parametrize("method", partition.METHODS)
def test_one_cluster_holds_every_track(features, method, tmp_path):
    made = partition.cluster_tracks(features, method, n_clusters=1, seed=0)
    assert made.sizes.tolist() == [60] and made.stopped == ""
    assert np.isfinite(made.table["second_distance"]).all()
    membership.save_partition(made, tmp_path)
    for kind in membership.MEMBERSHIPS:
        assert membership.load_partition(tmp_path).members(0, kind) == list(features.tracks)


def test_centres_are_the_means_of_the_members(features):
    made = partition.cluster_tracks(features, "random", n_clusters=4, seed=2)
    for j in range(4):
        mean = features.features[made.labels == j].mean(axis=0)
        np.testing.assert_allclose(made.centres[j], mean, atol=1e-6)
    other = partition.cluster_tracks(features, "random", n_clusters=4, seed=3)
    assert not np.array_equal(made.labels, other.labels)


def test_members(features):
    made = partition.cluster_tracks(features, "pikmeans", n_clusters=3, seed=0)
    near = [made.members(j, "nearest") for j in range(3)]
    assert sorted(track for own in near for track in own) == sorted(features.tracks)
    both = [made.members(j, "nearest+second") for j in range(3)]
    assert sum(map(len, both)) == 120
    assert all(set(a) <= set(b) for a, b in zip(near, both, strict=True))
    with pytest.raises(StudyError, match="cluster_id = 3: there are clusters 0 to 2"):
        made.members(3, "nearest")
    assert made.members(1, "all") == list(features.tracks)
    with pytest.raises(StudyError, match="membership"):
        made.members(0, "every")


def test_bad_input(features, tmp_path):
    with pytest.raises(StudyError, match="only 60 tracks"):
        partition.cluster_tracks(features, "pikmeans", n_clusters=61, seed=0)
    with pytest.raises(StudyError, match="method = 'magic'"):
        partition.cluster_tracks(features, "magic", n_clusters=2, seed=0)
    one = VideoFeatures(features.features[:1], features.tracks[:1], features.table[:1])
    with pytest.raises(StudyError, match="n_clusters = 2, but there are only 1 tracks"):
        partition.cluster_tracks(one, "pikmeans", n_clusters=2, seed=0)
    scaled = VideoFeatures(2 * features.features, features.tracks, features.table)
    with pytest.raises(StudyError, match="row 0 has length 2"):
        partition.cluster_tracks(scaled, "pikmeans", n_clusters=2, seed=0)
    with pytest.raises(StudyError, match="run notebook 04 first"):
        membership.load_partition(tmp_path)
    membership.save_partition(
        partition.cluster_tracks(features, "random", n_clusters=3, seed=0), tmp_path
    )
    (tmp_path / membership.CENTRES).write_bytes(b"nonsense")
    with pytest.raises(StudyError, match="damaged partition"):
        membership.load_partition(tmp_path)
    membership.save_partition(
        partition.cluster_tracks(features, "random", n_clusters=2, seed=0), tmp_path / "two"
    )
    membership.save_partition(
        partition.cluster_tracks(features, "random", n_clusters=3, seed=0), tmp_path
    )
    (tmp_path / "two" / membership.CENTRES).replace(tmp_path / membership.CENTRES)
    with pytest.raises(StudyError, match="names clusters"):
        membership.load_partition(tmp_path)


def test_agreement_by_hand():
    """Pairs of tracks together in a: 01, 23; in b: 01, 02, 12. Both: 01."""
    matrix = agreement_matrix(np.array([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 1]]))
    np.testing.assert_allclose(matrix[0], [1, 1, 1 / np.sqrt(6)])
    np.testing.assert_allclose(matrix, matrix.T)


def test_family_agreement():
    labels = {"a": np.array([[0, 0, 1, 1, 1]]), "b": np.array([[0, 1, 0, 1, 1]])}
    found = family_agreement(labels, np.array(["x", "x", "y", "y", "y"])).set_index("method")
    assert found["ari"]["a"] == found["nmi"]["a"] == pytest.approx(1)
    assert found["ari"]["b"] < 0


def test_runs_start_alike_and_differ_as_they_should(study):
    table, labels = study.runs(3, n_runs=4)
    assert list(table["method"].unique()) == list(METHODS)
    assert labels["constrained"].shape == (4, 60)
    worst = table.groupby("method")["spread"].max()
    assert worst["PIk-means, balanced"] == worst["constrained"] == 1
    assert worst["k-means"] > 2
    assert (table["largest"] >= table["smallest"]).all()
    repeated, _ = study.runs(3, n_runs=4)
    pd.testing.assert_frame_equal(table.drop(columns="seconds"), repeated.drop(columns="seconds"))


def test_histories_and_their_figures(study):
    whole, single = study.histories(3)
    last = whole.groupby("method").tail(1)
    assert (last["changes"] == 0).all()
    assert (single.groupby(["method", "iteration"])["size"].sum() == 60).all()
    for figure in (
        clusters.histories(whole),
        clusters.controls(single[single["method"].isin([PUBLISHED, BALANCED])]),
    ):
        figure.canvas.draw()


def test_elbow_and_sensitivity(study):
    elbow = study.elbow(range(2, 5), n_runs=3).assign(data="tracks")
    by_k = elbow[elbow["method"] == "k-means"].groupby("k")["silhouette"].mean()
    assert by_k.idxmax() == 3 and by_k[3] > 0.5  # there are three groups
    assert set(elbow["k"]) == {2, 3, 4}
    assert elbow["agreement"].between(0, 1).all()
    gains, _ = study.runs(3, 1, (PUBLISHED, BALANCED), kp=(0.005, 0.5), ki=(0.005, 0.5))
    assert len(gains) == 2 * 2 * 2
    assert (gains.loc[gains["method"] == "PIk-means, balanced", "spread"] == 1).all()
    for figure in (clusters.elbow(elbow), clusters.sensitivity(gains)):
        figure.canvas.draw()


def test_figures_leave_settings_alone(study, features):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    table, labels = study.runs(3, n_runs=3)
    sizes = [(method, size) for method, x in labels.items() for size in np.bincount(x[0])]
    made = partition.cluster_tracks(features, "pikmeans", n_clusters=3, seed=0)
    images = np.zeros((60, 16, 16, 3), np.uint8)
    for figure in (
        clusters.stability(table),
        clusters.cluster_sizes(pd.DataFrame(sizes, columns=["method", "tracks"])),
        maps.gallery(images, made.table, count=4),
        maps.map_with_thumbnails(features.features[:, :2], images, made.labels),
    ):
        figure.canvas.draw()
    assert dict(mpl.rcParams) == before


def test_study_refuses(study, features):
    with pytest.raises(StudyError, match="n_samples=60 must be at least n_clusters=61"):
        study.fit("k-means", 61, 0)
    with pytest.raises(StudyError, match="method 'x'"):
        study.fit("x", 2, 0)
    with pytest.raises(StudyError, match="length 2"):
        Comparison(2 * features.features)
