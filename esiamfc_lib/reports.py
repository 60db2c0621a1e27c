"""What a stage leaves for people: figures (PDF and PNG), tables (CSV and LaTeX), metrics (JSON).

All writers are deterministic: the same content gives the same bytes, so that a report can be
compared with the one of another run.
"""

import json
import math
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from esiamfc_lib.config import StageParameters
from esiamfc_lib.errors import StudyError


def save_figure(
    figure: plt.Figure, parameters: StageParameters, name: str, photographs: bool = False
) -> plt.Figure:
    """Write ``<reports>/figures/<name>.pdf`` and ``.png``; returns the figure, for display.

    Args:
        figure: any matplotlib figure.
        parameters: of the stage; gives the report folder.
        name: file name without ending.
        photographs: the figure shows pixels of the data set. With real videos these are third
            parties' pictures: they go into ``figures/photographs``, which git ignores.
    """
    folder = parameters.reports / "figures"
    if photographs:
        folder = folder / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"pdf.fonttype": 42}):  # text stays text, as journals ask
        figure.savefig(
            folder / f"{name}.pdf", metadata={"CreationDate": None}, bbox_inches="tight", dpi=150
        )
    figure.savefig(
        folder / f"{name}.png", metadata={"Software": None}, bbox_inches="tight", dpi=110
    )
    return figure


def save_table(
    table: pd.DataFrame, parameters: StageParameters, name: str, caption: str = "", digits: int = 3
) -> pd.DataFrame:
    """Write ``<reports>/tables/<name>.csv`` (full precision) and ``.tex`` (``digits`` decimals)."""
    folder = parameters.reports / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    body = table.to_latex(
        index=False,
        escape=True,
        float_format=f"%.{digits}f",
        caption=caption or None,
        label=f"tab:{name}",
        position="tb",
        na_rep="--",
    )
    (folder / f"{name}.tex").write_text(body, encoding="utf-8")
    return table


def save_page(
    title: str, tables: dict[str, pd.DataFrame], sentences: list[str], parameters: StageParameters
) -> str:
    """Write ``<reports>/README.md``: what was found, in tables, sentences and pictures.

    Args:
        title: heading of the page.
        tables: heading → table; numbers are rounded to three decimals.
        sentences: findings, one a line; each was made from a table, none by hand.
        parameters: of the stage; gives the report folder.

    Returns:
        the page, as Markdown.
    """
    lines = [
        f"# {title}",
        "",
        f"Written by notebook {parameters.notebook[:2]} from the tables beside it.",
        "",
    ]
    lines += [f"- {sentence}" for sentence in sentences]
    for heading, table in tables.items():
        lines += ["", f"## {heading}", "", *markdown(table)]
    pictures = sorted((parameters.reports / "figures").glob("*.png"))
    lines += ["", "## Figures", ""]
    lines += [f"![{picture.stem}](figures/{picture.name})\n" for picture in pictures]
    page = "\n".join(lines)
    (parameters.reports / "README.md").write_text(page, encoding="utf-8")
    return page


def markdown(table: pd.DataFrame) -> list[str]:
    """A table as lines of Markdown; numbers are rounded to three decimals."""
    rows = [table.columns, ["---"] * len(table.columns), *table.itertuples(index=False)]
    return ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]


def _cell(value: Any) -> str:
    """A value of a Markdown table; NaN is an empty cell."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return str(value).replace("|", "\\|")


def save_metrics(metrics: dict[str, Any], parameters: StageParameters) -> dict[str, Any]:
    """Write the stage's ``metrics.json``, and the same file among the reports.

    Only results belong here, never times or paths: two runs with one seed give the same bytes.
    """
    text = json.dumps(_plain(metrics), indent=2, sort_keys=True) + "\n"
    (parameters.folder / "metrics.json").write_text(text, encoding="utf-8")
    folder = parameters.reports / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    name = parameters.folder.relative_to(parameters.run).as_posix().replace("/", "_")
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return json.loads(text)


def load_metrics(folder: Path) -> dict[str, Any]:
    """What ``save_metrics`` left in a stage's folder.

    Raises:
        StudyError: the stage has not run, or its file is damaged.
    """
    file = folder / "metrics.json"
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StudyError(f"{file} is missing: run stage {folder.name!r} first") from None
    except (ValueError, TypeError) as error:
        raise StudyError(f"{file} is damaged ({error}): run stage {folder.name!r} again") from None


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
