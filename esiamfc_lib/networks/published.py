"""Reading a network from any weights file: ours (see ``checkpoints``) or one that others published.

Four kinds of published file hold the same network under other names:

- ``.npz`` with BatchNorm folded into the convolutions: ``conv1.weight`` (O, I, H, W),
  ``conv1.bias`` ... and optionally ``bias`` of the response; the others are brought to these
  names first;
- ``.mat`` of MatConvNet (the authors' own): ``conv1f`` (H, W, I, O), ``conv1b``, ``bn1m``
  (factor), ``bn1b`` (offset), ``bn1x`` (mean and standard deviation) ..., each possibly behind
  ``br_``, and ``adjust_f``/``adjust_b`` or ``fin_adjust_bn{m,b,x}`` for scale and bias of the
  response;
- ``.pth`` state dicts of PyTorch SiamFCs in three namings: numbered layers of one sequence
  (``features.0.weight`` with ``corr_bias``, or with ``adjust.weight``/``adjust.bias``), blocks
  (``backbone.conv1.0.weight``, no bias), and named layers (``conv1.weight``, ``bn1.weight``);
- ``.pth`` of the reference ESiamFC: ``stem.feature1.0.weight``, ``branch1.feature2.0.weight``,
  ``corr_bias1``, ``cluster_weight.cluster_weight.0.weight`` ..., or one base tracker of it
  (``feature1.0.weight``, ``feature2.0.weight``, ``corr_bias``).

Conversion is exact: a folded BatchNorm becomes an identity one; another ε goes into the variance;
another scale of the response goes into conv5, which both sides of the correlation pass.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from torch import Tensor

from esiamfc_lib.errors import DAMAGE, StudyError, refused
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.checkpoints import load_into
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import RESPONSE_SCALE, SiamFC
from esiamfc_lib.runtime.files import existing

PUBLISHED_BIAS = -2.148  # of the network of 2016-08-17, whose folded export does not hold it
NORM_EPS = 1e-5  # of our BatchNorm layers
# Where the layers stand in the PyTorch namings' one sequence. Ours are numbered alike: the stem
# holds 0 to 7, the branch begins at 8.
BRANCH = 8
NAMES = {0: "conv1", 1: "bn1", 4: "conv2", 5: "bn2"}
NAMES |= {8: "conv3", 9: "bn3", 11: "conv4", 12: "bn4", 14: "conv5"}
PLACES = {
    name: f"stem.layers.{number}" if number < BRANCH else f"branch.layers.{number - BRANCH}"
    for number, name in NAMES.items()
}
Layers = dict[str, Tensor]
"""A SiamFC: ``conv1.weight``, ``bn1.running_mean`` ..., ``bias`` and ``scale`` of the response."""


def load_siamfc(path: str | Path) -> SiamFC:
    """Read a SiamFC from any weights file; a ``StudyError`` where that is none."""
    return _load_as(SiamFC, path)


def load_esiamfc(path: str | Path) -> ESiamFC:
    """Read an ESiamFC from any weights file; a ``StudyError`` where that is none."""
    return _load_as(ESiamFC, path)


def _load_as(kind: type, path: str | Path):
    model, _ = load_any(path)
    if not isinstance(model, kind):
        raise StudyError(f"{path} holds a {type(model).__name__}, not a {kind.__name__}")
    return model


def load_any(path: str | Path) -> tuple[SiamFC | ESiamFC, dict[str, Any]]:
    """Read any weights file: the network in eval mode on the CPU, and the header of a file of ours.

    The kind of file is told by its name and its tensors' names.

    Raises:
        StudyError: no such file, unknown kind, damaged, or not this network.
    """
    path = existing(path)
    if path.suffix == ".safetensors":
        return checkpoints.load(path)
    if path.suffix == ".npz":
        return _siamfc(_npz(path), str(path)), {}
    if path.suffix == ".mat":
        return _siamfc(_matconvnet(path), str(path)), {}
    if path.suffix in {".pth", ".pt", ".tar", ".model"}:
        return _from_state_dict(path), {}
    raise StudyError(
        f"{path}: unknown kind of network file {path.suffix!r} "
        "(.safetensors, .npz, .mat and .pth are known)"
    )


def _siamfc(layers: Layers, where: str, eps: float = NORM_EPS) -> SiamFC:
    """Build a SiamFC from ``conv1.weight`` ... ``bn4.running_var`` and ``bias``.

    Without ``bn`` tensors the BatchNorm becomes the identity. ``eps`` is that of the file's
    BatchNorm. The width is read off conv1.
    """
    if "conv1.weight" not in layers or "conv5.weight" not in layers:
        raise StudyError(f"{where} holds no SiamFC: conv1 or conv5 is missing")
    model = SiamFC(layers["conv1.weight"].shape[0] / 96)
    state = {"branch.bias": layers.get("bias", torch.zeros(1)).reshape(1)}
    for name, value in (_with_identity_norms(layers) | layers).items():
        layer, _, field = name.partition(".")
        if layer in PLACES:
            state[f"{PLACES[layer]}.{field}"] = value
    for name in model.state_dict():
        if name.endswith("running_var") and name in state:
            state[name] = (state[name].double() + eps - NORM_EPS).clamp(min=0)
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
    if "scale" in layers:
        share = (layers["scale"].reshape(()).double() / RESPONSE_SCALE).sqrt()
        for field in ("weight", "bias"):
            state[f"{PLACES['conv5']}.{field}"] = layers[f"conv5.{field}"].double() * share
    own = model.state_dict()
    load_into(model, {n: v.to(own[n].dtype) if n in own else v for n, v in state.items()}, where)
    return model.eval()


def _with_identity_norms(layers: Layers) -> Layers:
    norms = {}
    for i in range(1, 5):
        if not any(name.startswith(f"bn{i}.") for name in layers) and f"conv{i}.bias" in layers:
            ones = torch.ones_like(layers[f"conv{i}.bias"], dtype=torch.float64)
            norms |= {
                f"bn{i}.weight": ones,
                f"bn{i}.bias": 0 * ones,
                f"bn{i}.running_mean": 0 * ones,
                f"bn{i}.running_var": ones - NORM_EPS,
            }
    return norms


def _npz(path: Path) -> Layers:
    fault = refused(f"{path} cannot be read as an .npz of plain arrays")
    with fault, np.load(path, allow_pickle=False) as arrays:
        layers = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return {"bias": torch.tensor([PUBLISHED_BIAS])} | layers


def _matconvnet(path: Path) -> Layers:
    with refused(f"{path} is no MatConvNet network", (*DAMAGE, NotImplementedError)):
        params = scipy.io.loadmat(path)["net"]["params"][0, 0].reshape(-1)
        values = {
            str(p["name"][0]): torch.from_numpy(np.asarray(p["value"], np.float64)) for p in params
        }
    layers = {}
    for name, value in values.items():
        if match := re.fullmatch(r"(?:br\d?_)?((?:conv|bn)[1-5])([fbmx])", name):
            layer, field = match.groups()
            if field == "f":
                layers[f"{layer}.weight"] = value.permute(3, 2, 0, 1)
            elif field == "m":
                layers[f"{layer}.weight"] = value.reshape(-1)
            elif field == "b":
                layers[f"{layer}.bias"] = value.reshape(-1)
            else:  # the standard deviation that MatConvNet stores includes its ε
                layers[f"{layer}.running_mean"] = value[:, 0]
                layers[f"{layer}.running_var"] = value[:, 1] ** 2 - NORM_EPS
    return layers | _adjustment(values)


def _adjustment(values: Mapping[str, Tensor]) -> Layers:
    if "fin_adjust_bnx" in values:
        mean, deviation = values["fin_adjust_bnx"].reshape(2)
        scale = values["fin_adjust_bnm"].reshape(()) / deviation
        return {"scale": scale, "bias": values["fin_adjust_bnb"].reshape(1) - scale * mean}
    names = {"adjust_f": "scale", "adjust_b": "bias"}
    return {names[n]: value.reshape(1) for n, value in values.items() if n in names}


def _from_state_dict(path: Path) -> SiamFC | ESiamFC:
    content = checkpoints.load_state(path)
    for wrapper in ("state_dict", "model", "net"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise StudyError(f"{path} holds no state dict")
    state = {name.removeprefix("module."): value for name, value in content.items()}
    if any(name.startswith("stem.feature1.") for name in state):
        return _reference_ensemble(state, str(path))
    # The only one of the public namings whose network sets ε, and has no bias, is the blocks' one.
    blocks = any(re.search(r"conv1\.0\.weight$", name) for name in state)
    return _siamfc(_common_names(state), str(path), eps=1e-6 if blocks else NORM_EPS)


def _common_names(state: Mapping[str, Tensor]) -> Layers:
    """Bring any of the PyTorch namings to ``conv1.weight`` ...; what is no layer is left out."""
    layers = {}
    for name, value in state.items():
        if match := re.search(r"(?:^|\.)conv([1-5])\.([01])\.(\w+)$", name):
            layer, field = ("conv", "bn")[int(match[2])] + match[1], match[3]
        elif match := re.search(r"(?:^|\.)((?:conv|bn)[1-5])\.(\w+)$", name):
            layer, field = match.groups()
        elif match := re.search(r"(?:^|\.)feature2\.(\d+)\.(\w+)$", name):
            layer, field = NAMES.get(int(match[1]) + BRANCH, ""), match[2]
        elif match := re.search(r"(?:^|\.)(?:features?1?|feat_extraction)\.(\d+)\.(\w+)$", name):
            layer, field = NAMES.get(int(match[1]), ""), match[2]
        else:
            continue
        layers[f"{layer}.{field}"] = value.double() if value.is_floating_point() else value
    response = {"corr_bias": "bias", "adjust.bias": "bias", "adjust.weight": "scale"}
    return layers | {
        response[name]: value.double().reshape(1)
        for name, value in state.items()
        if name in response
    }


def _reference_ensemble(state: Mapping[str, Tensor], where: str) -> ESiamFC:
    stem = {n.removeprefix("stem."): v for n, v in state.items() if n.startswith("stem.")}
    numbers = sorted({int(m[1]) for n in state if (m := re.match(r"branch(\d+)\.", n))})
    trackers = []
    for j in numbers:
        prefix = f"branch{j}."
        own = {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
        bias = {"corr_bias": state.get(f"corr_bias{j}", torch.zeros(1))}
        trackers.append(_siamfc(_common_names(stem | own | bias), f"{where}, branch {j}"))
    if not trackers:
        raise StudyError(f"{where} has a stem but no branches")
    model = ESiamFC.assembled(trackers)
    weights = {}
    for name, value in state.items():
        if match := re.match(r"cluster_weight\.cluster_weight\.(.+)", name):
            weights[f"layers.{match[1]}"] = value
        elif re.match(r"cluster_weight\.linear\.(0\.)?weight", name):
            weights["linear.weight"] = value
    if weights:
        load_into(model.cluster_weights, weights, f"{where}, cluster weights")
    return model.eval()
