"""The paper: no number but from a file, and LaTeX that compiles, tables as wide as their page."""

import importlib.util
import re
import shutil

import pytest
import yaml

from esiamfc_lib.errors import StudyError


@pytest.fixture
def paper(root, tmp_path, monkeypatch):
    """tools/paper.py at work in a copy of reports/paper, beside the committed reports."""
    spec = importlib.util.spec_from_file_location("paper", root / "tools" / "paper.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "reports").mkdir()
    for name in ("esiamfc_lib", "notebooks", *(f"reports/{run}" for run in module.RUNS)):
        (tmp_path / name).symlink_to(root / name)
    hidden = shutil.ignore_patterns("build", "*.pdf")
    shutil.copytree(root / "reports" / "paper", tmp_path / "reports" / "paper", ignore=hidden)
    for name, folder in (
        ("ROOT", ""),
        ("PAPER", "reports/paper"),
        ("BUILD", "reports/paper/build"),
    ):
        monkeypatch.setattr(module, name, tmp_path / folder)
    return module


def text_of(paper):
    """The paper without its preamble, comments, and names of files, labels and sources."""
    text = re.sub(r"(?<!\\)%.*", "", (paper.PAPER / "paper.tex").read_text(encoding="utf-8"))
    text = text[text.index(r"\begin{document}") :]
    return re.sub(r"\\(input|cite|ref|label|bibliography)\{[^}]*\}|\\fig(\{[^}]*\}){2}", "", text)


def test_the_text_holds_no_digit(paper):
    """Its numbers are macros, each of them used, each with its source."""
    text = text_of(paper)
    assert not re.findall(r".*\d.*", text)
    given = yaml.safe_load((paper.PAPER / "numbers.yaml").read_text(encoding="utf-8"))
    assert set(given) <= set(re.findall(r"\\([A-Za-z]+)", text))
    for line, (file, rows, printed) in zip(
        paper.numbers().splitlines(), given.values(), strict=True
    ):
        assert line.endswith(f"% {file}: {rows}: {printed}") and (paper.ROOT / file).is_file()


TABLE = """tracker,difference,low,high,low_all,high_all,comparisons,share
A,0.01,0.005,0.02,-0.001,0.03,2,0.5
B,-0.02,-0.03,-0.01,-0.04,-0.001,2,0.25
"""
PRINTED = {
    "tracker == 'A'|{interval}": "+0.010 {[}+0.005, +0.020]",
    "tracker == 'A'|{verdict}": "not shown to differ from",  # by the joint interval
    "tracker == 'B'|{verdict}": "shown to be below",
    "tracker == 'B'|{difference:.2f} or {share:.0%}": r"$-$0.02 or 25\%",
    "verdict == 'shown to be below'|{rows}": "1",
    "low_all > 0|{rows}": "0",
    "|{max[share]:.1f}": "0.5",
}


@pytest.mark.parametrize("asked", PRINTED)
def test_numbers_are_what_their_rows_say(paper, asked):
    (paper.ROOT / "table.csv").write_text(TABLE)
    rows, _, printed = asked.partition("|")
    given = {"Number": ["table.csv", rows, printed]}
    (paper.PAPER / "numbers.yaml").write_text(yaml.safe_dump(given))
    assert paper.numbers().startswith(rf"\newcommand{{\Number}}{{{PRINTED[asked]}\xspace}} % table")


@pytest.mark.parametrize("rows", ["tracker == 'C'", "name == 'A'", "tracker =="])
def test_a_number_that_no_row_holds_ends_the_build(paper, rows):
    (paper.ROOT / "table.csv").write_text(TABLE)
    given = {"Number": ["table.csv", rows, "{difference}"]}
    (paper.PAPER / "numbers.yaml").write_text(yaml.safe_dump(given))
    with pytest.raises(StudyError, match=r"numbers.yaml: Number: table.csv"):
        paper.numbers()


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.timeout(1200)
def test_the_paper_and_all_tables_compile(paper):
    """Four pages; nothing is missing or wider than its page; the same bytes again."""
    paper.main()
    tables = (paper.BUILD / "tables.tex").read_text()
    assert tables.count(r"\input") == len([*paper.ROOT.glob("reports/*/tables/*.tex")]) > 0
    for name in ("paper", "supplement"):
        log = (paper.BUILD / f"{name}.log").read_text(errors="replace")
        assert not re.findall(r"Overfull \\hbox.*|.*undefined.*|.*multiply defined.*", log)
        assert (paper.PAPER / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    log = (paper.BUILD / "paper.log").read_text(errors="replace")
    assert "(4 pages, " in re.sub(r"\n", "", log)
    first = (paper.PAPER / "paper.pdf").read_bytes()
    paper.typeset("paper", ("pdflatex",))
    assert (paper.PAPER / "paper.pdf").read_bytes() == first
