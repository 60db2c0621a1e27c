"""The tracker of users: a file of weights in, boxes out; ``esiamfc_lib.Tracker``."""

import copy
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.tracking.base import SequenceTracker, rgb
from esiamfc_lib.tracking.spec import TrackerSpec, name_of


class Tracker(SequenceTracker):
    """SiamFC or ESiamFC, whichever a file of weights holds; also a got10k ``Tracker``.

    Frames are uint8 arrays (H, W, 3) or (H, W), or PIL images; boxes are 0-based ``x, y, w, h`` in
    pixels, fractions included, and may leave the frame.

    Attributes:
        name: by that of the file.
        device, precision: where and in what the network runs; ``reason`` says why.
        box: (4,) the target in the last frame; None before ``init``, as are all that follow.
        weights: (k,) the branches' weights since ``init``, summing to 1; None of a SiamFC.
        response: (272, 272) the up-sampled response before the cosine window, from ``update`` on;
        region: (4,) the box of the frame that it covers."""

    def __init__(self, spec: TrackerSpec):
        super().__init__(spec.name)
        self.device, self.precision, self.reason = spec.runs_on()
        self._loop, self.colour = spec.build(), "RGB"
        self.box = self.weights = self.response = self.region = None

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "auto", precision: str = "auto", **options
    ) -> Self:
        """Read a tracker from a file; a ``StudyError`` says what is wrong with it or an option.

        Args:
            path: a SiamFC or an ESiamFC, in any format that ``esiamfc convert`` reads.
            device: ``auto``: the GPU where there is one; or ``cpu``, ``cuda`` ...
            precision: ``auto``: bf16 where the processor computes in it, else fp32; or one of them.
            options: further fields of ``TrackerSpec``: ``fusion="uniform"``, ``top=2``,
                ``tracking={"scale_num": 5}`` ..."""
        ensemble = isinstance(published.load_any(path)[0], ESiamFC)
        given = {"kind": "ensemble" if ensemble else "siamfc", "name": name_of(Path(path))}
        given |= {"weights": str(path), "device": device, "precision": precision}
        return cls(TrackerSpec.validated(given | options, where="Tracker.load"))

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray, colour: str = "RGB") -> None:
        """Learn the target from the first frame and its box. ``colour`` is the order of channels in
        this array and those of ``update``, RGB or (OpenCV's) BGR; a PIL image knows its own. A
        ``StudyError`` for what is no frame, or a box that is none in it."""
        if colour not in ("RGB", "BGR"):
            raise StudyError(f"colour is RGB or BGR, not {colour!r}")
        self.colour, self.box = colour, None  # of an init that is refused, too
        self._loop.init(self._rgb(image), box)
        self.weights = getattr(self._loop, "fusion_weights", None)
        self._keep()

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Find the target in the next frame: its box, float64 (4,)."""
        if self.box is None:
            raise StudyError("update needs the first frame before it: init(frame, box)")
        self._loop.update(self._rgb(image))
        return self._keep()

    def _keep(self) -> np.ndarray:
        self.response, self.region = self._loop.last_response, self._loop.last_region
        self.box = self._loop.box
        return self.box

    def _rgb(self, image: np.ndarray | Image.Image) -> np.ndarray:
        turned = self.colour == "BGR" and not isinstance(image, Image.Image)
        return np.ascontiguousarray(rgb(image)[..., ::-1]) if turned else rgb(image)

    def __copy__(self) -> Self:
        """A tracker for another object, with the same network."""
        other = object.__new__(type(self))
        other.__dict__ |= vars(self) | {"_loop": copy.copy(self._loop)}
        return other

    def __repr__(self) -> str:
        k = self._loop.engine.k
        what = f"ESiamFC of {k} branches" if self._loop.network is ESiamFC else "SiamFC"
        return f"<Tracker {self.name}: {what}, {self.precision} on {self.device} ({self.reason})>"
