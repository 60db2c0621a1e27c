"""The figures of a task: sums over batches, and its loss on pairs without learning."""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from esiamfc_lib.config import TrainingParameters
from esiamfc_lib.runtime import devices
from esiamfc_lib.training.augmentation import augment
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.tasks import Task


def evaluate_loss(task: Task, pairs: PairLoader, parameters: TrainingParameters) -> float:
    """Loss of a network as it stands, computed as ``fit`` computes the validation loss."""
    device = devices.choose_device(parameters.device)
    fabric = devices.make_fabric(device, devices.choose_precision(parameters.precision, device)[0])
    task.to(device=device, memory_format=torch.channels_last)
    return figures_on(task, pairs, fabric)["loss"]


@torch.no_grad()
def figures_on(task: Task, pairs: PairLoader, fabric: Fabric) -> dict[str, Any]:
    """Figures of a task on pairs, which are not augmented."""
    task.eval()
    sums: dict[str, Tensor] = {}
    for batch in pairs.epoch(0):
        batch = batch.to(fabric.device)
        with fabric.autocast():
            inputs = task.frozen(*inputs_of(batch, augmentation="none"))
            _, own = task(inputs, batch.track, batch.positive)
        add(sums, own)
    return figures_of(task, sums, fabric)


def inputs_of(batch: PairBatch, *, augmentation: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of a batch, augmented; or where it holds features of the stem, these in float32."""
    if batch.search.is_floating_point():
        return batch.exemplar.float(), batch.search.float()
    return augment(batch, augmentation=augmentation, seed=seed)


def add(total: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    """Add the sums of a batch to those of the epoch, in place."""
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value


def figures_of(task: Task, sums: dict[str, Tensor], fabric: Fabric) -> dict[str, Any]:
    """Figures of an epoch from the sums of all processes."""
    totals = {n: devices.summed(t.clone().to(fabric.device)).cpu() for n, t in sums.items()}
    return task.report(totals)
