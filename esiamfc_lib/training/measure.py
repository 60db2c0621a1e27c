"""The figures of a task: sums over batches, and its loss on pairs without learning."""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from esiamfc_lib.config import FusionParameters, TrainingParameters
from esiamfc_lib.networks.esiamfc import ESiamFC, fuse, soup
from esiamfc_lib.networks.loss import sample_losses
from esiamfc_lib.runtime import devices
from esiamfc_lib.training.augmentation import augment
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.tasks import FusionTask, Sums, Task

if TYPE_CHECKING:  # it takes seconds to load
    from lightning_fabric import Fabric


def evaluate_loss(task: Task, pairs: PairLoader, parameters: TrainingParameters) -> float:
    """Loss of a network as it stands, computed as ``fit`` computes the validation loss."""
    return figures_on(task, pairs, _placed(task, parameters))["loss"]


def _placed(task: Task, parameters: TrainingParameters) -> "Fabric":
    device = devices.choose_device(parameters.device)
    task.to(device=device, memory_format=torch.channels_last)
    return devices.make_fabric(device, devices.choose_precision(parameters.precision, device)[0])


@torch.no_grad()
def pair_losses(model: ESiamFC, pairs: PairLoader, parameters: FusionParameters) -> pd.DataFrame:
    """What an ensemble, its plain average and its branches lose on pairs, as ``evaluate_loss``. A
    row per pair: ``track`` (index of the exemplar's), ``average`` (of the branches' mean response),
    ``fusion`` (of their sum by the model's weights), ``soup`` (of the mean of the branches'
    weights), ``branch 0`` ... (of each alone)."""
    options = {"radius": parameters.radius, "temperature": parameters.temperature}
    task = FusionTask(copy.deepcopy(model), [0], entropy_weight=0.0, **options).eval()
    fabric, rows = _placed(task, parameters), []
    mean = soup(task.model).branch.to(fabric.device, memory_format=torch.channels_last)
    for batch in pairs.epoch(0):
        batch = batch.to(fabric.device)
        with fabric.autocast():
            z, x = Task.frozen(task, *inputs_of(batch, augmentation="none"), batch.track)
            responses = task.model.responses(z, x, [*task.model.branches, mean])
            *alone, mixed = responses.unbind(1)
            fused = fuse(responses[:, :-1], task.model.cluster_weights(z))
        labels, maps = task.labels(fused, batch.positive), (responses[:, :-1].mean(1), fused, mixed)
        losses = [sample_losses(one, labels).cpu() for one in (*maps, *alone)]
        rows.append(np.column_stack([batch.track.cpu(), *losses]))
    names = ["track", "average", "fusion", "soup", *(f"branch {i}" for i in range(model.k))]
    return pd.DataFrame(np.concatenate(rows), columns=names).astype({"track": int})


@torch.no_grad()
def figures_on(task: Task, pairs: PairLoader, fabric: "Fabric") -> dict[str, Any]:
    """Figures of a task on pairs, which are not augmented."""
    task.eval()
    sums: Sums = {}
    for batch in pairs.epoch(0):
        batch = batch.to(fabric.device)
        with fabric.autocast():
            inputs = task.frozen(*inputs_of(batch, augmentation="none"), batch.track)
            _, own = task(inputs, batch.track, batch.positive)
        add(sums, own)
    return task.report({n: devices.summed(t, fabric.device) for n, t in sums.items()})


def inputs_of(batch: PairBatch, *, augmentation: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of a batch, augmented; or where it holds features of the stem, these in float32."""
    if batch.search.is_floating_point():
        return batch.exemplar.float(), batch.search.float()
    return augment(batch, augmentation=augmentation, seed=seed)


def add(total: Sums, more: Sums) -> None:
    """Add the sums of a batch to those of the epoch, in place."""
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value
