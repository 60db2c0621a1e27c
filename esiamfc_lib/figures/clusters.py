"""Figures of the clusters and of the methods that found them (notebook 04)."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axis import Axis
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

from esiamfc_lib.figures import style

NAMES = {
    **{"loss": "loss", "spread": "largest / smallest size", "agreement": "agreement of runs"},
    **{"silhouette": "mean silhouette", "changes": "labels changed"},
}


def _logarithmic(axis: Axis) -> None:
    """A logarithmic axis with ticks at 1, 2, 5, 10 ..., written as plain numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


@style.drawn(frame=False)
def cluster_sizes(table: pd.DataFrame) -> style.Made:
    """Tracks in every cluster, largest first, a panel a method: ``method, tracks``."""
    look, parts = style.looks(table["method"]), list(table.groupby("method", sort=False)["tracks"])
    figure, axes = style.side_by_side(len(parts), 1.3, 1.7, sharey=True)
    for axis, (name, tracks) in zip(axes, parts, strict=True):
        ordered = np.sort(tracks)[::-1]
        bars = axis.bar(np.arange(len(ordered)), ordered, color=look[name]["color"])
        axis.bar_label(bars, fontsize=style.small(), padding=1)
        axis.axhline(ordered.mean(), **style.DASHED)
        axis.set(title=name, xlabel="cluster, by size", xticks=[])
        axis.margins(y=0.12)
        axis.grid(False, axis="x")
        axis.set_ylabel("tracks" if axis.get_subplotspec().is_first_col() else "")
    return figure, {}


@style.drawn(frame=False)
def histories(table: pd.DataFrame) -> style.Made:
    """First table of ``Comparison.histories``: loss, size spread, changed labels by iteration."""
    look = style.looks(table["method"])
    figure, axes = style.side_by_side(3, 1.6, 1.9)
    for axis, column in zip(axes, ("loss", "spread", "changes"), strict=True):
        for name, own in table.groupby("method", sort=False):
            axis.plot(own["iteration"], own[column], **look[name] | {"marker": ""})
        axis.set(xlabel="iteration", ylabel=NAMES[column])
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _logarithmic(axes[1].yaxis)
    axes[1].axhline(1, **style.DASHED)
    axes[2].set_yscale("symlog")
    axes[2].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes[2].set_ylim(bottom=0)
    style.key(figure, {name: line | {"marker": ""} for name, line in look.items()})
    return figure, {}


@style.drawn(frame=False)
def controls(table: pd.DataFrame) -> style.Made:
    """Second table of ``Comparison.histories``: control and size of every cluster by iteration."""
    parts = list(table.groupby("method", sort=False))
    rows = {"control": "control term (distance)", "size": "tracks in the cluster"}
    cells = [(name, own, column) for column in rows for name, own in parts]
    figure, axes = style.side_by_side(len(cells), 2.2, 1.9)
    for axis, (name, own, column) in zip(axes, cells, strict=True):
        clusters = dict(list(own.groupby("cluster")))
        tones = dict(zip(clusters, style.colours(len(clusters)), strict=True))
        for cluster, line in clusters.items():
            axis.plot(line["iteration"], line[column], color=tones[cluster], linewidth=1.2)
        ends = {str(c): tuple(line[["iteration", column]].iloc[-1]) for c, line in clusters.items()}
        if column == "size":
            axis.axhline(own.groupby("iteration")["size"].mean().iloc[0], **style.DASHED)
        axis.set(title=name, xlabel="iteration", ylabel=rows[column])
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        style.name_lines(axis, ends, {str(c): {"color": tone} for c, tone in tones.items()})
    return figure, {}


@style.drawn(frame=False)
def elbow(table: pd.DataFrame) -> style.Made:
    """Table of ``Comparison.elbow``; where it has a column ``data``, its first value is drawn
    solid and its second dashed."""
    columns = [name for name in ("loss", "spread", "agreement", "silhouette") if name in table]
    table = table if "data" in table else table.assign(data="tracks")
    kinds = list(dict.fromkeys(table["data"]))
    look = style.looks(table["method"])
    figure, axes = style.side_by_side(len(columns), 2.2, 1.9)
    for axis, column in zip(axes, columns, strict=True):
        for (name, data), own in table.groupby(["method", "data"], sort=False):
            by_k = own.groupby("k")[column]
            low, high = by_k.quantile(0.025), by_k.quantile(0.975)
            line = look[name] | {"linestyle": ("-", "--")[kinds.index(data)]}
            axis.plot(by_k.mean(), **line | {"marker": "" if kinds.index(data) else line["marker"]})
            axis.fill_between(low.index, low, high, color=line["color"], alpha=0.15, linewidth=0)
        axis.set(xlabel="k", ylabel=NAMES[column])
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _logarithmic(axes[1].yaxis)
    axes[2].set_ylim(0, 1)
    names = {name: line | {"linestyle": "-"} for name, line in look.items()}
    names |= {kind: {"color": style.LEVEL, "linestyle": "--"} for kind in kinds[1:]}
    style.key(figure, names)
    dashed = " Dashed: the same of tracks whose principal components were shuffled."
    runs = style.span(table.groupby("k")["run"].nunique())
    said = {"columns": ", ".join(NAMES[name] for name in columns), "runs": runs}
    return figure, said | {"dashed": dashed * len(kinds[1:])}


@style.drawn(grid=False)
def sensitivity(table: pd.DataFrame) -> style.Made:
    """Table of ``Comparison.runs`` under a grid of gains: spread and loss of the methods whose
    sizes depend on them; the caption has the others."""
    means = table.groupby(["method", "kp", "ki"], sort=False)[["spread", "loss"]].mean()
    reach = means.groupby("method", sort=False).agg(["min", "max"])
    moved = reach["spread", "max"] > 1.1 * reach["spread", "min"]
    methods = list(reach.index[moved]) or list(reach.index)
    columns = (("spread", "rocket_r", ".2f"), ("loss", "viridis_r", ".4g"))
    figure, axes = style.side_by_side(2 * len(methods), 2.6, 2.4)
    cells = [(method, *column) for method in methods for column in columns]
    for axis, (method, column, palette, digits) in zip(axes, cells, strict=True):
        values = means.loc[method, column].unstack()
        high = min(values.to_numpy().max(), 10 if column == "spread" else np.inf)  # beyond: lost
        look = {"annot": True, "annot_kws": {"size": style.small()}, "linewidths": 1, "fmt": digits}
        bar = {"label": NAMES[column], "shrink": 0.9}
        sns.heatmap(values, ax=axis, vmax=high, cmap=palette, cbar_kws=bar, **look)
        axis.set_title(method)
        axis.invert_yaxis()
        axis.tick_params(rotation=0)
    others = [
        f" {name}: spread {row['spread', 'min']:.2f} to {row['spread', 'max']:.2f}, loss "
        f"{row['loss', 'min']:.4g} to {row['loss', 'max']:.4g} under all of them."
        for name, row in reach.iterrows() if name not in methods
    ]  # fmt: skip
    runs = style.span(table.groupby("method")["run"].nunique())
    return figure, {"runs": runs, "others": "".join(others)}


@style.drawn(frame=False)
def stability(table: pd.DataFrame) -> style.Made:
    """``Comparison.runs``, where there is one with a column ``agreement``: mean Fowlkes–Mallows
    score of a run with the method's others. A dot a run, a row a method."""
    columns = [name for name in ("loss", "spread", "agreement") if name in table]
    parts = dict(list(table.groupby("method", sort=False)))
    look, height = style.looks(parts), 0.5 + 0.27 * len(parts)
    figure, axes = style.side_by_side(len(columns), 2.0, height, sharey=True)
    for axis, column in zip(axes, columns, strict=True):
        for row, (name, own) in enumerate(parts.items()):
            order = own[column].rank(method="first").to_numpy()
            beside = 0.3 * (2 * (order * 0.618034 % 1) - 1)  # apart, and the same every time
            dots = look[name] | {"linestyle": "none", "markersize": 2.8, "alpha": 0.6}
            axis.plot(own[column], row + beside, **dots)
            axis.plot(own[column].mean(), row, "k|", markersize=11, markeredgewidth=1.6, zorder=4)
        axis.set_yticks(range(len(parts)), list(parts))
        axis.set(xlabel=NAMES[column], ylim=(len(parts) - 0.5, -0.5))
    _logarithmic(axes[1].xaxis)
    said = ", ".join(NAMES[name] for name in columns)
    return figure, {"runs": style.span(table.groupby("method")["run"].nunique()), "columns": said}
