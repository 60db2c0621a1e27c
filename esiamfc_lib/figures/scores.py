"""Figures of the benchmarks: scores and pictures in, a matplotlib ``Figure`` out.

A tracker has one colour and one line style in all figures that are given the same set of names.
"""

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esiamfc_lib.data import images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import metrics
from esiamfc_lib.evaluation.scores import Curves, by_attribute
from esiamfc_lib.figures.style import PALETTE, style
from esiamfc_lib.tracking.siamfc import SiamFCTracker

TRUTH = "white"  # colour of the ground truth in pictures
LINES = ("-", "--", ":", "-.")
MARKS = "osD^vPX*<>"


def looks(trackers: list[str]) -> dict[str, dict]:
    """Colour and line style of each tracker: ten colours, then the same ones with dashes."""
    colours = sns.color_palette(PALETTE, 10)
    return {
        name: {"color": colours[i % 10], "linestyle": LINES[i // 10 % len(LINES)]}
        for i, name in enumerate(sorted(trackers))
    }


def success_precision(curves: dict[str, Curves], title: str = "", total: int = 0) -> Figure:
    """Success and precision plots of one pass, legends sorted by score.

    Args:
        curves: of ``scoring.curves``.
        title: above both, for example the benchmark.
        total: sequences of the complete benchmark; the title says how many of them were scored.
    """
    look = looks(list(curves))
    with style():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        plots = (
            ("success", metrics.IOU_THRESHOLDS, "overlap (IoU) above", "share of frames", None),
            (
                "precision",
                metrics.PIXEL_THRESHOLDS,
                "centre error within, pixels",
                "share of frames",
                metrics.PRECISION_PIXELS,
            ),
        )
        for axis, (name, thresholds, across, up, at) in zip(axes, plots, strict=True):
            values = {tracker: getattr(curve, name) for tracker, curve in curves.items()}
            scores = {t: float(v.mean() if at is None else v[at]) for t, v in values.items()}
            for tracker in sorted(scores, key=scores.get, reverse=True):
                label = f"{scores[tracker]:.3f}  {tracker}"
                axis.plot(thresholds, values[tracker], label=label, **look[tracker])
            if at is not None:
                axis.axvline(at, color="0.6", linewidth=0.8, zorder=0)
            axis.set(xlabel=across, ylabel=up, ylim=(0, 1.02), xlim=(0, thresholds[-1]))
            axis.set_title(f"{name} (score: {'area' if at is None else f'at {at} px'})")
            # A legend inside hides curves as soon as there are many of them.
            axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=2.2)
        figure.suptitle(_heading(title, next(iter(curves.values())).sequences, total))
    return figure


def accuracy_robustness(summary: pd.DataFrame, sensitivity: float = 30.0) -> Figure:
    """A-R plot of the VOT protocol: right is rarely lost, up is accurate.

    Args:
        summary: of ``scoring.summary``; rows with ``accuracy`` and ``failures`` for 100 frames.
        sensitivity: the horizontal axis is the chance to track so many frames without a failure.
    """
    needed = ["accuracy", "failures"]
    rows = summary.reindex(columns=summary.columns.union(needed, sort=False)).dropna(subset=needed)
    look = looks(list(summary["tracker"]))
    with style():
        figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
        for i, row in enumerate(rows.itertuples()):
            axis.scatter(
                math.exp(-sensitivity * row.failures / 100),
                row.accuracy,
                color=look[row.tracker]["color"],
                marker=MARKS[i % len(MARKS)],
                s=60,
                edgecolor="black",
                linewidth=0.5,
                label=f"{row.tracker}: A {row.accuracy:.3f}, {row.failures:.2f} lost / 100 frames",
            )
        axis.set(xlim=(-0.04, 1.04), ylim=(0, 1))
        axis.set_xlabel(f"robustness: chance of {sensitivity:g} frames without a failure")
        axis.set_ylabel("accuracy (mean IoU while tracking)")
        unplaced = len(summary) - len(rows)
        note = f", {unplaced} never long enough on the target" if unplaced else ""
        first = summary.iloc[0]
        axis.set_title(_heading(f"VOT A-R{note}", first.sequences, first.of))
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def attribute_bars(scores: pd.DataFrame, column: str = "success") -> Figure:
    """Mean score of each tracker on the sequences that show an attribute, and on all.

    Args:
        scores: of ``scoring.table``.
        column: ``success``, ``precision``, ``accuracy`` ...
    """
    table = by_attribute(scores, column)
    look = looks(list(dict.fromkeys(scores["tracker"])))
    counts = table.drop_duplicates("attribute").sort_values("sequences", ascending=False)
    names = ["all", *[name for name in counts["attribute"] if name != "all"]]
    number = dict(zip(counts["attribute"], counts["sequences"], strict=True))
    with style():
        width = max(5.0, 1.2 + 0.16 * len(names) * (len(look) + 1.5))
        figure, axis = plt.subplots(figsize=(min(width, 16), 3.4), layout="constrained")
        sns.barplot(
            table,
            x="attribute",
            y=column,
            hue="tracker",
            order=names,
            palette={tracker: line["color"] for tracker, line in look.items()},
            ax=axis,
            legend=True,
        )
        labels = [f"{name.replace('_', ' ')}\n({number[name]})" for name in names]
        axis.set_xticks(range(len(names)), labels)
        axis.set(xlabel="attribute (sequences that show it)", ylabel=f"mean {column}")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="")
        axis.set_ylim(0, None)
    return figure


def sequence_heatmap(scores: pd.DataFrame, column: str = "success") -> Figure:
    """Per-sequence table as a heat map; easy sequences first, best tracker on the left."""
    table = scores.pivot_table(index="sequence", columns="tracker", values=column, sort=False)
    if table.empty:
        raise StudyError(f"no tracker has a {column} on any sequence")
    table = table.loc[
        table.mean(axis=1).sort_values(ascending=False, kind="stable").index,
        table.mean(axis=0).sort_values(ascending=False, kind="stable").index,
    ]
    with style(grid=False):
        size = (1.6 + 0.62 * table.shape[1], 1.3 + 0.2 * len(table))
        figure, axis = plt.subplots(figsize=size, layout="constrained")
        sns.heatmap(
            table,
            ax=axis,
            vmin=0,
            vmax=1,
            cmap="viridis",
            annot=len(table) <= 40,
            fmt=".2f",
            annot_kws={"fontsize": 7},
            cbar_kws={"label": column, "shrink": 0.6},
        )
        axis.set(xlabel="", ylabel="")
        axis.set_xticks(axis.get_xticks(), axis.get_xticklabels(), rotation=40, ha="right")
        axis.tick_params(axis="y", rotation=0)
    return figure


def frame_strip(
    sequence: Sequence, boxes: dict[str, np.ndarray], count: int = 6, title: str = ""
) -> Figure:
    """Frames of a sequence with the boxes of the ground truth (white) and of trackers.

    Args:
        sequence: frames and ground truth.
        boxes: tracker → (n, 4) 0-based boxes.
        count: frames shown, evenly spaced from first to last.
        title: above the strip; the name of the sequence by default.
    """
    chosen = np.unique(np.linspace(0, len(sequence) - 1, count).round().astype(int))
    look = looks(list(boxes))
    with style(grid=False):
        image = images.read_image(sequence.frames[0])
        height = 1.9 * image.shape[0] / image.shape[1]
        figure, axes = plt.subplots(
            1,
            len(chosen),
            figsize=(1.9 * len(chosen), height + 0.62),
            squeeze=False,
            layout="constrained",
        )
        for axis, i in zip(axes.flat, chosen, strict=True):
            image = images.read_image(sequence.frames[i])
            axis.imshow(image)
            draw_box(axis, sequence.boxes[i], color=TRUTH, linewidth=1.6)
            for name, tracked in boxes.items():
                draw_box(axis, tracked[i], linewidth=1.3, **look[name])
            axis.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
            axis.set_title(f"frame {i + 1}", fontsize=7, pad=2)
            axis.axis("off")
        handles = [plt.Line2D([], [], label=name, **look[name]) for name in boxes]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
        figure.suptitle(title or sequence.name)
    return figure


def response_strip(tracker: SiamFCTracker, sequence: Sequence, count: int = 6) -> Figure:
    """Run a tracker; show its response over some frames, with its box and the ground truth.

    The response (before the cosine window) is drawn where it looks: it covers part of the search
    region, in the frame's own pixels.
    """
    chosen = set(np.unique(np.linspace(1, len(sequence) - 1, count).round().astype(int)).tolist())
    shots = []

    def keep(i: int, image: np.ndarray) -> None:
        if i in chosen:
            shots.append((i, image, tracker.last_response, tracker.last_region, tracker.box))

    tracker.track_sequence(sequence, on_frame=keep)
    colour = sns.color_palette(PALETTE)[3]
    with style(grid=False):
        height = 1.9 * shots[0][1].shape[0] / shots[0][1].shape[1]
        figure, axes = plt.subplots(
            1,
            len(shots),
            figsize=(1.9 * len(shots), height + 0.45),
            squeeze=False,
            layout="constrained",
        )
        for axis, (i, image, response, region, box) in zip(axes.flat, shots, strict=True):
            axis.imshow(image)
            x, y, w, h = region
            axis.imshow(
                response,
                extent=(x - 0.5, x + w - 0.5, y + h - 0.5, y - 0.5),
                cmap="inferno",
                alpha=0.6,
            )
            draw_box(axis, sequence.boxes[i], color=TRUTH, linewidth=1.6)
            draw_box(axis, box, color=colour, linewidth=1.3)
            axis.set(xlim=(-0.5, image.shape[1] - 0.5), ylim=(image.shape[0] - 0.5, -0.5))
            axis.set_title(f"frame {i + 1}, peak {response.max():.3g}", fontsize=7, pad=2)
            axis.axis("off")
        figure.suptitle(f"{tracker.name} on {sequence.name}")
    return figure


def draw_box(axis: Axes, box: np.ndarray, **look) -> None:
    """Outline a 0-based box; pixel i covers i - 0.5 to i + 0.5. NaN boxes are not drawn."""
    if np.isfinite(box).all():
        x, y, w, h = box
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, **look))


def _heading(title: str, sequences: int, total: int) -> str:
    return f"{title}  ({sequences} of {total or sequences} sequences)".strip()
