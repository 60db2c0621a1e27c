"""The figure of the scaling study; data in, a matplotlib ``Figure`` out."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from esiamfc_lib.figures.style import style

OWN = "pikmeans"
"""The study's own split; all others are controls."""


def gain_curves(table: pd.DataFrame, title: str = "") -> Figure:
    """Gain against the number of training tracks, one panel a separation, one line a k and split.

    Args:
        table: rows of ``scaling_report.collect`` for one fusion; bars are 95 % intervals.
        title: above all.
    """
    separations = sorted(table["separation"].unique())
    ticks = sorted(table["tracks"].unique())
    # the study's own split first and in full lines, controls broken
    groups = sorted(
        set(zip(table["k"], table["split"], strict=True)),
        key=lambda group: (group[1] != OWN, group),
    )
    # lines beside each other, so that their bars can be told apart
    shifts = np.linspace(-0.06, 0.06, len(groups)) if len(groups) > 1 else [0.0]
    with style():
        figure, axes = plt.subplots(
            1, len(separations), figsize=(2.6 + 3.0 * len(separations), 3.2), sharey=True,
            squeeze=False, layout="constrained",
        )  # fmt: skip
        for axis, separation in zip(axes.flat, separations, strict=True):
            rows = table[table["separation"] == separation]
            for i, ((k, split), shift) in enumerate(zip(groups, shifts, strict=True)):
                line = rows[(rows["k"] == k) & (rows["split"] == split)].sort_values("tracks")
                middle = line["difference"]
                bars = np.abs([middle - line["low"], line["high"] - middle])
                axis.errorbar(
                    line["tracks"] * 2.0**shift, middle, yerr=bars, marker="o", markersize=4,
                    linestyle="-" if split == OWN else "--", capsize=2, linewidth=1.2,
                    color=f"C{i}", label=f"k = {k}" + f", {split}" * (split != OWN),
                )  # fmt: skip
            axis.axhline(0, color="0.4", linewidth=0.9)
            axis.set_xscale("log")
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.minorticks_off()
            axis.set(title=f"separation {separation:g}", xlabel="training tracks")
        axes[0, 0].set_ylabel("gain over equal budget, AUC")
        # beside the panels, where it covers no bar
        figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside right center")
        figure.suptitle(title)
    return figure
