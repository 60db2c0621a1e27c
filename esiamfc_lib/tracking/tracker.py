"""The tracker of users: a file of weights in, boxes out; ``esiamfc_lib.Tracker``."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from PIL import Image

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.tracking.base import SequenceTracker, rgb
from esiamfc_lib.tracking.spec import TrackerSpec, name_of

COLOURS = ("RGB", "BGR")


class Tracker(SequenceTracker):
    """SiamFC or ESiamFC, whichever a file of weights holds; also a got10k ``Tracker``.

    Frames are uint8 arrays (H, W, 3) or (H, W), or PIL images; boxes are 0-based ``x, y, w, h`` in
    pixels, fractions included, and may leave the frame.

    Attributes:
        name: of the tracker, by that of the file.
        device, precision: on which and in which the network runs; ``reason`` says why."""

    def __init__(self, spec: TrackerSpec):
        super().__init__(spec.name)
        self.device, self.precision, self.reason = spec.runs_on()
        self._loop = spec.build()
        self.colour = "RGB"

    @classmethod
    def load(
        cls, path: str | Path, *, device: str = "auto", precision: str = "auto", **options
    ) -> Self:
        """Read a tracker from any file of weights that ``esiamfc convert`` reads.

        Args:
            path: a SiamFC or an ESiamFC; which of them, the file says.
            device: ``auto``: the GPU where there is one; or ``cpu``, ``cuda`` ...
            precision: ``auto``: bf16 where the processor computes in it, else fp32; or one of them.
            options: further fields of ``TrackerSpec``: ``fusion="uniform"``, ``top=2``,
                ``tracking={"scale_num": 5}`` ...

        Raises:
            StudyError: the file is missing, damaged or of no network, or an option is wrong."""
        ensemble = isinstance(published.load_any(path)[0], ESiamFC)
        given = {"kind": "ensemble" if ensemble else "siamfc", "name": name_of(Path(path))}
        given |= {"weights": str(path), "device": device, "precision": precision}
        return cls(TrackerSpec.validated(given | options, where="Tracker.load"))

    def init(
        self,
        image: np.ndarray | Image.Image,
        box: np.ndarray,
        colour: Literal["RGB", "BGR"] = "RGB",
    ) -> None:
        """Learn the target from the first frame and its box. ``colour`` is the order of the
        channels in this array and in those of ``update`` (BGR: OpenCV's); a PIL image knows its
        own. ``StudyError`` for what is no frame, or a box that is none in it."""
        if colour not in COLOURS:
            raise StudyError(f"colour is RGB or BGR, not {colour!r}")
        self.colour = colour
        self._loop.init(self._seen(image), box)

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Find the target in the next frame: its box, float64 (4,)."""
        if self.box is None:
            raise StudyError("update needs the first frame before it: init(frame, box)")
        return self._loop.update(self._seen(image))

    @property
    def box(self) -> np.ndarray | None:
        """The target in the last frame, float64 (4,); None before ``init``."""
        return getattr(self._loop, "box", None)

    @property
    def response(self) -> np.ndarray | None:
        """The up-sampled response at the last frame, float32 (272, 272), before the cosine window;
        None until ``update``. ``region`` is the box of the frame that it covers."""
        return getattr(self._loop, "last_response", None)

    @property
    def region(self) -> np.ndarray | None:
        return getattr(self._loop, "last_region", None)

    @property
    def weights(self) -> np.ndarray | None:
        """The branches' weights since ``init``, float64 (k,), summing to 1; None of a SiamFC."""
        return getattr(self._loop, "fusion_weights", None)

    def __repr__(self) -> str:
        k = self._loop.engine.k
        what = f"ESiamFC of {k} branches" if hasattr(self._loop, "fusion") else "SiamFC"
        return f"<Tracker {self.name}: {what}, {self.precision} on {self.device} ({self.reason})>"

    def _seen(self, image: np.ndarray | Image.Image) -> np.ndarray:
        turned = self.colour == "BGR" and not isinstance(image, Image.Image)
        return np.ascontiguousarray(rgb(image)[..., ::-1]) if turned else rgb(image)
