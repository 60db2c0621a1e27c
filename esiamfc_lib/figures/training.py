"""Figures of the trainings: pairs, learning curves, responses, fusion weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from esiamfc_lib.figures import style


@style.style(grid=False)
def training_pairs(exemplars: np.ndarray, searches: np.ndarray, labels: np.ndarray) -> Figure:
    """Exemplars above their search regions, (n, S, S, 3) RGB, with the positive cells of the label.
    Row i of the labels (r, r) belongs to the search pixel ``(S-1)/2 + 8*(i - (r-1)/2)``."""
    count, side, cells = len(exemplars), searches.shape[1], labels.shape[0]
    corner = (side - 1) / 2 - 8 * (cells - 1) / 2
    extent = (corner - 4, corner + 8 * cells - 4, corner + 8 * cells - 4, corner - 4)
    positive = np.where(labels > 0, 1.0, np.nan)
    cell = style.WIDTH / count
    figure, axes = style.pictures([*exemplars, *searches], count, (cell, cell + 0.2))
    for axis in axes[count:]:
        axis.imshow(positive, extent=extent, alpha=0.45, cmap="autumn")
        axis.set(xlim=(0, side), ylim=(side, 0))
    axes[0].set_title("exemplar", loc="left")
    axes[count].set_title("search region, positive cells", loc="left")
    return figure


@style.drawn()
def learning_curves(
    table: pd.DataFrame, still: float | None = None, baseline_loss: float | None = None
) -> style.Made:
    """``training.history_table``: losses by epoch; beside them the tracking score, if there is one.
    ``still``: the score of a tracker that never moves; ``baseline_loss``: before the training."""
    scored = bool(table["auc"].notna().any())
    figure, axes = style.side_by_side(1 + scored, 2.4, 1.9)
    lines = {"training": "loss", "validation": "validation_loss", "SiamFC": "auc"}
    look = style.looks(lines) | {"before training": style.DASHED, "never moves": style.DASHED}
    for axis, names in zip(axes, (("training", "validation"), ("SiamFC",)), strict=False):
        ends = {}
        for name in names:
            if len(known := table.dropna(subset=lines[name])):
                axis.plot(known["epoch"], known[lines[name]], **look[name])
                ends[name] = tuple(known[["epoch", lines[name]]].iloc[-1])
        losses = axis is axes[0]
        level, name = (baseline_loss, "before training") if losses else (still, "never moves")
        if level is not None:
            axis.axhline(level, **style.DASHED)
            ends[name] = table["epoch"].iloc[-1], level
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axis.set_ylim(bottom=None if losses else 0)
        style.name_lines(axis, ends, look)
    axes[0].set_ylabel("balanced loss")
    before = "; dashed: held-out pairs before the training" * (baseline_loss is not None)
    scores = ""
    if scored:
        axes[1].set_ylabel("success AUC")
        scores = " Beside it the mean success AUC on held-out sequences"
        scores += "." if still is None else "; dashed: a tracker that never moves."
    return figure, {"before": before, "scored": scores}


@style.style(grid=False)
def response_strip(recorded: Sequence[Any], title: str) -> Figure:
    """``tracking.record``: responses over the frames, the tracker's box, and the truth (white)."""
    own = {"color": style.LOOKS["ESiamFC"][0]}
    images = [seen.image for seen in recorded]
    figure, axes = style.frame_row(images, {"tracker": own}, below=0.6)
    height, width = recorded[0].image.shape[:2]
    for axis, seen in zip(axes, recorded, strict=True):
        x, y, w, h = seen.region
        extent = (x - 0.5, x + w - 0.5, y + h - 0.5, y - 0.5)
        axis.imshow(seen.response, extent=extent, cmap="inferno", alpha=0.6)
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        style.draw_box(axis, seen.truth, color=style.TRUTH, linewidth=1.6)
        style.draw_box(axis, seen.box, linewidth=1.3, color=own["color"])
        peak = f"frame {seen.index + 1}, peak {seen.response.max():.3g}"
        axis.set_title(peak, fontsize=style.SMALL, pad=2)
    figure.suptitle(title)
    return figure


@style.drawn(grid=False)
def fusion_weights(table: pd.DataFrame, group: str) -> style.Made:
    """Means by ``group``, the table's first column: of the columns ``branch 0`` ..., and of
    ``entropy``, that of every track's weights; ``tracks`` is their number."""
    means = table.set_index(group)
    branches = [column for column in means if column.startswith("branch ")]
    names = [f"{name} ({count})" for name, count in means["tracks"].items()]
    look = {"sharey": True, "width_ratios": (len(branches), 1.3)}
    figure, (left, right) = style.side_by_side(2, 0.5, 0.8 + 0.22 * len(means), **look)
    numbers = {"annot": True, "annot_kws": {"fontsize": style.small()}, "fmt": ".2f", "cbar": False}
    sns.heatmap(means[branches], ax=left, cmap="rocket_r", vmin=0, **numbers)
    sns.heatmap(means[["entropy"]], ax=right, cmap="Greys", vmin=0, vmax=2, **numbers)
    left.set_xticks(left.get_xticks(), [name.split()[1] for name in branches], rotation=0)
    left.set_yticks(left.get_yticks(), names, rotation=0)
    left.set(xlabel="mean weight of branch", ylabel=f"{group} (tracks)")
    right.set(xlabel="entropy", ylabel="", xticks=[])
    return figure, {}
