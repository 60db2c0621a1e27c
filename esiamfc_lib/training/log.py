"""The record of a training: ``log.jsonl`` for the plots, TensorBoard for watching."""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

EVERY = 10  # steps between two lines
PICTURES = 8  # pairs shown an epoch


class TrainingLog:
    """Writes ``log.jsonl`` and TensorBoard events into ``folder``.

    Lines of two kinds: ``{"event": "step", "epoch", "step", "loss", "lr"}`` every ``EVERY`` steps
    and ``{"event": "epoch", ...figures, "seconds"}``.

    Args:
        folder: of the run.
        enabled: False on all processes but the first: nothing is written.
        size: bytes of the log that count; what a killed run wrote after them is cut off.
        done: steps made so far; later TensorBoard points of a killed run are hidden.
    """

    def __init__(self, folder: Path, enabled: bool = True, size: int = 0, done: int = 0):
        self.done, self.started = done, time.monotonic()
        self.file = self.board = None
        if not enabled:
            return
        # Here, because its import takes a second that readers of a log need not wait for.
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.file = (folder / "log.jsonl").open("ab")
        self.file.truncate(size)
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
        """Record the loss of a step (``step`` counts from 1 in each epoch)."""
        self.done += 1
        if self.file is not None and step % EVERY == 0:
            self._write({"event": "step", "epoch": epoch, "step": step, "loss": loss, "lr": lr})
            self.board.add_scalar("train/loss", loss, self.done)
            self.board.add_scalar("lr", lr, self.done)

    def epoch(self, entry: dict[str, Any]) -> None:
        """Record the figures of an epoch; every number becomes a curve."""
        seconds, self.started = time.monotonic() - self.started, time.monotonic()
        if self.file is None:
            return
        self._write({"event": "epoch", **entry, "seconds": round(seconds, 3)})
        self.file.flush()
        for group in ("train", "validation", "tracking"):
            for name, value in entry.get(group, {}).items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"epoch/{group}_{name}", value, self.done)
                elif name == "mean_weights":
                    for j, weight in enumerate(value):
                        self.board.add_scalar(f"weights/{group}_branch_{j}", weight, self.done)

    def images(self, exemplar: Tensor, search: Tensor, response: Tensor) -> None:
        """Show some pairs (0 to 255) and the probability maps of their responses (N, H, W)."""
        if self.board is None:
            return
        probability = torch.sigmoid(response[:PICTURES, None].float())
        for name, pictures in (("exemplar", exemplar), ("search", search)):
            self.board.add_images(f"pairs/{name}", pictures[:PICTURES].byte().cpu(), self.done)
        self.board.add_images("pairs/response", probability.cpu(), self.done)

    def _write(self, line: dict[str, Any]) -> None:
        self.file.write(json.dumps(line).encode() + b"\n")


def read_log(folder: str | Path, event: str = "epoch") -> list[dict[str, Any]]:
    """The lines of one kind, ``step`` or ``epoch``, of a run's log; empty if there is none."""
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == event]


def history_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """One row an epoch: ``epoch, lr, loss, validation_loss, auc``; NaN where not measured.

    Args:
        history: of ``Trained``.
    """
    names = {
        "train.loss": "loss", "validation.loss": "validation_loss", "tracking.auc": "auc",
    }  # fmt: skip
    flat = pd.json_normalize(history, max_level=1).rename(columns=names)
    return flat.reindex(columns=["epoch", "lr", *names.values()])
