"""``esiamfc store``: build, estimate, verify, describe and merge crop stores."""

import argparse
import json
import sys
from pathlib import Path

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.errors import StudyError


def arguments(parser: argparse.ArgumentParser) -> None:
    own = DatasetParameters()
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    build = actions.add_parser("build", help="curate a VID root or a tar archive into a store")
    build.add_argument("vid_root", type=Path, help="holds Data/VID and Annotations/VID; or a tar")
    build.add_argument("store_path", metavar="store", type=Path, help="folder of the store")
    again = "start again where parameters or source differ"
    build.add_argument("--force", action="store_true", help=again)
    build.add_argument("--scheduler", default="", help="address of a Dask scheduler")
    shared = "every N-th video from the I-th on, for machines sharing the work"
    build.add_argument("--part", type=part_of, default="1/1", metavar="I/N", help=shared)
    bad = "fail above this share of bad frames (default %(default)s)"
    build.add_argument("--max-bad-fraction", type=float, default=own.max_bad_fraction, help=bad)
    estimate = actions.add_parser("estimate", help="time and space that build will take")
    estimate.add_argument("vid_root", type=Path, help="holds Data/VID and Annotations/VID")
    percent = {"type": int, "choices": range(1, 101), "metavar": "1..100"}
    for action in (build, estimate):
        action.add_argument("--splits", nargs="+", default=own.splits, choices=["train", "val"])
        crops = "of the crops (default %(default)s)"
        action.add_argument("--jpeg-quality", **percent, default=own.jpeg_quality, help=crops)
        action.add_argument("--workers", type=int, default=2, help="processes (default 2)")

    check = actions.add_parser("verify", help="compare every crop with the index")
    check.add_argument("path", metavar="store", type=Path)
    check.add_argument("--decode", action="store_true", help="decode every crop as well")
    show = actions.add_parser("info", help="what a store holds")
    show.add_argument("path", metavar="store", type=Path)
    merge = actions.add_parser("merge", help="join stores of different videos")
    merge.add_argument("out", type=Path, help="folder of the new store")
    merge.add_argument("paths", metavar="store", type=Path, nargs="+")


def main(args: argparse.Namespace) -> int:
    """Run the command; 1 where ``verify`` finds faults."""
    from esiamfc_lib.curation import pipeline, store_check

    values = dict(vars(args))  # named as the functions' parameters
    action = values.pop("action")
    of_study = set(DatasetParameters.model_fields) - {"vid_root"}
    DatasetParameters.validated({name: values[name] for name in of_study & set(values)}, action)
    if action == "verify":
        faults = store_check.verify(**values)
        sys.stdout.write("\n".join(faults or [f"{args.path}: every crop is as it was made"]) + "\n")
        return 1 if faults else 0
    calls = {"build": pipeline.curate, "estimate": pipeline.estimate}
    calls |= {"info": store_check.info, "merge": store_check.merge}
    sys.stdout.write(json.dumps(calls[action](**values), indent=1) + "\n")
    return 0


def part_of(text: str) -> tuple[int, int]:
    """``2/8`` as (1, 8); a StudyError if it is not of that form."""
    first, _, count = text.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        raise StudyError(f"--part {text}: I/N with 1 ≤ I ≤ N is expected, for example 2/8")
    return int(first) - 1, int(count)
