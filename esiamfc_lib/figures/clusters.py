"""Figures of the embedding and the clusters (notebooks 03 and 04): data in, a ``Figure`` out."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from esiamfc_lib.figures.style import style


def cluster_colours(k: int) -> list[tuple[float, float, float]]:
    """The colour of each cluster, the same in all figures."""
    return sns.color_palette("colorblind" if k <= 10 else "husl", k)


def _logarithmic(axis: Axis) -> None:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ..., written as plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def cluster_sizes(by_method: Mapping[str, np.ndarray]) -> Figure:
    """Tracks in every cluster, largest first, one panel a method.

    Args:
        by_method: name → (k,) sizes.
    """
    with style():
        figure, axes = plt.subplots(
            1,
            len(by_method),
            figsize=(2.3 * len(by_method) + 0.6, 2.6),
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for axis, (name, values) in zip(axes[0], by_method.items(), strict=True):
            ordered = np.sort(values)[::-1]
            bars = axis.bar(np.arange(len(ordered)), ordered, color=cluster_colours(len(ordered)))
            axis.bar_label(bars, fontsize=7, padding=1)
            axis.axhline(ordered.mean(), color="0.3", linewidth=1, linestyle="--")
            axis.set(title=name, xlabel="cluster, by size", xticks=[])
            axis.grid(False, axis="x")
        axes[0, 0].set_ylabel("tracks")
        sns.despine(figure)
    return figure


def histories(whole: pd.DataFrame) -> Figure:
    """Loss, size spread and changed labels against the iteration, a line a method.

    Args:
        whole: first table of ``Study.histories``.
    """
    panels = (
        ("loss", "loss"),
        ("spread", "largest / smallest size"),
        ("changes", "labels changed"),
    )
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.9), layout="constrained")
        for axis, (column, name) in zip(axes, panels, strict=True):
            sns.lineplot(
                whole,
                x="iteration",
                y=column,
                hue="method",
                ax=axis,
                linewidth=1.6,
                legend=axis is axes[0],
            )
            axis.set(ylabel=name)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        _logarithmic(axes[1].yaxis)
        axes[1].axhline(1, color="0.4", linewidth=0.8, linestyle="--")
        axes[2].set_yscale("symlog")
        axes[2].set_ylim(bottom=0)
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        sns.despine(figure)
    return figure


def controls(single: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Control term and size of every cluster against the iteration.

    Args:
        single: second table of ``Study.histories``. methods: those to show, a column each.
    """
    with style():
        figure, axes = plt.subplots(
            2,
            len(methods),
            figsize=(3.6 * len(methods) + 0.4, 4.4),
            sharex="col",
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for (top, bottom), method in zip(axes.T, methods, strict=True):
            own = single[single["method"] == method]
            k = own["cluster"].nunique()
            for axis, column in ((top, "control"), (bottom, "size")):
                sns.lineplot(
                    own,
                    x="iteration",
                    y=column,
                    hue="cluster",
                    ax=axis,
                    legend=False,
                    palette=cluster_colours(k),
                    linewidth=1.4,
                )
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            mean = own[own["iteration"] == 1]["size"].mean()
            bottom.axhline(mean, color="0.3", linewidth=0.8, linestyle="--")
            top.set_title(method)
            top.set_ylabel("control term (distance)")
            bottom.set_ylabel("tracks in the cluster")
        sns.despine(figure)
    return figure


def run_agreement(matrices: Mapping[str, np.ndarray]) -> Figure:
    """Heat maps of the agreement between runs.

    Args:
        matrices: method → (runs, runs), from ``agreement_matrix``.
    """
    with style(grid=False):
        figure, axes = plt.subplots(
            1,
            len(matrices),
            figsize=(2.5 * len(matrices) + 0.7, 2.9),
            squeeze=False,
            layout="constrained",
        )
        for axis, (name, scores) in zip(axes[0], matrices.items(), strict=True):
            between = scores[~np.eye(len(scores), dtype=bool)]
            picture = axis.imshow(scores, vmin=0, vmax=1, cmap="rocket_r")
            axis.set(title=f"{name}\nmean {between.mean():.2f}", xticks=[], yticks=[], xlabel="run")
        axes[0, 0].set_ylabel("run")
        figure.colorbar(picture, ax=axes[0].tolist(), label="Fowlkes–Mallows score", shrink=0.8)
    return figure


def elbow(table: pd.DataFrame) -> Figure:
    """Loss, spread and agreement between runs against k, with the 95 % range over runs.

    Args:
        table: of ``Study.elbow``.
    """
    panels = (
        ("loss", "loss"),
        ("spread", "largest / smallest size"),
        ("agreement", "Fowlkes–Mallows between runs"),
    )
    with style():
        figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.9), layout="constrained")
        for axis, (column, name) in zip(axes, panels, strict=True):
            sns.lineplot(
                table,
                x="k",
                y=column,
                hue="method",
                style="method",
                markers=True,
                dashes=False,
                errorbar=("pi", 95),
                ax=axis,
                legend=axis is axes[0],
            )
            axis.set(ylabel=name, xticks=sorted(table["k"].unique()))
        _logarithmic(axes[1].yaxis)
        axes[2].set_ylim(0, 1)
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        sns.despine(figure)
    return figure


def sensitivity(table: pd.DataFrame) -> Figure:
    """Size spread and loss under every pair of gains, a column of panels for each stopping rule.

    Args:
        table: of ``Study.sensitivity``.
    """
    methods = list(table["method"].unique())
    panels = (
        ("spread", "largest / smallest size", "rocket_r", ".2f"),
        ("loss", "loss", "viridis_r", ".4g"),
    )
    with style(grid=False):
        figure, axes = plt.subplots(
            2,
            len(methods),
            figsize=(3.6 * len(methods) + 0.6, 5.6),
            squeeze=False,
            layout="constrained",
        )
        for row, (column, name, colours, digits) in zip(axes, panels, strict=True):
            means = {
                method: own.pivot_table(index="kp", columns="ki", values=column)
                for method, own in table.groupby("method")
            }
            low = min(mean.min(axis=None) for mean in means.values())
            high = max(mean.max(axis=None) for mean in means.values())
            high = min(high, 10) if column == "spread" else high  # beyond 10 all is lost alike
            for axis, method in zip(row, methods, strict=True):
                sns.heatmap(
                    means[method],
                    annot=True,
                    fmt=digits,
                    cmap=colours,
                    vmin=low,
                    vmax=high,
                    ax=axis,
                    square=True,
                    linewidths=1,
                    annot_kws={"size": 8},
                    cbar=axis is row[-1],
                    cbar_kws={"label": name, "shrink": 0.8},
                )
                axis.set_title(method if column == "spread" else "")
                axis.invert_yaxis()
                axis.tick_params(rotation=0)
    return figure


def stability(runs: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """Loss, size spread and agreement of every method over its runs.

    Args:
        runs: table of ``Study.runs``.
        pairs: of ``pairwise_agreement``, with a column ``method``.
    """
    methods = list(runs["method"].unique())
    scores = pairs.melt(
        id_vars="method",
        value_name="agreement",
        var_name="score",
        value_vars=["jaccard", "fowlkes_mallows", "rand"],
    )
    scores["score"] = scores["score"].replace(
        {"jaccard": "Jaccard", "fowlkes_mallows": "Fowlkes–Mallows", "rand": "Rand"}
    )
    with style():
        figure, axes = plt.subplots(
            1, 3, figsize=(10.2, 3.1), layout="constrained", width_ratios=(1, 1, 1.6)
        )
        for axis, column in ((axes[0], "loss"), (axes[1], "spread")):
            sns.stripplot(
                runs,
                y="method",
                x=column,
                hue="method",
                order=methods,
                ax=axis,
                size=4,
                alpha=0.6,
                legend=False,
            )
            sns.pointplot(
                runs,
                y="method",
                x=column,
                order=methods,
                ax=axis,
                color="black",
                errorbar=None,
                linestyle="none",
                markers="|",
                markersize=14,
            )
        _logarithmic(axes[1].xaxis)
        axes[1].set(xlabel="largest / smallest size", ylabel="", yticklabels=[])
        axes[0].set_ylabel("")
        sns.barplot(
            scores,
            x="score",
            y="agreement",
            hue="method",
            hue_order=methods,
            ax=axes[2],
            errorbar=("pi", 95),
            err_kws={"linewidth": 1},
        )
        axes[2].set(xlabel="", ylabel="agreement between runs", ylim=(0, 1))
        axes[2].get_legend().remove()
        sns.despine(figure)
    return figure
