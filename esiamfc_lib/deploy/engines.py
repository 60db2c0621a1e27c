"""Which engine computes a tracker's features on this machine."""

from typing import TYPE_CHECKING

import torch

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.engine import PRECISIONS, Engine

if TYPE_CHECKING:
    from esiamfc_lib.deploy.quantisation import Quantised

BACKENDS = ("torch", "onnxruntime")


INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


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
