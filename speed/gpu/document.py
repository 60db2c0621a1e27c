"""The rows of ``reports/bench/gpu-*.json`` as tables for ``docs/explanation/training.md``."""

from itertools import groupby

from speed import markdown
from speed.gpu import PARTS

NOTHING = "No GPU has been measured yet: there is no `reports/bench/gpu-*.json`."


def tables(rows: list[dict]) -> str:
    """One table a run and part, under what was measured on; notes below the table."""
    if not rows:
        return NOTHING
    lines = []
    for part, group in groupby(rows, key=lambda r: r["part"]):
        own = list(group)
        if part == "run" and own[0]["unit"] == "cores":
            card = own[0]["name"].removeprefix("cores beside ")
            lines += [f"### {card}", "", f"{own[0]['ours']:g} cores; {own[0]['note']}.", ""]
        elif part in PARTS:
            done = [r for r in own if r["unit"] != "done"]
            lines += [f"**{part.capitalize()}**", "", markdown(done), ""]
            lines += [f"- {r['name']}: {r['note']}" for r in done if r["note"]]
            lines += [f"- {r['name']}" for r in own if r["unit"] == "done"]
            lines.append("")
    return "\n".join(lines).rstrip()
