"""Draw a report's figures anew from their tables, at the width at which they will be printed.

    python -m tools.figures --run mini --width 3.3

Nothing is run: beside every figure of a table lies this table. Figures that show pixels are
listed, not drawn: they are as wide as a page already."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from esiamfc_lib import cli, reports
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.figures import clusters, data, scores, specialists, style, training
from esiamfc_lib.runtime.files import apart, writable_folder
from esiamfc_lib.runtime.paths import project_root

MAKERS = [module.__name__ for module in (clusters, data, scores, specialists, training)]
"""Modules whose figures are entered into ``style.MAKERS``."""
STYLES = {"paper": 1.0, "talk": 1.6}
WORDS = ("tracker", "minus", "benchmark", "sequence", "attribute", "method", "kind", "group")


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--run", default="mini", help="name of a report, or its folder (mini)")
    add("--only", nargs="+", metavar="NAME", help="figures to draw (all); their beginnings do")
    add("--width", type=float, default=3.3, metavar="INCHES", help="printed width (3.3: a column)")
    add("--trackers", metavar="A,B", help="of figures of trackers: these alone")
    add("--format", nargs="+", choices=("pdf", "png", "svg"), default=["pdf"], help="(pdf)")
    add("--style", choices=STYLES, default="paper", help="talk: larger text (paper)")
    add("--out", type=Path, metavar="FOLDER", help="where to (figures-<report>)")


def main(args: Namespace) -> int:
    """Draw; say what was drawn and what was not, and why."""
    report = Path(args.run) if Path(args.run).is_dir() else project_root() / "reports" / args.run
    stems = {file.stem: file.with_suffix("") for file in sorted(report.glob("figures/*.json"))}
    if not stems:
        raise StudyError(f"{report} holds no figure that can be drawn anew (figures/*.json)")
    if not 2 <= args.width <= 40:
        raise StudyError(f"--width {args.width:g}: must be 2 to 40 inches")
    chosen = [name for name in stems if name.startswith(tuple(args.only or [""]))]
    for wanted in args.only or []:
        if not any(name.startswith(wanted) for name in stems):
            known = ", ".join(stems)
            raise StudyError(f"--only {wanted}: no figure of {report} begins so: {known}")
    out = writable_folder(args.out or Path(f"figures-{report.resolve().name}"))
    apart(out, report / "figures")
    trackers = args.trackers.split(",") if args.trackers else []
    known = set()
    for name in chosen:
        maker, table, options = read_figure(stems[name])
        table, names = of_trackers(table, trackers)
        known |= names
        if table.empty:
            sys.stdout.write(f"{name}: not drawn, it shows none of these trackers\n")
            continue
        fault = refused(f"{stems[name]}.csv does not hold what this figure shows")
        with style.printed(args.width, STYLES[args.style]), fault:
            figure = maker(table, **options)
        reports.write_figure(figure, out / name, args.format)
        plt.close(figure)
        sys.stdout.write(f"{out / name}\n")
    if unknown := [name for name in trackers if name not in known]:
        raise StudyError(f"--trackers {unknown[0]}: the figures show {', '.join(sorted(known))}")
    for file in sorted(report.glob("figures/photographs/*.pdf")):
        sys.stdout.write(f"{file.stem}: not drawn, it shows pixels; use {file}\n")
    return 0


def read_figure(stem: Path) -> tuple:
    """The maker, the table and the options of a figure; a StudyError if they are damaged."""
    files = [stem.with_name(f"{stem.name}.{ending}") for ending in ("json", "csv")]
    with refused(f"{files[0]} does not say how to draw a figure"):
        made = json.loads(files[0].read_text(encoding="utf-8"))
        maker, options = style.MAKERS[made["maker"]], dict(made["options"])
    with refused(f"{files[1]} holds no table"):
        table = reports.read_table(files[1], WORDS)
    return maker, table, options


def of_trackers(table: pd.DataFrame, wanted: list[str]) -> tuple[pd.DataFrame, set[str]]:
    """The rows of some trackers, with what all rows are compared with, and the names of all; a
    table without trackers stays whole."""
    columns = [name for name in ("tracker", "minus") if name in table]
    names = set(table[columns].stack()) if columns else set()
    if not wanted or not columns:
        return table, names
    columns = [name for name in columns if table[name].nunique() > 1] or columns
    return table[table[columns].isin(wanted).all(axis=1)].reset_index(drop=True), names


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.figures", lambda: sys.modules[__name__], sys.argv[1:]))
