"""Figures of the data: sizes, crops, videos."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.vid import VID
from esiamfc_lib.figures import style

CLASSES, LENGTHS, SIZES = "tracks by class", "track length", "box size"
OUTLINES = ("#00bb77", "#cc0022", "#55bbdd")  # box, exemplar, search region: on any frame


def counted(tracks: pd.DataFrame, boxes: np.ndarray) -> pd.DataFrame:
    """Counts of a crop store, ``panel, name, low, high, count``: tracks by class, at most 20, track
    lengths and box sizes. ``tracks`` has the columns ``name`` (class) and ``frames`` (count);
    boxes are (n, 4)."""
    classes = tracks["name"].value_counts().head(20).rename_axis("name").reset_index(name="count")
    parts = [classes.assign(panel=CLASSES)]
    sides = np.sqrt(boxes[:, 2] * boxes[:, 3])
    for panel, values, bins in ((LENGTHS, tracks["frames"], 20), (SIZES, sides, 30)):
        count, edges = np.histogram(values, bins)
        own = {"panel": panel, "low": edges[:-1], "high": edges[1:], "count": count}
        parts.append(pd.DataFrame(own))
    return pd.concat(parts, ignore_index=True)[["panel", "name", "low", "high", "count"]]


@style.drawn(frame=False)
def dataset_statistics(table: pd.DataFrame) -> style.Made:
    """The table of ``counted``: tracks by class, track lengths and box sizes of a crop store."""
    names = {CLASSES: ("", "tracks"), LENGTHS: ("tracks", "frames")}
    names |= {SIZES: ("crops", "square root of area, pixels")}
    parts = list(table.groupby("panel", sort=False))
    most = int((table["panel"] == CLASSES).sum())
    figure, axes = style.side_by_side(len(parts), 1.9, max(2.0, 0.5 + 0.13 * most))
    for axis, (panel, own) in zip(axes, parts, strict=True):
        if panel == CLASSES:
            own = own.iloc[::-1]
            axis.barh(own["name"], own["count"], color=style.FIRST)
            axis.tick_params(axis="y", labelsize=style.small())
        else:
            width = own["high"] - own["low"]
            axis.bar(own["low"], own["count"], width, align="edge", color=style.FIRST)
        axis.set(title=panel, ylabel=names[panel][0], xlabel=names[panel][1])
    return figure, {"panels": ", ".join(panel for panel, _ in parts)}


@style.style(grid=False)
def crop_geometry(image: np.ndarray, box: np.ndarray) -> Figure:
    """One frame (RGB) with the squares that are cut about a 0-based box, and the two crops."""
    middle = geometry.center(box)
    exemplar = geometry.context_side(box[2], box[3])
    search = geometry.search_side(exemplar)
    figure, ((left, *rest),) = style.panels(1, 3, (style.WIDTH, 2.6), width_ratios=(2, 1, 2))
    left.imshow(image)
    sizes = box[2:], (exemplar, exemplar), (search, search)
    names = "box", "exemplar, side $s_z$", "search region, side $s_x$"
    for (w, h), colour, name in zip(sizes, OUTLINES, names, strict=True):
        corner = (middle[0] - w / 2, middle[1] - h / 2)
        left.add_patch(Rectangle(corner, w, h, fill=False, color=colour, lw=1.5, label=name))
    left.set(title="frame", xticks=[], yticks=[])
    legend = left.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=1, fontsize=style.SMALL)
    for text in legend.get_texts():
        text.set_parse_math(True)
    low, high = middle - search / 2, middle + search / 2
    left.set_xlim(min(-0.5, low[0]), max(image.shape[1], high[0]))
    left.set_ylim(max(image.shape[0], high[1]), min(-0.5, low[1]))
    names, sides = ("exemplar", "search region"), (exemplar, search)
    counts = geometry.EXEMPLAR_SIZE, geometry.SEARCH_SIZE
    for axis, name, side, pixels in zip(rest, names, sides, counts, strict=True):
        axis.imshow(geometry.crop(image, middle, side, pixels))
        axis.set(title=f"{name}, {pixels} px", xticks=[], yticks=[])
    return figure


@style.style(grid=False)
def video_sheet(videos: VID, count: int, frames: int) -> Figure:
    """``count`` videos spread over the list, a row of ``frames`` each, with the annotated boxes."""
    names = [videos.videos[i] for i in evenly_spaced(len(videos.videos), count)]
    size, tones = (style.WIDTH, 5.4 / frames * len(names)), style.colours(10)
    figure, axes = style.panels(len(names), frames, size, bare=True)
    for row, name in zip(axes, names, strict=True):
        tracks, known = videos.tracks(name), list(videos.frames(name)[0])
        shown = [known[i] for i in evenly_spaced(len(known), frames)]
        for axis, frame in zip(row, shown, strict=False):
            axis.imshow(images.read_image(videos.frame_path(name, frame)))
            for index, track in enumerate(tracks):
                for x, y, w, h in track.boxes[track.frames == frame]:
                    look = {"fill": False, "color": tones[index % len(tones)], "lw": 1.5}
                    axis.add_patch(Rectangle((x, y), w, h, **look))
            axis.set_title(f"frame {frame}", fontsize=style.SMALL, pad=2)
    return figure
