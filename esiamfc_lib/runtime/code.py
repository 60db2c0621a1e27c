"""Which code of this library a result depends on, and the digests of that code.

One rule serves the stages of the chain and the boxes that an evaluation keeps: a result depends on
the modules that its code reaches through imports. A package's ``__init__`` only passes names on, so
``from esiamfc_lib.tracking import SiamFCTracker`` reaches the module that defines the tracker, not
the whole package. What counts is the code: comments, docstrings and layout do not."""

import ast
import functools
import inspect
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from esiamfc_lib.errors import refused
from esiamfc_lib.runtime.files import text_digest

PACKAGE = "esiamfc_lib"
SOURCES = Path(__file__).parents[1]
PARSING = threading.Lock()

ONLY_SHOWN = (
    *("config", "errors", "artefacts", "reports", "figures"),
    *("runtime.bars", "runtime.latex", "runtime.packages", "runtime.paths", "runtime.validation"),
)
"""Modules and packages that cannot change a result: the values of ``config`` are compared as
parameters, artefacts as files, and the others only show what was computed."""


def library_modules(sources: Iterable[str], where="notebook", shown=True) -> dict[str, str]:
    """Modules of this library that ``sources``, parts of one program, reach through imports, with
    their digests. Imports are found by reading the code, not by running it, so those inside
    functions count too; IPython's ``%magic`` and ``!shell`` lines are skipped. ``shown``: whether
    what only shows results (``ONLY_SHOWN``) counts, with what it imports. A StudyError, with the
    code called ``where``, says that it is not valid Python."""
    lines = "\n".join(sources).splitlines()
    plain = ["" if line.lstrip().startswith(("%", "!")) else line for line in lines]
    with refused(f"{where}: a cell is not valid Python", SyntaxError):
        waiting = _reached(_parsed("\n".join(plain)), package=[])
    found: dict[str, str] = {}
    while waiting:
        name = waiting.pop()
        path = _source_of(name)
        if path is None or name in found or not (shown or _matters(name)):
            continue
        tree, digest = _code_of(path, path.stat().st_mtime_ns)
        if path.name != "__init__.py" or not _only_passes_on(tree):
            found[name] = digest
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        waiting |= _reached(tree, package)
    return dict(sorted(found.items()))


@functools.cache
def code_digest(module: str) -> str:
    """Of all code that a module (full name) reaches, itself included, but ``ONLY_SHOWN``. A module
    that is not of this library, a tool's for example, counts with its text."""
    source, own = f"import {module}", ""
    if not module.startswith(f"{PACKAGE}."):
        with suppress(OSError, TypeError):  # it has no file
            source = own = inspect.getsource(sys.modules[module])
    modules = library_modules([source], where=module, shown=False)
    return text_digest("".join(f"{name} {digest}\n" for name, digest in modules.items()) + own)


def _matters(module: str) -> bool:
    """Whether a module (full name) can change a result, see ``ONLY_SHOWN``."""
    return not f"{module}.".startswith(tuple(f"{PACKAGE}.{shown}." for shown in ONLY_SHOWN))


@functools.lru_cache(maxsize=1024)
def _code_of(path: Path, written: int) -> tuple[ast.Module, str]:
    """A module's code without comments, docstrings and layout, and its digest. ``written`` is the
    time of the file's last change: a changed file is read again."""
    tree = _parsed(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            # a text that is a statement does nothing, wherever it stands
            node.body = [part for part in body if not _is_text(part)]
    return tree, text_digest(ast.unparse(tree))


def _is_text(node: ast.AST) -> bool:
    """A docstring, or another text that stands as a statement."""
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def _parsed(source: str) -> ast.Module:
    """Parse, in turn with other threads. Python 3.11 counts the depth of the tree that it builds
    for all threads together, and may raise SystemError when two of them parse at once; other
    libraries parse, too: a failed attempt is repeated."""
    with PARSING:
        for _ in range(4):
            with suppress(SystemError):
                return ast.parse(source)
        return ast.parse(source)


def _imports(tree: ast.Module, package: list[str]) -> Iterator[tuple[str, str, str]]:
    """(local name, module, what is taken from it) of all imports; "" where there is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.asname or "", alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # level 1 is the package itself, level 2 its parent
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((alias.asname or alias.name, base, alias.name) for alias in node.names)


def _reached(tree: ast.Module, package: list[str]) -> set[str]:
    """Full names of the modules that the code imports, of packages those that it uses."""
    reached: set[str] = set()
    packages: dict[str, str] = {}  # local name -> package, imported as a whole
    for local, base, name in _imports(tree, package):
        whole = f"{base}.{name}" if name else base
        if local and _is_package(whole):
            packages[local] = whole
        elif name:
            reached |= _provider(base, name)
        else:
            reached |= _all_of(base) if _is_package(base) else {base}
    reached |= _used_of(tree, packages)
    return {name for name in reached if name.startswith(f"{PACKAGE}.")}


def _used_of(tree: ast.Module, packages: dict[str, str]) -> set[str]:
    """Modules behind the attributes that are read of imported packages."""
    reads = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    attributes = {node.value: node.attr for node in reads}
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in packages:
            package = packages[node.id]
            # handed on as a value, what is used of it cannot be told
            used |= _provider(package, attributes[node]) if node in attributes else _all_of(package)
    return used


def _provider(base: str, name: str) -> set[str]:
    """The modules that ``from base import name`` needs."""
    if not _is_package(base):
        return {base}
    if name != "*" and _source_of(f"{base}.{name}"):
        return {f"{base}.{name}"}
    return _face(base).get(name) or _all_of(base)


def _all_of(package: str) -> set[str]:
    """The package's ``__init__`` and every module that it imports from."""
    return {package}.union(*_face(package).values())


def _face(package: str) -> dict[str, set[str]]:
    """Name that a package's ``__init__`` passes on -> the modules it comes from."""
    tree = _parsed(_source_of(package).read_text(encoding="utf-8"))
    taken = _imports(tree, package.split("."))
    return {local: _provider(base, name) for local, base, name in taken if name}


def _only_passes_on(tree: ast.Module) -> bool:
    """Whether an ``__init__``, without its docstring, holds only imports and plain values."""
    values = (ast.Constant, ast.List, ast.Tuple)
    others = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return all(isinstance(node, ast.Assign) and isinstance(node.value, values) for node in others)


def _is_package(name: str) -> bool:
    path = _source_of(name) if name.partition(".")[0] == PACKAGE else None
    return path is not None and path.name == "__init__.py"


def _source_of(name: str) -> Path | None:
    """File of module ``name``; None for what is no module (a class, a function)."""
    path = SOURCES.joinpath(*name.split(".")[1:])
    return next(filter(Path.is_file, (path.with_suffix(".py"), path / "__init__.py")), None)
