"""``esiamfc store``: build, estimate, verify, describe and merge crop stores."""

import argparse
import json
import sys
from pathlib import Path

from esiamfc_lib.errors import StudyError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    build = actions.add_parser("build", help="curate a VID root or a tar archive into a store")
    build.add_argument("vid_root", type=Path, help="holds Data/VID and Annotations/VID; or a tar")
    build.add_argument("store", type=Path, help="folder of the store")
    build.add_argument(
        "--force", action="store_true", help="start again where parameters or source differ"
    )
    build.add_argument("--scheduler", default="", help="address of a Dask scheduler")
    build.add_argument(
        "--part",
        default="1/1",
        metavar="I/N",
        help="every N-th video from the I-th on, for machines sharing the work",
    )
    build.add_argument(
        "--max-bad-fraction",
        type=float,
        default=0.05,
        help="fail above this share of bad frames (default %(default)s)",
    )
    estimate = actions.add_parser("estimate", help="time and space that build will take")
    estimate.add_argument("vid_root", type=Path, help="holds Data/VID and Annotations/VID")
    for action in (build, estimate):
        action.add_argument("--splits", nargs="+", default=["train"], choices=["train", "val"])
        action.add_argument(
            "--jpeg-quality",
            type=int,
            default=95,
            choices=range(1, 101),
            metavar="1..100",
            help="of the crops (default %(default)s)",
        )
        action.add_argument("--workers", type=int, default=2, help="processes (default 2)")

    check = actions.add_parser("verify", help="compare every crop with the index")
    check.add_argument("store", type=Path)
    check.add_argument("--decode", action="store_true", help="decode every crop as well")
    show = actions.add_parser("info", help="what a store holds")
    show.add_argument("store", type=Path)
    merge = actions.add_parser("merge", help="join stores of different videos")
    merge.add_argument("out", type=Path, help="folder of the new store")
    merge.add_argument("stores", type=Path, nargs="+")


def main(args: argparse.Namespace) -> int:
    """Run the command; 1 where ``verify`` finds faults.

    Raises:
        StudyError: as those of ``pipeline`` and ``store_check``.
    """
    from esiamfc_lib.curation import pipeline, store_check

    if args.action == "verify":
        faults = store_check.verify(args.store, args.decode)
        said = "\n".join(faults) or f"{args.store}: every crop is as it was made"
        sys.stdout.write(said + "\n")
        return 1 if faults else 0
    if args.action == "info":
        result = store_check.info(args.store)
    elif args.action == "merge":
        result = store_check.merge(args.stores, args.out)
    elif args.action == "estimate":
        result = pipeline.estimate(
            args.vid_root,
            splits=tuple(args.splits),
            jpeg_quality=args.jpeg_quality,
            workers=args.workers,
        )
    else:
        result = pipeline.curate(
            args.vid_root,
            args.store,
            splits=tuple(args.splits),
            jpeg_quality=args.jpeg_quality,
            workers=args.workers,
            scheduler=args.scheduler,
            force=args.force,
            max_bad_fraction=args.max_bad_fraction,
            part=part_of(args.part),
        )
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


def part_of(text: str) -> tuple[int, int]:
    """``2/8`` as (1, 8).

    Raises:
        StudyError: not of that form.
    """
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise StudyError(f"--part {text}: I/N with 1 ≤ I ≤ N is expected, for example 2/8")
    return int(first) - 1, int(count)
