"""Figures of what the specialists learned, and of how their gains compare."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esiamfc_lib.figures import style


@style.style(grid=False)
def branch_responses(
    search: np.ndarray, responses: np.ndarray, weights: np.ndarray, fused: np.ndarray
) -> Figure:
    """Search regions (n, S, S, 3), beside each the responses (n, k, r, r) and the fused (n, r, r).
    All responses of a row share one colour scale, so that a branch that is sure of itself looks so.
    The weights (n, k) are written above the branches."""
    n, k = weights.shape
    cell = style.WIDTH / (k + 2)
    empty = {"xticks": [], "yticks": []}
    figure, axes = style.panels(n, k + 2, (style.WIDTH, (cell + 0.17) * n), subplot_kw=empty)
    for row in range(n):
        maps = [*responses[row], fused[row]]
        low, high = np.min(maps), np.max(maps)
        axes[row, 0].imshow(search[row])
        for axis, values in zip(axes[row, 1:], maps, strict=True):
            axis.imshow(values, vmin=low, vmax=high, cmap="inferno")
            peak = np.unravel_index(np.argmax(values), values.shape)
            axis.plot(peak[1], peak[0], "+", color="white", markersize=7)
        for axis, weight in zip(axes[row, 1:-1], weights[row], strict=True):
            axis.set_title(f"{weight:.2f}", fontsize=style.SMALL, pad=2)
    names = ["search region", *(f"branch {i}" for i in range(k)), "ESiamFC"]
    for axis, name in zip(axes[-1], names, strict=True):
        axis.set_xlabel(name, fontsize=style.SMALL)
    sns.despine(figure, left=True, bottom=True)
    return figure


@style.drawn(grid=False)
def kinds(table: pd.DataFrame, title: str) -> style.Made:
    """``branch, kind, score`` and ``own``, whether it is the kind that most of the branch's tracks
    are of: the scores, and what is left beside the means of branch and kind."""
    wide = table.pivot_table(index="branch", columns="kind", values=["score", "own"])
    matrix, own = wide["score"], wide["own"]
    rest = matrix.sub(matrix.mean(axis=1), axis=0) - matrix.mean() + matrix.to_numpy().mean()
    reach = max(rest.abs().to_numpy().max(), 1e-9)
    numbers = {"annot": True, "annot_kws": {"fontsize": style.small()}}
    figure, (left, right) = style.side_by_side(2, 2.8, 0.9 + 0.22 * len(matrix))
    sns.heatmap(matrix, ax=left, vmin=0, vmax=1, fmt=".2f", cmap="viridis", **numbers)
    sns.heatmap(rest, ax=right, vmin=-reach, vmax=reach, fmt="+.2f", cmap="vlag", **numbers)
    for axis, heading in ((left, "success AUC"), (right, "beyond branch and kind")):
        axis.tick_params(axis="y", rotation=0)
        axis.tick_params(axis="x", rotation=90 if style.inches() < 5 else 0)
        axis.set(xlabel="", ylabel="", title=heading)
        for row, column in np.argwhere(own.to_numpy() > 0):
            axis.add_patch(Rectangle((column, row), 1, 1, fill=False, color="k", lw=1.6))
    figure.suptitle(title)
    return figure, {}


@style.drawn(grid=False)
def correlations(table: pd.DataFrame) -> style.Made:
    """Correlation of the branches' responses: ``branch, other, correlation``, of each pair."""
    matrix = table.pivot_table(index="branch", columns="other", values="correlation", sort=False)
    figure, (axis,) = style.side_by_side(1, 1, 0.7 + 0.3 * len(matrix))
    numbers = {"annot": True, "annot_kws": {"fontsize": style.small()}, "fmt": ".3f"}
    look = {"mask": np.eye(len(matrix), dtype=bool), "cbar_kws": {"label": "correlation"}}
    sns.heatmap(matrix, ax=axis, vmax=1, cmap="rocket_r", **numbers, **look)
    axis.tick_params(axis="y", rotation=0)
    axis.set(xlabel="", ylabel="")
    return figure, {}


@style.drawn()
def headroom(table: pd.DataFrame) -> style.Made:
    """A point an arm: ``arm``, ``headroom`` and ``overfitting`` with ``_low`` and ``_high`` ends of
    their intervals, and ``videos``."""
    names = table["arm"].tolist()
    figure, (axis,) = style.side_by_side(1, 1, 3.4)
    marks = zip(names, style.colours(len(names)), style.BRANCHES * len(names), strict=False)
    look = {name: {"color": c, "marker": marker, "linestyle": ""} for name, c, marker in marks}
    axis.axhline(0, color=style.LEVEL, linewidth=0.9)
    for row in table.to_dict("records"):
        x, y, own = row["overfitting"], row["headroom"], look[row["arm"]]
        bar = {"color": own["color"], "linewidth": 0.9, "alpha": 0.6}
        axis.hlines(y, row["overfitting_low"], row["overfitting_high"], **bar)
        axis.vlines(x, row["headroom_low"], row["headroom_high"], **bar)
        axis.plot(x, y, markersize=7, mec="white", mew=0.5, zorder=3, **own)
    axis.set(xlabel="overfitting of the own branch (loss)", ylabel="oracle headroom (loss)")
    style.key(figure, look)
    return figure, {"videos": style.span(table["videos"])}


@style.drawn()
def forest(
    table: pd.DataFrame,
    rows: str = "",
    groups: str = "",
    by: str = "Student's t over sequences and seeds",
    metric: str = "success AUC",
) -> style.Made:
    """Rows of ``analysis.differences`` with their intervals, those of one comparison and, where the
    table has them, those of a family. A row is called by its column ``rows``, else by what it
    compares; those of one ``groups``, a column, stand under a heading. ``by``: whose intervals;
    ``metric``: what the differences are of."""
    same = [side for side in ("tracker", "minus") if table[side].nunique() == 1]
    other = "minus" if table["minus"].nunique() > table["tracker"].nunique() else "tracker"
    names = table[rows or other].astype(str)
    if not (rows or same):
        names = table["tracker"] + " − " + table["minus"]
    lines: list[tuple[str, int | None]] = []
    for head, own in table.groupby(table[groups] if groups else [""] * len(table), sort=False):
        lines += [(str(head), None)] if groups else []
        lines += [(names[i], i) for i in own.index]
    figure, (axis,) = style.side_by_side(1, 1, 0.75 + 0.19 * len(lines))
    look = style.looks(table[other])
    axis.axvline(0, color=style.LEVEL, linewidth=0.9)
    for place, (_, i) in enumerate(lines):
        if i is not None:
            row, own = table.loc[i], look[table[other][i]]
            for ends, width in (("_all", 0.9), ("", 2.6)):
                bar = [row.get(end + ends, np.nan) for end in ("low", "high")]
                axis.hlines(place, *bar, color=own["color"], linewidth=width)
            dot = {"color": own["color"], "marker": own["marker"], "mec": "white", "mew": 0.4}
            axis.plot(row["difference"], place, markersize=6, zorder=3, **dot)
    axis.set_yticks(range(len(lines)), [name for name, _ in lines])
    for label, (_, i) in zip(axis.get_yticklabels(), lines, strict=True):
        label.set_weight("bold" if i is None else "normal")
    whole = table[same[0]].iloc[0] if same else ""
    what = {"tracker": f"{whole} minus each", "minus": f"each minus {whole}"}
    what = what[same[0]] if same else "the first minus the second"
    benchmarks = "; ".join(table["benchmark"].unique())
    axis.set(ylim=(len(lines) - 0.4, -0.6), title=benchmarks)
    axis.set_xlabel(f"difference in {metric}\n{what}")
    axis.grid(visible=False, axis="y")
    units = [name for name in ("sequences", "starts", "seeds") if name in table]
    counts = " × ".join(style.span(table[name], name) for name in units)
    said = {"metric": metric, "what": what, "benchmarks": benchmarks, "counts": counts, "by": by}
    thin = " Thin bars: 95 % intervals that hold for all comparisons of a family together, of {}."
    among = thin.format(style.span(table["comparisons"])) if "low_all" in table else ""
    return figure, said | {"together": among}
