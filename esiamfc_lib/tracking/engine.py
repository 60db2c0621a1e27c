"""What computes the features of search regions: one interface, two backends, three precisions.

A tracker's network does two things. The first frame's exemplar goes through it once, in the
precision of its weights. Every later frame's search regions go through ``stem`` and those branches
that take part: that is where the time goes, and what an engine is for. ``engine_int8`` and
``engine_onnx`` hold the others.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.siamfc import ESiamFC, SiamFC, branches_of, folded

if TYPE_CHECKING:
    from esiamfc_lib.deploy.quantise import Quantised

BACKENDS = ("torch", "onnxruntime")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.float32}
"""Precision -> type in which the exemplar goes through the network."""

INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


class Engine:
    """PyTorch in fp32 or bf16, on any device: BatchNorm folded, channels last.

    Args:
        model: the network; a copy is used.
        device: of the network.
        precision: a key of ``PRECISIONS``.

    Attributes:
        model: the folded network, for exemplars.
        k: number of branches.
    """

    def __init__(self, model: SiamFC | ESiamFC, device: str = "cpu", precision: str = "fp32"):
        self.device, self.dtype = torch.device(device), PRECISIONS[precision]
        self.model = self.prepared(model)
        self.branches = branches_of(self.model)
        self.k = len(self.branches)

    def prepared(self, model: torch.nn.Module) -> torch.nn.Module:
        """A copy for inference."""
        model = folded(model).requires_grad_(False)
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)

    def exemplar(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → (n, 3, H, W) for ``model``, channels last, 0 to 255."""
        return torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).to(self.dtype)

    def images(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → (n, 3, H, W) for ``stem``, channels last, 0 to 255."""
        return self.exemplar(crops)

    def stem(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) → what ``branch`` takes; 28×28 cells for S = 255."""
        return self.model.stem(images)

    def branch(self, j: int, stem: Tensor) -> Tensor:
        """Features (n, 256·width, 22, 22), fp32 or bf16, of the stem's output."""
        return self.branches[j](stem)


def make(
    model: SiamFC | ESiamFC,
    device: str = "cpu",
    precision: str = "fp32",
    backend: str = "torch",
    int8: "Quantised | None" = None,
) -> Engine:
    """An engine.

    Args:
        model: the network as it is trained.
        device: ``cpu``, ``cuda`` ...; int8 and onnxruntime: ``cpu``.
        precision: ``fp32``; ``bf16``: everything but sums; ``int8``: the search regions' network.
        backend: of ``BACKENDS``; onnxruntime has fp32 and int8.
        int8: the network's int8 form, for precision int8.

    Raises:
        StudyError: an unknown name, or a combination that does not exist.
    """
    if precision not in PRECISIONS:
        raise StudyError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
    if backend not in BACKENDS:
        raise StudyError(f"backend is one of {', '.join(BACKENDS)}, not {backend!r}")
    on_cpu = torch.device(device).type == "cpu"
    if not on_cpu and (precision == "int8" or backend == "onnxruntime"):
        raise StudyError(f"{backend} in {precision} runs on the CPU, not on {device!r}")
    if precision == "int8":
        k = model.k if isinstance(model, ESiamFC) else 1
        if int8 is None:
            raise StudyError("precision int8 needs the int8 form: 'esiamfc quantise' writes it")
        if len(int8.branches) != k:
            raise StudyError(f"the int8 form has {len(int8.branches)} branches, the network {k}")
    if backend == "onnxruntime":
        from esiamfc_lib.deploy.engine_onnx import OnnxEngine

        if precision == "bf16":
            raise StudyError("onnxruntime computes in fp32 or int8 on a CPU, not in bf16")
        return OnnxEngine(model, int8 if precision == "int8" else None)
    if precision == "int8":
        from esiamfc_lib.deploy.int8 import Int8Engine

        return Int8Engine(model, int8)
    return Engine(model, device, precision)


def choose(backend: str, precision: str, device: str, has_int8: bool) -> tuple[str, str, str]:
    """Decide what is ``auto``.

    Args:
        backend, precision: names, or ``auto``.
        device: as decided.
        has_int8: whether there is an int8 form of the network.

    Returns:
        backend, precision, and the reason in half a sentence.
    """
    from esiamfc_lib.runtime.devices import choose_precision, cpu_flags

    reason = "as asked for"
    if precision == "auto":
        fast = sorted(INT8_FLAGS & cpu_flags())
        if torch.device(device).type == "cpu" and has_int8 and fast and backend != "onnxruntime":
            precision, reason = "int8", f"there is an int8 form, and the processor has {fast[0]}"
        elif backend == "onnxruntime":
            precision = "int8" if has_int8 else "fp32"
            reason = "there is an int8 form" if has_int8 else "there is no int8 form"
        else:
            precision, reason = choose_precision("auto", device)
    if backend == "auto":
        backend = "torch"
        if precision == "int8" and not torch.backends.mkldnn.is_available():
            backend, reason = "onnxruntime", f"{reason}; this PyTorch has no oneDNN"
    return backend, precision, reason
