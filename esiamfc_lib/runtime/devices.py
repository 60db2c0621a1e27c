"""Where and how the networks run: device, precision, and several processes as one."""

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from esiamfc_lib.errors import StudyError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOST = timedelta(seconds=45)  # until a process that says nothing counts as lost to the others


def choose_device(device: str = "auto") -> torch.device:
    """``auto`` is the GPU where there is one; a StudyError says that a device is not there, or
    holds no values (``meta``)."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"parameter 'device' = {device!r} cannot be used: {reason}") from None
    return chosen


def choose_precision(precision: str, device: str | torch.device) -> tuple[str, str]:
    """``auto`` is ``bf16`` where the processor computes in it, else ``fp32``; with the reason."""
    if precision != "auto":
        return precision, "as the parameter says"
    if torch.device(device).type == "cuda":
        if torch.cuda.is_bf16_supported():
            return "bf16", "the GPU has it"
        return "fp32", "this GPU has no bf16"
    # Without these instructions bf16 is emulated, and slower than fp32.
    if found := sorted({"avx512_bf16", "amx_bf16"} & cpu_flags()):
        return "bf16", f"the processor has {found[0]}"
    return "fp32", "the processor has no bf16 instructions"


def make_fabric(device: torch.device, precision: str) -> "Fabric":
    """Lightning Fabric on one device, or on one of many when started by ``torchrun``. On a GPU the
    process's algorithms are deterministic from now on, where PyTorch has such."""
    # Here, because tracking processes need a device but never this import, which takes seconds.
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    accelerator = "cuda" if device.type == "cuda" else "cpu"
    if accelerator == "cuda":  # same seed, same bytes; what it costs: python -m speed gpu
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    # The environment is given, as SLURM's variables would let Fabric wait for processes of SLURM's.
    if rank_and_world()[1] > 1:
        here, nodes = (os.environ.get(f"{n}_WORLD_SIZE", "1") for n in ("LOCAL", "GROUP"))
        places = {"devices": int(here), "num_nodes": int(nodes)}
        places |= {"strategy": DDPStrategy(timeout=LOST), "plugins": TorchElasticEnvironment()}
    else:
        places = {"devices": [device.index or 0] if accelerator == "cuda" else 1}
        places["plugins"] = LightningEnvironment()
    plugin = "bf16-mixed" if precision == "bf16" else "32-true"
    fabric = Fabric(accelerator=accelerator, precision=plugin, **places)
    fabric.launch()
    return fabric


def rank_and_world() -> tuple[int, int]:
    """This process's number and the number of processes, as ``torchrun`` set them; else 0 of 1."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def summed(own: Tensor, device: torch.device | None = None) -> Tensor:
    """The sum of a tensor over all processes, made on a ``device``; itself where there is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return own
    total = own.to(device or own.device, copy=True)
    dist.all_reduce(total)
    return total.to(own.device)


def cpu_flags() -> set[str]:
    """The processor's instruction sets as Linux names them; empty on other systems."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())
