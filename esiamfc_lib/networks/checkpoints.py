"""Files of trained networks: written atomically, read safely, known by their digest.

A **model file** is a safetensors file: tensors, and one JSON header that says which network they
are, how they were trained and on what. A **state file** holds everything that a killed training
needs to go on (see ``training``). Nothing here can run code on loading.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.files import existing, write_atomically

# In format 1 of an ensemble the tensors of its cluster weights were called "weights...".
FORMATS = {"siamfc": 1, "esiamfc": 2}
HEADER = "esiamfc"


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors: their names, types, shapes and values, whatever file they are in."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def save(path: str | Path, model: SiamFC | ESiamFC, **info: Any) -> str:
    """Write a model file (``.safetensors``); returns the digest of its tensors.

    The header holds that digest, the model's width (and k, and temperature), and ``info``:
    ``training`` (parameters), ``data`` (fingerprint), ``source`` ...; JSON types only.
    """
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    kind = type(model).__name__.lower()
    about = {"format": FORMATS[kind], "network": kind, "width": model.width}
    if isinstance(model, ESiamFC):
        about |= {"k": model.k, "temperature": model.cluster_weights.temperature}
    about |= {"digest": digest(state), **info}
    # One key: safetensors keeps several in no fixed order, and the bytes would differ.
    text = json.dumps(about, sort_keys=True, separators=(",", ":"))
    write_atomically(path, safetensors_bytes(state, metadata={HEADER: text}))
    return about["digest"]


def load(path: str | Path) -> tuple[SiamFC | ESiamFC, dict[str, Any]]:
    """Read a model file: the network in eval mode on the CPU, and the header.

    Raises:
        StudyError: no such file, not a model file, damaged, or of another network.
    """
    fault = refused(f"{path} is not a safetensors file", SafetensorError)
    with fault, safe_open(existing(path), framework="pt") as file:
        text = (file.metadata() or {}).get(HEADER)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if text is None:
        raise StudyError(f"{path} has no {HEADER!r} header: it is not a model file of this project")
    about = json.loads(text)
    known = FORMATS.get(about.get("network"), 1)
    if not 1 <= about["format"] <= known:
        raise StudyError(f"{path} has format {about['format']}, this version reads up to {known}")
    if digest(state) != about["digest"]:
        raise StudyError(f"{path}: the tensors do not match the digest in the header")
    if about["network"] == "siamfc":
        model = SiamFC(about["width"])
    else:
        model = ESiamFC(about["k"], about["width"])
        model.cluster_weights.temperature = about["temperature"]
        if about["format"] == 1:
            state = {re.sub("^weights", "cluster_weights", n): t for n, t in state.items()}
    load_into(model, state, str(path))
    return model.eval(), about


def load_into(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a network, or say in one sentence what does not fit.

    Raises:
        StudyError: missing or unknown tensors, or other shapes.
    """
    try:
        model.load_state_dict(dict(state))
    except RuntimeError as error:
        raise StudyError(f"{where} does not fit: {' '.join(str(error).split())}") from None


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write a state file: nested dictionaries and lists of tensors, numbers and texts."""
    write_atomically(path, lambda file: torch.save(state, file))


def load_state(path: str | Path) -> Any:
    """Read a state file, or any other of ``torch.save``, onto the CPU; it cannot run code.

    Raises:
        StudyError: no such file, damaged, or holds more than tensors and plain values.
    """
    try:
        return torch.load(existing(path), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, OSError, KeyError, UnpicklingError) as error:
        raise StudyError(
            f"{path} cannot be read as a PyTorch file of plain tensors: "
            f"{str(error).splitlines()[0]}"
        ) from None
