"""The training loop of notebooks 02, 05 and 06.

SGD with a learning rate that falls from epoch to epoch. After each epoch: validation loss, now and
then tracking quality on held-out sequences, and the better model so far becomes
``best.safetensors``. The folder also gets ``log.jsonl``, TensorBoard curves, the models of the
last epochs, and ``state.pt``: everything needed to go on after a kill, at any moment, to the same
bytes as if there had been none (on a CPU with the same number of threads; on a GPU as far as
PyTorch's algorithms are deterministic there)."""

import math
import platform
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
from esiamfc_lib.runtime.parallel import facts_of
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.log import TrainingLog
from esiamfc_lib.training.measure import add, figures_on, inputs_of
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.run_folder import Position, RunFolder, differing_settings
from esiamfc_lib.training.tasks import Task

# What may differ between a run and its continuation without changing its result.
FREE = {"run_dir", "report_dir", "device", "threads", "workers", "checkpoint_seconds"}


@dataclass(frozen=True)
class Trained:
    """What a training gave.

    Attributes:
        model: the best network, in eval mode on the CPU; ``path``: of its file.
        best: the best epoch's entry of the history.
        history: one entry per epoch: ``epoch`` (from 1; 0: the starting weights), ``lr``,
            ``train`` and ``validation`` (figures of the task, at least ``loss``), ``tracking``
            (what ``validate`` returned, where it ran), ``score`` (what chooses the best).
        resumed: whether this call continued an earlier one.
        precision: "fp32" or "bf16", and why."""

    model: nn.Module
    best: dict[str, Any]
    history: list[dict[str, Any]]
    path: Path
    resumed: bool
    precision: tuple[str, str]


def fit(
    task: Task, parameters: TrainingParameters, train: PairLoader, folder: str | Path, **options
) -> Trained:
    """Train a task, in place; arguments as for ``Training``. A killed run goes on where it was.
    A StudyError: the loss is not finite; or the folder holds a run with other parameters."""
    return Training(task, parameters, train, folder, **options).run()


def learning_rate(epoch: int, parameters: TrainingParameters) -> float:
    """From ``lr`` in the first epoch to ``lr_last`` in the last: by one factor an epoch, or in one
    step after half of the epochs."""
    if parameters.schedule == "step":
        share = float(2 * epoch >= parameters.epochs)
    else:
        share = epoch / max(1, parameters.epochs - 1)
    return parameters.lr * (parameters.lr_last / parameters.lr) ** share


class Training:
    """One training in one folder.

    Args:
        validation: pairs of held-out videos, for the validation loss.
        validate: called with the network (eval mode) and the epoch, every
            ``parameters.validate_every`` epochs and after the last; returns tracking figures on
            held-out sequences, of which the largest ``auc`` chooses the best epoch. Without it
            the smallest validation loss decides, and without validation pairs the last epoch.
        info: facts that belong to the result, for the model's header (``data``, ``start``:
            digests of the data and of the starting weights); a run with others is not continued.
        keep: models of so many last epochs are kept, and the best one always.
        title: of the progress bar."""

    def __init__(
        self,
        task: Task,
        parameters: TrainingParameters,
        train: PairLoader,
        folder: str | Path,
        *,
        validation: PairLoader | None = None,
        validate: Callable[[nn.Module, int], dict[str, float]] | None = None,
        info: dict[str, Any] | None = None,
        keep: int = 2,
        title: str = "",
    ):
        self.task, self.parameters, self.train = task, parameters, train
        self.validation, self.validate = validation, validate
        self.title = title or task.name
        if parameters.threads:
            torch.set_num_threads(parameters.threads)
        device = devices.choose_device(parameters.device)
        self.precision = devices.choose_precision(parameters.precision, device)
        self.fabric = devices.make_fabric(device, self.precision[0])
        if self.fabric.world_size > 1:
            synchronise_norms(task.learners)
        settings = {
            **parameters.model_dump(exclude=FREE),
            "precision": self.precision[0],
            "task": task.name,
            "frozen part": checkpoints.digest(_frozen_tensors(task)),
            "steps per epoch": len(train),
            **(info or {}),
        }
        self.files = RunFolder(Path(folder), settings, keep, self.fabric.is_global_zero)
        task.to(memory_format=torch.channels_last)
        sgd = parameters.model_dump(include={"lr", "momentum", "weight_decay"})
        optimizer = torch.optim.SGD(task.learners.parameters(), **sgd)
        self.step_module, self.optimizer = self.fabric.setup(task, optimizer)

    # The course of a training, from top to bottom.

    def run(self) -> Trained:
        """Go on where a killed run stopped, learn batch by batch, and end every epoch's account."""
        if self.fabric.world_size > 1:
            own = self.files.settings | facts_of(fit)
            if differing := differing_settings(self.fabric.broadcast(own), own):
                raise StudyError(f"{platform.node()} differs from the first process: {differing}")
        found = self.files.load_state(self.task.learners, self.optimizer, self.fabric.broadcast)
        self.at = found or Position()
        epochs, first = self.parameters.epochs, self.fabric.is_global_zero
        total, done = epochs * len(self.train), self.at.epoch * len(self.train) + self.at.step
        self.log = TrainingLog(self.files.path, first, self.at.log_bytes, done)
        bar = Progress(total=total, initial=done, desc=self.title, unit="step", disable=not first)
        self.saved_at = time.monotonic()
        with bar, self.log:
            while self.at.epoch < epochs:
                self.lr = learning_rate(self.at.epoch, self.parameters)
                for group in self.optimizer.param_groups:
                    group["lr"] = self.lr
                self.task.train()
                for batch in self.train.epoch(self.at.epoch, self.at.step):
                    loss = self._learn(batch.to(self.fabric.device))
                    bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                    bar.update()
                    if time.monotonic() - self.saved_at >= self.parameters.checkpoint_seconds:
                        self._save_state()
                self._end_epoch()
            if not self.at.best:
                self._keep_best({"epoch": 0})  # no epochs: the starting weights are the result
        at, path, resumed = self.at, self.files.best, found is not None
        model = self.fabric.broadcast(checkpoints.load(path)[0] if first else None)
        return Trained(model, at.best, at.history, path, resumed, self.precision)

    def _learn(self, batch: PairBatch) -> float:
        p = self.parameters
        images = inputs_of(batch, augmentation=p.augmentation, seed=p.seed)
        with self.fabric.autocast():
            inputs = self.task.frozen(*images, batch.track)
        loss, sums = self.step_module(inputs, batch.track, batch.positive)
        sums = {n: devices.summed(t, self.fabric.device) for n, t in sums.items()}
        value = devices.summed(loss.detach()).item() / self.fabric.world_size
        if not math.isfinite(value):
            self._stop(batch, value)
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        if p.clip_norm:
            self.fabric.clip_gradients(self.step_module, self.optimizer, max_norm=p.clip_norm)
        self.optimizer.step()
        add(self.at.sums, sums)
        self.at.step += 1
        self.log.step(self.at.epoch + 1, self.at.step, value, self.lr)
        return value

    def _end_epoch(self) -> None:
        epoch, task = self.at.epoch + 1, self.task
        entry = {"epoch": epoch, "lr": self.lr, "train": (train := task.report(self.at.sums))}
        if self.validation is not None:
            entry["validation"] = figures_on(task, self.validation, self.fabric)
        last = epoch == self.parameters.epochs
        if self.validate and (last or epoch % self.parameters.validate_every == 0):
            task.eval()
            entry["tracking"] = self.fabric.broadcast(self.validate(task.model, epoch))
        if warning := task.warning(entry.get("validation", train)):
            entry["warning"] = warning
            warnings.warn(f"epoch {epoch}: {warning}", stacklevel=2)
        self.at.history.append(entry)
        if self._is_best(entry):
            self._keep_best(entry)
        self.files.save_epoch(task.model, entry)
        self.log.epoch(entry)
        self.at.epoch, self.at.step, self.at.sums = epoch, 0, {}
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
        self.files.save(self.files.best, self.task.model, entry)

    def _save_state(self) -> None:
        self.saved_at = time.monotonic()
        self.at.log_bytes = self.log.flushed()
        self.files.save_state(self.task.learners, self.optimizer, self.at)

    def _stop(self, batch: PairBatch, value: float) -> None:
        at, path = self.at, self.files.path / f"nonfinite{self.fabric.global_rank or ''}.pt"
        facts = {"epoch": at.epoch + 1, "step": at.step + 1, "loss": value}
        checkpoints.save_state(path, batch._asdict() | facts)
        said = f"{self.title}: the loss is {value} in epoch {at.epoch + 1}, step {at.step + 1}"
        raise StudyError(f"{said}; its batch is in {path}; a smaller lr or clip_norm > 0 may help")


def _frozen_tensors(task: Task) -> dict[str, Tensor]:
    learning = {id(tensor) for tensor in task.learners.state_dict(keep_vars=True).values()}
    state = task.model.state_dict(keep_vars=True)
    return {name: tensor for name, tensor in state.items() if id(tensor) not in learning}
