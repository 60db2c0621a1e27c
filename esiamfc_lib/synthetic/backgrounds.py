"""Backgrounds of the built-in data: uint8 RGB of any size, in whole numbers as in ``textures``."""

from collections.abc import Callable

import cv2
import numpy as np

from esiamfc_lib.synthetic.textures import any_texture, mix, noise, palette


def clouds(rng, width: int, height: int) -> np.ndarray:
    """Noise in four octaves between three muted colours."""
    a, b, c = palette(rng, 3, (0.05, 0.45), (0.2, 0.9))
    soft = noise(rng, width, height, rng.uniform(40, 90), 4)
    return mix(mix(a, b, soft), c, noise(rng, width, height, rng.uniform(20, 60), 3))


def bricks(rng, width: int, height: int) -> np.ndarray:
    """A wall: every brick has its own tint."""
    brick, mortar = palette(rng, 2, (0.1, 0.55), (0.25, 0.8))
    tall, wide = int(rng.integers(10, 22)), int(rng.integers(24, 50))
    y, x = np.mgrid[0:height, 0:width]
    row = y // tall
    x = x + (row % 2) * wide // 2
    tint = rng.integers(-28, 29, (height // tall + 2, width // wide + 3))[row, x // wide]
    grain = noise(rng, width, height, 4, 2).astype(int) // 6 - 21
    wall = np.clip(brick.astype(int) + (tint + grain)[..., None], 0, 255)
    joint = (y % tall < 2) | (x % wide < 2)
    return np.where(joint[..., None], mortar, wall).astype(np.uint8)


def grass(rng, width: int, height: int) -> np.ndarray:
    """Many short strokes, darker below lighter ones."""
    low, high = palette(rng, 2, (0.2, 0.6), (0.15, 0.85))
    picture = mix(low, high, noise(rng, width, height, 30, 3) // 2)
    count = width * height // 36
    foot = rng.integers(0, (width, height + 12), (count, 2))
    foot = foot[np.argsort(foot[:, 1], kind="stable")]
    tip = foot + rng.integers((-5, -16), (6, -5), (count, 2))
    tone = np.clip(low + (high.astype(int) - low) * rng.uniform(0, 1.2, (count, 1)), 0, 255)
    for a, b, colour in zip(foot.tolist(), tip.tolist(), tone.astype(int).tolist(), strict=True):
        cv2.line(picture, a, b, colour, 1, cv2.LINE_AA)
    return picture


def clutter(rng, width: int, height: int) -> np.ndarray:
    """Pieces of object-like texture scattered over a gradient: the hard one."""
    side = 80  # a piece lies in a square of this side
    wide, tall = max(width, side), max(height, side)
    a, b = palette(rng, 2, (0.1, 0.5), (0.2, 0.9))
    ramp = np.linspace(0, 255, tall).astype(np.uint8)[:, None].repeat(wide, 1)
    picture = mix(a, b, ramp)
    for _ in range(wide * tall // 1500):
        piece = any_texture(rng)(rng, palette(rng, 3, (0.1, 0.8)), side)
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        reach = rng.uniform(12, 38, (len(turns), 1))
        corners = side / 2 + reach * np.stack([np.cos(turns), np.sin(turns)], 1)
        mask = np.zeros((side, side), np.uint8)
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255)
        x, y = rng.integers(0, (wide - side + 1, tall - side + 1))
        picture[y : y + side, x : x + side][mask > 0] = piece[mask > 0]
    return picture[:height, :width].copy()


def planks(rng, width: int, height: int) -> np.ndarray:
    """Boards with a grain along them, standing or lying."""
    stands = rng.integers(2)
    if stands:
        width, height = height, width
    low, high = palette(rng, 2, (0.15, 0.6), (0.2, 0.85))
    board = int(rng.integers(14, 40))
    grain = rng.integers(0, 256, (height, width // 24 + 2), np.uint8)
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    row = np.arange(height) // board
    tint = rng.integers(0, 120, row[-1] + 1)[row][:, None]
    picture = mix(low, high, np.clip(grain.astype(int) // 3 + tint, 0, 255).astype(np.uint8))
    picture[np.arange(height) % board < 2] = low // 2
    return np.ascontiguousarray(picture.transpose(1, 0, 2)) if stands else picture


def pebbles(rng, width: int, height: int) -> np.ndarray:
    """Stones of many sizes with a lit side."""
    colours = palette(rng, 4, (0.03, 0.4), (0.25, 0.9))
    picture = np.full((height, width, 3), colours[0] // 2)
    for _ in range(width * height // 260):
        centre = rng.integers(0, (width, height))
        axes = rng.integers(4, 14, 2)
        colour = colours[rng.integers(4)].astype(int) + rng.integers(-25, 26)
        for shift, change, shrink in ((0, -45, 0), (-1, 0, 1), (-2, 20, 3)):
            _ellipse(picture, centre + shift, np.maximum(axes - shrink, 1), 0, colour + change)
    return picture


def _ellipse(picture: np.ndarray, centre, axes, turn: int, tone: np.ndarray) -> None:
    """Fill an ellipse whose axes are turned by ``turn`` degrees."""
    tone = np.clip(tone, 0, 255).tolist()
    cv2.ellipse(picture, centre.tolist(), axes.tolist(), turn, 0, 360, tone, -1, cv2.LINE_AA)


def water(rng, width: int, height: int) -> np.ndarray:
    """Crossing waves with glints."""
    low, high = palette(rng, 2, (0.2, 0.7), (0.15, 0.9))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    bend = noise(rng, width, height, 40, 2) / 12.0
    level = np.zeros((height, width))
    for _ in range(3):
        length, turn = rng.uniform(9, 34), rng.uniform(-0.5, 0.5)
        level += np.sin((x * np.sin(turn) + y * np.cos(turn) + bend) * 2 * np.pi / length)
    return mix(low, high, np.clip(128 + 46 * level, 0, 255).astype(np.uint8))


def street(rng, width: int, height: int) -> np.ndarray:
    """House fronts with rows of windows above a paved ground."""
    ground = int(height * rng.uniform(0.6, 0.8))
    picture = bricks(rng, width, height)
    left = 0
    while left < width:
        wide = int(rng.integers(50, 120))
        wall, frame, glass = palette(rng, 3, (0.05, 0.5), (0.2, 0.95))
        top = int(rng.integers(0, ground // 2))
        house = picture[top:ground, left : left + wide]
        house[:] = mix(wall, frame, noise(rng, house.shape[1], house.shape[0], 12, 2) // 4)
        step = int(rng.integers(16, 30))
        for y in range(6, house.shape[0] - step, step):
            for x in range(6, wide - step // 2, step):
                house[y : y + step // 2, x : x + step // 2] = frame
                house[y + 2 : y + step // 2 - 2, x + 2 : x + step // 2 - 2] = glass
        left += wide
    return picture


def foliage(rng, width: int, height: int) -> np.ndarray:
    """Leaves that lie over one another."""
    colours = palette(rng, 5, (0.2, 0.65), (0.2, 0.85))
    picture = np.full((height, width, 3), colours[0] // 2)
    for _ in range(width * height // 170):
        centre = rng.integers(0, (width, height))
        tone = colours[rng.integers(5)].astype(int) + rng.integers(-30, 31)
        axes = np.array([rng.integers(6, 14), rng.integers(2, 6)])
        _ellipse(picture, centre, axes, int(rng.integers(360)), tone)
    return picture


BACKGROUNDS = {
    f.__name__: f for f in (clouds, bricks, grass, clutter, planks, pebbles, water, street, foliage)
}


def any_background(rng: np.random.Generator) -> tuple[str, Callable[..., np.ndarray]]:
    """The name of one of ``BACKGROUNDS``, and its function."""
    return list(BACKGROUNDS.items())[rng.integers(len(BACKGROUNDS))]
