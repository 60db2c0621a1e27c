"""Figures of the data: sizes, crops, videos."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.vid import VID
from esiamfc_lib.figures.style import panels, style


@style()
def dataset_statistics(tracks: pd.DataFrame, boxes: np.ndarray) -> Figure:
    """Counts by class, track lengths and box sizes of a crop store. ``tracks`` has the columns
    ``name`` (class) and ``frames`` (count); boxes are (n, 4)."""
    figure, ((left, middle, right),) = panels(1, 3, (10, 3))
    counts = tracks["name"].value_counts().head(20).sort_values()
    left.barh(counts.index, counts.to_numpy())
    left.set(title="tracks by class (at most 20)", xlabel="tracks")
    left.tick_params(axis="y", labelsize=7)
    sns.histplot(tracks["frames"], bins=20, ax=middle)
    middle.set(title="track length", xlabel="frames", ylabel="tracks")
    sns.histplot(np.sqrt(boxes[:, 2] * boxes[:, 3]), bins=30, ax=right)
    right.set(title="box size", xlabel="square root of area, px", ylabel="crops")
    return figure


@style(grid=False)
def crop_geometry(image: np.ndarray, box: np.ndarray) -> Figure:
    """One frame (RGB) with the squares that are cut about a 0-based box, and the two crops."""
    middle = geometry.center(box)
    exemplar = geometry.context_side(box[2], box[3])
    search = geometry.search_side(exemplar)
    figure, ((left, *rest),) = panels(1, 3, (9, 3.2), width_ratios=(2, 1, 2))
    left.imshow(image)
    outlines = (
        (box[2:], "C2", "box"),
        ((exemplar, exemplar), "C1", "exemplar, side $s_z$"),
        ((search, search), "C0", "search region, side $s_x$"),
    )
    for (w, h), colour, name in outlines:
        corner = (middle[0] - w / 2, middle[1] - h / 2)
        left.add_patch(Rectangle(corner, w, h, fill=False, color=colour, lw=1.5, label=name))
    left.set(title="frame", xticks=[], yticks=[])
    legend = left.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(True)
    low, high = middle - search / 2, middle + search / 2
    left.set_xlim(min(-0.5, low[0]), max(image.shape[1], high[0]))
    left.set_ylim(max(image.shape[0], high[1]), min(-0.5, low[1]))
    crops = (
        ("exemplar", exemplar, geometry.EXEMPLAR_SIZE),
        ("search region", search, geometry.SEARCH_SIZE),
    )
    for axis, (name, side, pixels) in zip(rest, crops, strict=True):
        axis.imshow(geometry.crop(image, middle, side, pixels))
        axis.set(title=f"{name}, {pixels} px", xticks=[], yticks=[])
    return figure


@style(grid=False)
def video_sheet(videos: VID, count: int, frames: int) -> Figure:
    """``count`` videos spread over the list, a row of ``frames`` each, with the annotated boxes."""
    names = [videos.videos[i] for i in evenly_spaced(len(videos.videos), count)]
    figure, axes = panels(len(names), frames, (1.7 * frames, 1.35 * len(names)))
    for axis in axes.flat:
        axis.axis("off")
    for row, name in zip(axes, names, strict=True):
        tracks, known = videos.tracks(name), list(videos.frames(name)[0])
        shown = [known[i] for i in evenly_spaced(len(known), frames)]
        for axis, frame in zip(row, shown, strict=False):
            axis.imshow(images.read_image(videos.frame_path(name, frame)))
            for index, track in enumerate(tracks):
                for x, y, w, h in track.boxes[track.frames == frame]:
                    look = {"fill": False, "color": f"C{index}", "lw": 1.5}
                    axis.add_patch(Rectangle((x, y), w, h, **look))
            axis.set_title(f"frame {frame}", fontsize=7, pad=2)
    return figure
