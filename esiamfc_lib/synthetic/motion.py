"""How the objects of the built-in data move: one function per kind of motion, and the camera.

A motion is written without walls; ``fold`` reflects it back into the frame, as a ball bounces.
Positions are pixels of the frame, angles radians, one entry per frame. A motion takes the
generator, the number of frames, the speed in pixels a frame and the side of the object, and gives
what moves: fields of ``Path``, which rest where they are not given."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Path:
    """Where an object is and how it is posed, one entry per frame: its centre in pixels, ``angle``
    (of its turn, clockwise on the screen) and ``phase`` (of its pose) in radians, ``scale`` of its
    own size, and ``mirror``: +1, or -1 where it faces left."""

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    scale: np.ndarray
    phase: np.ndarray
    mirror: np.ndarray


def fold(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Reflect values at both ends of [low, high]: 12 in [0, 10] becomes 8."""
    span = max(high - low, 1e-6)
    return low + span - np.abs((values - low) % (2 * span) - span)


def smooth(rng: np.random.Generator, n: int, period: float) -> np.ndarray:
    """A slow random curve in about [-1, 1]: two sines of random phase."""
    t = np.arange(n)
    slow, fast = period * rng.uniform(0.8, 1.6, 2) * (1, 0.5)
    first, second = rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * t / slow + first) + 0.4 * np.sin(2 * np.pi * t / fast + second)
    return waves / 1.2


def glide(rng, n, speed, size):
    """Straight on, at constant speed; a little tilt."""
    turn, t = rng.uniform(0, 2 * np.pi), np.arange(n)
    x, y = t * speed * np.cos(turn), t * speed * np.sin(turn)
    return {"x": x, "y": y, "angle": rng.uniform(-0.25, 0.25)}


def drift(rng, n, speed, size):
    """A velocity that wanders; the outline flows."""
    velocity = rng.normal(size=(n, 2))
    for i in range(1, n):
        velocity[i] = 0.92 * velocity[i - 1] + 0.39 * velocity[i]
    x, y = np.cumsum(velocity * speed * 0.9, 0).T
    return {"x": x, "y": y, "phase": np.arange(n) * rng.uniform(0.18, 0.35)}


def walk(rng, n, speed, size):
    """Sideways with a bob at each step, slowly nearer or farther."""
    t, step = np.arange(n), rng.uniform(0.3, 0.5)
    x = rng.choice([-1, 1]) * speed * t
    y = -0.07 * size * np.abs(np.sin(step * t)) + 12 * smooth(rng, n, 80)
    return {"x": x, "y": y, "phase": step * t}


def spin(rng, n, speed, size):
    """Circles around a moving point while turning on its own axis."""
    t, radius = np.arange(n), rng.uniform(20, 45)
    turn, heading = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi)
    rate = rng.choice([-1, 1]) * speed / radius
    x = radius * np.cos(rate * t + turn) + 0.8 * speed * t * np.cos(heading)
    y = radius * np.sin(rate * t + turn) + 0.8 * speed * t * np.sin(heading)
    return {"x": x, "y": y, "angle": rng.uniform(0.08, 0.2) * t * np.sign(rate)}


def tumble(rng, n, speed, size):
    """Straight on, turning slowly end over end."""
    turn, t = rng.uniform(0, 2 * np.pi), np.arange(n)
    rate = rng.choice([-1, 1]) * rng.uniform(0.03, 0.08)
    x, y = t * speed * np.cos(turn), t * speed * np.sin(turn)
    return {"x": x, "y": y, "angle": rng.uniform(0, np.pi) + rate * t}


def zoom(rng, n, speed, size):
    """Comes nearer and goes away, nodding."""
    x, y = (speed * 22 * smooth(rng, n, 90) for _ in "xy")
    scale, angle = 1 + 0.38 * smooth(rng, n, 60), 0.2 * smooth(rng, n, 35)
    return {"x": x, "y": y, "scale": scale, "angle": angle, "phase": 0.3 * np.arange(n)}


MOTIONS = {f.__name__: f for f in (glide, drift, walk, spin, tumble, zoom)}
AT_REST = {"angle": 0.0, "scale": 1.0, "phase": 0.0, "mirror": 1.0}


def travel(rng, motion: str, n: int, speed: float, size: float, frame, start) -> Path:
    """A path of one of ``MOTIONS`` over n frames, about ``speed`` pixels a frame, from the centre
    ``start``, which stays half the object's ``size`` inside the ``frame`` (width, height)."""
    moves = MOTIONS[motion](rng, n, speed, size)
    for axis, side, begin in zip("xy", frame, start, strict=True):
        moves[axis] = fold(moves[axis] - moves[axis][0] + begin, 0.5 * size, side - 0.5 * size)
    if motion == "walk":  # the object looks where it goes
        moves["mirror"] = np.where(np.gradient(moves["x"]) < 0, -1.0, 1.0)
    return Path(**{name: np.broadcast_to(v, n) for name, v in (AT_REST | moves).items()})


def leave(rng: np.random.Generator, x: np.ndarray, width: int, reach: float) -> np.ndarray:
    """Push a path over the nearer side of the frame, up to ``reach`` pixels beyond, and back."""
    n = len(x)
    middle, span = int(n * rng.uniform(0.45, 0.75)), n * rng.uniform(0.12, 0.18)
    push = np.clip(1.25 * np.exp(-(((np.arange(n) - middle) / span) ** 2)), 0, 1)
    goal = width + reach if x[middle] > width / 2 else -reach
    return x + push * (goal - x)


def camera(rng: np.random.Generator, n: int, room: float, shake: float) -> np.ndarray:
    """Camera path, (n, 6): pan x, y (pixels, |pan| <= room), log zoom, roll, jitter x, y (pixels,
    at most twice ``shake``). Jitter moves everything, the rest only what stands still: whoever
    films follows the objects."""
    pan = [room * np.clip(smooth(rng, n, rng.uniform(50, 140)), -1, 1) for _ in range(2)]
    jitter = shake * rng.normal(size=(2, n)).clip(-2, 2)
    return np.stack([*pan, 0.06 * smooth(rng, n, 80), 0.03 * smooth(rng, n, 60), *jitter], 1)
