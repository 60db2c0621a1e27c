"""The look of all figures, and what several of them draw; nothing here changes global settings."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 100,
}
PALETTE = "colorblind"
TRUTH = "white"  # colour of the ground truth in pictures


@cache
def _load_backend() -> None:
    """Load pyplot's backend before a context of parameters is entered.

    Jupyter's inline backend turns interactive mode on when it is loaded. By default that is when
    the first figure is made; the end of the context around it would turn the mode off again, and
    the notebook would show no figure after the first.
    """
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


def panels(
    rows: int, columns: int, size: tuple[float, float], **options
) -> tuple[Figure, np.ndarray]:
    """A figure of ``size`` inches, and its (rows, columns) axes."""
    return plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained", **options)


def image_grid(
    images: Sequence[np.ndarray], titles: Sequence[str] = (), columns: int = 10, cell: float = 1.1
) -> Figure:
    """A grid of pictures.

    Args:
        images: uint8 (H, W, 3) RGB, or float (H, W) shown in a colour map.
        titles: one per image, or none.
        columns: pictures in a row.
        cell: side of a picture, inches.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    with style(grid=False):
        height = cell + (0.22 if len(titles) else 0.0)
        figure, axes = panels(rows, columns, (columns * cell, rows * height))
        for axis in axes.flat:
            axis.axis("off")
        for index, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
            axis.imshow(image, cmap=None if image.ndim == 3 else "viridis")
            if len(titles):
                axis.set_title(titles[index], fontsize=7, pad=2)
    return figure


def frame_row(images: Sequence[np.ndarray], below: float) -> tuple[Figure, np.ndarray]:
    """Frames of one video side by side, and their axes.

    Args:
        images: uint8 (H, W, 3) RGB. below: inches for titles and legends.
    """
    height, width = images[0].shape[:2]
    size = (1.9 * len(images), 1.9 * height / width + below)
    figure, axes = panels(1, len(images), size)
    for axis, image in zip(axes[0], images, strict=True):
        axis.imshow(image)
        axis.axis("off")
    return figure, axes[0]


def draw_box(axis: Axes, box: np.ndarray, **look) -> None:
    """Outline a 0-based box; pixel i covers i - 0.5 to i + 0.5. NaN boxes are not drawn."""
    if np.isfinite(box).all():
        x, y, w, h = box
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, **look))


def legend_beside(axis: Axes, **options) -> Legend:
    """A legend on the right of the panel: inside, it hides curves as soon as there are many."""
    return axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), **options)
