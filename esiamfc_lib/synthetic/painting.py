"""Painting the built-in data: posed objects are warped, blurred and laid over the frame, all in
whole numbers, so that pixels do not depend on the processor."""

from dataclasses import dataclass

import cv2
import numpy as np

from esiamfc_lib.synthetic.motion import Path
from esiamfc_lib.synthetic.objects import CANVAS, UNIT, Instance


@dataclass(frozen=True)
class Actor:
    """An object on its way."""

    instance: Instance
    path: Path
    size: float


def warp(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Affine warp of uint8 in whole numbers, equal on every processor: bilinear samples (positions
    in 1/32 pixel), zero outside; ``matrix`` (2, 3) maps output to input pixel indices."""
    fixed = np.rint(np.asarray(matrix) * 65536).astype(np.int32)
    x, y = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)[:, None]
    u, v = ((row[0] * x + row[1] * y + row[2]) >> 11 for row in fixed)
    whole = np.dstack([u >> 5, v >> 5]).astype(np.int16)
    part = ((v & 31) << 5 | (u & 31)).astype(np.uint16)
    return cv2.remap(picture, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def sprite_patch(actor: Actor, t: int, shift) -> tuple[np.ndarray, int, int, np.ndarray]:
    """One actor in frame ``t``, moved by ``shift`` pixels: patch (h, w, 4) RGBA, the frame's column
    and row of its left-top pixel, and the corners (4, 2) of the turned rectangle around the object
    in pixel indices of the frame."""
    path = actor.path
    sprite = actor.instance.sprite(float(path.phase[t]), t)
    side = actor.size * path.scale[t] / (2 * UNIT)
    if side < 0.5:  # halve first: bilinear samples further apart would miss pixels
        sprite = cv2.resize(sprite, (CANVAS // 2, CANVAS // 2), interpolation=cv2.INTER_AREA)
    cos, sin = np.cos(path.angle[t]), np.sin(path.angle[t])
    forward = np.array([[cos, -sin], [sin, cos]]) @ np.diag([side * path.mirror[t], side])
    forward *= CANVAS / len(sprite)
    middle = (len(sprite) - 1) / 2
    left, top, w, h = cv2.boundingRect(np.ascontiguousarray(sprite[..., 3] >= 128).astype(np.uint8))
    right, bottom = left + w - 1, top + h - 1
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - middle
    centre = np.array([path.x[t] + shift[0], path.y[t] + shift[1]])
    corners = corners @ forward.T + centre
    low = np.floor(corners.min(0)).astype(int) - 2
    span = np.ceil(corners.max(0)).astype(int) + 3 - low
    inverse = np.linalg.inv(forward)
    matrix = np.column_stack([inverse, inverse @ (low - centre) + middle])
    return warp(sprite, matrix, *span), int(low[0]), int(low[1]), corners


def smear(patch: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, int]:
    """Motion blur: the mean of copies along ``step`` (dx, dy pixels); returns patch and margin."""
    margin = int(np.ceil(np.abs(step).max() / 2)) + 1
    wide = np.pad(patch, ((margin, margin), (margin, margin), (0, 0)))
    copies = max(3, int(np.abs(step).max() / 1.5))
    total = np.zeros(wide.shape, np.uint32)
    for along in np.linspace(-0.5, 0.5, copies):
        dx, dy = np.rint(along * step).astype(int)
        total += np.roll(wide, (dy, dx), (0, 1))
    return (total // copies).astype(np.uint8), margin


def overlap(frame: np.ndarray, patch: np.ndarray, x: int, y: int) -> tuple[tuple, tuple]:
    """Where a patch with its left-top pixel at (x, y) lies on a frame: slices of both."""
    left, top = max(x, 0), max(y, 0)
    right = max(min(x + patch.shape[1], frame.shape[1]), left)
    bottom = max(min(y + patch.shape[0], frame.shape[0]), top)
    return np.s_[top:bottom, left:right], np.s_[top - y : bottom - y, left - x : right - x]


def paste(frame: np.ndarray, owner: np.ndarray, patch: np.ndarray, x, y, name: int) -> None:
    """Paint an RGBA patch whose left-top pixel lies at (x, y), and mark what it owns."""
    here, seen = overlap(frame, patch, x, y)
    part, under = patch[seen], frame[here]
    rest = under * (255 - part[..., 3:]).astype(np.uint16)
    under[:] = part[..., :3] + ((rest + 128 + (rest >> 8)) >> 8).astype(np.uint8)
    owner[here][part[..., 3] >= 128] = name
