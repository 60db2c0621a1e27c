"""A training process of ``test_ranks``: one of several, each with a folder of its own, or alone.

RANK=0 WORLD_SIZE=2 ... python ranks.py FOLDER SCENARIO
"""

import copy
import json
import os
import signal
import sys
from pathlib import Path

import lightning_fabric
import torch
from test_loop import Blobs, baseline_task, parameters, small, warm

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.runtime import devices
from esiamfc_lib.training.loop import fit

RANK, WORLD = devices.rank_and_world()
torch.set_num_threads(1)
START = warm(small())


class Killing(Blobs):
    """Pairs in whose second epoch the last process dies."""

    def epoch(self, epoch, start=0):
        for step, batch in enumerate(super().epoch(epoch, start), start):
            if (epoch, step, RANK) == (1, 2, WORLD - 1):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def double_precision() -> None:
    """Everything in float64, where rounding cannot hide a mistake, or look like one."""
    torch.Tensor.float = torch.Tensor.double
    fabric = lightning_fabric.Fabric
    lightning_fabric.Fabric = lambda **given: fabric(**given | {"precision": "64-true"})


def course(folder: Path, pairs=Blobs, **options):
    """A training of three epochs of four steps; the state is written after each."""
    share = {"rank": RANK, "world": WORLD}
    return fit(
        baseline_task(copy.deepcopy(START)),
        parameters(epochs=3, lr=1e-2, checkpoint_seconds=0.0),
        pairs(4, 4, **share),
        folder,
        validation=Blobs(1, 4, seed=9, **share),
        validate=lambda model, epoch: {"auc": RANK + epoch / 10},
        **options,
    )


def main(folder: Path, scenario: str) -> None:
    own = folder / f"{scenario}-{RANK}"

    def keep(name: str, trained) -> None:
        weights = checkpoints.digest(trained.model.state_dict())
        facts = {"history": trained.history, "best": trained.best, "weights": weights}
        (folder / f"{scenario}-{name}-{RANK}.json").write_text(json.dumps(facts))

    if scenario != "again":
        keep("single", course(own / "single"))
    if scenario == "killed":
        course(own / "killed", Killing)
    if scenario == "again":
        keep("single", course(folder / f"killed-{RANK}/killed"))
    double_precision()
    keep("double", course(own / "double"))
    if WORLD > 1:
        course(own / "other", info={"data": RANK})


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2])
    except (StudyError, RuntimeError) as error:
        sys.exit(f"said: {error}")
