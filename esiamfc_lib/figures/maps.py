"""Maps of the embedding, and the exemplars on them (notebooks 03 and 04)."""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from esiamfc_lib.data.images import encode_jpeg
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures.style import SMALL, WIDTH, colours, pictures, style

JPEG_QUALITY = 80

PAGE = Path(__file__).parents[1] / "templates/map.html"
TOOLTIP = """<div style="max-width: 240px; overflow-wrap: anywhere">
<img src="@image" width="128" height="128"><br><b>@track</b><br>@group @name</div>"""


@style(grid=False)
def screening(
    agreement: np.ndarray, kept: np.ndarray, exemplars: np.ndarray, heading: str = ""
) -> Figure:
    """One track's frames; those that screening does not keep, (m,) bool, are framed in red. Above
    each is its ``agreement``, (m,) mean cosines with the track's other frames."""
    cell = WIDTH / min(10, len(exemplars))
    figure, axes = pictures(exemplars, 10, (cell, cell + 0.18))
    frame = {"fill": False, "edgecolor": "crimson", "linewidth": 3, "clip_on": False}
    for axis, value, keep in zip(axes, agreement, kept, strict=True):
        colour, weight = ("black", "normal") if keep else ("crimson", "bold")
        axis.set_title(f"{value:.2f}", fontsize=SMALL, pad=2, color=colour, weight=weight)
        if not keep:
            axis.add_patch(plt.Rectangle((0, 0), 1, 1, transform=axis.transAxes, **frame))
    figure.suptitle(heading)
    return figure


def _grouped(groups: np.ndarray, label: str) -> Iterator[tuple[Any, np.ndarray, str, Any]]:
    """Each group with its rows, its title in the legend and its colour."""
    names = sorted(set(groups.tolist()))
    for name, colour in zip(names, colours(len(names)), strict=True):
        own = np.flatnonzero(groups == name)
        yield name, own, f"{label} {name} ({len(own)})".strip(), colour


@style(grid=False)
def map_with_thumbnails(
    coordinates: np.ndarray,
    images: np.ndarray,
    groups: Sequence,
    heading: str = "",
    axis_names: tuple[str, str] = ("", ""),
    limit: int = 120,
    label: str = "cluster",
) -> Figure:
    """Exemplars (n, s, s, 3) RGB on a map (n, 2), framed in the colour of their group. ``limit`` of
    them are drawn, spread over the map; the others are points. Without ``axis_names``, as for a
    UMAP, whose axes mean nothing, there are no ticks. The legend calls a group ``label``."""
    colour_of = {}
    figure, axis = plt.subplots(figsize=(WIDTH, 5.6), layout="constrained")
    for name, own, text, colour in _grouped(np.asarray(groups), label):
        colour_of[name] = colour
        look = {"s": 14, "color": colour, "alpha": 0.8, "linewidths": 0}
        axis.scatter(*coordinates[own].T, label=text, **look)
    for i in spread_out(coordinates, limit):
        picture = OffsetImage(images[i], zoom=20 / images.shape[1])
        frame = {"edgecolor": colour_of[groups[i]], "linewidth": 1.8}
        box = AnnotationBbox(picture, coordinates[i], pad=0.12, bboxprops=frame, zorder=3)
        axis.add_artist(box)
    axis.set(title=heading, xlabel=axis_names[0], ylabel=axis_names[1])
    axis.margins(0.06)
    bare = not any(axis_names)
    if bare:
        axis.set(xticks=[], yticks=[])
    axis.set_aspect("equal", adjustable="datalim")
    sns.despine(figure, left=bare, bottom=bare)
    if len(colour_of) > 1:
        figure.legend(loc="outside right center")
    return figure


def spread_out(coordinates: np.ndarray, count: int) -> list[int]:
    """``count`` points that cover the map: each the farthest from those chosen before."""
    if count <= 0 or len(coordinates) == 0:
        return []
    unit = (coordinates - coordinates.mean(axis=0)) / np.maximum(coordinates.std(axis=0), 1e-12)
    chosen = [int((unit**2).sum(axis=1).argmin())]
    distance = np.inf
    while len(chosen) < min(count, len(unit)):
        distance = np.minimum(distance, ((unit - unit[chosen[-1]]) ** 2).sum(axis=1))
        distance[chosen] = -1
        chosen.append(int(distance.argmax()))
    return chosen


@style(grid=False)
def gallery(images: np.ndarray, table: pd.DataFrame, count: int = 6) -> Figure:
    """Every cluster's ``count`` most central and most doubtful tracks, by a ``Partition.table``. A
    track is the more doubtful, the less its own centre is nearer than the next one."""
    k = int(table["cluster"].max()) + 1
    height = (WIDTH / (2 * count + 1) + 0.06) * k + 0.3
    figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
    doubt = table["second_distance"] - table["distance"]
    orders = {"most central": table["distance"], "most doubtful": doubt}
    halves = figure.subfigures(1, 2, wspace=0.04)
    for half, (title, order) in zip(halves, orders.items(), strict=True):
        axes = half.subplots(k, count, squeeze=False, subplot_kw={"xticks": [], "yticks": []})
        half.suptitle(title)
        for cluster, colour in enumerate(colours(k)):
            own = order[table["cluster"] == cluster].sort_values(kind="stable")
            rows = table.index.get_indexer(own.index[:count])
            for axis, row in zip(axes[cluster], rows, strict=False):
                axis.imshow(images[row])
                if half is halves[1]:
                    axis.set_xlabel(f"→ {table['second'].iloc[row]}", fontsize=SMALL, labelpad=1)
            look = {"color": colour, "weight": "bold", "fontsize": SMALL}
            axes[cluster, 0].set_ylabel(f"cluster {cluster}", **look)
    sns.despine(figure, left=True, bottom=True)
    return figure


def map_page(
    coordinates: np.ndarray,
    images: np.ndarray,
    tracks: Sequence[str],
    groups: Sequence,
    names: Sequence[str] | None = None,
    label: str = "cluster",
) -> str:
    """An interactive map: the text of one HTML file that needs no network. Hovering shows a track's
    exemplar (uint8 RGB), id, group and name; the wheel zooms, dragging moves, and a click on a
    group in the legend hides or shows it. Equal arguments give equal bytes."""
    from bokeh.embed import json_item
    from bokeh.models import Legend
    from bokeh.plotting import figure
    from bokeh.resources import Resources

    names = [""] * len(tracks) if names is None else names
    counts = [len(given) for given in (coordinates, images, tracks, groups, names)]
    if len(set(counts)) > 1:
        what = "{} coordinates, {} images, {} tracks, {} groups and {} names".format(*counts)
        raise StudyError(f"{what} do not fit together")
    if not np.isfinite(coordinates).all():
        raise StudyError("the coordinates of the map are not finite")
    tools = {"tools": "pan,wheel_zoom,box_zoom,reset,hover", "active_scroll": "wheel_zoom"}
    plot = figure(tooltips=TOOLTIP, match_aspect=True, sizing_mode="stretch_both", **tools)
    plot.axis.visible = plot.grid.visible = False
    plot.add_layout(Legend(click_policy="hide"), "right")
    jpegs = [base64.b64encode(encode_jpeg(image, JPEG_QUALITY)).decode() for image in images]
    for group, own, text, colour in _grouped(np.asarray(groups), label):
        points = {
            "x": coordinates[own, 0].tolist(),
            "y": coordinates[own, 1].tolist(),
            "track": [str(tracks[i]) for i in own],
            "group": [f"{label} {group}".strip()] * len(own),
            "name": [str(names[i]) for i in own],
            "image": [f"data:image/jpeg;base64,{jpegs[i]}" for i in own],
        }
        look = {"size": 8, "color": to_hex(colour), "alpha": 0.8, "line_width": 0}
        plot.scatter("x", "y", source=points, legend_label=text, **look)
    # "<" cannot close the script early, whatever a track is called.
    text = json.dumps(json_item(plot, "map")).replace("<", "\\u003c")
    # Bokeh goes on counting its objects through a process; here each map starts anew. No text of a
    # track can look like such a reference: within JSON its quotes are escaped.
    ids = defaultdict(lambda: f"p{len(ids) + 1}")
    text = re.sub(r'(?<="id": ")[^"]+|(?<="root_id": ")[^"]+', lambda match: ids[match[0]], text)
    library = Resources("inline", components=["bokeh"]).render()
    return PAGE.read_text(encoding="utf-8").format(library=library, map=text)
