"""Maps of the embedding, and the thumbnails on them."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from esiamfc_lib.data.images import encode_jpeg
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures.map_page import PAGE
from esiamfc_lib.figures.style import colours as cluster_colours
from esiamfc_lib.figures.style import style
from esiamfc_lib.runtime.files import write_atomically


def screening(
    agreement: np.ndarray, kept: np.ndarray, exemplars: np.ndarray, heading: str = ""
) -> Figure:
    """One track's frames with their agreement; those that screening drops are framed in red.

    Args:
        agreement: (m,) mean cosine with the track's other frames. kept: (m,) bool.
        exemplars: (m, s, s, 3) uint8 RGB.
    """
    columns = min(10, len(kept))
    rows = -(-len(kept) // columns)
    with style(grid=False):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(0.95 * columns, 1.15 * rows),
            squeeze=False,
            layout="constrained",
        )
        for axis in axes.flat:
            axis.axis("off")
        for axis, image, value, keep in zip(axes.flat, exemplars, agreement, kept, strict=False):
            axis.imshow(image)
            axis.set_title(
                f"{value:.2f}",
                fontsize=7,
                pad=2,
                color="black" if keep else "crimson",
                weight="normal" if keep else "bold",
            )
            if not keep:
                axis.add_patch(
                    plt.Rectangle(
                        (0, 0),
                        1,
                        1,
                        transform=axis.transAxes,
                        fill=False,
                        edgecolor="crimson",
                        linewidth=4,
                        clip_on=False,
                    )
                )
        figure.suptitle(heading)
    return figure


def map_with_thumbnails(
    coordinates: np.ndarray,
    images: np.ndarray,
    groups: Sequence,
    heading: str = "",
    axis_names: tuple[str, str] = ("", ""),
    limit: int = 120,
    label: str = "cluster",
) -> Figure:
    """A map with the exemplars on it, framed in the colour of their group.

    Args:
        coordinates: (n, 2). images: (n, s, s, 3) uint8 RGB. groups: n clusters or family names.
        axis_names: with them ticks are drawn; a UMAP has none, as its axes mean nothing.
        limit: exemplars drawn, spread over the map; the others are points.
    """
    groups = np.asarray(groups)
    names = sorted(set(groups.tolist()))
    colours = dict(zip(names, cluster_colours(len(names)), strict=True))
    with style(grid=False):
        figure, axis = plt.subplots(figsize=(8, 6.6), layout="constrained")
        for name in names:
            own = coordinates[groups == name]
            title = f"{label} {name} ({len(own)})" if label else f"{name} ({len(own)})"
            axis.scatter(*own.T, s=14, color=colours[name], alpha=0.8, linewidths=0, label=title)
        zoom = 24 / images.shape[1]
        for i in spread_out(coordinates, limit):
            box = AnnotationBbox(
                OffsetImage(images[i], zoom=zoom),
                coordinates[i],
                pad=0.12,
                bboxprops={"edgecolor": colours[groups[i]], "linewidth": 2.2},
            )
            box.set_zorder(3)
            axis.add_artist(box)
        axis.set(title=heading, xlabel=axis_names[0], ylabel=axis_names[1])
        axis.margins(0.06)
        if not any(axis_names):
            axis.set(xticks=[], yticks=[])
        axis.set_aspect("equal", adjustable="datalim")
        sns.despine(figure, left=not any(axis_names), bottom=not any(axis_names))
        if len(names) > 1:
            figure.legend(loc="outside right center")
    return figure


def spread_out(coordinates: np.ndarray, count: int) -> list[int]:
    """``count`` points that cover the map: each the farthest from those chosen before."""
    if count <= 0 or len(coordinates) == 0:
        return []
    unit = (coordinates - coordinates.mean(axis=0)) / np.maximum(coordinates.std(axis=0), 1e-12)
    chosen = [int((unit**2).sum(axis=1).argmin())]
    distance = ((unit - unit[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(unit)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((unit - unit[chosen[-1]]) ** 2).sum(axis=1))
        distance[chosen] = -1
    return chosen


def gallery(images: np.ndarray, table: pd.DataFrame, count: int = 6) -> Figure:
    """Every cluster's most central and most doubtful tracks.

    A track is the more doubtful, the less its own centre is nearer than the next one.

    Args:
        images: (n, s, s, 3) uint8 RGB, in the order of ``table``.
        table: of a ``Partition``.
    """
    k = int(table["cluster"].max()) + 1
    colours = cluster_colours(k)
    with style(grid=False):
        figure = plt.figure(figsize=(1.0 * 2 * count + 1.6, 1.06 * k + 0.5), layout="constrained")
        halves = figure.subfigures(1, 2, wspace=0.04)
        for half, title in zip(halves, ("most central", "most doubtful"), strict=True):
            axes = half.subplots(k, count, squeeze=False)
            half.suptitle(title)
            for cluster in range(k):
                own = table[table["cluster"] == cluster]
                order = (
                    own["distance"]
                    if half is halves[0]
                    else own["second_distance"] - own["distance"]
                ).sort_values(kind="stable")
                for axis in axes[cluster]:
                    axis.set(xticks=[], yticks=[])
                    axis.spines[:].set_visible(False)
                rows = table.index.get_indexer(order.index[:count])
                for axis, row in zip(axes[cluster], rows, strict=False):
                    axis.imshow(images[row])
                    if half is halves[1]:
                        axis.set_xlabel(f"→ {table['second'].iloc[row]}", fontsize=7, labelpad=1)
                axes[cluster, 0].set_ylabel(
                    f"cluster {cluster}", color=colours[cluster], weight="bold", fontsize=8
                )
    return figure


JPEG_QUALITY = 80


def write_page(
    path: str | Path,
    coordinates: np.ndarray,
    images: np.ndarray,
    tracks: Sequence[str],
    clusters: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    title: str = "Map of the tracks",
) -> None:
    """Write an interactive map: one HTML file that needs no network.

    Moving the pointer shows the nearest track's exemplar, id, cluster and name; the wheel zooms,
    dragging moves, and a click on a cluster in the legend hides or shows it. Close up, points
    become the exemplars themselves.

    Args:
        coordinates: (n, 2). images: (n, s, s, 3) uint8 RGB exemplars.
        tracks: n ids. clusters: n clusters, for the colours; None: all one.
        names: n class or family names; None: not shown.

    Raises:
        StudyError: arguments of different lengths, or coordinates that are not finite.
    """
    n = len(coordinates)
    clusters = [0] * n if clusters is None else [int(c) for c in clusters]
    names = [""] * n if names is None else [str(name) for name in names]
    if not len(images) == len(tracks) == len(clusters) == len(names) == n:
        raise StudyError(
            f"{path}: {n} coordinates, {len(images)} images, {len(tracks)} tracks, "
            f"{len(clusters)} clusters and {len(names)} names do not fit together"
        )
    if not np.isfinite(coordinates).all():
        raise StudyError(f"{path}: coordinates of the map are not finite")
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    unit = (coordinates - low) / np.maximum(high - low, 1e-12).max()
    points = [
        {
            "x": round(float(x), 5),
            "y": round(float(1 - y), 5),
            "track": str(track),
            "cluster": cluster,
            "name": name,
            "image": base64.b64encode(encode_jpeg(image, JPEG_QUALITY)).decode(),
        }
        for (x, y), image, track, cluster, name in zip(
            unit, images, tracks, clusters, names, strict=True
        )
    ]
    colours = sns.color_palette(
        "colorblind" if max(clusters) < 10 else "husl", max(clusters) + 1
    ).as_hex()
    # "<" cannot close the script element early, whatever a track is called.
    data = json.dumps({"title": title, "points": points, "colours": list(colours)})
    page = PAGE.replace("__DATA__", data.replace("<", "\\u003c"))
    write_atomically(path, page)
