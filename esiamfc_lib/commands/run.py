"""Run the study: every notebook whose code, parameters, library modules or input files changed.

A killed run goes on where its checkpoints are when it is started again. With --sweep the study runs
once for every combination of the values, each in a folder of its own; then notebook 09 is executed.
"""

import os
import sys
from argparse import ArgumentParser, Namespace

from esiamfc_lib.chain.graph import graph
from esiamfc_lib.chain.profiles import Profile, load_profile, profile_names
from esiamfc_lib.chain.record import read_record
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import EXPLORED
from esiamfc_lib.runtime.validation import within


def arguments(parser: ArgumentParser) -> None:
    add, again = parser.add_argument, {"action": "append", "default": []}
    add("--profile", default="mini", metavar="NAME", help="name or YAML file (default: mini)")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only", default="", metavar="STAGE", help="this stage alone")
    part.add_argument("--until", default="", metavar="STAGE", help="nothing after this stage")
    emptied = "empty this stage's folder and run it even if nothing changed; can be repeated"
    add("--force", **again, metavar="STAGE", help=emptied)
    changed = "change a parameter of the profile, the value in YAML; can be repeated"
    add("--set", **again, metavar="STAGE.KEY=VALUE", help=changed)
    swept = "run the study for each of these values; can be repeated for all combinations"
    add("--sweep", **again, metavar="STAGE.KEY=V1,V2,...", help=swept)
    add("--dry-run", action="store_true", help="only tell what would run and why")
    listed = "list the profiles, how far their runs are, and what was explored beside them"
    add("--list", action="store_true", help=listed)
    number = {"type": within(1, 1024), "default": 1}
    add("-n", "--jobs", **number, help="stages to run side by side (default: 1)")


def main(args: Namespace) -> int:
    """Run or, with ``--dry-run``, explain."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise StudyError("torchrun cannot start 'esiamfc run': it trains by -m tools.train")
    if args.list:
        return _list()
    options = {name: getattr(args, name) for name in ("only", "until", "force", "jobs")}
    if args.sweep:
        return _sweep(args, options)
    return _run(load_profile(args.profile, args.set), args.dry_run, options)


def _list() -> int:
    for name in profile_names():
        stages = graph(load_profile(name)).values()
        records = [read_record(stage.folder) for stage in stages]
        done = sum(bool(record) and record.status == "done" for record in records)
        run = next(iter(stages)).parameters.run
        sys.stdout.write(f"{name:<10} {run}: {done} of {len(records)} stage runs done\n")
        explored = run.with_name(run.name + EXPLORED)
        for folder in sorted((*explored.glob("[!.]*/"), *explored.glob("branches/*/"))):
            if folder.name not in ("branches", "reports") and not folder.is_symlink():
                sys.stdout.write(f"{'':<10} {folder}: explored\n")
    return 0


def _sweep(args: Namespace, options: dict) -> int:
    from esiamfc_lib.chain import sweep

    points = sweep.points(args.profile, args.set, args.sweep)
    if args.dry_run:
        for point in points:
            sys.stdout.write(f"{point.name}\n")
            _run(point.profile, True, options)
        return 0
    done = sweep.run(points, sys.stdout, **options)
    compared = not points[0].profile.stages["experiment"].predictions  # else each speaks for itself
    if compared and not (args.only or args.until):
        sys.stdout.write(f"the points compared: {sweep.report(args.profile, args.set)}\n")
        _page(load_profile(args.profile, args.set))
    return 0 if done else 1


def _run(profile: Profile, dry_run: bool, options: dict) -> int:
    study = Chain(profile, sys.stdout, **options)
    if not dry_run:
        failed = study.run()
        if study.ran and not failed:
            _page(profile)
        return failed
    study.check()
    lines = study.plan()
    width = max(12, *(len(name) for name, _ in lines))
    for name, what in lines:
        sys.stdout.write(f"{name:<{width}} {what}\n")
    return 0


def _page(profile: Profile) -> None:
    """Write the page of the reports; where that fails the run has not, but it is said."""
    try:
        from esiamfc_lib.commands.report import write_report

        sys.stdout.write(f"page: {write_report(profile)}\n")
    except Exception as error:
        sys.stderr.write(f"the page of the reports could not be written: {error}\n")
