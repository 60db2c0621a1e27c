"""What a stage leaves for people: figures, tables (CSV and LaTeX), metrics (JSON). ``page``
makes a page of them.

The same content gives the same bytes, so that a report can be compared with that of another run."""

import json
import math
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from esiamfc_lib.config import StageParameters
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.latex import latex_table

# What else a file of that format would say of its time, or of the version that wrote it.
UNDATED = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}


def save_figure(
    figure: plt.Figure,
    parameters: StageParameters,
    name: str,
    photographs: bool = False,
    caption: str = "",
) -> plt.Figure:
    """``write_figure`` into ``<reports>/figures``, as PDF and PNG; returns the figure, for display.

    ``photographs``: it shows pixels of the data set. With real videos these are third parties'
    pictures: they go into ``figures/photographs``, which git ignores. In names of files blanks and
    commas become ``_``."""
    folder = parameters.reports / "figures" / ("photographs" if photographs else "")
    write_figure(figure, folder / _file_name(name), caption=caption)
    return figure


def write_figure(
    figure: plt.Figure, stem: Path, formats: Iterable[str] = ("pdf", "png"), caption: str = ""
) -> None:
    """Write ``<stem>.pdf`` and so on, ``.caption`` beside it, and of a figure that keeps what it
    shows (``figures.style.Shown``) the table, ``.csv``, and how to draw it again, ``.json``. Equal
    figures give equal bytes; a page of the PDF is as large as the figure."""
    files: dict[str, str | Callable] = {
        ending: partial(figure.savefig, format=ending, metadata=UNDATED[ending], dpi=150)
        for ending in formats
    }
    if shown := getattr(figure, "shown", None):
        caption = caption or shown.caption
        made = {"maker": shown.maker, "options": shown.options}
        files["json"] = json.dumps(_plain(made), indent=1, sort_keys=True) + "\n"
        files["csv"] = shown.table.to_csv(index=False, lineterminator="\n")
    files |= {"caption": f"{caption}\n"} if caption else {}
    if engine := figure.get_layout_engine():  # once, and not for every format anew
        engine.execute(figure)
        figure.set_layout_engine("none")
    # text stays text, as journals ask; ids of an SVG are the same again
    with plt.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "esiamfc"}):
        for ending, content in files.items():
            write_atomically(stem.with_name(f"{stem.name}.{ending}"), content)


def save_table(
    table: pd.DataFrame, parameters: StageParameters, name: str, caption: str = "", **look
) -> pd.DataFrame:
    """Write ``<reports>/tables/<name>.csv`` (full precision) and, of a table with a caption, a
    ``.tex`` for a paper; ``look``: what ``latex_table`` takes besides, ``columns`` for example."""
    reports, name = parameters.reports, _file_name(name)
    file = reports / "tables" / name
    write_atomically(f"{file}.csv", table.to_csv(index=False, lineterminator="\n"))
    if caption:
        body = latex_table(table, caption, f"tab:{reports.name}_{name}", **look)
        write_atomically(f"{file}.tex", body)
    return table


def _file_name(name: str) -> str:
    return re.sub("[ ,]+", "_", name)


def save_html(page: str, parameters: StageParameters, name: str) -> Path:
    """Write a page to open in a browser, ``<name>.html``, into the stage's folder."""
    path = parameters.folder / f"{name}.html"
    write_atomically(path, page)
    return path


def save_metrics(metrics: dict[str, Any], parameters: StageParameters) -> dict[str, Any]:
    """Write the stage's ``metrics.json``, and the same file among the reports.

    Only results belong here, never times or paths: two runs with one seed give the same bytes."""
    text = json.dumps(_plain(metrics), indent=2, sort_keys=True) + "\n"
    write_atomically(parameters.folder / "metrics.json", text)
    name = parameters.place.replace("/", "_")
    write_atomically(parameters.reports / f"metrics/{name}.json", text)
    return json.loads(text)


def read_table(file: Path, texts: Iterable[str] = ()) -> pd.DataFrame:
    """A table as ``save_table`` wrote it. ``texts`` are columns that stay text: 0050 and NA are
    names, too."""
    return pd.read_csv(file, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])


def with_closer(table: pd.DataFrame, closer: pd.DataFrame) -> pd.DataFrame:
    """A table of differences, in which the controls that were compared more closely have those
    rows; ``closer`` may be empty."""
    return pd.concat([table[~table["minus"].isin(closer.get("minus", []))], closer])


def load_metrics(folder: Path) -> dict[str, Any]:
    """What ``save_metrics`` left in a stage's folder; a StudyError where it has not run."""
    file = folder / "metrics.json"
    if not file.is_file():
        raise StudyError(f"{file} is missing: run stage {folder.name!r} first")
    with refused(f"{file} is damaged, run stage {folder.name!r} again"):
        return dict(json.loads(file.read_text(encoding="utf-8")))


def last_answer(parameters: StageParameters) -> str:
    """The sentence ``answer`` in the metrics of the stage's last run, if there is one."""
    try:
        answer = load_metrics(parameters.run / parameters.place)["answer"]
        return f"The last run's answer: {answer}"
    except (StudyError, OSError, LookupError):
        return "No earlier run has left an answer."


def _plain(value: Any) -> Any:
    """``value`` as JSON types; NaN, which JSON lacks, becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
