"""Figures of the data: sizes, crops, videos."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.vid import VID
from esiamfc_lib.figures.style import _spread, style


def dataset_statistics(tracks: pd.DataFrame, boxes: np.ndarray) -> Figure:
    """Counts by class, track lengths and box sizes of a crop store.

    Args:
        tracks: one row a track with the columns ``name`` (class) and ``frames`` (count).
        boxes: (n, 4) ``x, y, w, h`` in pixels of the original frames.
    """
    with style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
        counts = tracks["name"].value_counts().head(20).sort_values()
        left.barh(counts.index, counts.to_numpy())
        left.set(title="tracks by class (at most 20)", xlabel="tracks")
        left.tick_params(axis="y", labelsize=7)
        sns.histplot(tracks["frames"], bins=20, ax=middle)
        middle.set(title="track length", xlabel="frames", ylabel="tracks")
        sns.histplot(np.sqrt(boxes[:, 2] * boxes[:, 3]), bins=30, ax=right)
        right.set(title="box size", xlabel="square root of area, px", ylabel="crops")
    return figure


def crop_geometry(image: np.ndarray, box: np.ndarray) -> Figure:
    """One frame with the squares that are cut from it, and the two crops.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: ``x, y, w, h`` of the target, 0-based pixels.
    """
    middle = geometry.center(box)
    exemplar_side = geometry.context_side(box[2], box[3])
    search_side = geometry.search_side(exemplar_side)
    crops = [
        geometry.crop(image, middle, exemplar_side, geometry.EXEMPLAR_SIZE),
        geometry.crop(image, middle, search_side, geometry.SEARCH_SIZE),
    ]
    with style(grid=False):
        figure, (left, *rest) = plt.subplots(
            1, 3, figsize=(9, 3.2), layout="constrained", width_ratios=(2, 1, 2)
        )
        left.imshow(image)
        for (w, h), colour, name in (
            (box[2:], "C2", "box"),
            ((exemplar_side, exemplar_side), "C1", "exemplar, side $s_z$"),
            ((search_side, search_side), "C0", "search region, side $s_x$"),
        ):
            corner = (middle[0] - w / 2, middle[1] - h / 2)
            left.add_patch(Rectangle(corner, w, h, fill=False, color=colour, lw=1.5, label=name))
        left.set(title="frame", xticks=[], yticks=[])
        left.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=7)
        half = search_side / 2
        left.set_xlim(min(-0.5, middle[0] - half), max(image.shape[1], middle[0] + half))
        left.set_ylim(max(image.shape[0], middle[1] + half), min(-0.5, middle[1] - half))
        for axis, crop, name in zip(rest, crops, ("exemplar", "search region"), strict=True):
            axis.imshow(crop)
            axis.set(title=f"{name}, {crop.shape[0]} px", xticks=[], yticks=[])
    return figure


def video_sheet(videos: VID, count: int = 6, frames: int = 6) -> Figure:
    """Frames spread over a few videos, with the annotated boxes.

    Args:
        videos: reader of a VID-layout folder.
        count: videos, spread evenly over the list; one row each.
        frames: frames of each, spread evenly over its length.
    """
    names = [videos.videos[i] for i in _spread(len(videos.videos), count)]
    with style(grid=False):
        figure, axes = plt.subplots(
            len(names),
            frames,
            figsize=(1.7 * frames, 1.35 * len(names)),
            squeeze=False,
            layout="constrained",
        )
        for row, name in zip(axes, names, strict=True):
            video = videos.read(name)
            known = videos.frames(name)[0]
            shown = [known[i] for i in _spread(len(known), frames)]
            for axis, frame in zip(row, shown, strict=False):
                axis.imshow(images.read_image(videos.frame_path(name, frame)))
                for index, track in enumerate(video.tracks):
                    for x, y, w, h in track.boxes[track.frames == frame]:
                        axis.add_patch(
                            Rectangle((x, y), w, h, fill=False, color=f"C{index}", lw=1.5)
                        )
                axis.set_title(f"frame {frame}", fontsize=7, pad=2)
            for axis in row:
                axis.axis("off")
    return figure
