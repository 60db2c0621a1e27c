"""What notebooks 03 and 04 write out by hand is what the library does."""

from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.clustering.embedding import screen
from esiamfc_lib.clustering.pikmeans import PIKMeans, stratified


def run_cell(root, notebook: str, holds: str, names: dict) -> dict:
    """``names`` after the one code cell of the notebook that holds a text has run with them."""
    cells = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    (cell,) = (c for c in cells if c.cell_type == "code" and holds in c.source)
    assert len(cell.source.splitlines()) <= 12
    exec(cell.source, names)
    return names


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_published_iteration_in_ten_lines(root, k, seed):
    rng = np.random.default_rng(seed)
    x = np.repeat(np.eye(6)[:3], [30, 20, 10], axis=0) + 0.3 * rng.standard_normal((60, 6))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    p, features = SimpleNamespace(kp=0.02, ki=0.01, seed=seed), SimpleNamespace(features=x)
    names = {"np": np, "p": p, "k": k, "features": features, "stratified": stratified}
    run_cell(root, "04_clustering", "np.log((x @ centres.T", names)
    settings = {"kp": p.kp, "ki": p.ki, "stop": "published", "max_iter": 100}
    library = PIKMeans(k, init=names["first"], **settings).fit(x)
    assert np.array_equal(names["labels"], library.labels_)
    np.testing.assert_allclose(names["centres"], library.cluster_centers_, atol=1e-6)
    np.testing.assert_allclose(
        p.kp * names["error"] + p.ki * names["total"], library.control_, atol=1e-6
    )
    assert k == 1 or library.n_iter_ > 3


@pytest.mark.parametrize("keep_rounds", ["up", "down"])
@pytest.mark.parametrize("frames", [1, 4, 20, 40])
def test_screening_from_the_cosine_table(root, frames, keep_rounds):
    vectors = np.random.default_rng(frames).standard_normal((frames, 16)) + 1
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    p = SimpleNamespace(keep_fraction=0.95, keep_rounds=keep_rounds)
    names = {"np": np, "pd": pd, "p": p, "vectors": vectors}
    run_cell(root, "03_embedding", "vectors @ vectors.T", names)
    kept, agreement = screen(vectors, p.keep_fraction, p.keep_rounds)
    assert np.array_equal(np.flatnonzero(kept), names["best"])
    np.testing.assert_allclose(names["by_hand"], agreement, atol=1e-6)
