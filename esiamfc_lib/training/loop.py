"""The training loop of notebooks 02, 05 and 06.

::

    task = BaselineTask(SiamFC(width))                     # what learns, what is frozen, the loss
    pairs = loader(PairDataset(store, ...), parameters)    # the same pairs from any position on
    result = fit(task, parameters, pairs, folder)          # this file

SGD with a learning rate that falls from epoch to epoch. After each epoch: validation loss, now and
then tracking quality on held-out sequences, and the better model so far becomes
``best.safetensors``. The folder also gets ``log.jsonl``, TensorBoard curves and pictures, the
models of the last epochs, and ``state.pt``: everything needed to go on after a kill, at any
moment, to the same bytes as if there had been none (on a CPU with the same number of threads).
"""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from esiamfc_lib.config import TrainingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.runtime import devices
from esiamfc_lib.runtime.bars import Progress
from esiamfc_lib.runtime.batch_norm import synchronise_norms
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.log import TrainingLog
from esiamfc_lib.training.measure import add, figures_of, figures_on, inputs_of
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.run_folder import Position, RunFolder
from esiamfc_lib.training.tasks import Task

# What may differ between a run and its continuation without changing its result.
FREE = {"run_dir", "report_dir", "device", "threads", "workers", "checkpoint_seconds"}
PLATEAUS = 3  # of the stepwise learning rate


def exponential(epoch: int, parameters: TrainingParameters) -> float:
    """Learning rate: from ``lr`` in the first epoch to ``lr_last`` in the last, by one factor."""
    share = epoch / max(1, parameters.epochs - 1)
    return parameters.lr * (parameters.lr_last / parameters.lr) ** share


def stepwise(epoch: int, parameters: TrainingParameters) -> float:
    """Learning rate: from ``lr`` to ``lr_last`` in three plateaus of equal length."""
    plateau = min(PLATEAUS - 1, epoch * PLATEAUS // parameters.epochs)
    return parameters.lr * (parameters.lr_last / parameters.lr) ** (plateau / (PLATEAUS - 1))


SCHEDULES = {"exponential": exponential, "step": stepwise}


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        model: the best network, in eval mode on the CPU.
        best: epoch, ``score`` and what was measured of it.
        history: one entry an epoch: ``epoch``, ``lr``, ``train`` and ``validation`` (figures of
            the task, at least ``loss``), ``tracking`` (what ``validate`` returned, where it ran).
        path: of the best model's file.
        resumed: whether this call continued an earlier one.
        precision: "fp32" or "bf16", and why.
    """

    model: nn.Module
    best: dict[str, Any]
    history: list[dict[str, Any]]
    path: Path
    resumed: bool
    precision: tuple[str, str]


def fit(
    task: Task,
    parameters: TrainingParameters,
    train: PairLoader,
    folder: str | Path,
    **options: Any,
) -> Trained:
    """Train a task.

    Args:
        task: what learns; its network is trained in place.
        parameters: learning rate, epochs, precision ... of the stage.
        train: pairs to learn from.
        folder: of this run; a run that was killed there goes on where it was.
        options: see ``Training``.

    Raises:
        StudyError: the loss is not finite; or the folder holds a run with other parameters.
    """
    return Training(task, parameters, train, folder, **options).run()


class Training:
    """One training in one folder.

    Args:
        task, parameters, train, folder: see ``fit``.
        validation: pairs of held-out videos, for the validation loss.
        validate: called with the network (eval mode) and the epoch; returns tracking figures on
            held-out sequences, of which the largest ``auc`` chooses the best epoch. Without it
            the smallest validation loss decides, and without validation pairs the last epoch.
        validate_every: epochs between two calls of ``validate``; the last epoch is always one.
        info: facts that belong to the result, for the model's header (``data``: fingerprint of
            the data, ``start``: digest of the starting weights). A run is not continued when
            they have changed.
        resume: continue a run found in the folder; False: start afresh.
        keep: models of so many last epochs are kept, and the best one always.
        title: of the progress bar.
    """

    def __init__(
        self,
        task: Task,
        parameters: TrainingParameters,
        train: PairLoader,
        folder: str | Path,
        *,
        validation: PairLoader | None = None,
        validate: Callable[[nn.Module, int], dict[str, float]] | None = None,
        validate_every: int = 1,
        info: dict[str, Any] | None = None,
        resume: bool = True,
        keep: int = 2,
        title: str = "",
    ):
        self.task, self.parameters, self.train = task, parameters, train
        self.validation, self.validate, self.validate_every = validation, validate, validate_every
        self.resume = resume
        self.schedule = SCHEDULES[parameters.schedule]
        self.title = title or task.name
        if parameters.threads:
            torch.set_num_threads(parameters.threads)
        device = devices.choose_device(parameters.device)
        self.precision = devices.choose_precision(parameters.precision, device)
        self.fabric = devices.make_fabric(device, self.precision[0])
        if self.fabric.world_size > 1:
            synchronise_norms(task.learners)
        self.files = RunFolder(
            Path(folder), self._settings(info or {}), keep, enabled=self.fabric.is_global_zero
        )
        task.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            task.learners.parameters(),
            lr=parameters.lr,
            momentum=parameters.momentum,
            weight_decay=parameters.weight_decay,
        )
        self.step_module, self.optimizer = self.fabric.setup(task, self.optimizer)

    # The course of a training, from top to bottom.

    def run(self) -> Trained:
        """Go on where a killed run stopped, learn batch by batch, and end every epoch's account."""
        found = self.files.load_state(self.task.learners, self.optimizer) if self.resume else None
        self.at = found or Position()
        done = self.at.epoch * len(self.train) + self.at.step
        self.log = TrainingLog(self.files.path, self.fabric.is_global_zero, self.at.log_bytes, done)
        bar = Progress(
            total=self.parameters.epochs * len(self.train),
            initial=done,
            desc=self.title,
            unit="step",
            disable=not self.fabric.is_global_zero,
        )
        self.saved_at = time.monotonic()
        with bar, self.log:
            while self.at.epoch < self.parameters.epochs:
                self._begin_epoch()
                for batch in self.train.epoch(self.at.epoch, self.at.step):
                    loss = self._learn(batch.to(self.fabric.device))
                    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                    bar.update()
                    self._save_now_and_then()
                self._end_epoch()
            if not self.at.best:
                self._keep_best({"epoch": -1})  # no epochs: the starting weights are the result
        self.fabric.barrier()
        model, _ = checkpoints.load(self.files.best)
        return Trained(
            model, self.at.best, self.at.history, self.files.best, found is not None, self.precision
        )

    def _begin_epoch(self) -> None:
        self.lr = self.schedule(self.at.epoch, self.parameters)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.task.train()

    def _learn(self, batch: PairBatch) -> float:
        images = inputs_of(batch, self.parameters.augmentation, self.parameters.seed)
        with self.fabric.autocast():
            inputs = self.task.frozen(*images)
        loss, sums = self.step_module(inputs, batch.track, batch.positive)
        value = loss.item()
        if not math.isfinite(value):
            self._stop(batch, value)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if self.parameters.clip_norm:
            self.fabric.clip_gradients(
                self.step_module, self.optimizer, max_norm=self.parameters.clip_norm
            )
        self.optimizer.step()
        add(self.at.sums, sums)
        self.at.step += 1
        self.log.step(self.at.epoch, self.at.step, value, self.lr)
        return value

    def _end_epoch(self) -> None:
        epoch = self.at.epoch
        entry = {
            "epoch": epoch,
            "lr": self.lr,
            "train": figures_of(self.task, self.at.sums, self.fabric),
        }
        if self.validation is not None:
            entry["validation"] = figures_on(
                self.task, self.validation, self.fabric, self.log.images
            )
        last = epoch + 1 == self.parameters.epochs
        if self.validate is not None and (last or (epoch + 1) % self.validate_every == 0):
            self.task.eval()
            entry["tracking"] = self.validate(self.task.model, epoch)
        if warning := self.task.warning(entry.get("validation", entry["train"])):
            entry["warning"] = warning
            warnings.warn(f"epoch {epoch}: {warning}", stacklevel=2)
        self.at.history.append(entry)
        if self._is_best(entry):
            self._keep_best(entry)
        self.files.save_epoch(self.task.model, entry)
        self.log.epoch(entry)
        self.at.epoch, self.at.step, self.at.sums = epoch + 1, 0, {}
        self._save_state()

    def _is_best(self, entry: dict[str, Any]) -> bool:
        if self.validate is not None:
            if "tracking" not in entry:
                return False
            value = entry["tracking"]["auc"]
        elif self.validation is not None:
            value = -entry["validation"]["loss"]
        else:
            value = float(entry["epoch"])
        entry["score"] = value
        return not self.at.best or value > self.at.best["score"]

    def _keep_best(self, entry: dict[str, Any]) -> None:
        self.at.best = entry
        self.files.save_best(self.task.model, entry)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self.saved_at >= self.parameters.checkpoint_seconds:
            self._save_state()

    def _save_state(self) -> None:
        self.saved_at = time.monotonic()
        self.at.log_bytes = self.log.flushed()
        self.files.save_state(self.task.learners, self.optimizer, self.at)

    def _stop(self, batch: PairBatch, value: float) -> None:
        path = self.files.save_nonfinite(
            {**batch._asdict(), "epoch": self.at.epoch, "step": self.at.step, "loss": value}
        )
        raise StudyError(
            f"{self.title}: the loss is {value} in epoch {self.at.epoch}, step "
            f"{self.at.step}; its batch is in {path}; a smaller lr or clip_norm > 0 "
            "may help"
        )

    def _settings(self, info: dict[str, Any]) -> dict[str, Any]:
        return {
            **self.parameters.model_dump(exclude=FREE),
            "precision": self.precision[0],
            "task": self.task.name,
            "frozen part": checkpoints.digest(_frozen_tensors(self.task)),
            "steps an epoch": len(self.train),
            **info,
        }


def _frozen_tensors(task: Task) -> dict[str, Tensor]:
    learning = {id(tensor) for tensor in task.learners.state_dict(keep_vars=True).values()}
    state = task.model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in learning}
