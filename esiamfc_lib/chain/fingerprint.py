"""What a stage's result depends on, as digests: when none has changed, it need not run again.

The fingerprint of a stage is the code of its notebook, its parameters, the library modules that
the notebook reaches through imports, and the content of the files it reads. Prose, stored outputs
and file times do not count.
"""

import ast
import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from esiamfc_lib.errors import StudyError

PACKAGE = "esiamfc_lib"
SOURCES = Path(__file__).parent
PARSING = threading.Lock()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        StudyError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StudyError(f"cannot read {path}: {error.strerror}") from None


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def code_cells(notebook: Path) -> list[str]:
    """Sources of the notebook's code cells, without the one tagged ``parameters``.

    The chain injects every parameter, so the defaults in that cell have no effect here.

    Raises:
        StudyError: the file is missing or is not a notebook.
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


def library_modules(sources: Iterable[str], where: str = "notebook") -> dict[str, str]:
    """Modules of this library that ``sources`` reach through imports, with their digests.

    Imports are found by reading the code, not by running it, so those inside functions count too.
    The package's own ``__init__`` is left out: it holds a docstring and the version.

    Args:
        sources: Python code; IPython's ``%magic`` and ``!shell`` lines are skipped.
        where: what the code is called in messages.

    Raises:
        StudyError: ``sources`` are not valid Python.
    """
    waiting: set[str] = set()
    for source in sources:
        lines = source.splitlines()
        plain = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
        try:
            waiting |= _imports(_parsed(plain), package=[])
        except SyntaxError as error:
            raise StudyError(f"{where}: a cell is not valid Python ({error})") from None
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        path = _source_of(name)
        if path is None or name in found:
            continue
        found[name] = file_digest(path)
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        waiting |= _imports(_parsed(path.read_text(encoding="utf-8")), package)
    return dict(sorted(found.items()))


def _parsed(source: str) -> ast.AST:
    """The tree of a source.

    Python 3.11 counts the depth of the tree that it builds for all threads together, and may raise
    SystemError when two of them parse at once. The chain's jobs are threads: they take turns, and
    as other libraries parse as well, a failed attempt is repeated.
    """
    with PARSING:
        for _ in range(4):
            try:
                return ast.parse(source)
            except SystemError:
                continue
        return ast.parse(source)


def _imports(tree: ast.AST, package: list[str]) -> set[str]:
    """Full names that may be modules of this library; ``from x import y`` gives x and x.y."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # level 1 is the package itself, level 2 its parent
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith(f"{PACKAGE}.")}


def _source_of(name: str) -> Path | None:
    """File of module ``name``; None for what is no module (a class, a function)."""
    path = SOURCES.joinpath(*name.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def fingerprint(
    notebook: Path, parameters: Mapping[str, Any], files: Mapping[str, Path]
) -> dict[str, Any]:
    """All that the stage's result depends on.

    Args:
        notebook: the stage's notebook.
        parameters: what is injected; JSON types.
        files: name -> file that the stage reads.

    Returns:
        ``notebook`` (digest), ``parameters``, ``modules`` and ``inputs`` (name -> digest).

    Raises:
        StudyError: a file is missing or unreadable.
    """
    cells = code_cells(notebook)
    return {
        "notebook": text_digest(json.dumps(cells)),
        "parameters": json.loads(json.dumps(parameters)),
        "modules": library_modules(cells, where=notebook.name),
        "inputs": {name: file_digest(path) for name, path in files.items()},
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What changed from one fingerprint to another, in words; empty when they are equal."""
    reasons = []
    if old["notebook"] != new["notebook"]:
        reasons.append("the notebook's code changed")
    for name in changed(old["parameters"], new["parameters"]):
        was, is_now = old["parameters"].get(name, "unset"), new["parameters"].get(name, "unset")
        reasons.append(f"{name}: {was!r} -> {is_now!r}")
    reasons += [f"{name} changed" for name in changed(old["modules"], new["modules"])]
    reasons += [f"{name} changed" for name in changed(old["inputs"], new["inputs"])]
    return reasons


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names whose values differ, or that only one of the two has."""
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
