"""Measure the speed of one part of the study against a baseline on this machine.

    python -m speed AREA [--json FILE] [options of the area]

Run from the repository's root; the package is a developer's tool and not installed.
"""

import importlib
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

import speed
from esiamfc_lib.errors import StudyError

AREAS = {
    "data": "curation, crop store and loader",
    "training": "training steps of SiamFC, the base trackers and the fusion",
    "clustering": "embedding, k-means and PIk-means",
    "threads": "threads of a stage, on an idle and on a busy machine",
    "tracking": "trackers, in frames a second",
    "gpu": "all of it on one GPU, with a real training, in eight minutes",
}
"""Area -> what is measured; its module is ``speed.<area>``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, show the table, and write it as JSON when asked to.

    Returns:
        0 when all was measured, 2 for input that cannot be used (one sentence on stderr).
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    known = "\n".join(f"  {name:<12}{what}" for name, what in AREAS.items())
    top = ArgumentParser(
        prog="python -m speed",
        usage="python -m speed AREA [--json FILE] [options]",
        description="Measure the speed of one part of the study against a baseline.",
        epilog=f"areas:\n{known}\n\n'python -m speed AREA -h' lists the options of one of them.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    top.add_argument("area", metavar="AREA", choices=AREAS)
    name = top.parse_args(argv[:1]).area
    area = importlib.import_module(f"speed.{name}")
    parser = ArgumentParser(prog=f"python -m speed {name}", description=area.__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file")
    area.arguments(parser)
    options = parser.parse_args(argv[1:])
    try:
        rows = area.rows(options)
    except StudyError as error:
        sys.stderr.write(f"python -m speed {name}: {error}\n")
        return 2
    sys.stdout.write(speed.show(rows) + "\n")
    if options.json:
        speed.write_json(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
