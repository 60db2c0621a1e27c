"""Scenes of the built-in data: background, camera, objects, occluders and light, frame by frame.

A scene is planned from a random generator alone; its frames are rendered one by one together with
the truth, from back to front: the last layer to own a pixel decides what is visible."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from esiamfc_lib.synthetic.backgrounds import any_background
from esiamfc_lib.synthetic.motion import Path, camera, leave, smooth, travel
from esiamfc_lib.synthetic.objects import Instance, Kind
from esiamfc_lib.synthetic.painting import Actor, overlap, paste, smear, sprite_patch, warp
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.synthetic.textures import mix, noise

CHANCES = {
    **{"occlusion": 0.45, "blur": 0.35, "scale": 0.35, "illumination": 0.35},
    **{"out_of_view": 0.3, "distractors": 0.65, "fast_motion": 0.35},
}
"""Challenges that are put into a scene on purpose, and how often."""


@dataclass(frozen=True)
class Truth:
    """What is known about one object in one frame. ``box`` (4,) int, ``x, y, w, h``, 0-based, is
    the tight extent of its silhouette inside the frame, also where something stands in front of it
    (as OTB and VID annotate); None where less than an eighth is inside. ``polygon`` (4, 2) has the
    corners of the turned rectangle around it, pixel indices; ``inside`` and ``visible`` (inside and
    not covered) are shares of it; ``blur`` is the length of its motion blur, ``area`` the number of
    pixels of its whole silhouette."""

    box: np.ndarray | None
    polygon: np.ndarray
    inside: float
    visible: float
    blur: float
    area: int

    @property
    def occluded(self) -> bool:
        return self.visible < 0.5 * self.inside


class Scene:
    """One video, planned from ``rng`` alone: ``tracks`` targets, the first of the family with that
    index, which ``may_vanish`` from the frame completely; then iterate ``render()``."""

    def __init__(self, rng, data: BuiltIn, frames: int, family: int, tracks: int, may_vanish: bool):
        self.frames, self.width, self.height = frames, data.width, data.height
        self.challenges = [name for name, chance in CHANCES.items() if rng.uniform() < chance]
        room = 0.18 * self.width
        self._room = int(room) + 16
        self.background, paint = any_background(rng)
        self._canvas = paint(rng, self.width + 2 * self._room, self.height + 2 * self._room)
        self._camera = camera(rng, frames, room * rng.uniform(0, 0.8), rng.choice([0, 0.6, 1.8]))
        self._cast(rng, data, family, tracks, may_vanish)
        self._order = rng.permutation(len(self._actors))
        self._occluders = self._plant(rng) if "occlusion" in self.challenges else []
        self._blur = rng.uniform(0.8, 1.6) if "blur" in self.challenges else rng.uniform(0, 0.35)
        strength = 0.45 if "illumination" in self.challenges else 0.08
        self._gain = 1 + strength * np.clip(smooth(rng, frames, rng.uniform(35, 70)), -1, 1)
        self._tint = 1 + 0.12 * rng.uniform(-1, 1, 3)
        grain = (noise(rng, self.width + 64, self.height + 64, 1).astype(np.int16) - 128) // 18
        self._grain = np.repeat(grain[..., None], 3, axis=2)
        self._grain_at = rng.integers(0, 64, (frames, 2))

    def _cast(self, rng, data: BuiltIn, family: int, tracks: int, may_vanish: bool) -> None:
        """Choose the targets, and the distractors that are taken for the first of them."""
        first = Kind.draw(rng, family, data)
        kinds = [first]
        for _ in range(tracks - 1):
            other = Kind.draw(rng, int(rng.integers(data.families)), data)
            kinds.append(first if rng.uniform() < 0.5 else other)
        self._actors: list[Actor] = []  # the targets, then the distractors
        own = rng.spawn(1)[0]  # leaves rng itself as it is
        for kind in kinds:
            path, size = self._path(rng, kind.motion, True, may_vanish)
            changes = own if own.uniform() < data.conflict else None
            self._actors.append(Actor(Instance(rng, kind, changes), path, size))
        self.targets = self._actors[:]
        model = self.targets[0].instance
        others = int(rng.integers(1, 4)) if "distractors" in self.challenges else 0
        for _ in range(others):  # of the first target's kind, in other colours
            kind, colours = first, None
            if model.changes and first.stays == "pattern":  # in its colours, with another pattern
                colours = model.colours
                while kind.texture == first.texture:
                    kind = Kind.draw(own, int(own.integers(data.families)), data)
                kind = replace(kind, arc=first.arc, stays=first.stays)
            path, size = self._path(rng, kind.motion, False, False)
            instance = Instance(rng, kind, own if model.changes else None, colours)
            self._actors.append(Actor(instance, path, size))

    def _path(self, rng, motion: str, target: bool, may_vanish: bool) -> tuple[Path, float]:
        """A path that starts well away from the others, and the side of the object on it."""
        frame = self.width, self.height
        unit = min(self.width / 320, self.height / 240)
        size = unit * rng.uniform(38, 82)
        speed = unit * rng.uniform(1.8, 3.6)
        if "fast_motion" in self.challenges and target:
            speed *= rng.uniform(1.6, 2.3)
        places = rng.uniform(0.15, 0.85, (12, 2)) * frame
        taken = np.array([[a.path.x[0], a.path.y[0]] for a in self._actors]).reshape(-1, 1, 2)
        distance = np.hypot(*(places - taken).transpose(2, 0, 1)).min(0, initial=self.width)
        start = places[np.argmax(distance)]
        path = travel(rng, motion, self.frames, speed, size, frame, start)
        x, scale = path.x, path.scale
        if target and "scale" in self.challenges:
            scale = scale * (1 + 0.5 * np.clip(smooth(rng, self.frames, 70), -1, 1))
        if target and "out_of_view" in self.challenges:
            x = leave(rng, x, self.width, 0.6 * size if may_vanish else -3 * unit)
        scale = np.clip(scale, 24 * unit / size, 90 * unit / size)
        return replace(path, x=x, scale=scale), size

    def _plant(self, rng) -> list[tuple[np.ndarray, np.ndarray]]:
        """Foreground pieces in the way of the targets: RGBA patch, (left, top) on the ground."""
        pieces = []
        for actor in self.targets:
            wanted = int(rng.integers(1, 3))
            for share in rng.permutation(np.linspace(0.25, 0.85, 7)):
                t = int(share * self.frames)
                size = actor.size * actor.path.scale[t]
                w = int(size * rng.uniform(0.6, 1.1))
                pole = bool(rng.integers(2))
                h = 2 * self.height if pole else int(size * rng.uniform(1.0, 1.6))
                place = np.array([actor.path.x[t] - w / 2, actor.path.y[t] - h / 2])
                place += self._camera[t, :2]
                if wanted and not self._hides_much(place, w, h):
                    pieces.append((_piece(rng, w, h, pole), place))
                    wanted -= 1
        return pieces

    def _hides_much(self, place: np.ndarray, w: int, h: int) -> bool:
        """Whether a piece covers a target at the start, or for more than a quarter of the time."""
        for actor in self.targets:
            middle = place + np.array([w, h]) / 2 - self._camera[:, :2]
            apart = np.abs(middle - np.stack([actor.path.x, actor.path.y], 1))
            gap, half = apart - np.array([w, h]) / 2, 0.5 * actor.size * actor.path.scale
            if gap[0].max() < half[0] or np.mean(gap.max(1) < 0.3 * half) > 0.25:
                return True
        return False

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
        """What ``frame`` gives, for each frame."""
        return map(self.frame, range(self.frames))

    def frame(self, t: int) -> tuple[np.ndarray, list[Truth]]:
        """Frame ``t``, (H, W, 3) uint8 RGB, and one ``Truth`` per target."""
        frame = self._backdrop(t)
        owner = np.zeros((self.height, self.width), np.uint8)
        shake = -self._camera[t, 4:]
        drawn = {}
        for index in self._order[::-1]:
            actor = self._actors[index]
            patch, x, y, corners = sprite_patch(actor, t, shake)
            moved = [way[t] - way[max(t - 1, 0)] for way in (actor.path.x, actor.path.y)]
            step = self._blur * np.array(moved)
            drawn[index] = (patch[..., 3] >= 128, x, y, corners, float(np.hypot(*step)))
            margin = 0
            if np.abs(step).max() >= 1.5:
                patch, margin = smear(patch, step)
            paste(frame, owner, patch, x - margin, y - margin, index + 1)
        for piece, place in self._occluders:
            x, y = np.rint(place - self._camera[t, :2] + shake).astype(int)
            paste(frame, owner, piece, x, y, 255)
        truths = [_truth(owner == i + 1, *drawn[i]) for i, _ in enumerate(self.targets)]
        return self._expose(frame, t), truths

    def _expose(self, frame: np.ndarray, t: int) -> np.ndarray:
        """Light, colour cast and sensor grain."""
        tone = np.arange(256)[:, None] * (self._gain[t] * self._tint)[None]
        table = np.clip(np.rint(tone), 0, 255).astype(np.uint8)[None]
        x, y = self._grain_at[t]
        grain = self._grain[y : y + self.height, x : x + self.width]
        return cv2.add(cv2.LUT(frame, table), grain, dtype=cv2.CV_8U)

    def attributes(self, truths: list[Truth], target: int = 0) -> list[str]:
        """Challenges that a target really met, measured from its truth in all frames."""
        boxes = np.array([t.box for t in truths if t.box is not None], float).reshape(-1, 4)
        side = np.sqrt(np.array([t.area for t in truths], float))
        moved = np.hypot(*np.diff(boxes[:, :2] + boxes[:, 2:] / 2, axis=0).T)
        actor = self.targets[target]
        kind = actor.instance.kind
        met = {
            "occlusion": any(t.visible < 0.65 * t.inside for t in truths),
            "blur": max(t.blur for t in truths) >= 4,
            "scale": side.max() / side.min() >= 1.5,
            "illumination": np.ptp(self._gain) >= 0.4,
            "out_of_view": min(t.inside for t in truths) < 0.8,
            "distractors": any(a is not actor and a.instance.kind == kind for a in self._actors),
            "fast_motion": len(moved) > 0 and np.quantile(moved, 0.8) >= 0.15 * side.mean(),
            "deformation": actor.instance.deforms,
            "rotation": np.ptp(actor.path.angle) >= 0.5,
        }
        return [name for name, is_met in met.items() if is_met]

    def facts(self, target: int) -> dict[str, str]:
        """What one target is made of, and the name of the background."""
        kind = self.targets[target].instance.kind
        made_of = {name: getattr(kind, name) for name in ("family", "shape", "texture", "motion")}
        return made_of | {"background": self.background}

    def frame_marks(self, truths: list[Truth]) -> dict[str, np.ndarray]:
        """The challenges of VOT, per frame of the first target: name -> (frames,) bool."""
        path = self.targets[0].path
        side = np.sqrt([t.area for t in truths])
        moved = np.hypot(np.gradient(path.x), np.gradient(path.y))
        pan = np.hypot(*np.gradient(self._camera[:, :2], axis=0).T)
        return {
            "camera_motion": pan >= 1,
            "illum_change": np.abs(self._gain - self._gain[0]) >= 0.2,
            "motion_change": moved >= 0.15 * side,
            "occlusion": np.array([t.visible < 0.65 * t.inside for t in truths]),
            "size_change": np.abs(np.log(side / side[0])) >= np.log(1.25),
        }


def _piece(rng, w: int, h: int, pole: bool) -> np.ndarray:
    """RGBA of a pole or a bush, in the look of some background."""
    skin = any_background(rng)[1](rng, max(w, 16), max(h, 16))[:h, :w]
    mask = np.full(skin.shape[:2], 255 if pole else 0, np.uint8)
    if not pole:
        turns = np.arange(12) * (np.pi / 6)
        reach = rng.uniform(0.4, 0.52, (12, 1)) * (w, h)
        outline = reach * np.stack([np.cos(turns), np.sin(turns)], 1) + (w / 2, h / 2)
        cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 255, cv2.LINE_AA)
    return np.dstack([mix(0, skin, mask), mask])


def _truth(seen: np.ndarray, mask: np.ndarray, x: int, y: int, corners, blur: float) -> Truth:
    """The truth of an object whose silhouette lies at (x, y) and of which ``seen`` is left."""
    here, kept = overlap(seen, mask, x, y)
    area, cut = max(int(mask.sum()), 1), mask[kept]
    inside = int(cut.sum())
    box = None
    if inside >= area / 8:
        bx, by, w, h = cv2.boundingRect(cut.astype(np.uint8))
        box = np.array([bx + max(x, 0), by + max(y, 0), w, h])
    visible = int((seen[here] & cut).sum())
    return Truth(box, corners, inside / area, visible / area, blur, area)
