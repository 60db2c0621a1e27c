"""The trackers: one SiamFC loop for the baseline, a base tracker, and the ensemble.

The loop is that of Bertinetto et al. (2016), section 3.2, and of its public code: the exemplar is
cut once, in the first frame; in every frame a search region around the last position is cut at
three scales, the response is up-sampled, weighed with a cosine window, and its peak is the new
position. What differs between the trackers is only how an exemplar and search regions become
responses (``_remember`` and ``_respond``).

Conventions: images are uint8 RGB (H, W, 3), boxes 0-based ``x, y, w, h`` (see ``geometry``);
positions and sizes stay floating-point throughout, nothing is rounded to whole pixels; boxes may
leave the frame and are reported as they are.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from got10k.trackers import Tracker
from PIL import Image
from torch import Tensor

from esiamfc_lib import geometry
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import STRIDE, ESiamFC, SiamFC, cross_correlation, folded
from esiamfc_lib.sequence import Sequence

FUSIONS = ("uniform", "max", "nearest_centroid", "cluster_weight")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
SIZE_RANGE = (0.2, 5.0)  # the search region may shrink and grow this much from its first size


def rgb(image: np.ndarray | Image.Image) -> np.ndarray:
    """A frame as uint8 (H, W, 3) RGB; grey frames get three equal channels.

    Raises:
        StudyError: not uint8, or a shape that is no image.
    """
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
        raise StudyError(f"a frame is uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if image.ndim == 2 or image.shape[2] == 1:
        return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] != 3:
        raise StudyError(f"a frame has 1 or 3 channels, not {image.shape[2]}")
    return image


def checked_box(box: np.ndarray) -> np.ndarray:
    """The box as float64 (4,).

    Raises:
        StudyError: not four finite numbers, or no area.
    """
    box = np.asarray(box, dtype=np.float64).ravel()
    if box.shape != (4,) or not np.isfinite(box).all():
        raise StudyError(f"a box is four finite numbers x, y, w, h, not {box.tolist()}")
    if (box[2:] <= 0).any():
        raise StudyError(f"a box needs a width and a height above 0, not {box.tolist()}")
    return box


class SequenceTracker(Tracker):
    """A got10k tracker that also runs a whole ``Sequence``."""

    def __init__(self, name: str):
        super().__init__(name, is_deterministic=True)

    def track_sequence(
        self, sequence: Sequence, on_frame: Callable[[int, np.ndarray], None] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Start from the box of the first frame and follow it to the end.

        Args:
            sequence: frames and the first box.
            on_frame: called with the frame's index and its image after each frame, for pictures.

        Returns:
            (n, 4) 0-based boxes, the first one as given; (n,) seconds a frame, without decoding.

        Raises:
            StudyError: an unreadable frame, or a first box that is none.
        """
        boxes, seconds = np.empty((len(sequence), 4)), np.empty(len(sequence))
        for i, frame in enumerate(sequence.frames):
            image = geometry.read_image(frame)
            start = time.perf_counter()
            if i == 0:
                self.init(image, sequence.boxes[0])
                boxes[0] = sequence.boxes[0]
            else:
                boxes[i] = self.update(image)
            seconds[i] = time.perf_counter() - start
            if on_frame:
                on_frame(i, image)
        return boxes, seconds


class IdentityTracker(SequenceTracker):
    """Never moves: what every tracker has to beat."""

    def __init__(self, name: str = "Identity"):
        super().__init__(name)

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray) -> None:
        self.box = checked_box(box)

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        return self.box


class SiamFCTracker(SequenceTracker):
    """The SiamFC tracker.

    Args:
        model: the network; a copy of it in eval mode with BatchNorm folded is used.
        parameters: of the tracking loop.
        name: as it appears in tables.
        device: of the network.
        precision: ``fp32``, or ``bf16`` for everything but the correlation.

    Attributes:
        box: (4,) the target in the last frame.
        last_response: (272, 272) float32, the up-sampled response of the chosen scale before the
            window, at the last frame; None after ``init``.
        last_region: (4,) the box of the frame that ``last_response`` covers.

    Raises:
        StudyError: an unknown precision or an even number of scales.
    """

    def __init__(
        self,
        model: SiamFC,
        parameters: TrackingParameters | None = None,
        name: str = "SiamFC",
        device: str = "cpu",
        precision: str = "fp32",
    ):
        super().__init__(name)
        if precision not in PRECISIONS:
            raise StudyError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        self.parameters = p = parameters or TrackingParameters()
        if p.scale_num % 2 == 0:
            raise StudyError(f"scale_num is odd, so that one scale is the last one: {p.scale_num}")
        self.device, self.dtype = torch.device(device), PRECISIONS[precision]
        self.model = self._prepared(model)
        steps = np.arange(p.scale_num) - p.scale_num // 2
        self.scales = p.scale_step**steps
        self.penalties = np.where(steps == 0, 1.0, p.scale_penalty)

    def _prepared(self, model: torch.nn.Module) -> torch.nn.Module:
        """A copy for inference."""
        model = folded(model).requires_grad_(False)
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray) -> None:
        """Learn the target from a frame and its box.

        Args:
            image: uint8 RGB (H, W, 3), grey (H, W), or a PIL image.
            box: (4,) 0-based; may lie partly or wholly outside the frame.

        Raises:
            StudyError: a box with NaN or without an area; an array that is no image.
        """
        image, self.box = rgb(image), checked_box(box)
        p = self.parameters
        self.center, self.size = geometry.center(self.box), self.box[2:].copy()
        self.exemplar_side = geometry.context_side(*self.size, p.context)
        self.size_limits = np.array(SIZE_RANGE) * self.exemplar_side
        self.last_response = self.last_region = None
        self.window = None  # its size depends on the response: made with the first one

        # The exemplar, and from it whatever the responses need.
        self._remember(self._exemplar(image))

    def update(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Find the target in the next frame: its box (4,), 0-based."""
        image, p = rgb(image), self.parameters

        # Search regions around the last position, one for each scale.
        search_side = geometry.search_side(self.exemplar_side, p.exemplar_size, p.search_size)
        sides = search_side * self.scales
        crops = self._crops(image, self.center, sides, p.search_size)
        with torch.inference_mode():
            responses = self._respond(self._tensor(crops)).float().cpu().numpy()

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
        response = (1 - p.window_influence) * response + p.window_influence * self._window(response)
        row, column = np.unravel_index(response.argmax(), response.shape)

        # From up-sampled response cells to pixels of the search region, then of the frame.
        cells = (np.array([column, row]) - (response.shape[0] - 1) / 2) / p.response_up
        self.center = self.center + cells * STRIDE * sides[best] / p.search_size

        # The size follows slowly, within limits.
        growth = (1 - p.scale_lr) + p.scale_lr * self.scales[best]
        growth = np.clip(self.exemplar_side * growth, *self.size_limits) / self.exemplar_side
        self.size, self.exemplar_side = self.size * growth, self.exemplar_side * growth
        if p.exemplar_lr > 0:
            self._remember(self._exemplar(image), rate=p.exemplar_lr)
        self.box = geometry.box_around(self.center, self.size)
        return self.box

    # What the network makes of the crops; the ensemble has its own.

    def _remember(self, exemplar: Tensor, rate: float = 1.0) -> None:
        """Take in the exemplar (1, 3, 127, 127), wholly or, for a running update, by ``rate``."""
        with torch.inference_mode():
            new = self.model.features(exemplar)
        self.kernel = new if rate == 1.0 else (1 - rate) * self.kernel + rate * new

    def _respond(self, search: Tensor) -> Tensor:
        """Search regions (n, 3, 255, 255) → responses (n, 17, 17)."""
        return self.model.response(self.kernel, self.model.features(search))

    def _floor(self) -> float:
        """The response of no agreement at all; the scale penalty counts from here.

        The network adds a bias, negative in the published weights. A factor below one on a
        negative peak would reward the change of scale that it should punish.
        """
        return float(self.model.branch.bias)

    # Steps of the loop with a life of their own.

    def _exemplar(self, image: np.ndarray) -> Tensor:
        """(1, 3, 127, 127) around the target."""
        sides = np.array([self.exemplar_side])
        return self._tensor(self._crops(image, self.center, sides, self.parameters.exemplar_size))

    def _crops(
        self, image: np.ndarray, center: np.ndarray, sides: np.ndarray, size: int
    ) -> np.ndarray:
        """uint8 (n, size, size, 3): squares of the frame about one centre."""
        return geometry.crop_many(image, center, sides, size)

    def _tensor(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → the network's type (n, 3, H, W), channels last, 0 to 255."""
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).to(self.dtype)

    def _upsampled(self, responses: np.ndarray) -> np.ndarray:
        """(n, 17, 17) → (n, 272, 272), bicubic."""
        side = responses.shape[1] * self.parameters.response_up
        return np.stack(
            [cv2.resize(r, (side, side), interpolation=cv2.INTER_CUBIC) for r in responses]
        )

    def _window(self, response: np.ndarray) -> np.ndarray:
        """Cosine window of the response's size; sums to 1."""
        if self.window is None:
            hann = np.hanning(response.shape[0])
            self.window = (np.outer(hann, hann) / hann.sum() ** 2).astype(np.float32)
        return self.window


class BranchTracker(SiamFCTracker):
    """One base tracker: the shared stem with branch ``branch`` of the ensemble, alone."""

    def __init__(self, model: ESiamFC, branch: int, name: str = "", **options):
        if not 0 <= branch < model.k:
            raise StudyError(f"the ensemble has branches 0 to {model.k - 1}, not {branch}")
        super().__init__(model.base_tracker(branch), name=name or f"Branch {branch}", **options)


class ESiamFCTracker(SiamFCTracker):
    """The ensemble. The stem runs once a frame; one correlation serves all branches.

    Args:
        model: stem, branches and weights.
        fusion: how the branches' responses become one:
            ``uniform``: their mean;
            ``max``: the highest at each position;
            ``nearest_centroid``: the branch alone whose cluster centre is nearest to the exemplar;
            ``cluster_weight``: the sum with the weights that the module gives the exemplar.
        centroids: (k, d) unit cluster centres, for ``nearest_centroid``.
        embedder: the baseline whose features were clustered, for ``nearest_centroid``.
        parameters, name, device, precision: as for ``SiamFCTracker``.

    Attributes:
        fusion_weights: (k,) weights of the branches since ``init``, summing to 1; NaN for ``max``.
    """

    def __init__(
        self,
        model: ESiamFC,
        fusion: str = "cluster_weight",
        centroids: np.ndarray | None = None,
        embedder: SiamFC | None = None,
        parameters: TrackingParameters | None = None,
        name: str = "",
        device: str = "cpu",
        precision: str = "fp32",
    ):
        super().__init__(model, parameters, name or f"ESiamFC {fusion}", device, precision)
        if fusion not in FUSIONS:
            raise StudyError(f"fusion is one of {', '.join(FUSIONS)}, not {fusion!r}")
        self.fusion = fusion
        if fusion == "nearest_centroid":
            if centroids is None or embedder is None:
                raise StudyError("fusion nearest_centroid needs the centroids and the baseline")
            self.centroids = np.asarray(centroids, np.float32)
            self.embedder = self._prepared(embedder)
            if len(self.centroids) != model.k:
                raise StudyError(f"{len(self.centroids)} centroids for {model.k} branches")

    def init(self, image: np.ndarray | Image.Image, box: np.ndarray) -> None:
        """As ``SiamFCTracker.init``; also sets ``fusion_weights``, once for the sequence."""
        self.fusion_weights = None
        super().init(image, box)

    def _remember(self, exemplar: Tensor, rate: float = 1.0) -> None:
        """Kernels of the branches that take part, side by side along the channels."""
        with torch.inference_mode():
            stem = self.model.stem(exemplar)
            if self.fusion_weights is None:
                self.fusion_weights = self._weights(exemplar, stem)
                # A branch without weight need not run.
                self.active = [
                    (branch, float(weight))
                    for branch, weight in zip(self.model.branches, self.fusion_weights, strict=True)
                    if weight != 0
                ]
            # The weight goes into the kernel: the sum over channels is then the weighted sum.
            new = [
                branch(stem).float() * (1.0 if self.fusion == "max" else weight * branch.scale)
                for branch, weight in self.active
            ]
            new = torch.cat(new, dim=1)
        self.kernel = new if rate == 1.0 else (1 - rate) * self.kernel + rate * new

    def _weights(self, exemplar: Tensor, stem: Tensor) -> np.ndarray:
        """(k,) float64 weights of the branches for this exemplar."""
        k = self.model.k
        if self.fusion == "cluster_weight":
            return self.model.weights(stem)[0].double().cpu().numpy()
        if self.fusion == "nearest_centroid":
            feature = self.embedder.features(exemplar).float().flatten().cpu().numpy()
            if self.centroids.shape[1] != len(feature):
                raise StudyError(
                    f"centroids have {self.centroids.shape[1]} numbers, features {len(feature)}"
                )
            # -log((x·c + 1) / 2) is smallest where x·c is largest.
            return np.eye(k)[int(np.argmax(self.centroids @ feature))]
        return np.full(k, np.nan if self.fusion == "max" else 1 / k)

    def _respond(self, search: Tensor) -> Tensor:
        stem = self.model.stem(search)
        features = [branch(stem) for branch, _ in self.active]
        if self.fusion != "max":
            return cross_correlation(self.kernel, torch.cat(features, dim=1)) + self._floor()
        kernels = self.kernel.split([branch.channels for branch, _ in self.active], dim=1)
        responses = [
            branch.response(z, x)
            for (branch, _), z, x in zip(self.active, kernels, features, strict=True)
        ]
        return torch.stack(responses).amax(dim=0)

    def _floor(self) -> float:
        if self.fusion == "max":
            return max(float(branch.bias) for branch, _ in self.active)
        return sum(weight * float(branch.bias) for branch, weight in self.active)
