"""Files of trained networks: written atomically, read safely, known by their digest.

A **model file** is a safetensors file: tensors, and one JSON header that says which network they
are, how they were trained and on what. A **state file** holds everything that a killed training
needs to go on (see ``training``). Nothing here can run code on loading."""

import contextlib
import hashlib
import json
import re
import resource
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.cluster_weights import MODULES
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.files import existing, write_atomically
from esiamfc_lib.runtime.validation import Count, Parameters, Positive

# In format 1 of an ensemble the tensors of its cluster weights were called "weights..."; from
# format 3 on they may read something else than the stem.
FORMATS = {"siamfc": 1, "esiamfc": 3}
HEADER = "esiamfc"
LARGEST = 2**29  # bytes that a file may take; the ensemble of the paper takes 75 MB
COUNTER = "num_batches_tracked"  # of BatchNorm: plays no part


class Header(Parameters, extra="ignore"):
    """What the header of a model file must say."""

    network: Literal["siamfc", "esiamfc"]
    format: Count
    width: float = Field(ge=0.01, le=16.0)
    k: int = Field(1, ge=1, le=64)
    temperature: Positive = 1.0
    reads: Literal[*MODULES] = "stem"


def digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of tensors: their names, types, shapes and values, whatever file they are in."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def save(path: str | Path, model: SiamFC | ESiamFC, **info: Any) -> str:
    """Write a model file (``.safetensors``); returns the digest of its tensors. The header holds
    that digest, the model's width (and k, temperature, what is read), and ``info``: ``training``
    (parameters), ``data`` (fingerprint), ``source`` ...; JSON types only."""
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    kind = type(model).__name__.lower()
    about = {"format": FORMATS[kind], "network": kind, "width": model.width}
    if isinstance(model, ESiamFC):
        weights = model.cluster_weights
        about |= {"k": model.k, "temperature": weights.temperature, "reads": weights.reads}
    about |= {"digest": digest(state), **info}
    # One key: safetensors keeps several in no fixed order, and the bytes would differ.
    text = json.dumps(about, sort_keys=True, separators=(",", ":"))
    write_atomically(path, safetensors_bytes(state, metadata={HEADER: text}))
    return about["digest"]


def load(path: str | Path) -> tuple[SiamFC | ESiamFC, dict[str, Any]]:
    """Read a model file: the network in eval mode on the CPU, and the header. A ``StudyError`` if
    it is none, damaged, of another network, or not finite."""
    state, about = read_tensors(path, HEADER, "a model file")
    known = Header.validated(about, where=f"{path}, header")
    if known.format > (latest := FORMATS[known.network]):
        raise StudyError(f"{path} has format {known.format}, this version reads up to {latest}")
    k = known.k if known.network == "esiamfc" else 0
    model = built(str(path), state, known.width, k, known.reads)
    if isinstance(model, ESiamFC):
        model.cluster_weights.temperature = known.temperature
        if known.format == 1:
            state = {re.sub("^weights", "cluster_weights", n): t for n, t in state.items()}
    load_into(model, state, str(path))
    return model.eval(), about


def read_tensors(path: str | Path, header: str, what: str) -> tuple[dict[str, Tensor], dict]:
    """Tensors and JSON header, called ``header``, of a safetensors file; a ``StudyError`` if it is
    damaged, lacks the header or has other tensors than it says."""
    with reading(path, "a safetensors file"), safe_open(str(path), framework="pt") as file:
        text = (file.metadata() or {}).get(header, "null")
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(text)
    if not isinstance(about, dict):
        raise StudyError(f"{path} has no {header!r} header: it is not {what} of this project")
    if digest(state) != about.get("digest"):
        raise StudyError(f"{path}: the tensors do not match the digest in the header")
    return state, about


@contextlib.contextmanager
def reading(path: str | Path, what: str) -> Iterator[None]:
    """What a file that is not ``what``, or promises more than any network takes (on Linux), makes
    its reader raise, as a ``StudyError``, without advice how to read it unsafely."""
    existing(path)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    try:
        with contextlib.suppress(OSError, ValueError), Path("/proc/self/statm").open() as pages:
            most = int(pages.read().split()[0]) * resource.getpagesize() + LARGEST
            resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
        with warnings.catch_warnings(action="ignore"):
            yield
    except StudyError:
        raise
    except Exception as error:
        reason = re.split(r"\n|\. ", str(error))[0] or type(error).__name__
        if re.search("weights.only|allow_pickle", str(error), re.IGNORECASE):
            reason = "it is damaged, or holds more than that"
        lacks = "it lacks " * isinstance(error, KeyError)
        raise StudyError(f"{path} is not {what}: {lacks}{reason}") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def built(
    where: str, state: Mapping[str, Tensor], width: float, k: int, kind: str = "stem"
) -> SiamFC | ESiamFC:
    """A new ESiamFC of ``k`` branches and a ``kind`` of weights (0: a SiamFC) for tensors; a
    ``StudyError``, before memory is taken, if they are far too few for it."""
    # conv3 to conv5 alone have 1.7 million weights at width 1
    if sum(t.numel() for t in state.values()) < 1e6 * width**2 * max(k, 1):
        raise StudyError(f"{where}: too few numbers for width {width:g} and {max(k, 1)} branches")
    return ESiamFC(k, width, kind=kind) if k else SiamFC(width)


def load_into(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load tensors into a network, or say by a ``StudyError`` which is missing, unknown or of
    another shape, or see ``check_values``."""
    own = model.state_dict()
    state = {n: t for n, t in own.items() if n.endswith(COUNTER)} | dict(state)
    for name in sorted(own.keys() | state.keys()):
        found, needed = (tuple(s[name].shape) if name in s else "not there" for s in (state, own))
        if found != needed:
            raise StudyError(f"{where} does not fit: {name} is {found}, in the network {needed}")
    check_values(state, where)
    model.load_state_dict(state)


def check_values(state: Mapping[str, Tensor], where: str) -> None:
    """Refuse, by a ``StudyError``, what no network that works holds: NaN and infinite values, other
    types than floating-point, variances below 0, tensors larger than what is stored of them."""
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise StudyError(f"{where}: {name} is not a plain array, or larger than what is stored")
        if name.endswith(COUNTER):
            continue
        if not tensor.dtype.is_floating_point or tensor.itemsize == 1:
            raise StudyError(f"{where}: {name} holds {tensor.dtype}, not floating-point numbers")
        if not tensor.float().isfinite().all():
            raise StudyError(f"{where}: {name} has NaN or infinite values (a diverged training?)")
        if name.endswith("running_var") and (tensor < 0).any():
            raise StudyError(f"{where}: {name} has variances below 0")


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Write a state file: nested dictionaries and lists of tensors, numbers and texts."""
    write_atomically(path, lambda file: torch.save(state, file))


def load_state(path: str | Path) -> Any:
    """Read a state file, or any other of ``torch.save``, onto the CPU; it cannot run code. A
    ``StudyError`` if it is damaged, or holds more than tensors and plain values."""
    with reading(path, "a PyTorch file of plain tensors"):
        return torch.load(path, map_location="cpu", weights_only=True)
