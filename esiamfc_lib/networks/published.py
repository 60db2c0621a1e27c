"""Reading a network from any weights file: ours (see ``checkpoints``) or one that others published.

Four kinds of published file hold the same network under other names:

- ``.npz`` with BatchNorm folded into the convolution: ``conv1.weight`` (O, I, H, W), ``conv1.bias``
  ..., optionally ``bias`` of the response; the others are brought to these names first;
- ``.mat`` of MatConvNet (the authors' own): ``conv1f`` (H, W, I, O), ``conv1b``, ``bn1m`` (factor),
  ``bn1b`` (offset), ``bn1x`` (mean and standard deviation) ..., each possibly behind ``br_``, and
  ``adjust_f``/``adjust_b`` or ``fin_adjust_bn{m,b,x}`` for scale and bias of the response;
- ``.pth`` state dicts of PyTorch SiamFCs in three namings: numbered layers of one sequence
  (``features.0.weight``), blocks (``backbone.conv1.0.weight``), and named layers (``conv1.weight``,
  ``bn1.weight``); with ``corr_bias``, ``adjust`` or ``bn_adjust`` for the response, or none;
- ``.pth`` of the reference ESiamFC: ``stem.feature1.0.weight``, ``branch1.feature2.0.weight``,
  ``corr_bias1``, ``cluster_weight.cluster_weight.0.weight`` ..., or one base tracker of it
  (``feature1.0.weight``, ``feature2.0.weight``, ``corr_bias``).

Conversion is exact, to float32, or refused: a folded BatchNorm becomes an identity one; another ε
goes into the variance; another scale of the response, which may be a BatchNorm's, goes into conv5,
which both sides of the correlation pass."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from torch import Tensor

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.checkpoints import built, check_values, load_into, reading
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
ADJUST = ("adjust", "bn_adjust", "adjust_bn", "adjust.bn", "match_batchnorm")
MATCONVNET = r"(?:br\d?_)?(?:fin_)?((?:conv|bn)\d|adjust)(?:_|_bn)?([fbmx])"
SEQUENCES = ("features", "feature", "feature1", "feat_extraction")
LAYERS = {name: name for name in PLACES} | dict.fromkeys(ADJUST, "adjust")
for number, name in NAMES.items():
    LAYERS |= {f"{sequence}.{number}": name for sequence in SEQUENCES}
    LAYERS |= {f"feature2.{number - BRANCH}": name, f"conv{name[-1]}.{name[0] == 'b':d}": name}
"""End of a layer's name in one of the PyTorch namings -> the layer."""

IDENTITY = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1 - NORM_EPS}
"""A BatchNorm that has been folded into the convolution before it."""

Layers = dict[str, Tensor]
"""A SiamFC: ``conv1.weight``, ``bn1.running_mean`` ..., and ``bias`` or ``adjust.weight`` ..."""


def load_siamfc(path: str | Path) -> SiamFC:
    """Read a SiamFC from any weights file; a ``StudyError`` where that is none."""
    return _load_as(SiamFC, path)


def load_esiamfc(path: str | Path) -> ESiamFC:
    """Read an ESiamFC from any weights file; a ``StudyError`` where that is none."""
    return _load_as(ESiamFC, path)


def _load_as(kind: type, path: str | Path):
    if not isinstance(model := load_any(path)[0], kind):
        raise StudyError(f"{path} holds a {type(model).__name__}, not a {kind.__name__}")
    return model


def load_any(path: str | Path) -> tuple[SiamFC | ESiamFC, dict[str, Any]]:
    """Read any weights file: the network in eval mode on the CPU, and the header of a file of ours.
    The kind of file is told by its name and its tensors' names. A ``StudyError`` if it is damaged,
    not finite, not this network or not all of it, or has tensors whose part is not known."""
    path = existing(path)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return checkpoints.load(path)
    if ending not in READERS:
        known = ".safetensors, .npz, .mat and .pth are known"
        raise StudyError(f"{path}: unknown kind of network file {path.suffix!r} ({known})")
    with reading(path, f"a network as {ending}"):
        return READERS[ending](str(path)), {}


def _siamfc(layers: Layers, where: str, eps: float = NORM_EPS) -> SiamFC:
    """Build a SiamFC from ``conv1.weight`` ... ``bn4.running_var`` and ``bias`` or ``adjust``;
    its BatchNorm (identity where there is none) has the epsilon ``eps``. conv1 tells the width."""
    layers = {name: t.double() for name, t in layers.items() if "num_batches_tracked" not in name}
    if not layers.keys() >= {"conv1.weight", "conv5.weight", "conv5.bias"}:
        raise StudyError(f"{where} holds no SiamFC: conv1 or conv5 is missing")
    if not any(name.startswith("bn") for name in layers):
        for i, (field, value) in itertools.product(range(1, 5), IDENTITY.items()):
            layers[f"bn{i}.{field}"] = torch.full_like(layers[f"conv{i}.bias"], value)
    bias, scale = _response(layers)
    if scale <= 0:
        raise StudyError(f"{where}: the scale of the response is {scale.item():g}, not above 0")
    for field in ("weight", "bias"):
        layers[f"conv5.{field}"] = layers[f"conv5.{field}"] * (scale / RESPONSE_SCALE).sqrt()
    for norm in ("bn1", "bn2", "bn3", "bn4"):
        variance = layers[f"{norm}.running_var"] + eps
        if (variance <= 0).any():
            raise StudyError(f"{where}: a variance of {norm} is not above 0")
        layers[f"{norm}.running_var"] = (variance - NORM_EPS).clamp(min=0)
        # a variance below our ε cannot be written down: the factor makes up for it
        layers[f"{norm}.weight"] = layers[f"{norm}.weight"] * (NORM_EPS / variance).sqrt().clamp(1)
    state = {"branch.bias": bias}
    for name, value in layers.items():
        layer, _, field = name.partition(".")
        if layer not in PLACES:
            raise StudyError(f"{where}: {name} is not a known part of a SiamFC")
        state[f"{PLACES[layer]}.{field}"] = value
    model = built(where, layers, len(layers["conv1.weight"]) / 96, k=0)
    load_into(model, state, where)
    return model.eval()


def _response(layers: Layers) -> tuple[Tensor, Tensor]:
    """Takes bias and scale of the response, float64 (1,) each, out of the layers. ``adjust`` is a
    BatchNorm or convolution behind the correlation; without it the scale is fixed."""
    norm = {n.partition(".")[2]: layers.pop(n) for n in [*layers] if n.startswith("adjust.")}
    if not norm:
        norm = {"weight": torch.tensor(RESPONSE_SCALE, dtype=torch.float64)}
        norm["bias"] = layers.pop("bias", torch.zeros(1))
    bias, scale = (norm.pop(field).reshape(1) for field in ("bias", "weight"))
    if norm:  # its own ε is PyTorch's, whatever that of the layers
        scale = scale / (norm["running_var"] + NORM_EPS).sqrt()
        bias = bias - scale * norm["running_mean"]
    return bias.reshape(1), scale.reshape(1)


def _once(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A dictionary; a ``StudyError`` where a name comes twice."""
    found = dict(pairs := list(pairs))
    if len(found) < len(pairs):
        raise StudyError(f"{where} holds two tensors for one part of the network")
    return found


def _tensors(arrays: Iterable[tuple[str, np.ndarray]], where: str) -> Layers:
    """Checked tensors from arrays of any byte order."""
    native = ((n, a.astype(a.dtype.newbyteorder("="))) for n, a in arrays)
    tensors = {name: torch.from_numpy(a) for name, a in _once(native, where).items()}
    check_values(tensors, where)
    return tensors


def _npz(where: str) -> SiamFC:
    with np.load(where, allow_pickle=False) as arrays:
        layers = _tensors(arrays.items(), where)
    return _siamfc({"bias": torch.tensor([PUBLISHED_BIAS])} | layers, where)


def _matconvnet(where: str) -> SiamFC:
    params = scipy.io.loadmat(where)["net"]["params"][0, 0].reshape(-1)
    values = _tensors(((str(p["name"][0]), np.asarray(p["value"])) for p in params), where)

    def layers() -> Iterator[tuple[str, Tensor]]:
        for name, value in values.items():
            match = re.fullmatch(MATCONVNET, name)
            layer, field = match.groups() if match else (name, "")
            if field == "f" and layer != "adjust":
                yield f"{layer}.weight", value.permute(3, 2, 0, 1)
            elif field == "x":  # the standard deviation that MatConvNet stores includes its ε
                yield f"{layer}.running_mean", value[:, 0]
                yield f"{layer}.running_var", value[:, 1].double() ** 2 - NORM_EPS
            else:
                yield f"{layer}.{'bias' if field == 'b' else 'weight'}", value.reshape(-1)

    return _siamfc(_once(layers(), where), where)


def _from_state_dict(where: str) -> SiamFC | ESiamFC:
    content = checkpoints.load_state(where)
    for wrapper in ("state_dict", "model", "net"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    named = isinstance(content, Mapping) and all(isinstance(name, str) for name in content)
    if not (named and content and all(map(torch.is_tensor, content.values()))):
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) else repr(content)
        raise StudyError(f"{where} holds no state dict of a network but {held[:80] or 'nothing'}")
    check_values(content, where)
    wrapped = re.compile(r"^(?:(?:module|model|net|_orig_mod)\.)+")
    state = _once(((wrapped.sub("", name), value) for name, value in content.items()), where)
    if any(name.startswith("stem.feature1.") for name in state):
        return _reference_ensemble(state, where)
    layers = _common_names(state, where)
    # Of the public namings those whose response is not learned set ε: blocks, and one sequence.
    learned = layers.keys() & {"bias", "adjust.weight"}
    own = any(re.search(r"(conv1\.0|\bfeature\.0)\.weight$", name) for name in state)
    return _siamfc(layers, where, eps=1e-6 if own and not learned else NORM_EPS)


def _common_names(state: Mapping[str, Tensor], where: str) -> Layers:
    """Bring any of the PyTorch namings to ``conv1.weight`` ...; other names stay as they are."""

    def common(name: str) -> str:
        *place, field = name.split(".")
        layer = LAYERS.get(".".join(place[-2:])) or LAYERS.get(".".join(place[-1:]))
        return "bias" if field == "corr_bias" else f"{layer}.{field}" if layer else name

    return _once(((common(name), value) for name, value in state.items()), where)


def _reference_ensemble(state: Mapping[str, Tensor], where: str) -> ESiamFC:
    parts: dict[str, Layers] = {}
    for name, value in state.items():
        if match := re.fullmatch(r"corr_bias(\d+)", name):
            name = f"branch{match[1]}.corr_bias"
        part, _, own = name.partition(".")
        parts.setdefault(part, {})[own] = value
    stem, fusion = parts.pop("stem"), parts.pop("cluster_weight", {})
    trackers = []
    while part := parts.pop(name := f"branch{len(trackers) + 1}", {}):
        layers = _common_names(stem | {"corr_bias": part.pop("corr_bias")} | part, where)
        trackers.append(_siamfc(layers, f"{where}, {name}"))
    if parts or not trackers:
        rest = ", ".join(parts) or "nothing"
        raise StudyError(f"{where} holds {rest} beside a stem and {len(trackers)} whole branches")
    model = ESiamFC.assembled(trackers)
    weights = (
        (re.sub(r"^linear\.0", "linear", re.sub("^cluster_weight", "layers", n)), value)
        for n, value in fusion.items()
    )
    load_into(model.cluster_weights, _once(weights, where), f"{where}, cluster weights")
    return model.eval()


READERS = {".npz": _npz, ".mat": _matconvnet}
READERS |= dict.fromkeys((".pth", ".pt", ".tar", ".model"), _from_state_dict)
