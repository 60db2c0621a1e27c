"""The figure of a sweep: gain against the amount of data."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from esiamfc_lib.figures.style import panels, style


@style()
def gain_curves(table: pd.DataFrame, panel: str = "", title: str = "") -> Figure:
    """Gain against the number of training tracks, one line a tracker, with 95 % intervals. Rows of
    ``analysis.gains``; each value of the swept parameter ``panel``, if given, has a panel.
    """
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
