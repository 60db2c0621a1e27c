"""Maps with exemplars: the static figure, and the page that a browser opens."""

import html
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures import maps

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
ODD = '</script><script>alert("id": "p1")</script><b>odd & name'

# What a test and another process draw alike.
DRAWN = f"""
import numpy as np
from esiamfc_lib.figures import maps

rng = np.random.default_rng(1)
points = rng.normal(size=(24, 2)).astype(np.float32)
images = rng.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
tracks = [f"video{{i}}/0" for i in range(23)] + [{ODD!r}]
page = maps.map_page(points, images, tracks, np.arange(24) % 3, ["dog"] * 24)
"""


def drawn():
    found = {}
    exec(DRAWN, found)
    return found["page"]


@pytest.fixture(scope="module")
def page():
    return drawn()


def test_page_holds_every_track_and_needs_no_network(page):
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)\s*=\s*[\"']?(?!data:|@)", page)
    assert not re.search(r"@import|url\([\"']?http", page)
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert page.count("</script>") == len(scripts)  # no name ends a script early
    assert "alert(" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    drawing = json.loads(re.fullmatch(r"Bokeh.embed.embed_item\((.*)\)", scripts[-1])[1])
    groups = sorted(columns(drawing), key=lambda group: group["group"][0])
    assert [group["group"] for group in groups] == [[f"cluster {i}"] * 8 for i in range(3)]
    assert sorted(t for group in groups for t in group["track"]) == sorted(
        [*(f"video{i}/0" for i in range(23)), ODD]
    )
    for group in groups:
        assert len(group["x"]) == len(group["y"]) == 8
        assert set(group["name"]) == {"dog"}
        assert all(image.startswith("data:image/jpeg;base64,") for image in group["image"])
    assert '"click_policy": "hide"' in scripts[-1]
    for tool in ("PanTool", "WheelZoomTool", "ResetTool", "HoverTool"):
        assert f'"{tool}"' in scripts[-1]


def columns(node):
    """The columns of all data sources of a drawing."""
    if isinstance(node, list):
        return [found for item in node for found in columns(item)]
    if not isinstance(node, dict):
        return []
    if node.get("name") == "ColumnDataSource":
        return [dict(node["attributes"]["data"]["entries"])]
    return [found for item in node.values() for found in columns(item)]


def test_page_is_the_same_again_and_in_another_process(page):
    assert drawn() == page
    code = DRAWN + "\nprint(page, end='')"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert other.stdout.decode() == page


PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const plot = Bokeh.documents[0].roots()[0], view = Bokeh.index.get_one(plot);
  const area = view.canvas_view.events_el, corner = area.getBoundingClientRect();
  const data = plot.renderers[2].data_source.data, last = data.x.length - 1;
  area.dispatchEvent(new PointerEvent("pointermove", {
    pointerType: "mouse", isPrimary: true,
    clientX: corner.x + view.frame.x_scale.compute(data.x[last]),
    clientY: corner.y + view.frame.y_scale.compute(data.y[last]),
  }));
  setTimeout(() => {
    const inside = node => [node, ...[...(node.shadowRoot ?? node).children].flatMap(inside)];
    const picture = inside(document.body).find(node => node.tagName === "IMG");
    document.body.dataset.width = picture.naturalWidth;
    document.body.dataset.card = picture.parentElement.outerHTML;
  }, 500);
}, 500));</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, absent here")
def test_page_in_a_browser(page, tmp_path):
    """The page runs without the network: hovering over a track shows its exemplar and names."""
    probe = tmp_path / "probe.html"
    probe.write_text(page.replace("</body>", PROBE), encoding="utf-8")
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--window-size=900,700"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--virtual-time-budget=4000", "--dump-dom"),
    ]
    command = [BROWSER, *options, probe.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = done.stdout[done.stdout.rindex("<body") :]
    width, card = re.search(r'data-width="(\d+)" data-card="([^"]*)"', body).groups()
    assert width == "16"
    assert "data:image/jpeg;base64," in card
    text = html.unescape(re.sub(r"<[^>]*>", " ", html.unescape(card)))
    assert f"{ODD}  cluster 2 dog" in text


def test_page_refuses():
    points, images = np.zeros((24, 2)), np.zeros((24, 8, 8, 3), np.uint8)
    with pytest.raises(StudyError, match=r"24 images, 1 tracks, 24 groups.* do not fit together"):
        maps.map_page(points, images, ["a"], [0] * 24)
    with pytest.raises(StudyError, match="not finite"):
        maps.map_page(points * np.nan, images, ["a"] * 24, [0] * 24)


def test_static_map_and_screening_figure():
    points = np.random.default_rng(0).normal(size=(24, 2))
    images = np.zeros((24, 16, 16, 3), np.uint8)
    figure = maps.map_with_thumbnails(points, images, np.arange(24) % 2, limit=10)
    figure.canvas.draw()
    axis = figure.axes[0]
    assert sum(type(artist).__name__ == "AnnotationBbox" for artist in axis.artists) == 10
    maps.screening(np.linspace(0, 1, 12), np.arange(12) > 1, images[:12]).canvas.draw()


def test_thumbnails_spread_over_the_map():
    points = np.concatenate([np.zeros((50, 2)), [[9, 0], [0, 9], [-9, 0], [0, -9]]])
    assert set(maps.spread_out(points, 5)) >= {50, 51, 52, 53}
    assert maps.spread_out(points, 0) == []
    assert len(maps.spread_out(points[:3], 10)) == 3
