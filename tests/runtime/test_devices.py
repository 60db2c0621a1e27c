"""Where the networks run; a GPU stands in for itself here, as none is needed to choose one."""

import lightning_fabric
import pytest
import torch

from esiamfc_lib.runtime import devices


class FakeFabric:
    def __init__(self, **options):
        self.options = options

    def launch(self):
        pass


@pytest.fixture(autouse=True)
def usual_algorithms(monkeypatch):
    monkeypatch.setattr(lightning_fabric, "Fabric", FakeFabric)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(("device", "fixed"), [("cuda:1", True), ("cpu", False)])
def test_training_on_a_gpu_has_deterministic_algorithms(device, fixed):
    fabric = devices.make_fabric(torch.device(device), "bf16")
    assert torch.are_deterministic_algorithms_enabled() is fixed
    assert fabric.options["accelerator"] == device[:4].rstrip(":")
    assert fabric.options["precision"] == "bf16-mixed"
    assert fabric.options["devices"] == ([1] if fixed else 1)
