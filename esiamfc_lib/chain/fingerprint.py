"""What a stage's result depends on, as digests: when none has changed, it need not run again.

The fingerprint of a stage is the code of its notebook, its parameters, the library modules that
the notebook reaches through imports, and the content of the files it reads. Prose, stored outputs
and file times do not count."""

import ast
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from esiamfc_lib.errors import DAMAGE, StudyError, refused
from esiamfc_lib.runtime.code import library_modules
from esiamfc_lib.runtime.files import file_digest, text_digest


def code_cells(notebook: Path, parameters: bool = False) -> list[str]:
    """Sources of the notebook's code cells: those tagged ``parameters``, or all others. The chain
    injects every parameter, so the defaults in that cell have no effect here. A StudyError says
    that the file is missing or is not a notebook."""
    if not notebook.is_file():
        raise StudyError(f"no notebook {notebook}")
    with refused(f"{notebook} is not a notebook", (*DAMAGE, AttributeError)):
        return [
            "".join(cell["source"])
            for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
            and ("parameters" in cell["metadata"].get("tags", [])) == parameters
        ]


def check_notebook(notebook: Path, parameters: Iterable[str]) -> None:
    """A StudyError where a notebook is not valid, or its ``parameters`` cell lacks one of these."""
    given = code_cells(notebook, parameters=True)
    library_modules([*given, *code_cells(notebook)], where=notebook.name)  # is it valid Python?
    body = ast.parse("\n".join(given)).body
    targets = [getattr(node, "targets", [getattr(node, "target", None)])[0] for node in body]
    known = {target.id for target in targets if isinstance(target, ast.Name)}
    if not known:
        raise StudyError(f"{notebook} has no cell tagged 'parameters' with a parameter in it")
    if unknown := [name for name in parameters if name not in known]:
        raise StudyError(f"{notebook.name} has no parameter {', '.join(unknown)}")


def fingerprint(
    notebook: Path, parameters: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[str, Any]:
    """All that a stage's result depends on; ``parameters`` are of JSON types. ``modules`` are those
    that the notebook reaches, ``computing`` the ones among them that can change a result,
    ``inputs`` the ``files`` that the stage reads by name; each with its digest. A StudyError says
    that a file is missing."""
    cells = code_cells(notebook)
    return {
        "notebook": text_digest(json.dumps(cells)),
        "parameters": json.loads(json.dumps(parameters)),
        "modules": library_modules(cells, where=notebook.name),
        "computing": library_modules(cells, where=notebook.name, shown=False),
        "inputs": {name: file_digest(path) for name, path in files.items()},
    }


def causes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed from one fingerprint to another, in words; empty when they are equal."""
    reasons = ["the notebook's code changed"] * (old.get("notebook") != new["notebook"])
    values = changed(old.get("parameters"), new["parameters"])
    reasons += [f"{name}: {was!r} -> {is_now!r}" for name, (was, is_now) in values.items()]
    for part in ("modules", "inputs"):
        reasons += [f"{name} changed" for name in changed(old.get(part), new[part])]
    return reasons


def changed(old: Any, new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Names whose values differ -> the two, "unset" for none; a damaged ``old`` has none."""
    old = old if isinstance(old, Mapping) else {}
    pairs = {name: (old.get(name, "unset"), new.get(name, "unset")) for name in {*old, *new}}
    return {name: pairs[name] for name in sorted(pairs) if pairs[name][0] != pairs[name][1]}
