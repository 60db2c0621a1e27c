"""How the objects of the built-in data move: one function per kind of motion, and the camera.

A motion is written without walls; ``fold`` reflects it back into the frame, as a ball bounces.
Positions are pixels of the frame, angles radians, one entry per frame.
"""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Path:
    """Where an object is and how it is posed in each of n frames; all arrays have length n.

    Attributes:
        x, y: centre, pixels.
        angle: turn of the picture, radians, clockwise on the screen.
        scale: size relative to the object's own.
        stretch: width over height, relative to the object's own.
        phase: of the pose, radians.
        mirror: +1, or -1 where the object faces left.
    """

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    stretch: np.ndarray
    phase: np.ndarray
    mirror: np.ndarray


def fold(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Reflect values at both ends of [low, high]: 12 in [0, 10] becomes 8."""
    span = max(high - low, 1e-6)
    return low + span - np.abs((values - low) % (2 * span) - span)


def smooth(rng: np.random.Generator, n: int, period: float) -> np.ndarray:
    """A slow random curve in about [-1, 1]: two sines of random phase."""
    t = np.arange(n)
    lengths = period * rng.uniform(0.8, 1.6, 2) * (1, 0.5)
    offsets = rng.uniform(0, 2 * np.pi, 2)
    return (
        np.sin(2 * np.pi * t / lengths[0] + offsets[0])
        + 0.4 * np.sin(2 * np.pi * t / lengths[1] + offsets[1])
    ) / 1.2


def _still(n: int) -> dict[str, np.ndarray]:
    return {
        "angle": np.zeros(n),
        "scale": np.ones(n),
        "stretch": np.ones(n),
        "phase": np.zeros(n),
        "mirror": np.ones(n),
    }


def glide(rng, n, speed, size):
    """Straight on, at constant speed; a little tilt."""
    turn = rng.uniform(0, 2 * np.pi)
    t = np.arange(n)
    tilt = rng.uniform(-0.25, 0.25) + np.zeros(n)
    return Path(t * speed * np.cos(turn), t * speed * np.sin(turn), **{**_still(n), "angle": tilt})


def drift(rng, n, speed, size):
    """A velocity that wanders; the outline flows."""
    steps = rng.normal(size=(n, 2))
    velocity = np.zeros((n, 2))
    velocity[0] = steps[0]
    for i in range(1, n):
        velocity[i] = 0.92 * velocity[i - 1] + 0.39 * steps[i]
    x, y = np.cumsum(velocity * speed * 0.9, 0).T
    return Path(x, y, **{**_still(n), "phase": np.arange(n) * rng.uniform(0.18, 0.35)})


def walk(rng, n, speed, size):
    """Sideways with a bob at each step, slowly nearer or farther."""
    t, step = np.arange(n), rng.uniform(0.3, 0.5)
    way = rng.choice([-1, 1])
    x = way * speed * t
    y = -0.07 * size * np.abs(np.sin(step * t)) + 12 * smooth(rng, n, 80)
    return Path(x, y, **{**_still(n), "phase": step * t})


def spin(rng, n, speed, size):
    """Circles around a moving point while turning on its own axis."""
    t, radius = np.arange(n), rng.uniform(20, 45)
    turn, heading = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    rate = rng.choice([-1, 1]) * speed / radius
    return Path(
        radius * np.cos(rate * t + turn) + 0.8 * speed * t * np.cos(heading),
        radius * np.sin(rate * t + turn) + 0.8 * speed * t * np.sin(heading),
        **{**_still(n), "angle": rng.uniform(0.08, 0.2) * t * np.sign(rate)},
    )


def tumble(rng, n, speed, size):
    """Straight on, turning slowly end over end."""
    turn, t = rng.uniform(0, 2 * np.pi), np.arange(n)
    rate = rng.choice([-1, 1]) * rng.uniform(0.03, 0.08)
    return Path(
        t * speed * np.cos(turn),
        t * speed * np.sin(turn),
        **{**_still(n), "angle": rng.uniform(0, np.pi) + rate * t},
    )


def zoom(rng, n, speed, size):
    """Comes nearer and goes away, nodding."""
    x, y = (speed * 22 * smooth(rng, n, 90) for _ in range(2))
    return Path(
        x,
        y,
        **{
            **_still(n),
            "scale": 1 + 0.38 * smooth(rng, n, 60),
            "angle": 0.2 * smooth(rng, n, 35),
            "phase": 0.3 * np.arange(n),
        },
    )


def sway(rng, n, speed, size):
    """Swings like a hanging sign and turns away from the viewer."""
    t, rate = np.arange(n), rng.uniform(0.12, 0.2)
    swing = np.sin(rate * t + rng.uniform(0, 6))
    x = rng.choice([-1, 1]) * 0.7 * speed * t + 0.6 * speed / rate * swing
    return Path(
        x,
        10 * np.cos(2 * rate * t) + 14 * smooth(rng, n, 90),
        **{**_still(n), "angle": 0.3 * swing, "stretch": 0.8 + 0.25 * np.cos(0.6 * rate * t)},
    )


def roll(rng, n, speed, size):
    """Rolls along the ground without slipping."""
    x = rng.choice([-1, 1]) * speed * np.arange(n)
    return Path(x, 6 * smooth(rng, n, 70), **{**_still(n), "angle": x / (0.48 * size)})


def swoop(rng, n, speed, size):
    """Wide figures of eight with beating wings."""
    t, rate = np.arange(n), speed / rng.uniform(55, 80)
    a, b = rng.uniform(0, 2 * np.pi, 2)
    return Path(
        75 * np.sin(rate * t + a),
        48 * np.sin(1.7 * rate * t + b),
        **{**_still(n), "phase": rng.uniform(0.45, 0.75) * t},
    )


def slither(rng, n, speed, size):
    """Follows its own winding heading."""
    heading = rng.uniform(0, 2 * np.pi) + 1.1 * smooth(rng, n, 50)
    x, y = np.cumsum(speed * np.cos(heading)), np.cumsum(speed * np.sin(heading))
    return Path(x, y, **{**_still(n), "angle": heading, "phase": 0.4 * np.arange(n)})


def zigzag(rng, n, speed, size):
    """Diagonal legs with sharp turns."""
    t, leg = np.arange(n), rng.uniform(12, 22)
    height = 0.75 * speed * leg * np.abs((t / leg + rng.uniform()) % 2 - 1)
    return Path(
        rng.choice([-1, 1]) * 0.75 * speed * t,
        height,
        **{**_still(n), "angle": 0.2 * np.sin(np.pi * t / leg), "phase": 0.3 * t},
    )


def hop(rng, n, speed, size):
    """Parabolic jumps; squashed on landing."""
    beat = np.arange(n) / rng.uniform(11, 17) + rng.uniform()
    t = beat % 1
    air = 4 * t * (1 - t)
    return Path(
        rng.choice([-1, 1]) * 0.8 * speed * np.arange(n),
        -0.7 * size * air,
        **{**_still(n), "stretch": 1.15 - 0.3 * air, "phase": 2 * np.pi * beat},
    )


MOTIONS = {
    f.__name__: f
    for f in (glide, drift, walk, spin, tumble, zoom, sway, roll, swoop, slither, zigzag, hop)
}
FACING = frozenset({"walk", "swoop"})  # the object looks where it goes


def travel(
    rng: np.random.Generator,
    motion: str,
    n: int,
    speed: float,
    size: float,
    width: int,
    height: int,
    start: tuple[float, float],
) -> Path:
    """A path of the named motion from ``start``, kept inside the frame.

    Args:
        rng: source of everything random.
        motion: a name in ``MOTIONS``.
        n: frames.
        speed: typical pixels a frame.
        size: side of the object, pixels; its centre stays half of that away from the border.
        width, height: of the frame, pixels.
        start: centre in the first frame.
    """
    path = MOTIONS[motion](rng, n, speed, size)
    margin = 0.5 * size
    x = fold(path.x - path.x[0] + start[0], margin, width - margin)
    y = fold(path.y - path.y[0] + start[1], margin, height - margin)
    mirror = path.mirror
    if motion in FACING:
        mirror = np.where(np.gradient(x) < 0, -1.0, 1.0)
    return replace(path, x=x, y=y, mirror=mirror)


def leave(rng: np.random.Generator, path: Path, width: int, reach: float) -> Path:
    """Push a path over the nearer side of the frame, up to ``reach`` pixels beyond, and back."""
    n = len(path.x)
    middle, span = int(n * rng.uniform(0.45, 0.75)), n * rng.uniform(0.12, 0.18)
    push = np.clip(1.25 * np.exp(-(((np.arange(n) - middle) / span) ** 2)), 0, 1)
    right = path.x[middle] > width / 2
    goal = width + reach if right else -reach
    return replace(path, x=path.x + push * (goal - path.x))


def camera(rng: np.random.Generator, n: int, room: float, shake: float) -> np.ndarray:
    """Camera path, (n, 6): pan x, y (pixels, |pan| <= room), log zoom, roll, jitter x, y.

    The jitter (pixels, at most twice ``shake``) moves everything, the rest only what stands still:
    whoever films follows the objects.
    """
    pan = [room * np.clip(smooth(rng, n, rng.uniform(50, 140)), -1, 1) for _ in range(2)]
    jitter = shake * rng.normal(size=(2, n)).clip(-2, 2)
    return np.stack([*pan, 0.06 * smooth(rng, n, 80), 0.03 * smooth(rng, n, 60), *jitter], 1)
