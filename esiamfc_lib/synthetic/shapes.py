"""Shapes of the built-in data: polygons ("parts") that pose.

A shape is a list of parts in a unit square, x to the right and y down, as a function of the
**phase** (0 to 2π: one step of a gait, one beat of a wing). Each function below draws the
proportions of one individual and returns its pose."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """One polygon of a pose, (n, 2) unit coordinates; ``fill`` is an index into the palette, -1
    shows the object's texture; ``shade`` is a factor on the brightness."""

    points: np.ndarray
    fill: int = -1
    shade: float = 1.0


Pose = Callable[[float], list[Part]]


def _ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    t = np.arange(28) * (2 * np.pi / 28)
    return np.stack([x + a * np.cos(t), y + b * np.sin(t)], 1)


def _limb(start, end, thick: float) -> np.ndarray:
    """A bar with rounded ends from one point to another."""
    (x0, y0), (x1, y1) = start, end
    turn = np.arctan2(y1 - y0, x1 - x0)
    t = np.linspace(np.pi / 2, 3 * np.pi / 2, 7)
    cap = np.stack([np.cos(t), np.sin(t)], 1) * thick / 2
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.concatenate([cap @ rotation + (x0, y0), -cap @ rotation + (x1, y1)])


def crate(rng) -> Pose:
    """A rigid box, rounded a little."""
    half_w, half_h = rng.uniform(0.6, 0.95), rng.uniform(0.5, 0.95)
    corner, t = rng.uniform(0.05, 0.3), np.linspace(0, np.pi / 2, 5)
    arc = corner * np.stack([np.cos(t), np.sin(t)], 1)
    quarter = np.array([half_w - corner, half_h - corner]) + arc
    flips = (1, 1), (-1, 1), (-1, -1), (1, -1)
    box = Part(np.concatenate([quarter[:: x * y] * (x, y) for x, y in flips]))
    return lambda phase: [box]


def amoeba(rng) -> Pose:
    """A soft body whose outline flows."""
    order = np.arange(2, 6)
    strength, offset = rng.uniform(0.06, 0.16, 4), rng.uniform(0, 2 * np.pi, 4)
    beat = rng.integers(1, 3, 4) * rng.choice([-1, 1], 4)
    t = np.arange(48) * (2 * np.pi / 48)

    def pose(phase):
        waves = strength * np.cos(order * t[:, None] + offset + beat * phase)
        radius = 0.72 + waves.sum(1)
        body = Part(np.stack([radius * np.cos(t), radius * np.sin(t)], 1))
        core = Part(_ellipse(0.15 * np.cos(phase), 0.15 * np.sin(phase), 0.2, 0.17), 1, 0.7)
        return [body, core]

    return pose


def walker(rng) -> Pose:
    """A figure that swings its arms and legs."""
    girth, reach = rng.uniform(0.2, 0.3), rng.uniform(0.45, 0.8)
    head = rng.uniform(0.16, 0.22)

    def pose(phase):
        swing = reach * np.sin(phase)
        bent = 0.25 * (1 - np.cos(phase))

        def leg(s, lift, shade):
            knee = (0.28 * np.sin(s) + 0.08, 0.2 + 0.36 * np.cos(s))
            foot = (knee[0] + 0.4 * np.sin(s - lift), knee[1] + 0.4 * np.cos(s - lift))
            thigh, shin = _limb((0, 0.2), knee, 0.22), _limb(knee, foot, 0.18)
            return [Part(thigh, 1, shade), Part(shin, 1, shade)]

        def arm(s, shade):
            hand = (0.5 * np.sin(s), -0.38 + 0.5 * np.cos(s))
            return Part(_limb((0, -0.38), hand, 0.15), 2, shade)

        return [
            arm(swing, 0.7),
            *leg(-swing, bent, 0.7),
            *leg(swing, 0.5 - bent, 1.0),
            Part(_limb((0, -0.32), (0, 0.2), 2 * girth)),
            Part(_ellipse(0.03, -0.72, head, head * 1.2), 0),
            arm(-swing, 1.0),
        ]

    return pose


def star(rng) -> Pose:
    """A star or a cog."""
    points, depth = int(rng.integers(4, 9)), rng.uniform(0.4, 0.65)
    t = np.arange(2 * points) * (np.pi / points)
    radius = np.where(np.arange(2 * points) % 2, depth, 0.98)
    body = Part(np.stack([radius * np.cos(t), radius * np.sin(t)], 1))
    hub = Part(_ellipse(0, 0, 0.2, 0.2), int(rng.integers(3)), 0.8)
    return lambda phase: [body, hub]


def rod(rng) -> Pose:
    """A thin rod with a knob."""
    thick, knob = rng.uniform(0.24, 0.36), rng.uniform(0.16, 0.26)
    bar = Part(_limb((-0.85, 0), (0.85, 0), thick))
    end = Part(_ellipse(0.78, 0, knob, knob), int(rng.integers(3)))
    return lambda phase: [bar, end]


def face(rng) -> Pose:
    """An oval with hair, eyes and a mouth that talks."""
    wide, eye, brow = rng.uniform(0.58, 0.78), rng.uniform(0.09, 0.15), rng.uniform(-0.3, -0.1)
    apart = -wide * 0.45, wide * 0.45
    t = np.linspace(np.pi, 2 * np.pi, 16)
    crown = np.stack([(wide + 0.06) * np.cos(t), 0.98 * np.sin(t)], 1)
    low = rng.uniform(-0.62, -0.35)
    fringe = [wide * 0.8, low], [0, low + rng.uniform(-0.15, 0.1)], [-wide * 0.8, low]
    hair = np.concatenate([crown, fringe])

    def pose(phase):
        look, talk = 0.05 * np.sin(phase), 0.05 + 0.06 * (1 + np.sin(2 * phase))
        return [
            Part(_ellipse(0, 0, wide, 0.95)),
            Part(hair, 2),
            *(Part(_ellipse(x, brow, eye * 1.5, eye), 1, 2.2) for x in apart),
            *(Part(_ellipse(x + look, brow, eye * 0.7, eye * 0.7), 2, 0.4) for x in apart),
            Part(_limb((look, -0.05), (look, 0.2), 0.1), 0, 0.7),
            Part(_ellipse(look, 0.5, wide * 0.4, talk), 1, 0.5),
        ]

    return pose


SHAPES = {f.__name__: f for f in (crate, amoeba, walker, star, rod, face)}
DEFORMING = frozenset({"amoeba", "walker"})  # their outline changes; a face only moves its parts
RIGID = frozenset({"crate", "star", "rod"})
