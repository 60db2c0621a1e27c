"""What a stage's result depends on, as digests: when none has changed, it need not run again.

The fingerprint of a stage is the code of its notebook, its parameters, the library modules that
the notebook reaches through imports, and the content of the files it reads. Prose, stored outputs
and file times do not count.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.code import library_modules
from esiamfc_lib.runtime.files import file_digest, text_digest


def code_cells(notebook: Path) -> list[str]:
    """Sources of the notebook's code cells, without the one tagged ``parameters``.

    The chain injects every parameter, so the defaults in that cell have no effect here. A
    StudyError says that the file is missing or is not a notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        return [
            "".join(cell["source"])
            for cell in cells
            if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", [])
        ]
    except FileNotFoundError:
        raise StudyError(f"no notebook {notebook}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{notebook} is not a notebook ({error!r})") from None


def fingerprint(
    notebook: Path, parameters: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[str, Any]:
    """All that a stage's result depends on; ``parameters`` are of JSON types.

    ``modules`` are those that the notebook reaches, ``computing`` the ones among them that can
    change a result, ``inputs`` the ``files`` that the stage reads by name; each with its digest. A
    StudyError says that a file is missing.
    """
    cells = code_cells(notebook)
    return {
        "notebook": text_digest(json.dumps(cells)),
        "parameters": json.loads(json.dumps(parameters)),
        "modules": library_modules(cells, where=notebook.name),
        "computing": library_modules(cells, where=notebook.name, shown=False),
        "inputs": {name: file_digest(path) for name, path in files.items()},
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed from one fingerprint to another, in words; empty when they are equal."""
    reasons = ["the notebook's code changed"] * (old["notebook"] != new["notebook"])
    for name in changed(old["parameters"], new["parameters"]):
        was, is_now = old["parameters"].get(name, "unset"), new["parameters"].get(name, "unset")
        reasons.append(f"{name}: {was!r} -> {is_now!r}")
    for part in ("modules", "inputs"):
        reasons += [f"{name} changed" for name in changed(old[part], new[part])]
    return reasons


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names whose values differ, or that only one of the two has."""
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
