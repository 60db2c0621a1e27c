"""Colours and textures of the built-in data: object surfaces and backgrounds, made from a seed.

Only whole-number picture operations whose result does not depend on the processor are used
(drawing, integer interpolation, integer blur), so that a seed gives the same pixels everywhere.
All pictures are uint8 RGB.
"""

import cv2
import numpy as np

Palette = np.ndarray  # (k, 3) uint8 RGB


def palette(
    rng: np.random.Generator, colours: int, saturation=(0.35, 1.0), value=(0.2, 1.0), arc=(0.0, 1.0)
) -> Palette:
    """Colours that differ: hues spread around the circle, light and dark ones alternating.

    Args:
        rng: source of the colours.
        colours: how many.
        saturation: range, 0 (grey) to 1.
        value: range of brightness, 0 to 1.
        arc: part of the colour circle that the hues come from: where it begins and how long it
            is, as shares of the circle.

    Returns:
        (colours, 3) uint8 RGB.
    """
    hue = rng.uniform(0, 180) + np.cumsum(rng.uniform(25, 90, colours))
    hue = 180 * arc[0] + arc[1] * (hue % 180)
    low, high = value
    half = (low + high) / 2
    light_first = rng.integers(2)
    bright = [
        rng.uniform(half + 0.15 * (high - low), high)
        if (i + light_first) % 2
        else rng.uniform(low, half - 0.15 * (high - low))
        for i in range(colours)
    ]
    hsv = np.stack([hue % 180, 255 * rng.uniform(*saturation, colours), 255 * np.array(bright)], 1)
    return cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)[0]


def noise(
    rng: np.random.Generator, width: int, height: int, cell: float, octaves: int = 1
) -> np.ndarray:
    """Value noise: random numbers on a grid, interpolated; each octave halves cell and strength.

    Returns:
        (height, width) uint8, mean about 128, stretched to use most of the range.
    """
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
    """Coordinates of a texture, turned by a random angle; origin at a random place near its middle.

    The random origin also keeps cell borders off the pixel grid, where rounding could decide.
    """
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
        centre = tuple(int(v) for v in rng.integers(0, size, 2))
        colour = tuple(int(v) for v in colours[rng.integers(1, len(colours))])
        cv2.circle(
            picture, centre, int(rng.integers(radius - 1, radius + 3)), colour, -1, cv2.LINE_AA
        )
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
    lines = [
        colours[
            np.searchsorted(np.cumsum(rng.integers(3, 12, size)), np.arange(size)) % len(colours)
        ].astype(np.uint16)
        for _ in range(2)
    ]
    return ((lines[0][None] + lines[1][:, None]) // 2).astype(np.uint8)


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
            colour = tuple(int(v) for v in colours[rng.integers(len(colours))])
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


TEXTURES = {
    f.__name__: f
    for f in (
        stripes,
        spots,
        patches,
        sectors,
        bands,
        skin,
        plaid,
        checks,
        rings,
        scales,
        chevrons,
        mosaic,
    )
}


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
    makers = list(TEXTURES.values())
    for _ in range(wide * tall // 1500):
        piece = makers[rng.integers(len(makers))](rng, palette(rng, 3, (0.1, 0.8)), side)
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
    if rng.integers(2):
        return np.ascontiguousarray(_boards(rng, height, width).transpose(1, 0, 2))
    return _boards(rng, width, height)


def _boards(rng, width: int, height: int) -> np.ndarray:
    low, high = palette(rng, 2, (0.15, 0.6), (0.2, 0.85))
    board = int(rng.integers(14, 40))
    grain = rng.integers(0, 256, (height, width // 24 + 2), np.uint8)
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
    row = np.arange(height) // board
    tint = rng.integers(0, 120, row[-1] + 1)[row][:, None]
    picture = mix(low, high, np.clip(grain.astype(int) // 3 + tint, 0, 255).astype(np.uint8))
    picture[np.arange(height) % board < 2] = low // 2
    return picture


def pebbles(rng, width: int, height: int) -> np.ndarray:
    """Stones of many sizes with a lit side."""
    colours = palette(rng, 4, (0.03, 0.4), (0.25, 0.9))
    picture = np.full((height, width, 3), colours[0] // 2)
    for _ in range(width * height // 260):
        centre = rng.integers(0, (width, height))
        axes = rng.integers(4, 14, 2)
        colour = colours[rng.integers(4)].astype(int) + rng.integers(-25, 26)
        for shift, change, shrink in ((0, -45, 0), (-1, 0, 1), (-2, 20, 3)):
            tone = tuple(int(v) for v in np.clip(colour + change, 0, 255))
            size = tuple(int(v) for v in np.maximum(axes - shrink, 1))
            cv2.ellipse(
                picture,
                tuple(int(v) for v in centre + shift),
                size,
                0,
                0,
                360,
                tone,
                -1,
                cv2.LINE_AA,
            )
    return picture


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
        centre = tuple(int(v) for v in rng.integers(0, (width, height)))
        tone = np.clip(colours[rng.integers(5)].astype(int) + rng.integers(-30, 31), 0, 255)
        cv2.ellipse(
            picture,
            centre,
            (int(rng.integers(6, 14)), int(rng.integers(2, 6))),
            int(rng.integers(360)),
            0,
            360,
            tuple(tone.tolist()),
            -1,
            cv2.LINE_AA,
        )
    return picture


BACKGROUNDS = {
    f.__name__: f for f in (clouds, bricks, grass, clutter, planks, pebbles, water, street, foliage)
}
