"""Figures of the benchmarks; a tracker looks the same in all of them."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics
from esiamfc_lib.figures import style

OVER = {"SiamFC": 3, "ESiamFC": 4}  # order of drawing: what the study compares covers the others


@style.drawn()
def success_precision(table: pd.DataFrame, title: str, total: int) -> style.Made:
    """``evaluation.curves``, best first; ``title`` and of how many sequences (``total``)."""
    at = metrics.PRECISION_PIXELS
    figure, axes = style.side_by_side(2, 2.1, 2.4)
    axes[0].set(title="success", xlabel="overlap (IoU) above", ylabel="share of frames")
    axes[1].set(title="precision", xlabel="centre error within, pixels")
    axes[1].axvline(at, color="0.6", linewidth=0.8, zorder=0)
    by, look = table.groupby(["measure", "tracker"]), style.looks(table["tracker"])
    auc = by["share"].mean()["success"].sort_values(ascending=False, kind="stable")
    near = table[(table["measure"] == "precision") & (table["threshold"] == at)]
    near = near.set_index("tracker")["share"]
    for axis, measure in zip(axes, ("success", "precision"), strict=True):
        for i, name in enumerate(auc.index):
            curve = by.get_group((measure, name))
            line = look[name] | {"linewidth": 0.9 if name.startswith("Branch") else 1.5}
            place = {"markevery": (i % 5, 5 if measure == "success" else 10), "markersize": 3.5}
            axis.plot(curve["threshold"], curve["share"], zorder=OVER.get(name, 2), **line, **place)
        axis.set(ylim=(0, 1.02), xlim=(0, curve["threshold"].max()))
    names = {name: f"{auc[name]:.3f}  {near[name]:.3f}  {name}" for name in auc.index}
    style.key(figure, {label: look[name] for name, label in names.items()}, "AUC   at 20 px")
    count = table["sequences"].max()
    figure.suptitle(f"{title}  ({count} of {total or count} sequences)")
    return figure, {"count": count, "of": total or count, "at": at}


@style.drawn()
def attribute_dots(table: pd.DataFrame, title: str, column: str = "success") -> style.Made:
    """``evaluation.by_attribute``: a row an attribute, a dot a tracker."""
    look = style.looks(table["tracker"])
    means = table.groupby("attribute")[column].mean().sort_values()
    number = table.groupby("attribute")["sequences"].max()
    rows = {name: place for place, name in enumerate(["all", *means.index.drop("all")])}
    figure, (axis,) = style.side_by_side(1, 1, 0.75 + 0.22 * len(rows))
    single = {name: "single branches" for name in look if name.startswith("Branch ")}
    look |= dict.fromkeys(single, look.get("Branch 0", {}) | {"marker": "."})
    for name, own in table.groupby("tracker", sort=False):
        dot = look[name] | {"linestyle": "none", "alpha": 0.8, "zorder": OVER.get(name, 2)}
        axis.plot(own[column], own["attribute"].map(rows), **dot)
    axis.set_yticks(range(len(rows)), [f"{n.replace('_', ' ')} ({number[n]})" for n in rows])
    axis.set(xlabel=f"mean {column}", title=title, ylim=(-0.6, len(rows) - 0.4))
    axis.set_xlim(left=0)
    axis.grid(False, axis="y")
    names = {single.get(name, name): line | {"linestyle": "none"} for name, line in look.items()}
    style.key(figure, names)
    return figure, {"column": column}


@style.drawn(grid=False)
def sequence_heatmap(table: pd.DataFrame, title: str, column: str = "success") -> style.Made:
    """Every tracker on every sequence; easy sequences first, the best tracker on the left."""
    wide = table.pivot_table(index="sequence", columns="tracker", values=column, sort=False)
    if wide.empty:
        raise StudyError(f"no tracker has a {column} on any sequence")
    order = {"ascending": False, "kind": "stable"}
    easy, best = wide.mean(axis=1).sort_values(**order), wide.mean().sort_values(**order)
    wide = wide.loc[easy.index, best.index]
    rows, names = wide.shape
    height = min(0.145 * rows, 8)
    figure, (axis,) = style.side_by_side(1, 1, 1.2 + height)
    cell = 72 * (style.inches() - 1.4) / names
    digits = np.vectorize(lambda value: f"{value:.2f}".lstrip("0") if value == value else "")
    numbers = {"annot": digits(wide), "fmt": "", "annot_kws": {"fontsize": style.small()}}
    fits = cell > 2.2 * style.SMALL and 72 * height / rows > 1.2 * style.SMALL
    look = {"cmap": "viridis", "cbar_kws": {"label": column, "shrink": 0.6, "pad": 0.02}}
    sns.heatmap(wide, ax=axis, vmin=0, vmax=1, **look, **numbers if fits else {})
    step = -(-rows * 9 // int(72 * height))  # names of 7 points, on lines of 9
    axis.set_yticks(np.arange(0, rows, step) + 0.5, wide.index[::step], rotation=0)
    axis.set_xticks(np.arange(names) + 0.5, wide.columns, rotation=90)
    axis.set(xlabel="", ylabel="", title=title)
    return figure, {"column": column}


@style.style(grid=False)
def frame_strip(sequence: Sequence, boxes: dict[str, np.ndarray], title: str = "") -> Figure:
    """Six frames with the boxes of the ground truth (white) and of trackers, (n, 4) 0-based."""
    chosen = evenly_spaced(len(sequence), 6)
    lines = style.looks(boxes).items()
    look = {n: {part: line[part] for part in ("color", "linestyle")} for n, line in lines}
    shown = [images.read_image(sequence.frames[i]) for i in chosen]
    figure, axes = style.frame_row(shown, look, below=0.62)
    for axis, i in zip(axes, chosen, strict=True):
        style.draw_box(axis, sequence.boxes[i], color=style.TRUTH, linewidth=1.6)
        for name, tracked in boxes.items():
            style.draw_box(axis, tracked[i], linewidth=1.3, **look[name])
        axis.set_title(f"frame {i + 1}", fontsize=style.SMALL, pad=2)
    figure.suptitle(title or sequence.name)
    return figure
