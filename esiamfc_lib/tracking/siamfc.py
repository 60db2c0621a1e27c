"""The SiamFC loop of Bertinetto et al. (2016), section 3.2, and of its public code.

The exemplar is cut once; in every frame a search region about the last position is cut at three
scales, the response is up-sampled, weighed with a cosine window, and its peak is the new position.
Images are uint8 RGB (H, W, 3), boxes 0-based ``x, y, w, h``; positions and sizes are never rounded
to whole pixels; boxes may leave the frame and are reported as they are."""

import functools

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.data import geometry
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.correlation import correlation
from esiamfc_lib.networks.siamfc import STRIDE, SiamFC
from esiamfc_lib.tracking.base import SequenceTracker, checked_box, rgb
from esiamfc_lib.tracking.engine import Engine, checked_network

SIZE_RANGE = (0.2, 5.0)  # the search region may shrink and grow this much from its first size


class SiamFCTracker(SequenceTracker):
    """The SiamFC tracker; without an ``engine`` for the model it runs on the CPU in fp32.

    Others differ only in how crops become responses: ``_kernel``, ``fused`` and ``_floor``.

    Attributes:
        box: (4,) the target in the last frame.
        last_response: (272, 272) float32, the up-sampled response of the chosen scale before the
            window, at the last frame; None after ``init``.
        last_region: (4,) the box of the frame that ``last_response`` covers."""

    network = SiamFC  # the type of ``model``
    active_branches: tuple[int, ...] = (0,)  # those that run

    def __init__(
        self,
        model: SiamFC,
        parameters: TrackingParameters | None = None,
        name: str = "SiamFC",
        engine: Engine | None = None,
    ):
        super().__init__(name)
        checked_network(model, self.network)
        self.parameters = p = parameters or TrackingParameters()
        search, exemplar = p.search_size, p.exemplar_size
        if search < exemplar:
            raise StudyError(f"search_size {search} is below exemplar_size {exemplar}")
        self.engine = engine or Engine(model)
        steps = np.arange(p.scale_num) - p.scale_num // 2
        self.scales = p.scale_step**steps
        self.penalties = np.where(steps == 0, 1.0, p.scale_penalty)

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray) -> None:
        """Learn the target from a frame, RGB or grey, and its box (4,), 0-based. The box may lie
        partly outside the frame; ``StudyError`` if it is none (``checked_box``)."""
        image = rgb(image)
        self.box = checked_box(box, image)
        self.center, self.size = geometry.center(self.box), self.box[2:].copy()
        self.exemplar_side = geometry.context_side(*self.size, self.parameters.context)
        self.size_limits = np.array(SIZE_RANGE) * self.exemplar_side
        self.kernel = self.last_response = self.last_region = None
        self._remember(self._exemplar(image))

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Find the target in the next frame: its box (4,), 0-based."""
        if self.parameters.local_scales:
            return self.locate(image, self._local_responses(rgb(image)))
        return self.locate(image, self.respond(self.search_crops(image)))

    def search_crops(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Search regions around the last position, one for each scale: uint8 (n, S, S, 3)."""
        return self._crops(rgb(image), self.center, self._search_sides, self.parameters.search_size)

    def respond(self, crops: np.ndarray) -> np.ndarray:
        """Search regions uint8 (n, S, S, 3) → float32 responses (n, R, R); R = 17 for S = 255."""
        with torch.inference_mode():
            stem = self.engine.stem(self.engine.images(crops))
            fused = self.fused([self.engine.branch(j, stem) for j in self.active_branches])
            return fused.float().cpu().numpy()

    def locate(self, image: np.ndarray | Image.Image, responses: np.ndarray) -> np.ndarray:
        """Take the target to where the responses (n, R, R), one a scale, are highest: its box."""
        p, sides = self.parameters, self._search_sides

        # The scale with the highest peak, where a change of scale has to be worth it.
        responses = self._upsampled(responses)
        peaks = responses.reshape(p.scale_num, -1).max(axis=1)
        best = int(np.argmax((peaks - self._floor()) * self.penalties))
        response = self.last_response = responses[best]
        covered = response.shape[0] / p.response_up * STRIDE * sides[best] / p.search_size
        self.last_region = geometry.box_around(self.center, np.array([covered, covered]))

        # A cosine window makes large displacements less likely.
        response = response - response.min()
        response /= response.sum() + 1e-16
        window = _cosine_window(response.shape[0])
        response = (1 - p.window_influence) * response + p.window_influence * window
        row, column = np.unravel_index(response.argmax(), response.shape)

        # From up-sampled response cells to pixels of the search region, then of the frame.
        cells = (np.array([column, row]) - (response.shape[0] - 1) / 2) / p.response_up
        self.center = self.center + cells * STRIDE * sides[best] / p.search_size

        # The size follows slowly, within limits.
        growth = (1 - p.scale_lr) + p.scale_lr * self.scales[best]
        growth = np.clip(self.exemplar_side * growth, *self.size_limits) / self.exemplar_side
        self.size, self.exemplar_side = self.size * growth, self.exemplar_side * growth
        if p.exemplar_lr > 0:
            self._remember(self._exemplar(rgb(image)), rate=p.exemplar_lr)
        self.box = geometry.box_around(self.center, self.size)
        return self.box

    def _remember(self, exemplar: Tensor, rate: float = 1.0) -> None:
        """Take in the exemplar (1, 3, 127, 127): the first wholly, later ones by ``rate``."""
        with torch.inference_mode():
            new = self._kernel(exemplar)
        self.kernel = new if self.kernel is None else (1 - rate) * self.kernel + rate * new

    # The response of the network to the crops; the ensemble has its own.

    def _kernel(self, exemplar: Tensor) -> Tensor:
        """What search features are correlated with, from the exemplar (1, 3, 127, 127)."""
        return self.engine.model.features(exemplar)

    def fused(self, features: list[Tensor]) -> Tensor:
        """Search features (n, C, h, w) of the active branches → response (n, h', w')."""
        branch = self.engine.model.branch
        return branch.scale * correlation(self.kernel, features[0]) + branch.bias

    def _floor(self) -> float:
        """The response of no agreement at all; the scale penalty counts from here. The network adds
        a bias, negative in the published weights. A factor below one on a negative peak would
        reward the change of scale that it should punish."""
        return float(self.engine.model.branch.bias)

    # Steps of the loop with a life of their own.

    def _local_responses(self, image: np.ndarray) -> np.ndarray:
        """Responses (n, R, R) of all scales; off the middle one only where its peak is. A network
        without padding has the same response for a part of a search region, cut at a multiple of
        the stride, as it has there for the whole. Elsewhere the other scales get the responses of
        the middle one, which the penalty keeps from being chosen there."""
        p, sides, middle = self.parameters, self._search_sides, self.parameters.scale_num // 2
        response = self.respond(self._crops(image, self.center, sides[[middle]], p.search_size))[0]
        responses = np.repeat(response[None], len(sides), axis=0)
        n = min(p.local_scales, len(response))
        peak = np.array(np.unravel_index(response.argmax(), response.shape))
        row, column = np.clip(peak - n // 2, 0, len(response) - n)

        # The part's centre: its distance, in pixels of the search region, from that of the whole.
        size = p.exemplar_size + STRIDE * (n - 1)
        offset = STRIDE * np.array([column, row]) + (size - p.search_size) / 2
        others = [i for i in range(len(sides)) if i != middle]
        parts = [
            self._crops(image, self.center + offset * step, np.array([size * step]), size)[0]
            for step in sides[others] / p.search_size
        ]
        if others:
            responses[others, row : row + n, column : column + n] = self.respond(np.stack(parts))
        return responses

    @property
    def _search_sides(self) -> np.ndarray:
        """(n,) sides of the search regions in pixels of the frame."""
        p = self.parameters
        side = geometry.search_side(self.exemplar_side, p.exemplar_size, p.search_size)
        return side * self.scales

    def _exemplar(self, image: np.ndarray) -> Tensor:
        sides, size = np.array([self.exemplar_side]), self.parameters.exemplar_size
        return self.engine.exemplar(self._crops(image, self.center, sides, size))

    _crops = staticmethod(geometry.crop_many)  # squares of the frame about one centre

    def _upsampled(self, responses: np.ndarray) -> np.ndarray:
        """(n, 17, 17) → (n, 272, 272), bicubic. Two products with one matrix take a tenth of the
        time of OpenCV's call for each response."""
        enlarging = _bicubic(responses.shape[1], self.parameters.response_up)
        return enlarging @ responses @ enlarging.T


@functools.cache
def _cosine_window(size: int) -> np.ndarray:
    """float32 (size, size) that sums to 1."""
    hann = np.hanning(size)
    return (np.outer(hann, hann) / hann.sum() ** 2).astype(np.float32)


@functools.cache
def _bicubic(cells: int, factor: int) -> np.ndarray:
    """float32 (cells * factor, cells): what OpenCV's bicubic interpolation makes of each cell."""
    unit = np.eye(cells, dtype=np.float32)
    return cv2.resize(unit, (cells, cells * factor), interpolation=cv2.INTER_CUBIC)
