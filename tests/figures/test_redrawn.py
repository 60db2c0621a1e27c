"""Figures for print: legible at a column's width, told apart by all readers, drawn anew."""

import itertools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml
from colour_vision import difference, lab
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from esiamfc_lib import cli, figures, reports
from esiamfc_lib.figures import style
from tools import figures as redrawn
from tools.figures import of_trackers, read_figure

ROOT = Path(__file__).parents[2]
RUNS = ("mini", "real", "scaling")
STEMS = [stem for run in RUNS for stem in sorted((ROOT / "reports" / run).glob("figures/*.json"))]
STEMS = [stem.with_suffix("") for stem in STEMS]
FIRST_OF_ITS_KIND = {read_figure(stem)[0].__name__: stem for stem in STEMS[::-1]}.values()


def draw(words):
    return cli.run("python -m tools.figures", lambda: redrawn, words)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


@pytest.fixture
def table():
    names = ["SiamFC", "Uniform", "random ESiamFC"]
    rows = {"benchmark": "built-in", "tracker": "ESiamFC", "minus": names}
    rows |= {"difference": [0.1, 1 / 3, -0.02], "low": [0.0, 0.2, -0.1], "high": [0.2, 0.5, 0.1]}
    return pd.DataFrame(rows | {"sequences": 12})


@pytest.fixture
def report(table, tmp_path):
    folder = tmp_path / "report" / "figures"
    reports.write_figure(figures.forest(table), folder / "07_differences")
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4], "validation_loss": [0.6, 0.5]})
    curves = figures.learning_curves(history.assign(auc=np.nan), baseline_loss=0.7)
    reports.write_figure(curves, folder / "06_learning_curves")
    picture = figures.image_grid([np.zeros((8, 8, 3), np.uint8)])
    reports.write_figure(picture, folder / "photographs/01_crops", caption="Crops.")
    return tmp_path / "report"


def texts(figure):
    """Text that is seen, and where, in inches."""
    figure.canvas.draw()
    hidden = {id(label) for axis in figure.axes for label in beyond(axis)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            yield text, text.get_window_extent().transformed(figure.dpi_scale_trans.inverted())


def beyond(axes):
    """Names of ticks beyond the ends of an axis: matplotlib keeps them, and draws none."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        reach = 1e-6 * (high - low)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not (axes.axison and low - reach <= tick.get_loc() <= high + reach):
                yield from (tick.label1, tick.label2)


def legible(stem, width):
    """A committed figure at a printed width: no text below 6 points or cut off, no ticks' names on
    one another."""
    maker, table, options = read_figure(stem)
    with style.printed(width):
        figure = maker(table, **options)
    assert figure.get_size_inches()[0] == pytest.approx(width)
    height, seen = figure.get_size_inches()[1], {}
    for text, box in texts(figure):
        assert text.get_fontsize() >= 6, text
        assert box.x0 > -0.02 and box.x1 < width + 0.02, (text, box)
        assert box.y0 > -0.02 and box.y1 < height + 0.02, (text, box)
        seen[id(text)] = box
    for axis in figure.axes:
        for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
            boxes = [seen[id(label)] for label in labels if id(label) in seen]
            for one, other in itertools.pairwise(boxes):
                assert not one.padded(-0.005).overlaps(other.padded(-0.005)), (stem, one, other)


@pytest.mark.parametrize("stem", STEMS, ids=lambda stem: f"{stem.parts[-3]}-{stem.name}")
def test_committed_figures_are_legible_in_a_column(stem):
    legible(stem, 3.3)


@pytest.mark.parametrize("stem", FIRST_OF_ITS_KIND, ids=lambda stem: stem.name)
def test_committed_figures_are_legible_across_a_page(stem):
    legible(stem, 6.9)


def test_committed_pages_are_as_wide_as_they_are_printed():
    assert STEMS
    for stem in STEMS:
        page = re.search(rb"/MediaBox \[ 0 0 ([0-9.]+)", stem.with_suffix(".pdf").read_bytes())
        assert float(page[1]) <= 72 * style.WIDTH + 0.1, stem
        assert stem.with_suffix(".caption").read_text(encoding="utf-8").strip(), stem


def test_every_figure_of_a_table_has_its_caption():
    texts = yaml.safe_load(Path(style.__file__).with_name("captions.yaml").read_text("utf-8"))
    assert set(texts) == set(style.MAKERS) <= set(figures.__all__)


def test_looks_are_told_apart():
    """By readers with deuteranopia, and in grey; the page about figures states the numbers."""
    colours = [to_rgb(colour) for colour, _, _ in style.LOOKS.values()]
    normal, simulated = lab(colours), lab(colours, deuteranopia=True)
    a, b = np.triu_indices(len(colours), 1)
    seen = difference(normal[a], normal[b]).min()
    deuteranopia = difference(simulated[a], simulated[b]).min()
    grey = np.abs(normal[a, 0] - normal[b, 0]).min()
    assert deuteranopia >= 15 and seen >= 15 and grey >= 4
    page = (ROOT / "docs/howto/figures.md").read_text(encoding="utf-8")
    assert f"{deuteranopia:.1f} under simulated deuteranopia" in " ".join(page.split())
    assert f"{seen:.1f} otherwise" in page and f"{grey:.1f} in lightness" in page
    markers = [marker for _, marker, _ in style.LOOKS.values()]
    assert len(set(markers)) == len(markers)


def test_the_difference_of_colours_is_that_of_its_authors():
    """Pairs 1, 7 and 17 of Sharma, Wu and Dalal's test data."""
    one = np.array([[50, 2.6772, -79.7751], [50, 0, 0], [50, 2.5, 0]])
    other = np.array([[50, 0, -82.7485], [50, -1, 2], [73, 25, -18]])
    np.testing.assert_allclose(difference(one, other), [2.0425, 2.3669, 27.1492], atol=1e-4)


def test_a_name_looks_the_same_whoever_stands_beside_it():
    names = ["SiamFC", "ESiamFC", "Branch 1", "random ESiamFC", "seeds Oracle", "k-means"]
    together = style.looks([*names, "mine"])
    assert all(style.looks([name])[name] == together[name] for name in names)
    known = [(look["color"], look["marker"]) for look in together.values()]
    assert len(set(known)) == len(known)


def test_a_figure_drawn_anew_is_the_same(report, tmp_path):
    folder = report / "figures"
    for stem in (folder / "07_differences", folder / "06_learning_curves"):
        maker, table, options = read_figure(stem)
        reports.write_figure(maker(table, **options), tmp_path / stem.name)
        for ending in ("pdf", "png", "csv", "json", "caption"):
            again = (tmp_path / f"{stem.name}.{ending}").read_bytes()
            assert again == stem.with_name(f"{stem.name}.{ending}").read_bytes(), ending
    assert "12 sequences" in (folder / "07_differences.caption").read_text()
    assert (folder / "photographs/01_crops.caption").read_text() == "Crops.\n"
    assert not (folder / "photographs/01_crops.csv").exists()


def test_the_command_draws_what_it_is_asked_for(report, tmp_path, capsys):
    call = ["--run", str(report), "--out", str(tmp_path / "out")]
    look = ["--width", "3.3", "--format", "svg", "pdf", "--trackers", "Uniform"]
    assert draw([*call, *look]) == 0
    said = capsys.readouterr().out
    assert "01_crops: not drawn, it shows pixels" in said
    drawn = (tmp_path / "out/07_differences.csv").read_text().splitlines()
    assert len(drawn) == 2 and "Uniform" in drawn[1]
    every = pd.DataFrame({"tracker": ["A", "B", "SiamFC"], "minus": "SiamFC"})
    assert list(of_trackers(every, ["A", "SiamFC"])[0]["tracker"]) == ["A", "SiamFC"]
    page = (tmp_path / "out/07_differences.pdf").read_bytes()
    assert b"/MediaBox [ 0 0 237.6 " in page
    assert "<svg" in (tmp_path / "out/06_learning_curves.svg").read_text()
    sizes = {}
    for look in ("paper", "talk"):
        assert draw([*call, "--only", "06", "--format", "svg", "--style", look]) == 0
        text = (tmp_path / "out/06_learning_curves.svg").read_text()
        sizes[look] = min(float(size) for size in re.findall(r"font-size: ([0-9.]+)px", text))
    assert sizes["talk"] == pytest.approx(1.6 * sizes["paper"])
    assert sizes["paper"] >= 6


def test_the_command_names_faults(report, tmp_path, capsys):
    call = ["--run", str(report), "--out", str(tmp_path / "out")]
    for more, fault in (
        (["--trackers", "Nobody"], "--trackers Nobody: the figures show ESiamFC, SiamFC, Uniform"),
        (["--only", "99"], "--only 99: no figure of"),
        (["--width", "0.5"], "must be 2 to 40 inches"),
        (["--out", str(report / "figures")], "choose another output"),
        (["--run", str(tmp_path)], "holds no figure that can be drawn anew"),
    ):
        assert draw([*call, *more]) == 2
        assert fault in capsys.readouterr().err
    (report / "figures/06_learning_curves.json").write_text('{"maker": "nothing"}')
    assert draw(call) == 2
    assert "06_learning_curves.json does not say how to draw a figure" in capsys.readouterr().err
