"""Figures of the clusters and of the methods that found them (notebook 04)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from esiamfc_lib.figures.style import colours, panels, style

SPREAD = "largest / smallest size"
DASHED = {"color": "0.3", "linestyle": "--"}


def _logarithmic(axis: Axis) -> None:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ..., written as plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def _lines(table: pd.DataFrame, x: str, columns: Mapping[str, str], **look):
    """A panel for each of ``columns`` (column → name) with a line a method, one legend below."""
    figure, axes = panels(1, len(columns), (3.2 * len(columns), 2.9))
    for axis, (column, name) in zip(axes[0], columns.items(), strict=True):
        sns.lineplot(table, x=x, y=column, hue="method", ax=axis, **look)
        axis.set_ylabel(name)
        handles, labels = axis.get_legend_handles_labels()
        axis.get_legend().remove()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6))
    sns.despine(figure)
    return figure, axes[0]


@style()
def cluster_sizes(by_method: Mapping[str, np.ndarray]) -> Figure:
    """Tracks in every cluster, largest first, one panel a method (name → (k,) sizes)."""
    count = len(by_method)
    figure, axes = panels(1, count, (2.3 * count + 0.6, 2.6), sharey=True)
    for axis, (name, values) in zip(axes[0], by_method.items(), strict=True):
        ordered = np.sort(values)[::-1]
        bars = axis.bar(np.arange(len(ordered)), ordered, color=colours(len(ordered)))
        axis.bar_label(bars, fontsize=7, padding=1)
        axis.axhline(ordered.mean(), linewidth=1, **DASHED)
        axis.set(title=name, xlabel="cluster, by size", xticks=[])
        axis.grid(False, axis="x")
    axes[0, 0].set_ylabel("tracks")
    sns.despine(figure)
    return figure


@style()
def histories(whole: pd.DataFrame) -> Figure:
    """First table of ``Comparison.histories``: loss, size spread, changed labels by iteration."""
    columns = {"loss": "loss", "spread": SPREAD, "changes": "labels changed"}
    figure, axes = _lines(whole, "iteration", columns, linewidth=1.6)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _logarithmic(axes[1].yaxis)
    axes[1].axhline(1, color="0.4", linewidth=0.8, linestyle="--")
    axes[2].set_yscale("symlog")
    axes[2].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes[2].set_ylim(bottom=0)
    return figure


@style()
def controls(single: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Second table of ``Comparison.histories``: control and size of every cluster by iteration."""
    size = (3.6 * len(methods) + 0.4, 4.4)
    figure, axes = panels(2, len(methods), size, sharex="col", sharey="row")
    for (top, bottom), method in zip(axes.T, methods, strict=True):
        own = single[single["method"] == method]
        look = {"hue": "cluster", "palette": colours(own["cluster"].nunique()), "linewidth": 1.4}
        for axis, column in ((top, "control"), (bottom, "size")):
            sns.lineplot(own, x="iteration", y=column, ax=axis, legend=False, **look)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        mean = own[own["iteration"] == 1]["size"].mean()
        bottom.axhline(mean, linewidth=0.8, **DASHED)
        top.set(title=method, ylabel="control term (distance)")
        bottom.set_ylabel("tracks in the cluster")
    sns.despine(figure)
    return figure


@style()
def elbow(table: pd.DataFrame) -> Figure:
    """Table of ``Comparison.elbow`` with a column ``data``, whose first value is drawn solid and
    whose second dashed; by k with the 95 % range over runs."""
    columns = {"loss": "loss", "spread": SPREAD, "agreement": "Fowlkes–Mallows between runs"}
    columns["silhouette"] = "mean silhouette"
    look = {"style": "data", "markers": True, "errorbar": ("pi", 95)}
    figure, axes = _lines(table, "k", columns, **look)
    for axis in axes:
        axis.set_xticks(sorted(table["k"].unique()))
    _logarithmic(axes[1].yaxis)
    axes[2].set_ylim(0, 1)
    return figure


@style(grid=False)
def sensitivity(table: pd.DataFrame) -> Figure:
    """Table of ``Comparison.sensitivity``: spread and loss by gains, a column a stopping rule."""
    methods = list(table["method"].unique())
    rows = (("spread", SPREAD, "rocket_r", ".2f"), ("loss", "loss", "viridis_r", ".4g"))
    look = {"annot": True, "annot_kws": {"size": 8}, "square": True, "linewidths": 1}
    figure, axes = panels(2, len(methods), (3.6 * len(methods) + 0.6, 5.6))
    for row, (column, name, palette, digits) in zip(axes, rows, strict=True):
        means = table.groupby(["method", "kp", "ki"])[column].mean()
        low, high = means.min(), means.max()
        high = min(high, 10) if column == "spread" else high  # beyond 10 all is lost alike
        scale = {"vmin": low, "vmax": high, "cmap": palette, "fmt": digits}
        bar = {"label": name, "shrink": 0.8}
        for axis, method in zip(row, methods, strict=True):
            last = method == methods[-1]
            sns.heatmap(means[method].unstack(), ax=axis, cbar=last, cbar_kws=bar, **scale, **look)
            axis.set_title(method if column == "spread" else "")
            axis.invert_yaxis()
            axis.tick_params(rotation=0)
    return figure


@style()
def stability(runs: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """``Comparison.runs``, and ``pairwise_agreement`` with a column ``method``, of every method."""
    methods = list(runs["method"].unique())
    names = {"jaccard": "Jaccard", "fowlkes_mallows": "Fowlkes–Mallows", "rand": "Rand"}
    scores = pairs.rename(columns=names).melt("method", names.values(), "score", "agreement")
    figure, ((loss, spread, agreement),) = panels(1, 3, (10.2, 3.1), width_ratios=(1, 1, 1.6))
    dots = {"hue": "method", "size": 4, "alpha": 0.6, "legend": False, "warn_thresh": 1}
    means = {"color": "black", "errorbar": None, "markers": "|", "markersize": 14}
    for axis, column in ((loss, "loss"), (spread, "spread")):
        place = {"data": runs, "y": "method", "x": column, "order": methods, "ax": axis}
        sns.swarmplot(**place, **dots)
        sns.pointplot(**place, **means, linestyle="none")
    _logarithmic(spread.xaxis)
    spread.set(xlabel=SPREAD, ylabel="", yticklabels=[])
    loss.set_ylabel("")
    bars = {"errorbar": ("pi", 95), "err_kws": {"linewidth": 1}, "legend": False}
    place = {"x": "score", "y": "agreement", "hue": "method", "hue_order": methods}
    sns.barplot(scores, ax=agreement, **place, **bars)
    agreement.set(xlabel="", ylabel="agreement between runs", ylim=(0, 1))
    sns.despine(figure)
    return figure
