"""A project whose notebooks only pretend to work: for tests of the chain itself.

Every notebook has the real parameters, reads the files that its stage declares, and writes a text
made from them, so a change of one is seen in all that depend on it.
"""

import json
from pathlib import Path

from esiamfc_lib.artefacts import FILES
from esiamfc_lib.config import STAGES

WORK = """
import hashlib, json, os, pathlib, time
run = pathlib.Path(os.environ["ESIAMFC_ROOT"], run_dir)
name = "{stage}" + (f"/{{cluster_id}}" if "{stage}" == "branches" else "")
begin = time.time()
made = lambda names: [run / n.format(i) for n in names for i in ([0, 1] if "{{}}" in n else [0])]
read = b"".join(path.read_bytes() for path in made({inputs}))
"""
WRITE = """
digest = hashlib.sha256(read).hexdigest()
mine = [run / n.format(globals().get("cluster_id")) for n in {outputs}]
for path in [*mine, run / name / "metrics.json"]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(tracks=9, stage=name, seed=seed, digest=digest)))
with (run / "calls.txt").open("a") as file:
    file.write(f"{{name}} {{begin}} {{time.time()}}\\n")
"""


KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


def code(source: str, number: int, *tags: str) -> dict:
    """A code cell."""
    return {
        "cell_type": "code",
        "id": f"cell{number}",
        "metadata": {"tags": list(tags)},
        "execution_count": None,
        "outputs": [],
        "source": source.strip(),
    }


def write_notebook(path: Path, *cells: dict) -> None:
    """A notebook file of these cells."""
    notebook = {"cells": list(cells), "metadata": KERNEL, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(notebook), encoding="utf-8")


def make_project(root: Path) -> Path:
    """Write the project into the folder ``root``; its profile is called ``tiny``, k = 2."""
    (root / "notebooks" / "profiles").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "notebooks" / "profiles" / "tiny.yaml").write_text(
        "run_dir: data/tiny\nreport_dir: reports/tiny\nclustering:\n  n_clusters: 2\n"
    )
    for model in STAGES:
        defaults = "\n".join(
            f"{name} = {field.default!r}" for name, field in model.model_fields.items()
        )
        names = {"stage": model.stage, **FILES[model.stage]._asdict()}
        write_notebook(
            root / "notebooks" / f"{model.notebook}.ipynb",
            code(defaults, 0, "parameters"),
            code(WORK.format(**names), 1),
            code("", 2),
            code(WRITE.format(**names), 3),
        )
    return root


def edit(root: Path, notebook: str, source: str, cell: int = 2) -> None:
    """Replace the source of one cell; cell 2 is empty at first and runs before the writing."""
    path = root / "notebooks" / f"{notebook}.ipynb"
    content = json.loads(path.read_text())
    content["cells"][cell]["source"] = source
    path.write_text(json.dumps(content))
