"""The record of a training: ``log.jsonl`` for the plots, TensorBoard for watching."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

EVERY = 10  # steps between two lines


class TrainingLog:
    """Writes ``log.jsonl`` and TensorBoard curves into ``folder``. Lines of two kinds: ``{"event":
    "step", "epoch", "step", "loss", "lr"}`` every ``EVERY`` steps and ``{"event": "epoch",
    ...figures, "seconds"}``. Nothing is written unless ``enabled``: by the first process only. What
    a killed run wrote after ``size`` bytes is cut off, and its TensorBoard points after ``done``
    steps are hidden."""

    def __init__(self, folder: Path, enabled: bool, size: int, done: int):
        self.done, self.started = done, time.monotonic()
        self.file = self.board = None
        if not enabled:
            return
        # Here, because its import takes a second that readers of a log need not wait for.
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "log.jsonl").open("ab")
        self.file.truncate(min(size, self.file.tell()))  # of a log that was shortened, no more
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *error) -> None:
        if self.file is not None:
            self.file.close()
            self.board.close()

    def flushed(self) -> int:
        """Bytes of the log up to now, all of them in the file."""
        if self.file is None:
            return 0
        self.file.flush()
        return self.file.tell()

    def step(self, epoch: int, step: int, loss: float, lr: float) -> None:
        """Record the loss of a step; epochs, and the steps of each, count from 1."""
        self.done += 1
        if step % EVERY == 0:
            line = {"event": "step", "epoch": epoch, "step": step, "loss": loss, "lr": lr}
            self._write(line, {"train/loss": loss, "lr": lr})

    def epoch(self, entry: dict[str, Any]) -> None:
        """Record the figures of an epoch; every single number becomes a curve."""
        seconds, self.started = time.monotonic() - self.started, time.monotonic()
        curves = {
            f"epoch/{group}_{name}": value
            for group in ("train", "validation", "tracking")
            for name, value in entry.get(group, {}).items()
            if isinstance(value, int | float)
        }
        self._write({"event": "epoch", **entry, "seconds": round(seconds, 3)}, curves)

    def _write(self, line: dict[str, Any], curves: dict[str, float]) -> None:
        if self.file is not None:
            self.file.write(json.dumps(line).encode() + b"\n")
            for name, value in curves.items():
                self.board.add_scalar(name, value, self.done)


def history_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per epoch of ``Trained.history``: ``epoch, lr, loss, validation_loss, auc``; NaN
    where not measured."""
    names = {"train.loss": "loss", "validation.loss": "validation_loss", "tracking.auc": "auc"}
    flat = pd.json_normalize(history, max_level=1).rename(columns=names)
    return flat.reindex(columns=["epoch", "lr", *names.values()])
