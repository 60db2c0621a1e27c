"""Measured figures in the documentation: ``python -m esiamfc_lib.bench.documents`` rewrites them.

Numbers in prose come from files: between its two marks a document holds what a benchmark's JSON
says, and a test compares the two.
"""

import json
from collections.abc import Callable
from pathlib import Path

from esiamfc_lib.bench import full_scale, markdown
from esiamfc_lib.errors import StudyError

BEGIN, END = "<!-- figures: made by esiamfc bench -->", "<!-- end of figures -->"
DOCUMENTS: dict[str, tuple[str, Callable[[list[dict]], str]]] = {
    "docs/full_scale.md": ("reports/bench/data.json", full_scale.figures),
    "docs/training_plan.md": ("reports/bench/training.json", markdown),
    "docs/speed.md": ("reports/bench/tracking.json", markdown),
}
"""Document -> (rows it shows, how)."""


def rewrite(document: Path, results: Path, figures: Callable[[list[dict]], str]) -> None:
    """Put the figures of a JSON file between the document's two marks.

    Raises:
        StudyError: a file is missing, or the document lacks the marks.
    """
    try:
        text, rows = document.read_text(encoding="utf-8"), json.loads(results.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {document} or {results}: {error}") from error
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise StudyError(f"{document} lacks the lines {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{figures(rows)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    for name, (rows, figures) in DOCUMENTS.items():
        rewrite(Path(name), Path(rows), figures)
