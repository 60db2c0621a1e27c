"""Figures of the study: data in, a matplotlib ``Figure`` out.

Nothing here shows, saves or changes global settings; figures of the clusters are in
``figures_clusters``, those of the benchmarks in ``figures_tracking``.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from esiamfc_lib.data import geometry
from esiamfc_lib.data.vid import VID

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


def dataset_statistics(tracks: pd.DataFrame, boxes: np.ndarray) -> Figure:
    """Counts by class, track lengths and box sizes of a crop store.

    Args:
        tracks: one row a track with the columns ``name`` (class) and ``frames`` (count).
        boxes: (n, 4) ``x, y, w, h`` in pixels of the original frames.
    """
    with style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
        counts = tracks["name"].value_counts().head(20).sort_values()
        left.barh(counts.index, counts.to_numpy())
        left.set(title="tracks by class (at most 20)", xlabel="tracks")
        left.tick_params(axis="y", labelsize=7)
        sns.histplot(tracks["frames"], bins=20, ax=middle)
        middle.set(title="track length", xlabel="frames", ylabel="tracks")
        sns.histplot(np.sqrt(boxes[:, 2] * boxes[:, 3]), bins=30, ax=right)
        right.set(title="box size", xlabel="square root of area, px", ylabel="crops")
    return figure


def training_pairs(exemplars: np.ndarray, searches: np.ndarray, labels: np.ndarray) -> Figure:
    """Exemplars above their search regions, with the positive cells of the label outlined.

    Args:
        exemplars: uint8 (n, 127, 127, 3) RGB.
        searches: uint8 (n, S, S, 3) RGB.
        labels: (r, r), 1 inside the positive radius; the cell (i, j) of the response belongs to
            the search pixel ``(S-1)/2 + 8*(i - (r-1)/2)``.
    """
    count, side, cells = len(exemplars), searches.shape[1], labels.shape[0]
    corner = (side - 1) / 2 - 8 * (cells - 1) / 2
    extent = (corner - 4, corner + 8 * cells - 4, corner + 8 * cells - 4, corner - 4)
    with style(grid=False):
        figure, axes = plt.subplots(
            2, count, figsize=(1.5 * count, 3), squeeze=False, layout="constrained"
        )
        for column in range(count):
            axes[0, column].imshow(exemplars[column])
            axes[1, column].imshow(searches[column])
            axes[1, column].imshow(
                np.where(labels > 0, 1.0, np.nan), extent=extent, alpha=0.45, cmap="autumn"
            )
            axes[1, column].set(xlim=(0, side), ylim=(side, 0))
        for axis in axes.flat:
            axis.axis("off")
        axes[0, 0].set_title("exemplar", loc="left")
        axes[1, 0].set_title("search region, positive cells", loc="left")
    return figure


def learning_curves(
    history: pd.DataFrame, still: float | None = None, baseline_loss: float | None = None
) -> Figure:
    """Training and validation loss by epoch; the tracking score beside them where there is one.

    Args:
        history: of ``training_log.history_table``.
        still: score of a tracker that never moves, to compare the tracking score with.
        baseline_loss: validation loss before the training.
    """
    scored = bool(history["auc"].notna().any())
    with style():
        figure, axes = plt.subplots(
            1, 1 + scored, figsize=(4.5 * (1 + scored), 3), squeeze=False, layout="constrained"
        )
        losses = axes[0, 0]
        losses.plot(history["epoch"] + 1, history["loss"], marker="o", label="training")
        known = history.dropna(subset="validation_loss")
        if len(known):
            losses.plot(
                known["epoch"] + 1, known["validation_loss"], marker="s", label="validation"
            )
        if baseline_loss is not None:
            losses.axhline(
                baseline_loss, linestyle="--", color="C7", label="validation, before training"
            )
        losses.set(xlabel="epoch", ylabel="balanced loss", title="loss")
        if scored:
            known = history.dropna(subset="auc")
            score = axes[0, 1]
            score.plot(known["epoch"] + 1, known["auc"], marker="o", color="C2", label="SiamFC")
            if still is not None:
                score.axhline(still, linestyle="--", color="C7", label="never moves")
            score.set(xlabel="epoch", ylabel="success AUC", title="tracking, held-out sequences")
            score.set_ylim(0, None)
        for axis in axes.flat:
            axis.legend()
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def fusion_weights(table: pd.DataFrame, group: str) -> Figure:
    """Mean weight of each branch for each group of tracks, and the spread of the entropy.

    Args:
        table: one row a track: ``group`` (cluster or family) and the columns ``branch 0`` ...
        group: name of the grouping column.
    """
    branches = [column for column in table if column.startswith("branch ")]
    weights = table[branches].to_numpy(float)
    entropy = -(weights * np.log(np.clip(weights, 1e-12, None))).sum(1) / np.log(len(branches))
    with style(grid=False):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(9, 3.2), layout="constrained", width_ratios=(3, 2)
        )
        means = table.groupby(group)[branches].mean()
        sns.heatmap(
            means,
            annot=True,
            fmt=".2f",
            cmap="rocket_r",
            vmin=0,
            ax=left,
            cbar_kws={"label": "mean weight"},
        )
        left.set(title=f"fusion weights by {group}", xlabel="", ylabel=group)
        left.tick_params(axis="y", rotation=0)
        right.hist(entropy, bins=20, range=(0, 1))
        right.set(
            title="how spread the weights are",
            ylabel="tracks",
            xlabel="entropy / log k  (0: one branch, 1: uniform)",
        )
    return figure


def crop_geometry(image: np.ndarray, box: np.ndarray) -> Figure:
    """One frame with the squares that are cut from it, and the two crops.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: ``x, y, w, h`` of the target, 0-based pixels.
    """
    middle = geometry.center(box)
    exemplar_side = geometry.context_side(box[2], box[3])
    search_side = geometry.search_side(exemplar_side)
    crops = [
        geometry.crop(image, middle, exemplar_side, geometry.EXEMPLAR_SIZE),
        geometry.crop(image, middle, search_side, geometry.SEARCH_SIZE),
    ]
    with style(grid=False):
        figure, (left, *rest) = plt.subplots(
            1, 3, figsize=(9, 3.2), layout="constrained", width_ratios=(2, 1, 2)
        )
        left.imshow(image)
        for (w, h), colour, name in (
            (box[2:], "C2", "box"),
            ((exemplar_side, exemplar_side), "C1", "exemplar, side $s_z$"),
            ((search_side, search_side), "C0", "search region, side $s_x$"),
        ):
            corner = (middle[0] - w / 2, middle[1] - h / 2)
            left.add_patch(Rectangle(corner, w, h, fill=False, color=colour, lw=1.5, label=name))
        left.set(title="frame", xticks=[], yticks=[])
        left.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=7)
        half = search_side / 2
        left.set_xlim(min(-0.5, middle[0] - half), max(image.shape[1], middle[0] + half))
        left.set_ylim(max(image.shape[0], middle[1] + half), min(-0.5, middle[1] - half))
        for axis, crop, name in zip(rest, crops, ("exemplar", "search region"), strict=True):
            axis.imshow(crop)
            axis.set(title=f"{name}, {crop.shape[0]} px", xticks=[], yticks=[])
    return figure


def video_sheet(videos: VID, count: int = 6, frames: int = 6) -> Figure:
    """Frames spread over a few videos, with the annotated boxes.

    Args:
        videos: reader of a VID-layout folder.
        count: videos, spread evenly over the list; one row each.
        frames: frames of each, spread evenly over its length.
    """
    names = [videos.videos[i] for i in _spread(len(videos.videos), count)]
    with style(grid=False):
        figure, axes = plt.subplots(
            len(names),
            frames,
            figsize=(1.7 * frames, 1.35 * len(names)),
            squeeze=False,
            layout="constrained",
        )
        for row, name in zip(axes, names, strict=True):
            video = videos.read(name)
            images = videos.frames(name)[0]
            shown = [images[i] for i in _spread(len(images), frames)]
            for axis, frame in zip(row, shown, strict=False):
                axis.imshow(geometry.read_image(videos.frame_path(name, frame)))
                for index, track in enumerate(video.tracks):
                    for x, y, w, h in track.boxes[track.frames == frame]:
                        axis.add_patch(
                            Rectangle((x, y), w, h, fill=False, color=f"C{index}", lw=1.5)
                        )
                axis.set_title(f"frame {frame}", fontsize=7, pad=2)
            for axis in row:
                axis.axis("off")
    return figure


def _spread(total: int, count: int) -> list[int]:
    """At most ``count`` different indices, evenly spread over ``range(total)``."""
    return sorted(set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist()))
