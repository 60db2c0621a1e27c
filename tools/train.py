"""Train stages of a study in several processes that ``torchrun`` starts, on one machine or many.

    torchrun --nproc-per-node 2 -m tools.train --profile mini baseline
    esiamfc run --profile mini

Each process runs the stage's notebook up to the end of its training, on its share of every batch.
The first one, whose run folder alone is written to, keeps the chain's lock, record and checkpoints:
started again, a training that was ended goes on, and ``esiamfc run`` takes a finished one over for
the rest of the notebook. Every machine needs this project and what the stage reads: the same run
folder, or one of its own with ``dataset/`` (for a branch, ``baseline/`` and ``clustering/``, too).
"""

import os
import platform
import sys
import tempfile
from argparse import ArgumentParser
from contextlib import nullcontext
from pathlib import Path

import torch.distributed as dist

from esiamfc_lib import training
from esiamfc_lib.chain.fingerprint import code_cells
from esiamfc_lib.chain.graph import Stage, reasons
from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.errors import StudyError, in_words, refused
from esiamfc_lib.runtime import devices
from esiamfc_lib.runtime.files import exclusive
from esiamfc_lib.runtime.paths import CHAIN

TRAINED = ("baseline", "branches", "fusion")


class Finished(Exception):
    """The training of a notebook has come to its end."""


def main() -> int:
    """Exit status 0 when all is trained, 2 with one sentence if it cannot be."""
    parser = ArgumentParser(prog="tools.train", description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", default="mini", metavar="NAME")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.KEY=VALUE")
    parser.add_argument("stage", help="baseline, branches/0, fusion, branches@ARM ...")
    args = parser.parse_args()
    rank, world = devices.rank_and_world()
    lost = f"on {platform.node()}, to be started again"  # what is wrong, PyTorch says
    try:
        chain = Chain(load_profile(args.profile, args.set), sys.stdout, only=args.stage)
        run = chain.profile.run
        held = f"another chain is running in {run}: wait for it or end it"
        with nullcontext() if rank else exclusive(run, held), refused(lost, RuntimeError):
            work(chain, rank, world)
        return 0
    except (StudyError, OSError) as error:
        sys.stderr.write(f"tools.train, process {rank + 1} of {world}: {in_words(error)}\n")
        return 2


def work(chain: Chain, rank: int, world: int) -> None:
    """Train the chosen stages one after the other."""
    stages = [chain.stages[name] for name in chain.selected]
    if other := [stage.name for stage in stages if stage.kind not in TRAINED]:
        raise StudyError(f"{other[0]} trains nothing: 'esiamfc run' runs it in one process")
    if not rank:
        chain.check()
    for stage in stages:
        train(stage, chain)
        if not rank:
            sys.stdout.write(f"{stage.name}: trained by {world} processes\n")
            sys.stdout.flush()
    if dist.is_initialized():
        dist.destroy_process_group()


def train(stage: Stage, chain: Chain) -> None:
    """Run the cells of a notebook until ``fit`` has returned; drawings are thrown away."""
    device = devices.choose_device(stage.parameters.device)
    fabric = devices.make_fabric(device, "fp32")
    if fabric.is_global_zero and reasons(stage):
        chain.begin(stage)
    fabric.barrier()  # the first process may have made links to the inputs, or removed files
    original = training.fit

    def fit(*args, **options) -> None:
        original(*args, **options)
        raise Finished

    training.fit = fit
    os.environ[CHAIN] = "1"
    os.chdir(stage.notebook.parent)
    try:
        with tempfile.TemporaryDirectory() as drawings:
            values = stage.parameters.model_dump() | {"report_dir": str(Path(drawings).resolve())}
            names = {"__name__": "__main__", **values}
            for number, cell in enumerate(code_cells(stage.notebook), 1):
                exec(compile(cell, f"{stage.notebook.name}, cell {number}", "exec"), names)
    except Finished:
        return
    finally:
        training.fit = original
    raise StudyError(f"{stage.notebook} trains nothing")


if __name__ == "__main__":
    sys.exit(main())
