"""The look of all figures, and what several of them draw; nothing here changes global settings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 100,
    "text.parse_math": False,  # names of sequences and files may hold $
}
PALETTE = "colorblind"
TRUTH = "white"  # colour of the ground truth in pictures


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
    axes = sns.axes_style("whitegrid" if grid else "white")
    with axes, plt.rc_context(STYLE), sns.color_palette(PALETTE):
        yield


def colours(k: int) -> list[tuple[float, float, float]]:
    """Colours of ``k`` clusters or groups, the same in all figures."""
    return sns.color_palette(PALETTE if k <= 10 else "husl", k)


def panels(rows: int, columns: int, size: tuple[float, float], **options) -> tuple:
    """A figure of ``size`` inches, and its (rows, columns) axes."""
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)


def pictures(
    images: Sequence[np.ndarray], columns: int, size: tuple[float, float]
) -> tuple[Figure, list[Axes]]:
    """Pictures, RGB or grey, row by row in cells of ``size`` inches, and the axes of each."""
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    figure, axes = panels(rows, columns, (columns * size[0], rows * size[1]))
    for axis in axes.flat:
        axis.axis("off")
    for axis, image in zip(axes.flat, images, strict=False):
        axis.imshow(image, cmap="viridis")
    return figure, list(axes.flat[: len(images)])


@style(grid=False)
def image_grid(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 10, cell: float = 1.1
) -> Figure:
    """A grid of ``pictures`` with ``cell`` inches a side, under a title each or none."""
    height = cell + 0.22 if len(titles) else cell
    figure, axes = pictures(images, columns, (cell, height))
    for axis, title in zip(axes, titles, strict=False):
        axis.set_title(title, fontsize=7, pad=2)
    return figure


def frame_row(images: Sequence[np.ndarray], below: float) -> tuple[Figure, list[Axes]]:
    """Frames of one video side by side, with ``below`` inches for titles and legends."""
    height, width = images[0].shape[:2]
    return pictures(images, len(images), (1.9, 1.9 * height / width + below))


def draw_box(axis: Axes, box: np.ndarray, **look) -> None:
    """Outline a 0-based box; pixel i covers i - 0.5 to i + 0.5. NaN boxes are not drawn."""
    if np.isfinite(box).all():
        x, y, w, h = box
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, **look))
