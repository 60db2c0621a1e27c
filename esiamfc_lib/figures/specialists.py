"""Figures of what the specialists learned; data in, a matplotlib ``Figure`` out."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from esiamfc_lib.figures.style import style


def branch_responses(
    search: np.ndarray, responses: np.ndarray, weights: np.ndarray, fused: np.ndarray
) -> Figure:
    """Search regions, and beside each the responses of all branches and of the ensemble.

    All responses of a row share one colour scale, so that a branch that is sure of itself looks so.

    Args:
        search: uint8 (n, S, S, 3) RGB.
        responses: (n, k, r, r) logits.
        weights: (n, k), written above each branch.
        fused: (n, r, r).
    """
    n, k = weights.shape
    with style(grid=False):
        figure, axes = plt.subplots(
            n, k + 2, figsize=(1.35 * (k + 2), 1.5 * n), squeeze=False, layout="constrained"
        )
        for row in range(n):
            maps = [*responses[row], fused[row]]
            low, high = np.min(maps), np.max(maps)
            axes[row, 0].imshow(search[row])
            for axis, values in zip(axes[row, 1:], maps, strict=True):
                axis.imshow(values, vmin=low, vmax=high, cmap="inferno")
                peak = np.unravel_index(np.argmax(values), values.shape)
                axis.plot(peak[1], peak[0], "+", color="white", markersize=7)
            for axis, weight in zip(axes[row, 1:-1], weights[row], strict=True):
                axis.set_title(f"{weight:.2f}", fontsize=7, pad=2)
        names = ["search region", *(f"branch {i}" for i in range(k)), "ESiamFC"]
        for axis, name in zip(axes[-1], names, strict=True):
            axis.set_xlabel(name, fontsize=8)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            sns.despine(ax=axis, left=True, bottom=True)
    return figure


def kinds(matrix: pd.DataFrame, own: pd.DataFrame | None = None, title: str = "") -> Figure:
    """Scores of branches by kind of object, and the interaction that is left of them.

    Args:
        matrix: of ``specialists.kind_matrix``.
        own: of ``specialists.own_kind``: the kind of each branch is framed.
        title: above both.
    """
    table = matrix.to_numpy()
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    reach = max(np.abs(rest).max(), 1e-9)
    with style(grid=False):
        size = (2.6 + 1.3 * table.shape[1], 1.2 + 0.36 * len(table))
        figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained", sharey=True)
        looks = {"annot": True, "annot_kws": {"fontsize": 7}}
        sns.heatmap(matrix, ax=left, vmin=0, vmax=1, fmt=".2f", cmap="viridis", **looks)
        sns.heatmap(
            pd.DataFrame(rest, matrix.index, matrix.columns),
            ax=right, vmin=-reach, vmax=reach, fmt="+.2f", cmap="vlag", **looks,
        )  # fmt: skip
        left.set_title("success AUC")
        right.set_title("beyond branch and kind")
        for axis in (left, right):
            axis.tick_params(axis="y", rotation=0)
            for branch, kind in () if own is None else zip(own["branch"], own["kind"], strict=True):
                place = (list(matrix.columns).index(kind), list(matrix.index).index(branch))
                axis.add_patch(plt.Rectangle(place, 1, 1, fill=False, color="k", lw=1.6))
        if title:
            figure.suptitle(title)
    return figure


def correlations(matrix: np.ndarray) -> Figure:
    """Correlation of the branches' responses: (k, k)."""
    names = [f"branch {i}" for i in range(len(matrix))]
    side = 2.0 + 0.5 * len(matrix)
    with style(grid=False):
        figure, axis = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
        sns.heatmap(
            pd.DataFrame(matrix, names, names), ax=axis, vmax=1, fmt=".3f", cmap="rocket_r",
            annot=True, annot_kws={"fontsize": 7}, square=True,
        )  # fmt: skip
        axis.set_title("correlation of responses")
        axis.tick_params(axis="y", rotation=0)
    return figure


def distance_relation(table: pd.DataFrame, found: dict[str, float], gain: str) -> Figure:
    """Gain against disagreement, a point a sequence.

    Args:
        table, found: of ``specialists.distance_relation``.
        gain: what the vertical axis shows, for example ``ESiamFC − SiamFC``.
    """
    with style():
        figure, axis = plt.subplots(figsize=(4.6, 3.4), layout="constrained")
        axis.axhline(0, color="0.5", linewidth=0.8)
        axis.scatter(table["disagreement"], table["gain"], s=18)
        ends = (
            np.unique(np.r_[table["gain"].argmin(), table["gain"].argmax()]) if len(table) else []
        )
        for i in ends:
            place = table["disagreement"].iloc[i], table["gain"].iloc[i]
            axis.annotate(table["sequence"].iloc[i], place, fontsize=7, xytext=(3, 3),
                          textcoords="offset points")  # fmt: skip
        rank = found["rank_correlation"]
        title = f"{found['sequences']} sequences"
        if np.isfinite(rank):
            numbers = f"{rank:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
            title += f", rank correlation {numbers}".replace("-", "−")
        axis.set(xlabel="disagreement of the branches (mean of 1 − IoU)", ylabel=gain, title=title)
    return figure


def forest(
    table: pd.DataFrame, names: Sequence[str] = (), xlabel: str = "difference in AUC"
) -> Figure:
    """Differences with their intervals, one line a comparison.

    Args:
        table: of ``controls.differences``: thick lines are the 95 % intervals, thin ones those that
            hold for all comparisons together.
        names: of the lines; by default ``tracker − minus``.
        xlabel: of the axis.
    """
    names = list(names) or [f"{row.tracker} − {row.minus}" for row in table.itertuples(index=False)]
    places = np.arange(len(table))[::-1]
    with style():
        figure, axis = plt.subplots(
            figsize=(7.0, 0.9 + 0.3 * max(len(table), 1)), layout="constrained"
        )
        axis.axvline(0, color="0.4", linewidth=0.9)
        axis.hlines(places, table["low_all"], table["high_all"], color="C0", linewidth=0.9)
        axis.hlines(places, table["low"], table["high"], color="C0", linewidth=3.0)
        axis.plot(table["difference"], places, "o", color="C0", markersize=5, mec="white")
        axis.set_yticks(places, names)
        axis.set(xlabel=xlabel, ylim=(-0.6, len(table) - 0.4))
        axis.grid(visible=False, axis="y")
    return figure
