"""Figures of the benchmarks; a tracker looks the same in all that are given the same names."""

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics
from esiamfc_lib.evaluation.scores import Curves, by_attribute
from esiamfc_lib.figures.style import PALETTE, TRUTH, draw_box, frame_row, panels, style

LINES = ("-", "--", ":", "-.")
STRIP = 6  # frames of a strip
# Inside the panel, a legend hides curves as soon as there are many.
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


def looks(trackers: Iterable[str]) -> dict[str, dict]:
    """Colour and line style of each tracker: ten colours, then the same ones with dashes."""
    colours = sns.color_palette(PALETTE, 10)
    return {
        name: {"color": colours[i % 10], "linestyle": LINES[i // 10 % len(LINES)]}
        for i, name in enumerate(sorted(trackers))
    }


@style()
def success_precision(curves: dict[str, Curves], title: str, total: int) -> Figure:
    """Success and precision plots, best first; the title says how many of ``total`` were scored."""
    figure, ((success, precision),) = panels(1, 2, (9, 3.6))
    at = metrics.PRECISION_PIXELS
    precision.axvline(at, color="0.6", linewidth=0.8, zorder=0)
    success.set(title="success (score: area)", xlabel="overlap (IoU) above")
    precision.set(title=f"precision (score: at {at} px)", xlabel="centre error within, pixels")
    look = looks(curves)
    for axis, name, thresholds, score in (
        (success, "success", metrics.IOU_THRESHOLDS, np.mean),
        (precision, "precision", metrics.PIXEL_THRESHOLDS, lambda curve: curve[at]),
    ):
        shares = {tracker: getattr(curve, name) for tracker, curve in curves.items()}
        for tracker in sorted(shares, key=lambda tracker: -score(shares[tracker])):
            label = f"{score(shares[tracker]):.3f}  {tracker}"
            axis.plot(thresholds, shares[tracker], label=label, **look[tracker])
        axis.set(ylabel="share of frames", ylim=(0, 1.02), xlim=(0, thresholds[-1]))
        axis.legend(**BESIDE, handlelength=2.2)
    figure.suptitle(_heading(title, next(iter(curves.values())).sequences, total))
    return figure


@style()
def attribute_bars(scores: pd.DataFrame, column: str = "success") -> Figure:
    """Mean of a column of ``score_table`` over the sequences with each attribute, and over all."""
    table = by_attribute(scores, column)
    look = looks(scores["tracker"].unique())
    counts = table.drop_duplicates("attribute").sort_values("sequences", ascending=False)
    number = counts.set_index("attribute")["sequences"]
    names = ["all", *number.index.drop("all")]
    width = max(5.0, 1.2 + 0.16 * len(names) * (len(look) + 1.5))
    figure, axis = plt.subplots(figsize=(min(width, 16), 3.4), layout="constrained")
    palette = {tracker: line["color"] for tracker, line in look.items()}
    place = {"x": "attribute", "y": column, "hue": "tracker", "order": names}
    sns.barplot(table, ax=axis, palette=palette, **place)
    labels = [f"{name.replace('_', ' ')}\n({number[name]})" for name in names]
    axis.set_xticks(range(len(names)), labels)
    axis.set(xlabel="attribute (sequences that show it)", ylabel=f"mean {column}")
    axis.legend(**BESIDE, title="")
    axis.set(ylim=(0, None), title=scores["benchmark"].iloc[0])
    return figure


@style(grid=False)
def sequence_heatmap(scores: pd.DataFrame, column: str = "success") -> Figure:
    """Per-sequence table as a heat map; easy sequences first, best tracker on the left."""
    table = scores.pivot_table(index="sequence", columns="tracker", values=column, sort=False)
    if table.empty:
        raise StudyError(f"no tracker has a {column} on any sequence")
    order = {"ascending": False, "kind": "stable"}
    easy, best = table.mean(axis=1).sort_values(**order), table.mean().sort_values(**order)
    table = table.loc[easy.index, best.index]
    size = (1.6 + 0.62 * table.shape[1], 1.3 + 0.2 * len(table))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    numbers = {"annot": len(table) <= 40, "fmt": ".2f", "annot_kws": {"fontsize": 7}}
    bar = {"label": column, "shrink": 0.6}
    sns.heatmap(table, ax=axis, vmin=0, vmax=1, cmap="viridis", cbar_kws=bar, **numbers)
    axis.set(xlabel="", ylabel="", title=scores["benchmark"].iloc[0])
    axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=40, ha="right")
    axis.tick_params(axis="y", rotation=0)
    return figure


@style(grid=False)
def frame_strip(sequence: Sequence, boxes: dict[str, np.ndarray], title: str = "") -> Figure:
    """Six frames with the boxes of the ground truth (white) and of trackers, (n, 4) 0-based."""
    chosen = evenly_spaced(len(sequence), STRIP)
    look = looks(boxes)
    shown = [images.read_image(sequence.frames[i]) for i in chosen]
    figure, axes = frame_row(shown, below=0.62)
    for axis, i in zip(axes, chosen, strict=True):
        draw_box(axis, sequence.boxes[i], color=TRUTH, linewidth=1.6)
        for name, tracked in boxes.items():
            draw_box(axis, tracked[i], linewidth=1.3, **look[name])
        axis.set_title(f"frame {i + 1}", fontsize=7, pad=2)
    handles = [plt.Line2D([], [], label=name, **look[name]) for name in boxes]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    figure.suptitle(title or sequence.name)
    return figure


def _heading(title: str, sequences: int, total: int) -> str:
    return f"{title}  ({sequences} of {total or sequences} sequences)".strip()
