"""Figures of the study: data in, a matplotlib ``Figure`` out.

Nothing here shows, saves or changes global settings; figures of the clusters are in
``figures_clusters``, those of the benchmarks in ``figures_tracking``.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 100,
}
PALETTE = "colorblind"


@cache
def _load_backend() -> None:
    """Load pyplot's backend before a context of parameters is entered.

    Jupyter's inline backend turns interactive mode on when it is loaded. By default that is when
    the first figure is made; the end of the context around it would turn the mode off again, and
    the notebook would show no figure after the first.
    """
    plt.switch_backend(plt.get_backend())


@contextmanager
def style(grid: bool = True):
    """The look of all figures, for the time of one ``with`` block."""
    _load_backend()
    axes = sns.axes_style("whitegrid" if grid else "white")
    with axes, plt.rc_context(STYLE), sns.color_palette(PALETTE):
        yield


def image_grid(
    images: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    columns: int = 10,
    cell: float = 1.1,
    heading: str = "",
) -> Figure:
    """A grid of pictures.

    Args:
        images: uint8 (H, W, 3) RGB, or float (H, W) shown in a colour map.
        titles: one per image, or none.
        columns: pictures in a row.
        cell: side of a picture, inches.
        heading: above all.
    """
    columns = max(1, min(columns, len(images)))
    rows = -(-len(images) // columns)
    with style(grid=False):
        extra = 0.22 if len(titles) else 0.0
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(columns * cell, rows * (cell + extra)),
            squeeze=False,
            layout="constrained",
        )
        for axis in axes.flat:
            axis.axis("off")
        for index, (axis, image) in enumerate(zip(axes.flat, images, strict=False)):
            axis.imshow(image, cmap=None if image.ndim == 3 else "viridis")
            if len(titles):
                axis.set_title(titles[index], fontsize=7, pad=2)
        if heading:
            figure.suptitle(heading)
    return figure


def _spread(total: int, count: int) -> list[int]:
    """At most ``count`` different indices, evenly spread over ``range(total)``."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))
