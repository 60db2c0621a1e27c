"""Measure the speed of one part of the study against a baseline on this machine."""

import argparse
import importlib
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from esiamfc_lib import bench

AREAS = {
    "data": "curation, crop store and loader",
    "training": "training steps of SiamFC, the base trackers and the fusion",
    "clustering": "embedding, k-means and PIk-means",
    "tracking": "trackers, in frames a second",
}
"""Area -> what is measured; its module is ``bench/<area>.py``."""


def arguments(parser: ArgumentParser) -> None:
    """Add the area; what follows belongs to the area's own parser."""
    areas = "; ".join(f"{name}: {what}" for name, what in AREAS.items())
    parser.add_argument("area", choices=AREAS, help=areas)
    parser.add_argument("options", nargs=argparse.REMAINDER, help="'bench AREA -h' lists them")


def main(args: Namespace) -> int:
    """Measure, show the table, and write it as JSON when asked to."""
    area = importlib.import_module(f"esiamfc_lib.bench.{args.area}")
    parser = ArgumentParser(prog=f"esiamfc bench {args.area}", description=area.__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    area.arguments(parser)
    options = parser.parse_args(args.options)
    rows = area.rows(options)
    sys.stdout.write(bench.show(rows) + "\n")
    if options.json:
        bench.write_json(rows, options.json)
    return 0
