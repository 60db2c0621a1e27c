"""Choose a checkpoint or the tracking parameters on held-out videos; no benchmark is opened."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from esiamfc_lib.analysis.selection import select
from esiamfc_lib.commands.evaluate import chosen, multistart_arguments, plan, tracker_arguments
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import files


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``esiamfc select``."""
    add = parser.add_argument
    add("--vid-root", required=True, type=Path, metavar="DIR", help="its 'val' split is tracked")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    tracker_arguments(parser)
    add(
        "--trials", type=int, default=0, metavar="N",
        help="search the tracking parameters of one tracker with N trials; without it, choose "
        "among several trackers, of which the first stays unless another is better beyond luck",
    )  # fmt: skip
    multistart_arguments(parser, starts=8)


def main(args: Namespace) -> int:
    """Track what has no result yet, choose, write ``selection.json``, say why."""
    if args.workers < 1 or args.trials < 0:
        raise StudyError(f"--workers {args.workers} --trials {args.trials}: too few")
    files.apart(args.out, args.vid_root)
    files.writable_file(args.out / "selection.json")
    trackers = chosen(args)
    common = {"workers": args.workers, "limit": args.limit, "seed": args.seed, **plan(args)}
    if args.trials and len(trackers) != 1:
        raise StudyError(f"--trials takes one tracker; the options name {len(trackers)}")
    place = args.vid_root, args.out
    with files.exclusive(args.out, f"another 'esiamfc select' works in {args.out}: wait for it"):
        if args.trials:
            from esiamfc_lib.analysis.tuning import tune  # only here: it imports Optuna

            result = tune(trackers[0], *place, args.trials, on_trial=_show, **common)
        else:
            result = select(trackers, *place, **common)
    sys.stdout.write(f"{result['reason']}\nresults: {args.out / 'selection.json'}\n")
    return 0


def _show(number: int, score: float) -> None:
    sys.stdout.write(f"trial {number:04d}: {score:.4f}\n")
    sys.stdout.flush()
