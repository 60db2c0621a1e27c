"""Scenes of the built-in data: background, camera, objects, occluders and light, frame by frame.

A scene is planned from a random generator alone, so it is independent of every other scene; its
frames are rendered one by one together with the truth. Layers are painted from back to front, and
the last one to own a pixel decides what is visible.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from esiamfc_lib.synthetic_motion import Path, camera, leave, smooth, travel
from esiamfc_lib.synthetic_objects import CANVAS, UNIT, Instance
from esiamfc_lib.synthetic_textures import BACKGROUNDS, noise

CHALLENGES = ("occlusion", "blur", "scale", "illumination", "out_of_view", "distractors",
              "fast_motion")


@dataclass(frozen=True)
class Truth:
    """What is known about one object in one frame.

    Attributes:
        box: (4,) int, ``x, y, w, h``, 0-based: the tight extent of the object's silhouette inside
            the frame, also where something stands in front of it (as OTB and VID annotate); None
            where less than an eighth of the object is inside the frame.
        polygon: (4, 2) float, corners of the turned rectangle around the object, pixel indices.
        inside: share of the object inside the frame.
        visible: share of the object that is seen: inside and not covered.
        blur: length of the motion blur, pixels.
        area: of the whole silhouette, pixels.
    """

    box: np.ndarray | None
    polygon: np.ndarray
    inside: float
    visible: float
    blur: float
    area: int

    @property
    def occluded(self) -> bool:
        """Whether less than half of what could be seen is seen."""
        return self.visible < 0.5 * self.inside


@dataclass(frozen=True)
class Actor:
    """An object on its way."""

    instance: Instance
    path: Path
    size: float


def warp(picture: np.ndarray, matrix: np.ndarray, width: int, height: int) -> np.ndarray:
    """Affine warp in whole numbers: equal on every processor.

    Args:
        picture: uint8, any number of channels.
        matrix: (2, 3) maps output pixel indices to input pixel indices.
        width, height: of the output.

    Returns:
        Bilinear samples (positions in 1/32 pixel); zero outside the picture.
    """
    fixed = np.rint(np.asarray(matrix) * 65536).astype(np.int32)
    x, y = np.arange(width, dtype=np.int32), np.arange(height, dtype=np.int32)[:, None]
    u, v = ((row[0] * x + row[1] * y + row[2]) >> 11 for row in fixed)
    whole = np.dstack([u >> 5, v >> 5]).astype(np.int16)
    part = ((v & 31) << 5 | (u & 31)).astype(np.uint16)
    return cv2.remap(picture, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def sprite_patch(actor: Actor, t: int, shift) -> tuple[np.ndarray, int, int, np.ndarray]:
    """One actor in frame ``t``, moved by ``shift`` pixels.

    Returns:
        Patch (h, w, 4) RGBA, the frame's column and row of its left-top pixel, and the corners
        (4, 2) of the turned rectangle around the object in pixel indices of the frame.
    """
    path = actor.path
    sprite = actor.instance.sprite(float(path.phase[t]))
    side = actor.size * path.scale[t] / (2 * UNIT)
    if side < 0.5:  # halve first: bilinear samples further apart would miss pixels
        sprite = cv2.resize(sprite, (CANVAS // 2, CANVAS // 2), interpolation=cv2.INTER_AREA)
    shrink = CANVAS / len(sprite)
    a, root = path.angle[t], np.sqrt(path.stretch[t])
    forward = (np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
               @ np.diag([side * root * path.mirror[t], side / root])) * shrink
    middle = (len(sprite) - 1) / 2
    left, top, w, h = cv2.boundingRect(np.ascontiguousarray(sprite[..., 3] >= 128).astype(np.uint8))
    corners = np.array([[left, top], [left + w - 1, top], [left + w - 1, top + h - 1],
                        [left, top + h - 1]]) - middle
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


def paste(frame: np.ndarray, owner: np.ndarray, patch: np.ndarray, x: int, y: int,
          name: int) -> None:
    """Paint an RGBA patch whose left-top pixel lies at (x, y), and mark what it owns."""
    height, width = owner.shape
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + patch.shape[1], width), min(y + patch.shape[0], height)
    if left >= right or top >= bottom:
        return
    part = patch[top - y:bottom - y, left - x:right - x]
    under = frame[top:bottom, left:right]
    rest = under * (255 - part[..., 3:]).astype(np.uint16)
    under[:] = part[..., :3] + ((rest + 128 + (rest >> 8)) >> 8).astype(np.uint8)
    owner[top:bottom, left:right][part[..., 3] >= 128] = name


class Scene:
    """One video: plan it from a generator, then iterate ``render()``.

    Attributes:
        targets: the annotated actors.
        challenges: names of ``CHALLENGES`` that were put in on purpose.
        background: name of its background family.
    """

    def __init__(self, rng: np.random.Generator, *, frames: int, width: int, height: int,
                 family: int, families: int, separation: float, tracks: int = 1,
                 may_vanish: bool = True):
        """Plan a scene.

        Args:
            rng: decides everything.
            frames, width, height: of the video.
            family: index of the first target's family.
            families, separation: of the data set, see ``Instance``.
            tracks: number of targets.
            may_vanish: whether a target may leave the frame completely.
        """
        self.frames, self.width, self.height = frames, width, height
        chance = dict(zip(CHALLENGES, (0.4, 0.35, 0.35, 0.35, 0.2, 0.65, 0.35), strict=True))
        self.challenges = [name for name in CHALLENGES if rng.uniform() < chance[name]]
        room = 0.18 * width
        self._room = int(room) + 16
        self.background = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
        self._canvas = BACKGROUNDS[self.background](rng, width + 2 * self._room,
                                                    height + 2 * self._room)
        self._camera = camera(rng, frames, room * rng.uniform(0, 0.8), rng.choice([0, 0.6, 1.8]))
        kin = [family, *(family if rng.uniform() < 0.5 else int(rng.integers(families))
                         for _ in range(tracks - 1))]
        self.targets = [self._cast(rng, f, families, separation, True, may_vanish) for f in kin]
        others = int(rng.integers(1, 4)) if "distractors" in self.challenges else 0
        self._distractors = [self._cast(rng, family, families, separation, False)
                             for _ in range(others)]
        self._order = rng.permutation(len(self.targets) + others)
        self._occluders = self._plant(rng) if "occlusion" in self.challenges else []
        self._blur = rng.uniform(0.8, 1.6) if "blur" in self.challenges else rng.uniform(0, 0.35)
        strength = 0.45 if "illumination" in self.challenges else 0.08
        self._gain = 1 + strength * np.clip(smooth(rng, frames, rng.uniform(35, 70)), -1, 1)
        self._cast_colour = 1 + 0.12 * rng.uniform(-1, 1, 3)
        self._grain = (noise(rng, width + 64, height + 64, 1).astype(np.int16) - 128) // 18
        self._grain_at = rng.integers(0, 64, (frames, 2))

    def _cast(self, rng, family: int, families: int, separation: float, target: bool,
              may_vanish: bool = True) -> Actor:
        """An individual of a family with a path of its own."""
        unit = min(self.width / 320, self.height / 240)
        instance = Instance(rng, family, families, separation)
        size = unit * rng.uniform(38, 82)
        speed = unit * rng.uniform(1.8, 3.6)
        if "fast_motion" in self.challenges and target:
            speed *= rng.uniform(1.6, 2.3)
        start = tuple(rng.uniform(0.2, 0.8, 2) * (self.width, self.height))
        path = travel(rng, instance.motion, self.frames, speed, size, self.width, self.height,
                      start)
        if target and "scale" in self.challenges:
            grown = 1 + 0.5 * np.clip(smooth(rng, self.frames, 70), -1, 1)
            path = replace(path, scale=path.scale * grown)
        path = replace(path, scale=np.clip(path.scale, 24 * unit / size, 90 * unit / size))
        if target and "out_of_view" in self.challenges:
            path = leave(rng, path, self.width, 0.6 * size if may_vanish else -8 * unit)
        return Actor(instance, path, size)

    def _plant(self, rng) -> list[tuple[np.ndarray, np.ndarray]]:
        """Foreground pieces in the way of the targets: RGBA patch, (left, top) on the ground."""
        pieces = []
        for actor in self.targets:
            for share in rng.permutation(np.array([0.3, 0.5, 0.7]))[:int(rng.integers(1, 3))]:
                t = int(share * self.frames)
                w = int(actor.size * rng.uniform(0.45, 1.0))
                pole = rng.integers(2)
                h = 2 * self.height if pole else int(actor.size * rng.uniform(1.0, 1.6))
                kind = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))]
                skin = BACKGROUNDS[kind](rng, max(w, 16), max(h, 16))
                mask = np.zeros(skin.shape[:2], np.uint8)
                if pole:
                    mask[:] = 255
                else:
                    turns = np.arange(12) * (np.pi / 6)
                    reach = rng.uniform(0.38, 0.5, (12, 1)) * (skin.shape[1], skin.shape[0])
                    round_ = reach * np.stack([np.cos(turns), np.sin(turns)], 1)
                    middle = (skin.shape[1] / 2, skin.shape[0] / 2)
                    cv2.fillPoly(mask, [np.rint(round_ + middle).astype(np.int32)], 255,
                                 cv2.LINE_AA)
                skin = (skin * mask[..., None].astype(np.uint16) // 255).astype(np.uint8)
                place = np.array([actor.path.x[t] - w / 2, actor.path.y[t] - h / 2])
                pieces.append((np.dstack([skin, mask]), place + self._camera[t, :2]))
        return pieces

    def _backdrop(self, t: int) -> np.ndarray:
        """The background as the camera sees it."""
        zoom, roll = self._camera[t, 2:4]
        scale = np.exp(-abs(zoom))
        turn = scale * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        middle = np.array([self.width - 1, self.height - 1]) / 2
        pan = self._camera[t, :2] + self._camera[t, 4:]
        offset = middle + self._room + pan - turn @ middle
        return warp(self._canvas, np.column_stack([turn, offset]), self.width, self.height)

    def render(self) -> Iterator[tuple[np.ndarray, list[Truth]]]:
        """Yield (frame (H, W, 3) uint8 RGB, one ``Truth`` per target) for each frame."""
        for t in range(self.frames):
            yield self._frame(t)

    def _frame(self, t: int) -> tuple[np.ndarray, list[Truth]]:
        frame = self._backdrop(t)
        owner = np.zeros((self.height, self.width), np.uint8)
        before = max(t - 1, 0)
        shake = -self._camera[t, 4:]
        cast = [*self.targets, *self._distractors]
        drawn = {}
        for index in self._order[::-1]:
            actor = cast[index]
            patch, x, y, corners = sprite_patch(actor, t, shake)
            mask = (patch[..., 3] >= 128).astype(np.uint8)
            step = self._blur * np.array([actor.path.x[t] - actor.path.x[before],
                                          actor.path.y[t] - actor.path.y[before]])
            if np.abs(step).max() >= 1.5:
                patch, margin = smear(patch, step)
                paste(frame, owner, patch, x - margin, y - margin, index + 1)
            else:
                paste(frame, owner, patch, x, y, index + 1)
            drawn[index] = (mask, x, y, corners, float(np.hypot(*step)))
        for piece, place in self._occluders:
            x, y = np.rint(place - self._camera[t, :2] + shake).astype(int)
            paste(frame, owner, piece, x, y, 255)
        return self._expose(frame, t), [self._truth(owner, index, *drawn[index])
                                        for index in range(len(self.targets))]

    def _truth(self, owner, index, mask, x, y, corners, blur) -> Truth:
        area = max(int(mask.sum()), 1)
        left, top = max(-x, 0), max(-y, 0)
        cut = mask[top:max(self.height - y, 0), left:max(self.width - x, 0)]
        inside = int(cut.sum())
        box = None
        if inside >= area / 8:
            bx, by, w, h = cv2.boundingRect(np.ascontiguousarray(cut))
            box = np.array([bx + x + left, by + y + top, w, h])
        seen = owner[y + top:y + top + cut.shape[0], x + left:x + left + cut.shape[1]] == index + 1
        visible = int((seen & (cut > 0)).sum()) if inside else 0
        return Truth(box, corners, inside / area, visible / area, blur, area)

    def _expose(self, frame: np.ndarray, t: int) -> np.ndarray:
        """Light, colour cast and sensor grain."""
        tone = np.arange(256)[:, None] * (self._gain[t] * self._cast_colour)[None]
        table = np.clip(np.rint(tone), 0, 255).astype(np.uint8)[None]
        x, y = self._grain_at[t]
        grain = self._grain[y:y + self.height, x:x + self.width]
        lit = cv2.LUT(frame, table)
        return np.clip(lit + grain[..., None], 0, 255).astype(np.uint8)

    def families(self) -> list[str]:
        """Family of each target."""
        return [actor.instance.family for actor in self.targets]

    def attributes(self, truths: list[Truth], target: int = 0) -> list[str]:
        """Challenges that a target really met, measured from its truth in all frames."""
        boxes = np.array([t.box for t in truths if t.box is not None], float).reshape(-1, 4)
        side = np.sqrt(np.array([t.area for t in truths], float))
        moved = np.hypot(*np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).T)
        angle = self.targets[target].path.angle
        instance = self.targets[target].instance
        met = {
            "occlusion": any(t.visible < 0.65 * t.inside for t in truths),
            "blur": max(t.blur for t in truths) >= 4,
            "scale": side.max() / side.min() >= 1.5,
            "illumination": np.ptp(self._gain) >= 0.4,
            "out_of_view": min(t.inside for t in truths) < 0.7,
            "distractors": instance.family in [
                a.instance.family for a in [*self.targets, *self._distractors]
                if a.instance is not instance],
            "fast_motion": len(moved) > 0 and np.quantile(moved, 0.8) >= 0.1 * side.mean(),
            "deformation": instance.deforms,
            "rotation": np.ptp(angle) >= 0.5,
        }
        return [name for name, is_met in met.items() if is_met]

    def facts(self, target: int) -> dict[str, str]:
        """What one target is made of and the background's family."""
        instance = self.targets[target].instance
        return {"family": instance.family, "shape": instance.shape, "texture": instance.texture,
                "motion": instance.motion, "background": self.background}

    def frame_marks(self, truths: list[Truth]) -> dict[str, np.ndarray]:
        """The challenges of VOT, per frame of the first target: name -> (frames,) bool."""
        path = self.targets[0].path
        side = np.sqrt([t.area for t in truths])
        moved = np.hypot(np.gradient(path.x), np.gradient(path.y))
        pan = np.hypot(*np.gradient(self._camera[:, :2], axis=0).T)
        return {"camera_motion": pan >= 1,
                "illum_change": np.abs(self._gain - self._gain[0]) >= 0.2,
                "motion_change": moved >= 0.1 * side,
                "occlusion": np.array([t.visible < 0.65 * t.inside for t in truths]),
                "size_change": np.abs(np.log(side / side[0])) >= np.log(1.25)}
