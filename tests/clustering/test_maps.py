"""Maps: the coordinates of the tracks."""

import numpy as np
import pytest

from esiamfc_lib.clustering.maps import pca_map, umap_map
from esiamfc_lib.errors import StudyError


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(12)[:2], 12, axis=0) + 0.1 * rng.standard_normal((24, 12))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_pca(features):
    coordinates, shares = pca_map(features)
    assert coordinates.shape == (24, 2)
    np.testing.assert_allclose(coordinates.mean(axis=0), 0, atol=1e-5)
    assert shares[0] > 0.5 > shares[1]
    assert (np.sign(coordinates[:12, 0]) != np.sign(coordinates[12:, 0])).all()
    with pytest.raises(StudyError, match="PCA needs at least 2 tracks, there are 1"):
        pca_map(features[:1])


def test_umap_is_seeded_and_keeps_groups_apart(features):
    coordinates = umap_map(features, neighbors=50, seed=3)
    assert coordinates.shape == (24, 2)
    assert np.array_equal(coordinates, umap_map(features, neighbors=50, seed=3))
    a, b = coordinates[:12], coordinates[12:]
    within = max(np.ptp(a, axis=0).max(), np.ptp(b, axis=0).max())
    assert np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) > within / 2
    with pytest.raises(StudyError, match="UMAP needs at least 4 tracks"):
        umap_map(features[:3])
