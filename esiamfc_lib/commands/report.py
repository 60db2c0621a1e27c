"""Write the page of a run's reports: index.html for a browser, report.md to read in a repository.

It is made from the figures, tables and metrics there. Of a profile whose run is on this machine it
also tells how the numbers came about, and shows the executed notebooks."""

import sys
from argparse import ArgumentParser, Namespace
from contextlib import suppress
from pathlib import Path

from esiamfc_lib import page
from esiamfc_lib.chain.graph import graph
from esiamfc_lib.chain.profiles import Profile, load_profile
from esiamfc_lib.chain.record import read_record
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import project_root


def arguments(parser: ArgumentParser) -> None:
    add, of = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
    of("--profile", default="mini", metavar="NAME", help="name or YAML file (default: mini)")
    of("--reports", type=Path, metavar="DIR", help="this folder of reports, without its run")
    changed = "change a parameter of the profile, as in 'run'; can be repeated"
    add("--set", action="append", default=[], metavar="STAGE.KEY=VALUE", help=changed)


def main(args: Namespace) -> int:
    """Write the page, say where it is."""
    profile = None if args.reports else load_profile(args.profile, args.set)
    written = write_report(profile) if profile else _written(args.reports)
    sys.stdout.write(f"page: {written}\n")
    return 0


def write_report(profile: Profile) -> Path:
    """Write a profile's page, with what only its run can tell; gives the page's path."""
    data, reports = profile.stages["dataset"], profile.stages["dataset"].reports
    records = [read_record(stage.folder) for stage in graph(profile).values()]
    done = [record for record in records if record and record.status == "done"]
    told = {"stage", "started", "seconds"}
    runs = [r.model_dump(include=told) | {"commit": r.environment.get("commit", "")} for r in done]
    if done:
        page.keep_provenance(reports, {"stages": runs, "environment": done[-1].environment})
    others = (data.otb_root, data.vot_root, data.got10k_root, *data.more_roots.values())
    page.keep_local(data.run, reports, publish=data.source == "synthetic" and not any(others))
    return _written(reports)


def _written(reports: Path) -> Path:
    """Write a page and, among a project's reports, the one that leads to all."""
    written = page.write_page(reports)
    with suppress(StudyError):  # reports may lie outside of a project
        if (every := project_root() / "reports") in reports.resolve().parents:
            page.write_index(every)
    return written
