"""Print every notebook's parameters cell and ``mini.yaml`` from ``esiamfc_lib.config``.

The models there are the only place where a parameter, its default and its meaning are stated.
``make parameters`` calls this after they have changed; a test compares.
"""

import json
from pathlib import Path

import yaml

from esiamfc_lib.config import STAGES, StageParameters, SweepParameters

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
MINI = NOTEBOOKS / "profiles" / "mini.yaml"
WIDTH, LONG = 100, 27  # of a line; of a key and its value with the comment beside them

CELL = "# the defaults; papermill replaces these values\n"
HEAD = """\
# The main job: built-in data, under 20 minutes on two cores. These are the defaults of every
# notebook, printed by `make parameters` from esiamfc_lib/config.py. Values are plain YAML; write
# 1.0e-2, because YAML reads 1e-2 as text.

"""
COMMON = ("run_dir", "report_dir", "seed")


def cell(model: type[StageParameters]) -> str:
    """The source of a notebook's parameters cell."""
    lines = []
    for name, value in model().model_dump().items():
        text = json.dumps(value) if isinstance(value, str | list) else repr(value)
        note = model.model_fields[name].description
        lines.append(f"{name}: {type(value).__name__} = {text}  # {note}")
    return CELL + "\n".join(lines)


def notebook(model: type[StageParameters]) -> str:
    """The notebook's file with its parameters cell printed anew."""
    content = json.loads((NOTEBOOKS / f"{model.notebook}.ipynb").read_text(encoding="utf-8"))
    (found,) = (c for c in content["cells"] if "parameters" in c["metadata"].get("tags", []))
    found["source"] = cell(model).splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def mini() -> str:
    """``mini.yaml``: all defaults, each with what it means."""
    parts = [HEAD, *_section(STAGES[0], list(COMMON), "")]
    for model in STAGES:
        once = ", once per cluster" if "cluster_id" in model.model_fields else ""
        names = [name for name in model.model_fields if name not in (*COMMON, "cluster_id")]
        parts += [f"\n# notebooks/{model.notebook}.ipynb{once}\n{model.stage}:\n"]
        parts += _section(model, names, "  ")
    return "".join(parts)


def _section(model: type[StageParameters], names: list[str], indent: str) -> list[str]:
    """One line a parameter, comments below each other where they fit."""
    values = model().model_dump()
    keys = {name: f"{indent}{name}: {_plain(values[name])}" for name in names}
    notes = {name: model.model_fields[name].description for name in names}
    column = max(len(key) for key in keys.values() if len(key) <= LONG)
    lines = []
    for name, key in keys.items():
        line = f"{key:<{column}}  # {notes[name]}"
        fits = len(key) <= column and len(line) <= WIDTH
        lines.append(line if fits else f"{indent}# {notes[name]}\n{key}")
    return [f"{line}\n" for line in lines]


def _plain(value: object) -> str:
    """A value as YAML in one line; floats with a point, without which YAML reads text."""
    if isinstance(value, float):
        mantissa, exponent, power = repr(value).partition("e")
        point = "" if "." in mantissa else ".0"
        return f"{mantissa}{point}" + (f"e{int(power)}" if exponent else "")
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("...\n").strip().replace("''", '""')


def main() -> None:
    """Write all files."""
    for model in (*STAGES, SweepParameters):
        (NOTEBOOKS / f"{model.notebook}.ipynb").write_text(notebook(model), encoding="utf-8")
    MINI.write_text(mini(), encoding="utf-8")


if __name__ == "__main__":
    main()
