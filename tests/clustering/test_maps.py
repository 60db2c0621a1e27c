"""Maps: coordinates, the static figure and the page, which a browser opens."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from esiamfc_lib.clustering.maps import pca_map, umap_map
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures import maps

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(12)[:2], 12, axis=0) + 0.1 * rng.standard_normal((24, 12))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def page(tmp_path, features):
    images = np.random.default_rng(1).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    tracks = [f"video{i}/0" for i in range(23)] + ["</script><b>odd & name"]
    path = tmp_path / "map.html"
    maps.write_page(path, features[:, :2], images, tracks, np.arange(24) % 3, ["dog"] * 24)
    return path


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


def test_page_is_self_contained(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)|https?://|@import|url\(""", text)
    data = json.loads(re.search(r'application/json">(.*?)</script>', text, re.DOTALL).group(1))
    assert len(data["points"]) == 24
    assert len(data["colours"]) == 3
    assert data["points"][-1]["track"] == "</script><b>odd & name"
    assert all(0 <= p["x"] <= 1 and 0 <= p["y"] <= 1 for p in data["points"])


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, absent here")
def test_page_in_a_browser(page, tmp_path):
    """The page runs without the network: all exemplars decode, hovering shows one of them."""
    hover = """addEventListener("load", () => setTimeout(() => {
        const [x, y] = place(data.points[7]);
        canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: x, clientY: y }));
    }, 100));</script></body>"""
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text().replace("</script>\n</body>", hover))
    shown = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--window-size=900,700",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=4000",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    assert 'data-ready="24"' in shown
    assert shown.count("<button>") == 3
    card = shown[shown.index('<div id="card"') : shown.index('<script id="data"')]
    assert "display: block" in card
    assert "video7/0" in card
    assert "cluster 1 · dog" in card
    assert "data:image/jpeg;base64," in card


def test_page_refuses(tmp_path, features):
    images = np.zeros((24, 8, 8, 3), np.uint8)
    with pytest.raises(StudyError, match="do not fit together"):
        maps.write_page(tmp_path / "x.html", features[:, :2], images, ["a"])
    with pytest.raises(StudyError, match="not finite"):
        maps.write_page(tmp_path / "x.html", np.full((24, 2), np.nan), images, ["a"] * 24)
    assert not (tmp_path / "x.html").exists()


def test_static_map_and_screening_figure(features):
    images = np.zeros((24, 16, 16, 3), np.uint8)
    figure = maps.map_with_thumbnails(features[:, :2], images, np.arange(24) % 2, limit=10)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert sum(type(artist).__name__ == "AnnotationBbox" for artist in axis.artists) == 10
    maps.screening(np.linspace(0, 1, 12), np.arange(12) > 1, images[:12]).canvas.draw()


def test_thumbnails_spread_over_the_map():
    points = np.concatenate([np.zeros((50, 2)), [[9, 0], [0, 9], [-9, 0], [0, -9]]])
    assert set(maps.spread_out(points, 5)) >= {50, 51, 52, 53}
    assert maps.spread_out(points, 0) == []
    assert len(maps.spread_out(points[:3], 10)) == 3
