"""The rows of ``reports/bench/gpu-*.json`` as tables for ``docs/explanation/gpu_rows.md``.

What belongs together is one table: a line a size, a column a way. The rest stands as it was
measured; every row, with its note, is in the JSON file.
"""

import re
from collections.abc import Iterable
from itertools import groupby

from speed import markdown
from speed.gpu import PARTS

NOTHING = "No GPU has been measured yet: there is no `reports/bench/gpu-*.json`."

PATTERNS = {
    "convolutions": {
        "{table}, ms": r"(?P<line>conv\d, \d+ images), bf16, (?P<table>[^,]+), (?P<column>.+);",
    },
    "training": {
        "pairs/s": r"(?P<line>.+?, batch \d+(?: each)?), (?P<column>.+); reference: "
        r"(?:plain fp32|bf16 matrix)",
        "the library's loop and others, pairs/s": r"(?P<column>[^,]+), (?P<line>batch \d+); "
        "reference: the step alone",
    },
    "learning": {
        "SiamFC": r"SiamFC(?: from scratch)?, (?P<line>.+ pairs, batch .+): "
        r"(?P<column>held-out \w+);",
    },
    "correctness": {
        "loss": r"(?P<line>.+), (?P<column>loss (?:of|after) a \w+, \w+) on cuda;",
        "{table}": r"(?P<line>.+), (?P<column>\w+) on cuda against fp32 on the CPU: (?P<table>.+)",
    },
    "tracking": {
        "{table}, sequences at once, frames/s": r"(?P<table>\w+), (?P<line>\d+) sequences, "
        "(?P<column>.+); reference: one process a core",
        "ms": r"(?P<line>\w+, a step of .+, .+): (?P<column>.+); reference: the step",
    },
}
"""Part -> caption -> the names of rows that stand in one table, with their line and column. What
they are compared with stands in the same table, or is in the JSON file."""
UNITS, PLAIN = ("GB", "TFLOP/s"), "plain fp32"
SHORTER = {
    "all on the device, ": "",
    "each convolution in its fastest form": "fastest forms",
    "frames lie there": "frames on the device",
    "bf16, channels_last, CUDA graph": "these two and CUDA graph",
    "the same with cuDNN's search": "these three, cuDNN's search",
}


def tables(rows: list[dict]) -> str:
    """The tables of each run and part, under what was measured on."""
    if not rows:
        return NOTHING
    lines = []
    for part, group in groupby(rows, key=lambda r: r["part"]):
        own = list(group)
        for row in [r for r in own if r["unit"] == "cores"]:  # the first of a run
            card = row["name"].removeprefix("cores beside ")
            lines += [f"## {card}", "", f"{row['ours']:g} cores; {row['note']}.", ""]
        if part in PARTS:
            lines += [f"**{part.capitalize()}**", "", *of_part(part, own)]
    return "\n".join(lines).rstrip()


def of_part(part: str, rows: list[dict]) -> Iterable[str]:
    """Its tables, each with an empty line below; then what could not be measured."""
    pivots: dict[str, dict[str, dict[str, str]]] = {}
    alone = []
    for row in rows:
        if row["unit"] == "done" or row["name"].startswith("time of "):
            continue
        if found := match(part, row["name"]):
            caption, line, column = found
            cells = pivots.setdefault(caption, {}).setdefault(line, {})
            if row["unit"] == "pairs/s" and row["name"].endswith(PLAIN):
                cells[PLAIN] = f"{row['reference']:.4g}"
            cells[column] = f"{row['ours']:.4g}" + f" {row['unit']}" * (row["unit"] in UNITS)
        else:
            alone.append(row)
    for caption, table in pivots.items():
        columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
        yield f"| {caption} | " + " | ".join(columns) + " |"
        yield "|---|" + "---:|" * len(columns)
        for line, cells in table.items():
            yield f"| {line} | " + " | ".join(cells.get(c, "") for c in columns) + " |"
        yield ""
    if alone:
        yield from [markdown(alone), ""]
    if notes := [f"- {r['name']}: {r['note']}" for r in alone if r["note"]]:
        yield from [*notes, ""]
    yield from [f"- {r['name']}: {r['note']}" for r in rows if r["unit"] == "done" and r["ours"]]
    if missing := [r["name"] for r in rows if r["unit"] == "done" and not r["ours"]]:
        yield from [f"- Not measured: {'; '.join(missing)}.", ""]


def match(part: str, name: str) -> tuple[str, str, str] | None:
    """Caption of the table, line and column of a row; None where it stands alone."""
    for caption, pattern in PATTERNS.get(part, {}).items():
        if found := re.match(pattern, name):
            parts = found.groupdict()
            column = parts["column"]
            for long, short in SHORTER.items():
                column = column.replace(long, short)
            return caption.format_map(parts), parts["line"], column
    return None
