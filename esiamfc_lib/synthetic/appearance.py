"""How objects of the built-in data change their look from frame to frame.

With ``conflict`` every family has one thing that stays, its colours or its pattern, and another one
that changes; distractors have what changes in common with the target. What tells a target from the
others of one family is then what a tracker of the other family must not look at.
"""

import numpy as np

from esiamfc_lib.synthetic.textures import mix

GREY = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # turns around the grey axis


class TurningColours:
    """Hues that swing to and fro, at most by half of ``share`` of the colour circle each way."""

    def __init__(self, rng: np.random.Generator, share: float):
        self._rate = rng.choice([-1, 1]) * 2 * np.pi / rng.uniform(20, 36)
        self._phase = rng.uniform(0, 2 * np.pi)
        self._reach = np.pi * share

    def __call__(self, sprite: np.ndarray, t: int) -> np.ndarray:
        """The sprite (H, W, 4), RGB times alpha, as it looks in frame ``t``; in whole numbers."""
        angle = self._reach * np.sin(self._phase + self._rate * t)
        turn = np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) / 3 + np.sin(angle) * GREY
        whole = np.rint(256 * turn).astype(np.int32)
        turned = (sprite[..., :3].astype(np.int32) @ whole.T) >> 8
        return np.dstack([np.clip(turned, 0, sprite[..., 3:]).astype(np.uint8), sprite[..., 3]])


class FadingPattern:
    """Surfaces, uint8 (H, W, 3), that fade into one another in turn."""

    def __init__(self, rng: np.random.Generator, surfaces: list[np.ndarray]):
        self._surfaces = surfaces
        self._every = rng.uniform(5, 9)

    def surface(self, t: int) -> np.ndarray:
        """The one seen in frame ``t``."""
        whole, part = divmod(t / self._every, 1)
        first, second = (self._surfaces[(int(whole) + i) % len(self._surfaces)] for i in (0, 1))
        return mix(first, second, np.full(first.shape[:2], int(part * 255), np.uint8))
