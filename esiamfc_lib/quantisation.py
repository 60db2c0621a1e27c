"""Calibration for int8: how large the activations of each layer get on training crops.

A layer's weights are quantised when they are loaded, each output channel by its largest absolute
value; that needs no data. Its output is rounded to 255 steps of one size, and which size is learned
here: from crops that the network was trained on, never from a test frame. The result is a small
JSON file beside the model file, and says of which weights and which crops it is.

Everything after a ReLU is 0 or more, so the steps begin at 0; the crops are uint8 as they are. The
last layer's output, which the correlation sums, is not rounded to steps.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib import checkpoints
from esiamfc_lib.errors import StudyError
from esiamfc_lib.fingerprint import text_digest
from esiamfc_lib.networks import ESiamFC, SiamFC, branches_of, folded
from esiamfc_lib.store import CropStore

STEPS = 255
BINS = 4096


@dataclass(frozen=True)
class Calibration:
    """Where the layers' outputs are cut off.

    Attributes:
        weights: ``checkpoints.digest`` of the network's tensors.
        crops: digest of the crops.
        count: number of crops.
        stem: (conv1, conv2) largest output represented.
        branches: (conv3, conv4) of every branch; a SiamFC has one.
    """

    weights: str
    crops: str
    count: int
    stem: tuple[float, ...]
    branches: tuple[tuple[float, ...], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        return text_digest(json.dumps(asdict(self), sort_keys=True))

    def of_branch(self, j: int) -> "Calibration":
        """That of one base tracker."""
        return Calibration(self.weights, self.crops, self.count, self.stem, (self.branches[j],))

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        text = json.dumps(asdict(self) | {"digest": self.digest}, indent=1) + "\n"
        checkpoints.write_atomically(path, lambda file: file.write(text.encode()))

    @classmethod
    def load(cls, path: str | Path, model: SiamFC | ESiamFC) -> "Calibration":
        """Read the calibration of a network.

        Raises:
            StudyError: no such file, damaged, or of other weights.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            digest = values.pop("digest")
            values["stem"] = tuple(map(float, values["stem"]))
            values["branches"] = tuple(tuple(map(float, b)) for b in values["branches"])
            found = cls(**values)
        except OSError as error:
            raise StudyError(
                f"int8 needs {path}, which 'esiamfc quantise' writes: {error.strerror}"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StudyError(f"{path}: no calibration ({error})") from None
        positive = all(np.isfinite(v) and v > 0 for v in (*found.stem, *sum(found.branches, ())))
        if found.digest != digest or not positive:
            raise StudyError(f"{path}: the calibration does not match its digest")
        if found.weights != checkpoints.digest(model.state_dict()):
            raise StudyError(
                f"{path}: the calibration is of other weights; write it anew with "
                "'esiamfc quantise'"
            )
        return found


def beside(weights: str | Path) -> Path:
    """Where the calibration of a model file is kept: ``x.safetensors`` → ``x.int8.json``."""
    return Path(weights).with_suffix(".int8.json")


def training_crops(store: CropStore, count: int = 64) -> np.ndarray:
    """Crops of the training split, evenly spaced over its tracks: uint8 (n, 255, 255, 3) RGB.

    Raises:
        StudyError: the store has no training split.
    """
    tracks = np.flatnonzero((store.tracks["split"] == "train").to_numpy())
    if not len(tracks):
        raise StudyError(f"{store.path} has no training videos to calibrate on")
    chosen = []
    for i in range(count):
        track = int(tracks[i * len(tracks) // count])
        # Another frame each time that a track is met.
        chosen.append(store.read(track, i * 17 % len(store.frames(track))))
    return np.stack(chosen)


def calibrate(model: SiamFC | ESiamFC, crops: np.ndarray, batch: int = 4) -> Calibration:
    """Choose for every layer the cut-off with the least mean squared error on the crops.

    A cut-off at the largest output would spend most steps on a few outliers; one too low cuts
    them off.

    Args:
        model: the network as it is trained.
        crops: uint8 (n, 255, 255, 3) RGB, of the training data.
        batch: crops a forward pass.

    Raises:
        StudyError: no crops, or an output that is not finite.
    """
    if crops.ndim != 4 or not len(crops) or crops.dtype != np.uint8:
        raise StudyError(f"calibration needs uint8 crops (n, H, W, 3), not {crops.shape}")
    network = folded(model).float().cpu().to(memory_format=torch.channels_last)
    largest: dict[tuple, float] = {}
    counts: dict[tuple, np.ndarray] = {}
    with torch.inference_mode():
        for name, output in _outputs(network, crops, batch):
            largest[name] = max(largest.get(name, 0.0), float(output.max()))
        for name, top in largest.items():
            if not np.isfinite(top) or top <= 0:
                raise StudyError(f"int8: the outputs of layer {name} are all 0, or not finite")
        for name, output in _outputs(network, crops, batch):
            histogram = torch.histc(output, BINS, 0.0, largest[name]).numpy()
            counts[name] = counts.get(name, 0) + histogram
    cut = {name: _cut_off(counts[name], largest[name]) for name in counts}
    parts = sorted({name[0] for name in cut if name[0] >= 0})
    return Calibration(
        checkpoints.digest(model.state_dict()),
        hashlib.sha256(np.ascontiguousarray(crops).tobytes()).hexdigest(),
        len(crops),
        tuple(cut[-1, i] for i in range(2)),
        tuple(tuple(cut[j, i] for i in range(2)) for j in parts),
    )


def _outputs(network: nn.Module, crops: np.ndarray, batch: int):
    """Yield ((part, layer), output after its ReLU); part -1 is the stem."""
    for start in range(0, len(crops), batch):
        images = torch.from_numpy(crops[start : start + batch]).permute(0, 3, 1, 2).float()
        stem = yield from _through(network.stem.layers, images, -1)
        for j, branch in enumerate(branches_of(network)):
            yield from _through(branch.layers, stem, j)


def _through(layers: nn.Sequential, value: Tensor, part: int):
    i = 0
    for layer in layers:
        value = layer(value)
        if isinstance(layer, nn.ReLU):
            yield (part, i), value
            i += 1
    return value


def _cut_off(counts: np.ndarray, largest: float) -> float:
    """The cut-off whose rounding and cutting together lose least, by the histogram.

    Zeros, which are exact whatever the steps, take part in no error.
    """
    values = (np.arange(len(counts)) + 0.5) / len(counts) * largest
    candidates = np.linspace(0.2, 1.0, 81) * largest
    errors = []
    for top in candidates:
        step = top / STEPS
        kept = values <= top
        # Rounding to steps is off by a twelfth of the step squared, on average.
        lost = np.where(kept, step**2 / 12, (values - top) ** 2)
        errors.append(float(counts[1:] @ lost[1:]))
    return float(candidates[int(np.argmin(errors))])
