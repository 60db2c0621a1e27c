"""Tables for a paper: LaTeX with the packages booktabs, longtable and siunitx."""

import re
from typing import Any

import pandas as pd

LONG = 40  # rows that a page of a paper holds beside its text
COLUMN, PAGE, GLYPH, GAP = 245, 490, 5.0, 12  # points: of text; a character of 10 pt; a gap
SMALL = r"\footnotesize\setlength{\tabcolsep}{3pt}"  # what is wider than a page
SIGNED = ("difference", "low", "high", "low_all", "high_all", "interaction")
GAIN = ("precision", "precision_low", "precision_high")  # signed where all three are there
HEADINGS = {"success": "AUC", "difference": "AUC", "ao": "AO", "sr50": "SR.5", "sr75": "SR.75"}
HEADINGS |= {"wins": "won", "ties": "tied", "losses": "lost", "ari": "ARI", "nmi": "NMI"}
HEADINGS |= {"low_all": "joint low", "high_all": "joint high"}
HEADINGS |= {"precision_low": "low", "precision_high": "high"}  # beside precision
ESCAPES = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {"\\": r"\textbackslash{}", "−": "$-$"}
ESCAPES |= {"<": "$<$", ">": "$>$", "≤": r"$\le$", "≥": r"$\ge$", "→": r"$\to$", "×": r"$\times$"}
ESCAPES |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPES |= {"[": "{[}"}  # in front of a row LaTeX would take a bracket for the length of a gap


def latex_text(text: Any) -> str:
    """Plain text as LaTeX."""
    return str(text).translate(str.maketrans(ESCAPES))


def latex_table(
    table: pd.DataFrame,
    caption: str,
    label: str,
    columns: list[str] | None = None,
    beside: str = "",
    best: dict[str, str] | None = None,
    decimals: int = 3,
) -> str:
    """A table with numbers aligned at the point, as wide as a column of text where it fits, else as
    a page (``table*``); of more than 40 rows a ``longtable``, for a page of one column. The caption
    is plain text, like all cells. ``columns`` are shown, where the table has them, in this order,
    empty ones never; the values of the column ``beside`` stand side by side, above the others, of
    which the first names the rows. ``best``: column → ``max`` or ``min``; all that prints like it
    is bold."""
    shown = table[[name for name in columns or table if name in table]]
    signed = SIGNED + GAIN if "precision_low" in table else SIGNED
    if beside:
        parts = shown.set_index(shown.columns[0]).groupby(beside, sort=False)
        apart = {name: part.drop(columns=beside) for name, part in parts}
        shown = pd.concat(apart, axis=1).reset_index(col_level=1)
    cells, headings, form, widths = {}, [], "", {}
    for column, values in shown.dropna(axis=1, how="all").items():
        above, name = column if beside else ("", column)
        number = values.dtype.kind in "iuf"
        plus = name in signed
        texts = _numbers(values, decimals, plus) if number else values.fillna("--").map(latex_text)
        heading = HEADINGS.get(name, re.sub(r"^[a-z_]+\.", "", name).replace("_", " "))
        long = max(map(len, texts), default=0)
        lines = heading.split() if len(heading) > long else [heading]  # narrow above all
        widths[above] = widths.get(above, 0) + GLYPH * max(long, *map(len, lines)) + GAP
        stacked = r"\shortstack" * (len(lines) > 1) + "{" + r"\\".join(map(latex_text, lines)) + "}"
        headings.append((latex_text(above), f"{{{stacked}}}" if number else stacked))
        form += _format(texts[values.notna()]) if number else "l"
        if number and best and name in best:
            rounded = values.round(decimals)
            texts = texts.where(rounded != rounded.agg(best[name]), r"\bfseries " + texts)
        cells[len(cells)] = texts
    points = sum(max(width, GLYPH * len(above)) for above, width in widths.items())
    frame = pd.DataFrame(cells)
    frame.columns = pd.MultiIndex.from_tuples(headings).droplevel([] if beside else 0)
    long = len(frame) > LONG
    body = frame.style.hide(axis="index").to_latex(
        **{"column_format": form, "hrules": True, "multicol_align": "c"},
        **{"caption": latex_text(caption), "label": label},
        **({} if long else {"position": "tb", "position_float": "centering"}),
        environment="longtable" if long else "table*" if points > COLUMN else None,
    )
    if points <= PAGE:
        return body
    return f"{{{SMALL}\n{body}}}\n" if long else body.replace(r"\centering", r"\centering" + SMALL)


def _numbers(values: pd.Series, decimals: int, plus: bool) -> pd.Series:
    """A column's cells, of which siunitx makes numbers."""
    digits = decimals if (values % 1).any() else 0
    sign = "+" if plus else ""
    texts = (values.round(digits) + 0.0).map(f"{{:{sign}.{digits}f}}".format)  # no −0.000
    return texts.where(values.notna(), "{--}")


def _format(texts: pd.Series) -> str:
    whole, _, part = max(texts, key=len, default="0").partition(".")
    digits = whole.lstrip("+-")
    sign = "retain-explicit-plus, table-format=+" if digits != whole else "table-format="
    return f"S[mode=text, detect-weight, {sign}{len(digits)}.{len(part)}]"
