"""Run the study: every notebook whose code, parameters, library modules or input files changed.

A killed run goes on where its checkpoints are when it is started again.
"""

import sys
from argparse import ArgumentParser, Namespace

from esiamfc_lib.chain.profiles import check_profile, load_profile
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.errors import StudyError


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``esiamfc run``."""
    parser.add_argument(
        "--profile", default="mini", metavar="NAME", help="name or YAML file (default: mini)"
    )
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only", default="", metavar="STAGE", help="this stage alone")
    part.add_argument("--until", default="", metavar="STAGE", help="nothing after this stage")
    parser.add_argument(
        "--force",
        action="append",
        default=[],
        metavar="STAGE",
        help="empty this stage's folder and run it even if nothing changed; can be repeated",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="change a parameter of the profile, the value in YAML; can be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell what would run and why")
    parser.add_argument(
        "-n", "--jobs", type=int, default=1, help="stages to run side by side (default: 1)"
    )


def main(args: Namespace) -> int:
    """Run or, with ``--dry-run``, explain."""
    if args.jobs < 1:
        raise StudyError(f"-n {args.jobs}: at least one job is needed")
    profile = load_profile(args.profile, args.set)
    study = Chain(profile, sys.stdout, args.only, args.until, tuple(args.force), args.jobs)
    if args.dry_run:
        check_profile(profile)
        lines = study.plan()
        width = max(12, *(len(name) for name, _ in lines))
        for name, what in lines:
            sys.stdout.write(f"{name:<{width}} {what}\n")
        return 0
    return study.run()
