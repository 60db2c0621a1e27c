"""Trackers that may run in int8: the network's int8 form lies beside its weights."""

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from esiamfc_lib.deploy.int8 import Int8Engine
from esiamfc_lib.deploy.quantisation import Quantised, beside
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import devices, files
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.spec import TrackerSpec

INT8_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}
"""Instruction sets of processors on which int8 is the fastest."""


class FastTrackerSpec(TrackerSpec):
    """A tracker as JSON, with int8; ``auto`` takes it where there is a file and a processor."""

    precision: Literal["auto", "fp32", "bf16", "int8"] = Field("fp32", description="of the network")
    int8: str = Field("", description="the network's int8 form; empty: beside the weights")

    def runs_on(self) -> tuple[str, str, str]:
        device, precision, reason = super().runs_on()
        on_cpu = torch.device(device).type == "cpu"
        if precision == "int8" and not on_cpu:
            raise StudyError(f"int8 runs on the CPU, not on {device!r}")
        if precision == "int8" and self.fusion == "soup":
            raise StudyError("a soup has no int8 form: choose fp32 or bf16")
        fast = sorted(INT8_FLAGS & devices.cpu_flags()) if self.precision == "auto" else []
        if fast and on_cpu and self.fusion != "soup" and self._int8_file().is_file():
            return device, "int8", f"there is an int8 form, and the processor has {fast[0]}"
        return device, precision, reason

    def engine(self, model: SiamFC | ESiamFC) -> Engine:
        if self.runs_on()[1] != "int8":
            return super().engine(model)
        int8 = Quantised.load(self._int8_file(), model)
        if self.kind == "branch":
            model, int8 = model.base_tracker(self.branch), int8.of_branch(self.branch)
        return Int8Engine(model, int8)

    def facts(self) -> dict:
        facts = super().facts()
        if facts.get("precision") == "int8":
            facts["int8"] = files.file_digest(self._int8_file())
        return facts

    def _int8_file(self) -> Path:
        return Path(self.int8 or beside(self.weights))
