"""Figures of the trainings: pairs, learning curves, responses, fusion weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from esiamfc_lib.figures.style import TRUTH, draw_box, frame_row, panels, style


@style(grid=False)
def training_pairs(exemplars: np.ndarray, searches: np.ndarray, labels: np.ndarray) -> Figure:
    """Exemplars above their search regions, (n, S, S, 3) RGB, with the positive cells of the label.
    Row i of the labels (r, r) belongs to the search pixel ``(S-1)/2 + 8*(i - (r-1)/2)``."""
    count, side, cells = len(exemplars), searches.shape[1], labels.shape[0]
    corner = (side - 1) / 2 - 8 * (cells - 1) / 2
    extent = (corner - 4, corner + 8 * cells - 4, corner + 8 * cells - 4, corner - 4)
    positive = np.where(labels > 0, 1.0, np.nan)
    figure, axes = panels(2, count, (1.5 * count, 3))
    for (top, bottom), exemplar, search in zip(axes.T, exemplars, searches, strict=True):
        top.imshow(exemplar)
        bottom.imshow(search)
        bottom.imshow(positive, extent=extent, alpha=0.45, cmap="autumn")
        bottom.set(xlim=(0, side), ylim=(side, 0))
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].set_title("exemplar", loc="left")
    axes[1, 0].set_title("search region, positive cells", loc="left")
    return figure


@style()
def learning_curves(
    history: pd.DataFrame, still: float | None = None, baseline_loss: float | None = None
) -> Figure:
    """``training.history_table``: losses by epoch; beside them the tracking score, if there is one.
    ``still``: the score of a tracker that never moves; ``baseline_loss``: before the training."""
    scored = bool(history["auc"].notna().any())
    figure, axes = panels(1, 1 + scored, (4.5 * (1 + scored), 3))
    dashed, losses = {"linestyle": "--", "color": "C7"}, axes[0, 0]
    losses.plot(history["epoch"], history["loss"], marker="o", label="training")
    if len(known := history.dropna(subset="validation_loss")):
        losses.plot(known["epoch"], known["validation_loss"], marker="s", label="validation")
    if baseline_loss is not None:
        losses.axhline(baseline_loss, label="validation, before training", **dashed)
    losses.set(xlabel="epoch", ylabel="balanced loss", title="loss")
    if scored:
        known, score = history.dropna(subset="auc"), axes[0, 1]
        score.plot(known["epoch"], known["auc"], marker="o", color="C2", label="SiamFC")
        if still is not None:
            score.axhline(still, label="never moves", **dashed)
        score.set(xlabel="epoch", ylabel="success AUC", title="tracking, held-out sequences")
        score.set_ylim(0, None)
    for axis in axes.flat:
        axis.legend()
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


@style(grid=False)
def response_strip(recorded: Sequence[Any], title: str) -> Figure:
    """``tracking.record``: responses over the frames, the tracker's box, and the truth (white)."""
    figure, axes = frame_row([seen.image for seen in recorded], below=0.45)
    height, width = recorded[0].image.shape[:2]
    for axis, seen in zip(axes, recorded, strict=True):
        x, y, w, h = seen.region
        extent = (x - 0.5, x + w - 0.5, y + h - 0.5, y - 0.5)
        axis.imshow(seen.response, extent=extent, cmap="inferno", alpha=0.6)
        axis.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        draw_box(axis, seen.truth, color=TRUTH, linewidth=1.6)
        draw_box(axis, seen.box, color="C3", linewidth=1.3)
        peak = f"frame {seen.index + 1}, peak {seen.response.max():.3g}"
        axis.set_title(peak, fontsize=7, pad=2)
    figure.suptitle(title)
    return figure


@style(grid=False)
def fusion_weights(table: pd.DataFrame, group: str) -> Figure:
    """Mean of the columns ``branch 0`` ... by ``group``, and the entropy of every track's."""
    branches = [column for column in table if column.startswith("branch ")]
    weights = table[branches].to_numpy(float)
    entropy = -(weights * np.log(np.clip(weights, 1e-12, None))).sum(1) / np.log(len(branches))
    means = table.groupby(group)[branches].mean()
    figure, ((left, right),) = panels(1, 2, (9, 3.2), width_ratios=(3, 2))
    bar = {"label": "mean weight"}
    sns.heatmap(means, annot=True, fmt=".2f", cmap="rocket_r", vmin=0, ax=left, cbar_kws=bar)
    left.set(title=f"fusion weights by {group}", xlabel="", ylabel=group)
    left.tick_params(axis="y", rotation=0)
    right.hist(entropy, bins=20, range=(0, 1))
    right.set(title="how spread the weights are", ylabel="tracks")
    right.set_xlabel("entropy / log k  (0: one branch, 1: uniform)")
    return figure
