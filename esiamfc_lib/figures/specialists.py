"""Figures of what the specialists learned, and of how their gains compare."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from esiamfc_lib.figures.style import panels, style

NUMBERS = {"annot": True, "annot_kws": {"fontsize": 7}}  # in the cells of a heat map


@style(grid=False)
def branch_responses(
    search: np.ndarray, responses: np.ndarray, weights: np.ndarray, fused: np.ndarray
) -> Figure:
    """Search regions (n, S, S, 3), beside each the responses (n, k, r, r) and the fused (n, r, r).
    All responses of a row share one colour scale, so that a branch that is sure of itself looks so.
    The weights (n, k) are written above the branches."""
    n, k = weights.shape
    figure, axes = panels(n, k + 2, (1.35 * (k + 2), 1.5 * n))
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


@style(grid=False)
def kinds(matrix: pd.DataFrame, own: pd.DataFrame, title: str) -> Figure:
    """``analysis.kind_matrix``, and its interaction; the ``own_kind`` of each branch is framed."""
    rest = matrix.sub(matrix.mean(axis=1), axis=0) - matrix.mean() + matrix.to_numpy().mean()
    reach = max(rest.abs().to_numpy().max(), 1e-9)
    size = (2.6 + 1.3 * matrix.shape[1], 1.2 + 0.36 * len(matrix))
    figure, ((left, right),) = panels(1, 2, size, sharey=True)
    sns.heatmap(matrix, ax=left, vmin=0, vmax=1, fmt=".2f", cmap="viridis", **NUMBERS)
    sns.heatmap(rest, ax=right, vmin=-reach, vmax=reach, fmt="+.2f", cmap="vlag", **NUMBERS)
    left.set_title("success AUC")
    right.set_title("beyond branch and kind")
    for axis in (left, right):
        axis.tick_params(axis="y", rotation=0)
        for branch, kind in zip(own["branch"], own["kind"], strict=True):
            place = (matrix.columns.get_loc(kind), matrix.index.get_loc(branch))
            axis.add_patch(plt.Rectangle(place, 1, 1, fill=False, color="k", lw=1.6))
    figure.suptitle(title)
    return figure


@style(grid=False)
def correlations(matrix: np.ndarray) -> Figure:
    """Correlation of the branches' responses: (k, k)."""
    names = [f"branch {i}" for i in range(len(matrix))]
    side = 2.0 + 0.5 * len(matrix)
    figure, axis = plt.subplots(figsize=(side + 0.6, side), layout="constrained")
    look = {"vmax": 1, "fmt": ".3f", "cmap": "rocket_r", "square": True}
    sns.heatmap(pd.DataFrame(matrix, names, names), ax=axis, **look, **NUMBERS)
    axis.set_title("correlation of responses")
    axis.tick_params(axis="y", rotation=0)
    return figure


@style()
def forest(table: pd.DataFrame) -> Figure:
    """``arm_differences``: thick lines are 95 % intervals, thin ones hold for all rows together."""
    names = [f"{row.tracker} − {row.minus}" for row in table.itertuples(index=False)]
    places = np.arange(len(table))[::-1]
    size = (7.0, 0.9 + 0.3 * max(len(table), 1))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    axis.axvline(0, color="0.4", linewidth=0.9)
    axis.hlines(places, table["low_all"], table["high_all"], color="C0", linewidth=0.9)
    axis.hlines(places, table["low"], table["high"], color="C0", linewidth=3.0)
    axis.plot(table["difference"], places, "o", color="C0", markersize=5, mec="white")
    axis.set_yticks(places, names)
    axis.set(xlabel="difference in AUC", ylim=(-0.6, len(table) - 0.4))
    axis.grid(visible=False, axis="y")
    axis.set_title("; ".join(table["benchmark"].unique()))
    return figure


@style()
def gain_curves(table: pd.DataFrame, panel: str = "", title: str = "") -> Figure:
    """Gain against the number of training tracks, one line a tracker, with 95 % intervals. Rows of
    ``analysis.gains``; each value of the swept parameter ``panel``, if given, has a panel."""
    groups = list(table.groupby(panel)) if panel else [("", table)]
    trackers = list(dict.fromkeys(table["tracker"]))
    ticks = sorted(table["tracks"].unique())
    # lines beside each other, so that their bars can be told apart
    shifts = np.linspace(-0.06, 0.06, len(trackers)) if len(trackers) > 1 else [0.0]
    look = {"marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.2}
    figure, axes = panels(1, len(groups), (2.6 + 3.0 * len(groups), 3.2), sharey=True)
    for axis, (value, rows) in zip(axes.flat, groups, strict=True):
        for i, (tracker, shift) in enumerate(zip(trackers, shifts, strict=True)):
            line = rows[rows["tracker"] == tracker].sort_values("tracks")
            middle = line["difference"]
            bars = np.abs([middle - line["low"], line["high"] - middle])
            at = line["tracks"] * 2.0**shift
            axis.errorbar(at, middle, yerr=bars, color=f"C{i}", label=tracker, **look)
        axis.axhline(0, color="0.4", linewidth=0.9)
        axis.set_xscale("log")
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set(title=f"{panel} {value}".strip(), xlabel="training tracks")
    axes[0, 0].set_ylabel("gain over equal budget, AUC")
    # beside the panels, where it covers no bar
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(title)
    return figure
