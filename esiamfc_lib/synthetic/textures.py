"""Colours and textures of the built-in data: the surfaces of objects, made from a seed.

Only whole-number picture operations whose result does not depend on the processor are used
(drawing, integer interpolation, integer blur), so that a seed gives the same pixels everywhere.
All pictures are uint8 RGB."""

from collections.abc import Callable

import cv2
import numpy as np

Palette = np.ndarray  # (k, 3) uint8 RGB


def palette(rng, colours: int, saturation=(0.35, 1.0), value=(0.2, 1.0), arc=(0.0, 1.0)) -> Palette:
    """(colours, 3) uint8 RGB that differ: hues around the circle, light and dark ones alternating.
    Saturation (0 = grey) and value (brightness) are ranges within [0, 1]; ``arc`` is the part of
    the colour circle that hues come from: its begin and its length, as shares of the circle."""
    hue = rng.uniform(0, 180) + np.cumsum(rng.uniform(25, 90, colours))
    hue = 180 * arc[0] + arc[1] * (hue % 180)
    low, high = value
    half = (low + high) / 2
    gap = 0.15 * (high - low)
    ranges = (low, half - gap), (half + gap, high)
    first = rng.integers(2)
    bright = [rng.uniform(*ranges[(i + first) % 2]) for i in range(colours)]
    hsv = np.stack([hue % 180, 255 * rng.uniform(*saturation, colours), 255 * np.array(bright)], 1)
    return cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]


def noise(rng, width: int, height: int, cell: float, octaves: int = 1) -> np.ndarray:
    """Value noise, (height, width) uint8 of mean 128 or so, stretched to use most of the range:
    random numbers on a grid, interpolated; each octave halves cell and strength."""
    total = np.zeros((height, width), np.int32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        grid = rng.integers(0, 256, (int(height / step) + 2, int(width / step) + 2), np.uint8)
        fine = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        total += (fine.astype(np.int32) - 128) >> octave
    return np.clip(total * 5 // 6 + 128, 0, 255).astype(np.uint8)


def mix(first, second, weight: np.ndarray) -> np.ndarray:
    """Blend two colours or pictures; ``weight`` (H, W) uint8 is the share of the second."""
    w = weight.astype(np.uint16)[..., None]
    first, second = np.uint16(first), np.uint16(second)
    total = first * (255 - w) + second * w + 128
    return ((total + (total >> 8)) >> 8).astype(np.uint8)  # divides by 255, rounded


def _plane(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of a texture, turned by a random angle; origin at a random place near its middle,
    which also keeps cell borders off the pixel grid, where rounding could decide."""
    angle = rng.uniform(0, np.pi)
    y, x = np.mgrid[0:size, 0:size] - (size / 2 + rng.uniform(-2, 2))
    return (x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle))


def stripes(rng, colours: Palette, size: int) -> np.ndarray:
    """Parallel stripes."""
    x, _ = _plane(rng, size)
    return colours[np.floor(x / rng.uniform(5, 9)).astype(int) % len(colours)]


def spots(rng, colours: Palette, size: int) -> np.ndarray:
    """Round spots on one ground colour."""
    picture = np.full((size, size, 3), colours[0])
    radius = rng.integers(4, 8)
    for _ in range(int(size * size / (radius * radius * 9))):
        centre = rng.integers(0, size, 2).tolist()
        colour = colours[rng.integers(1, len(colours))].tolist()
        cv2.circle(picture, centre, rng.integers(radius - 1, radius + 3), colour, -1, cv2.LINE_AA)
    return picture


def patches(rng, colours: Palette, size: int) -> np.ndarray:
    """Camouflage: noise cut into levels."""
    level = noise(rng, size, size, rng.uniform(14, 20), 2).astype(int)
    return colours[np.clip((level - 64) * len(colours) // 128, 0, len(colours) - 1)]


def sectors(rng, colours: Palette, size: int) -> np.ndarray:
    """Slices of a pie."""
    x, y = _plane(rng, size)
    turn = np.arctan2(y, x) / (2 * np.pi) * len(colours) * rng.integers(2, 4)
    return colours[np.floor(turn + rng.uniform()).astype(int) % len(colours)]


def bands(rng, colours: Palette, size: int) -> np.ndarray:
    """Bands of unequal width across the long axis of the object."""
    edges = np.cumsum(rng.integers(5, 15, size))
    order = rng.integers(0, len(colours), size)
    band = (np.searchsorted(edges, np.arange(size)) + order[0]) % len(colours)
    return np.broadcast_to(colours[band], (size, size, 3)).copy()


def skin(rng, colours: Palette, size: int) -> np.ndarray:
    """One soft colour that fades into a second one."""
    return mix(colours[0], colours[1], noise(rng, size, size, rng.uniform(30, 50)) // 2)


def plaid(rng, colours: Palette, size: int) -> np.ndarray:
    """Two sets of crossing bands, woven."""
    edges = [np.cumsum(rng.integers(3, 12, size)) for _ in range(2)]
    bands = [np.searchsorted(edge, np.arange(size)) % len(colours) for edge in edges]
    across, down = (colours[band].astype(np.uint16) for band in bands)
    return ((across[None] + down[:, None]) // 2).astype(np.uint8)


def checks(rng, colours: Palette, size: int) -> np.ndarray:
    """A turned chessboard."""
    x, y = _plane(rng, size)
    side = rng.uniform(8, 14)
    return colours[(np.floor(x / side) + np.floor(y / side)).astype(int) % len(colours)]


def rings(rng, colours: Palette, size: int) -> np.ndarray:
    """Concentric rings around a point near the middle."""
    x, y = _plane(rng, size)
    return colours[np.floor(np.sqrt(x * x + y * y) / rng.uniform(5, 9)).astype(int) % len(colours)]


def scales(rng, colours: Palette, size: int) -> np.ndarray:
    """Overlapping scales in rows, each with its own tint."""
    picture = np.full((size, size, 3), colours[0])
    step = int(rng.integers(9, 14))
    for row, y in enumerate(range(size + step, -step, -step // 2)):
        for x in range((row % 2) * step // 2 - step, size + step, step):
            colour = colours[rng.integers(len(colours))].tolist()
            cv2.circle(picture, (x, y), step * 5 // 8, colour, -1, cv2.LINE_AA)
            cv2.circle(picture, (x, y), step * 5 // 8, (25, 25, 25), 1, cv2.LINE_AA)
    return picture


def chevrons(rng, colours: Palette, size: int) -> np.ndarray:
    """Zigzag bands."""
    y, x = np.mgrid[0:size, 0:size] + rng.uniform(0, 1)
    period = rng.uniform(14, 26)
    fold = np.abs(x % period - period / 2)
    return colours[np.floor((y + fold) / rng.uniform(5, 8)).astype(int) % len(colours)]


def mosaic(rng, colours: Palette, size: int) -> np.ndarray:
    """Small square tiles of random colour."""
    side = int(rng.integers(7, 12))
    tiles = rng.integers(0, len(colours), (size // side + 1, size // side + 1))
    return colours[np.kron(tiles, np.ones((side, side), int))[:size, :size]]


OF_FAMILIES = stripes, spots, patches, sectors, bands, skin
TEXTURES = {f.__name__: f for f in (*OF_FAMILIES, plaid, checks, rings, scales, chevrons, mosaic)}


def any_texture(rng: np.random.Generator) -> Callable[..., np.ndarray]:
    """One of ``TEXTURES``."""
    return list(TEXTURES.values())[rng.integers(len(TEXTURES))]
