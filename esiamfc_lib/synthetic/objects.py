"""Objects of the built-in data: families, and the individuals that belong to them.

A **family** names a shape, a texture, a motion and a tone; a **kind** is what one object is really
made of; an **instance** is one individual of a kind, with its own colours, texture and proportions.
With ``conflict`` every family has one thing that stays, its colours or its pattern, and another
that changes from frame to frame; distractors have what changes in common with the target, so what
tells a target from others of one family is what a tracker of another family must not look at."""

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np

from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.synthetic.shapes import DEFORMING, RIGID, SHAPES
from esiamfc_lib.synthetic.textures import TEXTURES, any_texture, mix, noise, palette

CANVAS = 88  # side of a sprite in its own pixels
UNIT = 40.0  # sprite pixels of one shape unit
PATTERNS = 8  # of one object whose pattern changes, in turn
MARGIN, INDIVIDUALS = 72, 9  # of the sheet: pixels for the names, pictures a family
PAPER, INK = 244, (20, 20, 20)
GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # turns around the grey axis


@dataclass(frozen=True)
class Kind:
    """What an object with the label ``family`` is made of: ``tone`` holds its ranges of saturation
    and value, ``arc`` says where on the colour circle its hues come from (see ``palette``), and
    ``stays`` what does not change where looks change: ``colours`` or ``pattern``."""

    family: str
    shape: str
    texture: str
    motion: str
    tone: tuple[tuple[float, float], tuple[float, float]]
    stays: str
    arc: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def draw(cls, rng: np.random.Generator, family: int, data: BuiltIn) -> Self:
        """The kind of a new object that is labelled with ``family``. Each aspect (shape, texture,
        motion, tone) is the family's own with probability ``data.separation`` and otherwise that of
        a random family: at 1 families are pure, at 0 the label says nothing about the look. The
        variety of the data, and so its difficulty, is the same at every separation. Hues belong to
        the tone: with ``data.hues`` below 1 a family's objects have colours of its own arc of the
        circle, of this length."""
        own = rng.uniform(size=4) < data.separation
        aspects = np.where(own, family, rng.integers(0, data.families, 4))
        shape, texture, motion, tone = (FAMILIES[i] for i in aspects)
        arc = (int(aspects[3]) / data.families, data.hues) if data.hues < 1 else (0.0, 1.0)
        names = shape.shape, texture.texture, motion.motion
        return cls(FAMILIES[family].family, *names, tone.tone, texture.stays, arc)


FAMILIES = (
    Kind("crate", "crate", "stripes", "glide", ((0.5, 1.0), (0.2, 1.0)), "colours"),
    Kind("amoeba", "amoeba", "spots", "drift", ((0.3, 0.8), (0.35, 1.0)), "pattern"),
    Kind("walker", "walker", "patches", "walk", ((0.3, 0.9), (0.15, 0.75)), "colours"),
    Kind("star", "star", "sectors", "spin", ((0.7, 1.0), (0.4, 1.0)), "pattern"),
    Kind("rod", "rod", "bands", "tumble", ((0.4, 1.0), (0.2, 1.0)), "colours"),
    Kind("face", "face", "skin", "zoom", ((0.2, 0.6), (0.3, 0.95)), "pattern"),
)


def _turning_colours(rng: np.random.Generator, share: float):
    """Hues of a sprite (RGB times alpha) that oscillate from frame to frame, by at most half of
    ``share`` of the colour circle each way; in whole numbers."""
    rate = rng.choice([-1, 1]) * 2 * np.pi / rng.uniform(20, 36)
    phase = rng.uniform(0, 2 * np.pi)

    def turned(sprite, t):
        angle = np.pi * share * np.sin(phase + rate * t)
        turn = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) / 3 + np.sin(angle) * GREY
        whole = np.rint(256 * turn).astype(np.int32)
        colours = (sprite[..., :3].astype(np.int32) @ whole.T) >> 8
        return np.dstack([np.clip(colours, 0, sprite[..., 3:]).astype(np.uint8), sprite[..., 3]])

    return turned


def _fading_pattern(rng: np.random.Generator, surfaces: list[np.ndarray]):
    """The surface in each frame: they fade into one another in turn."""
    every = rng.uniform(5, 9)

    def surface(t):
        whole, part = divmod(t / every, 1)
        first, second = (surfaces[(int(whole) + i) % len(surfaces)] for i in (0, 1))
        return mix(first, second, np.full(first.shape[:2], int(part * 255), np.uint8))

    return surface


class Instance:
    """One individual of a kind; ``sprite(phase, t)`` draws it. ``rng`` decides how it looks, and
    the generator ``changes`` how that changes with time (None: not at all); ``colours``, (3, 3)
    uint8 RGB, are those of another individual."""

    def __init__(self, rng: np.random.Generator, kind: Kind, changes=None, colours=None):
        self.kind, self.changes = kind, changes is not None
        self.deforms = kind.shape in DEFORMING  # its outline changes from frame to frame
        own = palette(rng, 3, *kind.tone, kind.arc)
        self.colours = own if colours is None else colours
        surface = TEXTURES[kind.texture](rng, self.colours, CANVAS)
        uneven = noise(rng, CANVAS, CANVAS, 22, 2).astype(np.uint16)[..., None] // 3 + 171
        ramp = np.linspace(286, 206, CANVAS).astype(np.uint16)
        self._light = (ramp[:, None] + ramp[None]) // 2
        self._surface = ((surface * uneven) >> 8).astype(np.uint8)
        self._turn = self._pattern = None
        if self.changes and kind.stays == "pattern":
            self._turn = _turning_colours(changes, kind.arc[1])
        elif self.changes:
            more = [any_texture(changes)(changes, self.colours, CANVAS) for _ in range(1, PATTERNS)]
            surfaces = [((one * uneven) >> 8).astype(np.uint8) for one in (surface, *more)]
            self._pattern = _fading_pattern(changes, surfaces)
        self._pose = SHAPES[kind.shape](rng)
        self._rigid: np.ndarray | None = None

    def sprite(self, phase: float, t: int = 0) -> np.ndarray:
        """In frame ``t``: (CANVAS, CANVAS, 4) uint8 RGBA, colours already multiplied by alpha."""
        if self._pattern is not None:
            return self._draw(phase, self._pattern(t))
        drawn = self._draw(phase, self._surface) if self._rigid is None else self._rigid
        if self.kind.shape in RIGID:
            self._rigid = drawn
        return drawn if self._turn is None else self._turn(drawn, t)

    def _draw(self, phase: float, surface: np.ndarray) -> np.ndarray:
        colour = np.zeros((CANVAS, CANVAS, 3), np.uint8)
        alpha = np.zeros((CANVAS, CANVAS), np.uint8)
        for part in self._pose(phase):
            corners = np.rint((part.points * UNIT + CANVAS / 2 - 0.5) * 16).astype(np.int32)
            x, y, w, h = cv2.boundingRect(corners // 16)
            x, y = max(x - 1, 0), max(y - 1, 0)
            here = np.s_[y : y + h + 2, x : x + w + 2]
            mask = np.zeros_like(alpha)
            cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, 4)
            source = surface[here] if part.fill < 0 else self.colours[part.fill]
            source = np.minimum(source * np.uint16(round(part.shade * 256)) >> 8, 255)
            colour[here] = mix(colour[here], source, mask[here])
            alpha |= mask
            cv2.polylines(colour, [corners], True, (18, 18, 18), 1, cv2.LINE_AA, 4)
            cv2.polylines(alpha, [corners], True, 255, 1, cv2.LINE_AA, 4)
        lit = np.minimum(colour.astype(np.uint32) * self._light[..., None] >> 8, 255)
        return np.dstack([(lit * alpha[..., None] // 255).astype(np.uint8), alpha])


def family_sheet(data: BuiltIn) -> np.ndarray:
    """Individuals of each family in successive poses: uint8 (H, W, 3) RGB, one row a family."""
    sheet = np.full((data.families * CANVAS, MARGIN + INDIVIDUALS * CANVAS, 3), PAPER, np.uint8)
    for row in range(data.families):
        y, font = row * CANVAS, cv2.FONT_HERSHEY_SIMPLEX
        name, at = FAMILIES[row].family, (6, y + CANVAS // 2 + 4)
        cv2.putText(sheet, name, at, font, 0.38, INK, 1, cv2.LINE_AA)
        for column in range(INDIVIDUALS):
            x = MARGIN + column * CANVAS
            rng = np.random.default_rng([data.seed, row, column])
            instance = Instance(rng, Kind.draw(rng, row, data))
            sprite = instance.sprite(2 * np.pi * column / INDIVIDUALS)
            under = sheet[y : y + CANVAS, x : x + CANVAS]
            under[:] = sprite[..., :3] + mix(under, 0, sprite[..., 3])
    return sheet
