"""The look of all figures, and what several of them draw; nothing here changes global settings.

Inches and points are those at which a figure is printed: no text is below 6 points. A figure of a
table (``drawn``) keeps that table and can be drawn anew at another width."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import yaml
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STYLE = {
    **{"font.size": 8, "figure.titlesize": 8.5, "axes.titlesize": 8, "axes.labelsize": 7.5},
    **{"xtick.labelsize": 7, "ytick.labelsize": 7, "legend.fontsize": 7},
    **{"lines.linewidth": 1.4, "lines.markersize": 4, "axes.linewidth": 0.8, "axes.labelpad": 2},
    **{"xtick.major.pad": 2, "ytick.major.pad": 2, "axes.titlepad": 4, "grid.linewidth": 0.6},
}  # points
# Names of sequences and files may hold $.
FIXED = {"legend.frameon": False, "figure.dpi": 100, "text.parse_math": False}
WIDTH = 6.9  # inches: both columns of a page, of which one has 3.3
SMALL = 6.3  # points: numbers in cells, words above pictures
PALETTE = "colorblind"
TRUTH = "white"  # colour of the ground truth in pictures
FIRST, LEVEL = "#2255aa", "0.35"  # where no names are compared; a level
DASHED = {"color": LEVEL, "linestyle": "--", "linewidth": 0.8}

LOOKS = {
    "ESiamFC": ("#cc0022", "o", "-"),
    "SiamFC": ("#001155", "s", "-"),
    "equal_budget": ("#7777ff", "D", "--"),
    "Uniform": ("#55bbdd", "^", "-."),
    "Nearest centroid": ("#cc8800", "v", "--"),
    "Max": ("#2255aa", "P", ":"),
    "Oracle": ("#00bb77", "*", "-"),
    "Identity": ("#bbbbbb", "x", ":"),
    "Branch": ("#772200", ".", "-"),
    "random": ("#664444", "h", "-."),
    "kmeans": ("#228888", "p", "--"),
    "seeds": ("#441133", "X", ":"),
}
"""Colour, marker and line of what figures compare; an arm's name stands for its trackers."""
SPARE = ("#cc78bc", "#8a8a00", "#555555", "#99bb55", "#b07030")
ALIASES = {
    **{"k-means": "kmeans", "k-means, published": "Uniform", "constrained": "Oracle"},
    **{"PIk-means, published": "equal_budget", "PIk-means, balanced": "ESiamFC"},
    **{"training": "SiamFC", "validation": "ESiamFC"},
}
"""Methods of notebook 04, and losses, that share a look with no tracker in one figure."""
LINES, BRANCHES = ("-", "--", "-.", ":"), "<>dHv^8p"  # of branches, by number


class Printed(NamedTuple):
    """How figures will be printed: inches, and by how much text is larger than on paper."""

    width: float = WIDTH
    scale: float = 1.0


_PRINTED = ContextVar("printed", default=Printed())  # noqa: B039 - a tuple cannot change


class Shown(NamedTuple):
    """What a figure shows: ``MAKERS[maker](table, **options)`` draws it, ``caption`` tells it."""

    maker: str
    table: pd.DataFrame
    options: dict[str, Any]
    caption: str


Made = tuple[Figure, dict[str, Any]]
MAKERS: dict[str, Callable[..., Figure]] = {}
"""By name: the figures that a tidy table and options, which are JSON, hold."""
CAPTIONS = yaml.safe_load(Path(__file__).with_name("captions.yaml").read_text(encoding="utf-8"))


@cache
def _load_backend() -> None:
    """Load pyplot's backend before a context of parameters is entered. Jupyter's inline backend
    turns interactive mode on when it is loaded, by default for the first figure; the end of the
    context around that would turn it off, and no later figure would show."""
    plt.switch_backend(plt.get_backend())


@contextmanager
def style(grid: bool = True) -> Iterator[None]:
    """The look of all figures: for one ``with`` block, or as decorator of a function."""
    _load_backend()
    sizes = {name: points * _PRINTED.get().scale for name, points in STYLE.items()}
    axes = sns.axes_style("whitegrid" if grid else "white")
    with axes, plt.rc_context(sizes | FIXED), sns.color_palette(PALETTE):
        yield


@contextmanager
def printed(width: float = WIDTH, scale: float = 1.0) -> Iterator[None]:
    """Figures drawn in this block are ``width`` inches wide, their text is ``scale`` as large."""
    token = _PRINTED.set(Printed(width, scale))
    try:
        yield
    finally:
        _PRINTED.reset(token)


def drawn(grid: bool = True, frame: bool = True) -> Callable:
    """Decorator of ``maker(table, **options)``, which gives a figure and, beside the options, words
    of its caption: gives the figure, drawn in the ``style``, with a ``Shown`` as its attribute
    ``shown``, and enters it into ``MAKERS``. ``frame``: with lines above and right of the panels.
    """

    def decorate(maker: Callable[..., Made]) -> Callable[..., Figure]:
        @wraps(maker)
        def draw(table: pd.DataFrame, **options: Any) -> Figure:
            with style(grid):
                figure, words = maker(table, **options)
                if not frame:
                    sns.despine(figure)
            caption = CAPTIONS[maker.__name__].format(**options | words)
            figure.shown = Shown(maker.__name__, table, options, caption)
            return figure

        MAKERS[maker.__name__] = draw
        return draw

    return decorate


def small() -> float:
    """Points of the smallest text."""
    return SMALL * _PRINTED.get().scale


def looks(names: Iterable[str]) -> dict[str, dict]:
    """Colour, marker and line of each name: those of ``LOOKS``, an arm's with the marker of its
    tracker; a branch's lines and any other name's colour go by the order of the names."""
    found, spare = {}, itertools.cycle(SPARE)
    for name in dict.fromkeys(names):
        first, _, title = name.partition(" ")
        known = ALIASES.get(name, name)
        known = known if known in LOOKS else first if first in LOOKS else ""
        colour, marker, line = LOOKS.get(known) or (next(spare), "d", "--")
        if first == "Branch" and title.isdigit():
            number = int(title)
            marker, line = BRANCHES[number % len(BRANCHES)], LINES[number % len(LINES)]
        elif known == first and title in LOOKS and title not in ("SiamFC", "ESiamFC"):
            marker = LOOKS[title][1]
        found[name] = {"color": colour, "marker": marker, "linestyle": line}
    return found


def colours(k: int) -> list[tuple[float, float, float]]:
    """Colours of ``k`` clusters or groups, the same in all figures."""
    return sns.color_palette(PALETTE if k <= 10 else "husl", k)


def panels(rows: int, columns: int, size: tuple[float, float], bare=False, **options) -> tuple:
    """A figure of ``size`` inches, and its (rows, columns) axes; ``bare``: these are not drawn."""
    look = {"figsize": size, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(rows, columns, **look, **options)
    for axis in axes.flat if bare else ():
        axis.axis("off")
    return figure, axes


def side_by_side(count: int, least: float, height: float, **options) -> tuple[Figure, list[Axes]]:
    """A figure as wide as it will be printed with ``count`` panels of ``height`` inches: as many
    beside each other as have ``least`` inches each, the others below."""
    width, scale = _PRINTED.get()
    columns = min(count, max(1, int(width / (least * scale))))
    rows = -(-count // columns)
    columns = -(-count // rows)
    figure, axes = panels(rows, columns, (width, rows * height * scale), **options)
    for axis in axes.flat[count:]:
        axis.axis("off")
    return figure, list(axes.flat[:count])


def inches() -> float:
    """The printed width, in inches of paper on which text has its usual size."""
    return _PRINTED.get().width / _PRINTED.get().scale


def span(values: pd.Series, units: str = "") -> str:
    """From the least to the largest of some counts: ``12``, ``2 to 6``; with units ``1 start``."""
    count = " to ".join(str(int(end)) for end in dict.fromkeys([values.min(), values.max()]))
    return f"{count} {units.removesuffix('s') if count == '1' else units}".rstrip()


def name_lines(axis: Axes, ends: dict[str, tuple[float, float]], look: dict[str, dict]) -> None:
    """Write each line's name right of the panel, beside its end (x, y), in its colour; names that
    would lie on one another are moved apart."""
    axis.figure.canvas.draw()  # places in points are known only now
    points = 72 / axis.figure.dpi
    gap, bottom = 1.15 * small(), axis.transAxes.transform((0, 0))[1] * points
    at = {name: axis.transData.transform(end)[1] * points for name, end in ends.items()}
    order = sorted(at, key=lambda name: (at[name], name))
    places, top = {}, bottom - gap
    for name in order:
        places[name] = top = max(at[name], top + gap)
    excess = np.mean([places[name] - at[name] for name in order])
    for name in order:
        x = (1.02, (places[name] - excess - bottom) / (axis.bbox.height * points))
        words = {"fontsize": small(), "color": look[name]["color"], "va": "center"}
        axis.annotate(name, x, xycoords="axes fraction", **words)


def key(figure: Figure, look: dict[str, dict], title: str = "") -> None:
    """A legend of names that covers nothing: right of the panels of a wide figure, or below."""
    wide = inches() > 5
    columns = 1 if wide or title else 2 if max(map(len, look)) < 24 else 1
    columns = 2 if not wide and title and len(look) > 3 else columns
    lines = [plt.Line2D([], [], **line) for line in look.values()]
    place = "outside right center" if wide else "outside lower center"
    sizes = {"handlelength": 2.2, "columnspacing": 1.0, "title_fontsize": small()}
    sizes |= {"ncols": columns, "title": title or None, "fontsize": small()}
    figure.legend(lines, list(look), loc=place, **sizes)


def pictures(
    images: Sequence[np.ndarray], columns: int, size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """Pictures, RGB or grey, row by row in cells of ``size`` inches, and the axes of each."""
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    figure, axes = panels(rows, columns, (columns * size[0], rows * size[1]), bare=True)
    for axis, image in zip(axes.flat, images, strict=False):
        axis.imshow(image, cmap="viridis")
    return figure, list(axes.flat[: len(images)])


@style(grid=False)
def image_grid(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 10, cell: float = 0
) -> Figure:
    """A grid of ``pictures`` with ``cell`` inches a side (0: to a page's width), under titles."""
    cell = cell or WIDTH / min(columns, len(images))
    figure, axes = pictures(images, columns, (cell, cell + 0.2 if len(titles) else cell))
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=SMALL, pad=2)
    return figure


def frame_row(images: Sequence, look: dict[str, dict], below: float) -> tuple[Figure, list[Axes]]:
    """Frames of one video side by side; in ``below`` inches titles and the key to the outlines: the
    truth, white with a dark edge, and others by name."""
    height, width = images[0].shape[:2]
    cell = WIDTH / len(images)
    figure, axes = pictures(images, len(images), (cell, cell * height / width + below))
    edge = [patheffects.withStroke(linewidth=3, foreground="0.3")]
    handles = [plt.Line2D([], [], color=TRUTH, linewidth=1.6, path_effects=edge)]
    handles += [plt.Line2D([], [], **line) for line in look.values()]
    names = ["ground truth", *look]
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6))
    return figure, axes


def draw_box(axis: Axes, box: np.ndarray, **look) -> None:
    """Outline a 0-based box; pixel i covers i - 0.5 to i + 0.5. NaN boxes are not drawn."""
    if np.isfinite(box).all():
        x, y, w, h = box
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, **look))
