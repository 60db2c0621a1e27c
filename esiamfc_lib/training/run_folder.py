"""The folder of one training: models, the state to go on from, and whose state it is."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from esiamfc_lib.errors import DAMAGE, StudyError, refused
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.runtime.paths import explored

TEXTS = ("history", "best")  # of a position: kept as JSON


@dataclass
class Position:
    """How far a training has come: ``epoch`` and ``step`` are those to make next, from 0; ``sums``,
    over all processes, are of the current epoch, ``history`` and ``best`` of the finished ones."""

    epoch: int = 0
    step: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    log_bytes: int = 0


class RunFolder:
    """Reads and writes the files of a training. ``settings`` are the parameters and facts that
    decide the result: a state that was saved under others is refused. Models of the last ``keep``
    epochs are kept; the best one is a file of its own. ``enabled`` is False on all processes but
    the first: nothing is written or read."""

    def __init__(self, path: Path, settings: dict[str, Any], keep: int, enabled: bool):
        self.path, self.keep, self.enabled = path, keep, enabled
        self.settings = json.loads(json.dumps(settings))
        self.best, self.state = path / "best.safetensors", path / "state.pt"

    def save(self, path: Path, model: nn.Module, entry: dict[str, Any]) -> None:
        """Write a model; ``entry`` are the figures of its epoch."""
        if self.enabled:
            checkpoints.save(path, model, training=self.settings, result=entry)

    def save_epoch(self, model: nn.Module, entry: dict[str, Any]) -> None:
        """Keep the model of an epoch, and drop those of old ones."""
        self.save(self.path / f"epoch-{entry['epoch']:03d}.safetensors", model, entry)
        if self.enabled:
            for old in sorted(self.path.glob("epoch-*.safetensors"))[: -self.keep]:
                old.unlink()

    def save_state(self, learners: nn.Module, optimizer: Optimizer, at: Position) -> None:
        """Write everything that a killed training needs to go on."""
        if self.enabled:
            state = {"settings": json.dumps(self.settings), "optimizer": optimizer.state_dict()}
            state["learners"] = {n: t.detach().cpu() for n, t in learners.state_dict().items()}
            state |= vars(at) | {name: json.dumps(getattr(at, name)) for name in TEXTS}
            checkpoints.save_state(self.state, state)

    def load_state(self, learners: nn.Module, optimizer: Optimizer, shared) -> Position | None:
        """Put a saved state into the modules; None if there is none. ``shared`` gives every process
        what the first one, whose folder it is, has given to it. A ``StudyError`` says in which
        parameters the state differs (None in an exploration), or that it is damaged."""
        there = self.enabled and self.state.is_file()
        state = shared(checkpoints.load_state(self.state) if there else None)
        if state is None:
            return None
        anew = f"remove {self.path} to train anew"
        with refused(f"{self.state} is damaged, {anew}", (*DAMAGE, AttributeError, RuntimeError)):
            differing = differing_settings(json.loads(state.pop("settings", "{}")), self.settings)
            if differing and explored(self.path):
                return None  # whoever explores tries one value after the other
            if differing:
                said = f"{self.state} belongs to a training with other parameters: {differing}"
                raise StudyError(f"{said}; {anew}")
            checkpoints.load_into(learners, state.pop("learners"), str(self.state))
            optimizer.load_state_dict(state.pop("optimizer"))
            state |= {name: json.loads(state[name]) for name in TEXTS}
            return Position(**state)


def differing_settings(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """In which settings two trainings differ, in words; empty if in none."""
    names = sorted(n for n in ours.keys() | theirs.keys() if ours.get(n) != theirs.get(n))
    return "; ".join(f"{n} was {theirs.get(n)!r} and is {ours.get(n)!r}" for n in names)
