"""Boxes, images and crops: the one place where conventions convert.

Colours are RGB, uint8, (H, W, 3). Pixel ``i`` has its centre at coordinate ``i``, the left-top
pixel is (0, 0). A box is ``x, y, w, h`` in float64: ``x, y`` is the left-top pixel that belongs
to it and ``w, h`` count pixels, so its centre is ``x + (w - 1) / 2, y + (h - 1) / 2``.

A crop is defined by its centre and its side (Bertinetto et al. 2016, section 2.1): a square of
``side`` frame pixels is resampled to ``size`` pixels in one bilinear step, without rounding the
square to whole pixels first, and pixels outside the frame take the frame's mean colour."""

import cv2
import numpy as np

from esiamfc_lib.errors import StudyError

EXEMPLAR_SIZE = 127
SEARCH_SIZE = 255
CONTEXT = 0.5


def center(box: np.ndarray) -> np.ndarray:
    """Centres (..., 2) as ``x, y`` of boxes (..., 4)."""
    box = np.asarray(box, dtype=np.float64)
    return box[..., :2] + (box[..., 2:] - 1) / 2


def box_around(center_xy: np.ndarray, size_wh: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) from centres (..., 2) and sizes (..., 2): the inverse of ``center``."""
    center_xy, size_wh = np.asarray(center_xy, np.float64), np.asarray(size_wh, np.float64)
    return np.concatenate([center_xy - (size_wh - 1) / 2, size_wh], axis=-1)


def corners_to_box(corners: np.ndarray) -> np.ndarray:
    """``xmin, ymin, xmax, ymax`` (..., 4) of ILSVRC2015-VID to boxes. Both corners are pixels of
    the box, 0-based, hence ``w = xmax - xmin + 1``. In the public annotations the smallest ``xmin``
    is 0 and the largest ``xmax`` is the frame's width - 1."""
    corners = np.asarray(corners, dtype=np.float64)
    return np.concatenate([corners[..., :2], corners[..., 2:] - corners[..., :2] + 1], axis=-1)


def box_to_corners(box: np.ndarray) -> np.ndarray:
    """The inverse of ``corners_to_box``."""
    box = np.asarray(box, dtype=np.float64)
    return np.concatenate([box[..., :2], box[..., :2] + box[..., 2:] - 1], axis=-1)


def from_one_based(box: np.ndarray) -> np.ndarray:
    """OTB, VOT and GOT-10k files count pixels from 1: to the 0-based boxes used here."""
    return np.asarray(box, dtype=np.float64) - np.array([1.0, 1.0, 0.0, 0.0])


def to_one_based(box: np.ndarray) -> np.ndarray:
    """The inverse of ``from_one_based``, for writing result files."""
    return np.asarray(box, dtype=np.float64) + np.array([1.0, 1.0, 0.0, 0.0])


def polygon_to_box(polygon: np.ndarray) -> np.ndarray:
    """Axis-aligned box (4,) of the same area and centre as a VOT polygon (8,) ``x1, y1 ... x4,
    y4``, NaN where it has no area; a box is returned as it is, any other number of values is a
    StudyError. The polygon's axis-aligned bounding box is shrunk about the polygon's centre by ``s
    = sqrt(area of the rotated rectangle / area of the bounding box)``, as the VOT trackers do: ``w
    = s * (x2 - x1) + 1``."""
    polygon = np.asarray(polygon, dtype=np.float64).ravel()
    if polygon.size == 4:
        return polygon
    if polygon.size != 8:
        raise StudyError(f"a region has {polygon.size} values: 4 (box) or 8 (polygon) are expected")
    points = polygon.reshape(4, 2)
    if not np.isfinite(points).all() or np.linalg.matrix_rank(points - points[0]) < 2:
        return np.full(4, np.nan)
    low, high = points.min(axis=0), points.max(axis=0)
    sides = np.linalg.norm(points[1] - points[0]), np.linalg.norm(points[2] - points[1])
    scale = np.sqrt(sides[0] * sides[1] / np.prod(high - low))
    return box_around(points.mean(axis=0), scale * (high - low) + 1)


def context_side(w: float, h: float, context: float = CONTEXT) -> float:
    """Side of the exemplar's square in frame pixels: sqrt((w + c)(h + c)), c = context (w + h)."""
    margin = context * (w + h)
    return np.sqrt((w + margin) * (h + margin))


def search_side(side: float, exemplar: int = EXEMPLAR_SIZE, search: int = SEARCH_SIZE) -> float:
    """Side of the search square, in frame pixels, about an exemplar's square of ``side``."""
    return side * search / exemplar


def mean_colour(image: np.ndarray) -> tuple[float, float, float]:
    """The frame's mean colour, used outside the frame."""
    return cv2.mean(image)[:3]


def four_channels(image: np.ndarray) -> np.ndarray:
    """The frame with a fourth channel: OpenCV resamples that twice as fast, to the same values."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)


def crop(
    image: np.ndarray, center_xy: np.ndarray, side: float, size: int, border: tuple | None = None
) -> np.ndarray:
    """Cut a square out of a uint8 frame and resample it, in one bilinear step: uint8 (size, size,
    3). Output pixel ``u`` looks at frame coordinate ``cx + (u - (size - 1) / 2) * side / size``;
    ``side`` is in frame pixels. ``border`` is the colour outside, by default the frame's mean: give
    it, and a frame of ``four_channels``, when cutting several crops from one frame."""
    border = mean_colour(image) if border is None else border
    image = four_channels(image) if image.shape[2] == 3 else image
    step = side / size
    offset = np.asarray(center_xy, dtype=np.float64) - step * (size - 1) / 2
    # Rounded, as the mean of a frame is no whole number and OpenCV would cut it off.
    border = tuple(float(round(value)) for value in border)
    to_frame = np.array([[step, 0.0, offset[0]], [0.0, step, offset[1]]])
    how = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_CONSTANT}
    square = cv2.warpAffine(image, to_frame, (size, size), **how, borderValue=border)
    return cv2.cvtColor(square, cv2.COLOR_RGBA2RGB)


def crop_many(image: np.ndarray, center_xy: np.ndarray, sides: np.ndarray, size: int) -> np.ndarray:
    """Crops of one frame about one centre at several scales: uint8 (n, size, size, 3)."""
    border, image = mean_colour(image), four_channels(image)
    return np.stack([crop(image, center_xy, side, size, border) for side in sides])


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4) as areas ``w * h``, pairwise along the leading
    axes. Boxes of no or negative size overlap with nothing; a NaN box gives NaN."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(np.clip(box[..., 2:], 0, None), axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    return np.divide(shared, union, out=np.where(np.isnan(union), np.nan, 0.0), where=union > 0)
