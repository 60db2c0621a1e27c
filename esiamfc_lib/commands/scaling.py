"""When does specialisation pay? A grid of runs of the chain on the built-in data: amount of data,
separation of the families, number of clusters. It can be interrupted and started again; points of
a smaller grid are kept in a larger one with the same clusters and seeds.
"""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import fields

from esiamfc_lib.config import resolve
from esiamfc_lib.errors import StudyError


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``esiamfc scaling``."""
    several = {"nargs": "+", "metavar": "N"}
    parser.add_argument(
        "--videos", type=int, default=[50, 200, 800, 3200], help="training videos", **several
    )
    parser.add_argument(
        "--separations", type=float, default=[0.0, 0.5, 1.0], help="of the families", **several
    )
    parser.add_argument(
        "--clusters", type=int, default=[6, 3], help="k; controls have the first",
        **several,
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=[0, 1], help="of notebooks 04-06", **several)
    parser.add_argument("--profile", default="scaling", metavar="NAME", help="all other parameters")
    parser.add_argument(
        "--out", default="data/scaling", metavar="DIR", help="working folder (data/scaling)"
    )
    parser.add_argument(
        "--report", default="reports/scaling", metavar="DIR", help="tables, figures, page"
    )
    parser.add_argument("--starts", type=int, default=2, help="of each test sequence (2)")
    parser.add_argument(
        "--closer-starts", type=int, default=4, metavar="N",
        help="of the ensemble and all controls with the most videos (4); 0: no closer look",
    )  # fmt: skip
    parser.add_argument("--length", type=int, default=40, help="frames of a segment (40)")
    parser.add_argument("-n", "--jobs", type=int, default=1, help="stages side by side (1)")
    parser.add_argument("--workers", type=int, default=1, help="processes that track (1)")
    parser.add_argument(
        "--collect", action="store_true", help="only write the report of what is done"
    )


def main(args: Namespace) -> int:
    """Run the grid, then write the report."""
    from esiamfc_lib.chain import scaling, scaling_tables
    from esiamfc_lib.chain.record import environment

    if min(args.jobs, args.workers) < 1 or args.closer_starts < 0:
        raise StudyError("-n and --workers must be 1 or more, --closer-starts 0 or more")
    grid = scaling.Grid(**{f.name: tuple(getattr(args, f.name)) for f in fields(scaling.Grid)})
    out, plan = resolve(args.out), {"starts": args.starts, "length": args.length}
    done = True
    if not args.collect:
        how = {"jobs": args.jobs, "workers": args.workers, "closer": args.closer_starts}
        done = scaling.run(grid, out, args.profile, sys.stdout, **how, **plan)
    machine = environment(out)
    device = ", ".join(machine["gpus"]) or f"{machine['processor']}, {machine['cores']} cores"
    report = resolve(args.report)
    tables = scaling_tables.measure(grid, out, args.profile)
    told = scaling_tables.write_report(grid, tables, report, args.profile, plan, device)
    sys.stdout.write("".join(f"{sentence}\n" for sentence in told))
    sys.stdout.write(f"report in {report}\n")
    return 0 if done else 1
