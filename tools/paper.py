"""``make paper``: build ``paper.pdf`` and ``supplement.pdf`` in reports/paper from the reports.

Nothing is run but LaTeX: numbers come from tables and metrics (``numbers.yaml``), figures are drawn
anew at a column's width, captions are those beside the figures. A name that no file holds any more
ends the build with a sentence. The same files give the same bytes.
"""

import argparse
import contextlib
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from esiamfc_lib.analysis.intervals import signed
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.latex import latex_text
from tools import figures as draw

ROOT = Path(__file__).resolve().parents[1]
PAPER = ROOT / "reports" / "paper"
BUILD = PAPER / "build"
RUNS = ("mini", "real", "scaling")


def facts(file: str, rows: str) -> dict:
    """What a format of ``numbers.yaml`` may name, of one source."""
    path = ROOT / file
    if path.suffix == ".py":
        return vars(importlib.import_module(file.removesuffix(".py").replace("/", ".")))
    if path.suffix != ".csv":  # JSON is YAML
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    table = pd.read_csv(path)
    if "low" in table:
        table[["interval", "verdict"]] = [in_words(row) for _, row in table.iterrows()]
    table = table.query(rows) if rows else table
    found = {} if table.empty else table.iloc[0].to_dict()
    numeric = table.select_dtypes("number")
    return (
        found
        | {name: numeric.agg(name).to_dict() for name in ("min", "max", "mean")}
        | {"rows": len(table)}
    )


def in_words(row: pd.Series) -> tuple[str, str]:
    """Of a row of differences: the difference with its interval; what the joint one shows."""
    interval = "{} [{}, {}]".format(*(signed(row[name]) for name in ("difference", "low", "high")))
    joint = "_all" if row.get("comparisons", 1) > 1 else ""
    low, high = row[f"low{joint}"], row[f"high{joint}"]
    shown = "shown to be above" if low > 0 else "shown to be below" if high < 0 else ""
    return interval, shown or "not shown to differ from"


def numbers() -> str:
    """The lines of numbers.tex, each with its source."""
    lines = []
    given = yaml.safe_load((PAPER / "numbers.yaml").read_text(encoding="utf-8"))
    for macro, (file, rows, text) in given.items():
        try:
            value = text.format(**facts(file, rows))
        except (OSError, LookupError, NameError, SyntaxError, TypeError, ValueError) as error:
            raise StudyError(f"numbers.yaml: {macro}: {file} {rows}: {error!r}") from None
        value = latex_text(re.sub(r"-(?=\d)", "−", value))
        lines.append(rf"\newcommand{{\{macro}}}{{{value}\xspace}} % {file}: {rows}: {text}")
    return "\n".join(lines) + "\n"


def figures() -> str:
    """Draw the figures that the documents name; gives their captions as macros."""
    captions, options = [], argparse.ArgumentParser()
    draw.arguments(options)
    named = re.findall(r"^\\fig\{(\w+)\}\{([^}]+)\}", (PAPER / "paper.tex").read_text(), re.M)
    for run, name in named:
        report = ROOT / "reports" / run
        stem, out = report / "figures" / name, BUILD / run
        out.mkdir(parents=True, exist_ok=True)
        if stem.with_name(f"{name}.json").is_file():
            with contextlib.redirect_stdout(io.StringIO()):
                draw.main(
                    options.parse_args(["--run", str(report), "--only", name, "--out", str(out)])
                )
        else:  # it shows pixels
            shutil.copy(stem.with_name(f"{name}.pdf"), out)
        caption = stem.with_name(f"{name}.caption")
        text = caption.read_text(encoding="utf-8").strip() if caption.is_file() else name
        captions.append(rf"\expandafter\def\csname {run}/{name}\endcsname{{{latex_text(text)}}}")
    return "\n".join(captions) + "\n"


def tables() -> str:
    """Lines that show all tables of all reports, those over several pages after the others."""
    lines = []
    for run in RUNS:
        short, long = (
            [],
            [r"\clearpage"],
        )  # a table of many pages does not wait for those that float
        for file in sorted((ROOT / "reports" / run / "tables").glob("*.tex")):
            many = "{longtable}" in file.read_text(encoding="utf-8")
            (long if many else short).append(rf"\input{{../{run}/tables/{file.stem}}}")
        lines += [*short, *long]
    return "\n".join(lines) + "\n"


def typeset(name: str, programs: tuple[str, ...]) -> None:
    """``name.pdf`` beside its source; logs stay in the build folder."""
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-output-directory=build"]
    for program in programs:
        command = [*latex, name] if program == "pdflatex" else [program, f"build/{name}"]
        look = {"env": os.environ | {"SOURCE_DATE_EPOCH": "0"}, "text": True, "errors": "replace"}
        done = subprocess.run(command, cwd=PAPER, capture_output=True, **look)
        if done.returncode:
            raise StudyError(f"{name}.tex: {program} failed:\n{done.stdout[-2000:]}")
    shutil.copy(BUILD / f"{name}.pdf", PAPER)


def main() -> None:
    if not shutil.which("pdflatex"):
        raise StudyError("pdflatex is not there: Debian has it in texlive-science, with the rest")
    BUILD.mkdir(exist_ok=True)
    for name, make in (("numbers", numbers), ("captions", figures), ("tables", tables)):
        (BUILD / f"{name}.tex").write_text(make(), encoding="utf-8")
    typeset("paper", ("pdflatex", "bibtex", "pdflatex", "pdflatex"))
    typeset("supplement", ("pdflatex", "pdflatex"))
    sys.stdout.write(f"{PAPER}/paper.pdf\n{PAPER}/supplement.pdf\n")


if __name__ == "__main__":
    try:
        main()
    except StudyError as error:
        sys.exit(str(error))
