"""The folder of one training: models, the state to go on from, and whose state it is."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints

BEST, STATE, NONFINITE = "best.safetensors", "state.pt", "nonfinite.pt"


@dataclass
class Position:
    """How far a training has come.

    Attributes:
        epoch, step: the next step to make, both from 0.
        sums: of the current epoch so far.
        history: figures of the finished epochs.
        best: the best of them.
        log_bytes: size of the log up to here.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    log_bytes: int = 0


class RunFolder:
    """Reads and writes the files of a training.

    Args:
        path: the folder.
        identity: parameters and facts that decide the result; a state that was saved under
            others is refused.
        keep: models of so many last epochs are kept; the best one is a file of its own.
        enabled: False on all processes but the first: nothing is written.
    """

    def __init__(self, path: Path, identity: dict[str, Any], keep: int = 2, enabled: bool = True):
        self.path, self.keep, self.enabled = path, keep, enabled
        self.identity = json.loads(json.dumps(identity))

    @property
    def best(self) -> Path:
        """The best model's file."""
        return self.path / BEST

    def save_best(self, model: nn.Module, entry: dict[str, Any]) -> None:
        """Replace the best model; ``entry`` are the figures of its epoch."""
        self._save(self.best, model, entry)

    def save_epoch(self, model: nn.Module, entry: dict[str, Any]) -> None:
        """Keep the model of an epoch, and drop those of old ones."""
        self._save(self.path / f"epoch-{entry['epoch']:03d}.safetensors", model, entry)
        if self.enabled:
            for old in sorted(self.path.glob("epoch-*.safetensors"))[: -self.keep]:
                old.unlink()

    def _save(self, path: Path, model: nn.Module, entry: dict[str, Any]) -> None:
        if self.enabled:
            checkpoints.save(path, model, training=self.identity, result=entry)

    def save_state(
        self, learners: nn.Module, optimizer: torch.optim.Optimizer, at: Position
    ) -> None:
        """Write everything that a killed training needs to go on."""
        if self.enabled:
            checkpoints.save_state(
                self.path / STATE,
                {
                    "identity": json.dumps(self.identity),
                    "optimizer": optimizer.state_dict(),
                    "learners": {n: t.detach().cpu() for n, t in learners.state_dict().items()},
                    "epoch": at.epoch,
                    "step": at.step,
                    "sums": at.sums,
                    "log_bytes": at.log_bytes,
                    "history": json.dumps(at.history),
                    "best": json.dumps(at.best),
                    "random": random_state(),
                },
            )

    def load_state(self, learners: nn.Module, optimizer: torch.optim.Optimizer) -> Position | None:
        """Put a saved state into the modules; None if there is none.

        Raises:
            StudyError: it belongs to a training with other parameters; says which.
        """
        path = self.path / STATE
        if not path.is_file():
            return None
        state = checkpoints.load_state(path)
        self._refuse_other(json.loads(state["identity"]), path)
        learners.load_state_dict(state["learners"])
        optimizer.load_state_dict(state["optimizer"])
        restore_random_state(state["random"])
        return Position(
            state["epoch"],
            state["step"],
            state["sums"],
            json.loads(state["history"]),
            json.loads(state["best"]),
            state["log_bytes"],
        )

    def _refuse_other(self, theirs: dict[str, Any], path: Path) -> None:
        ours = self.identity
        differing = [
            f"{name} was {theirs.get(name)!r} and is {ours.get(name)!r}"
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
        if differing:
            raise StudyError(
                f"{path} belongs to a training with other parameters: "
                f"{'; '.join(differing)}; remove {self.path} to train anew"
            )

    def save_nonfinite(self, batch: dict[str, Any]) -> Path:
        """Keep the batch whose loss was not finite."""
        checkpoints.save_state(self.path / NONFINITE, batch)
        return self.path / NONFINITE


def random_state() -> dict[str, Any]:
    """All global generators: this project uses none of them, but a callback might."""
    _, keys, position, has_gauss, gauss = np.random.get_state()
    version, words, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": [torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), gauss_next],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Set all global generators to what ``random_state`` gave."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
