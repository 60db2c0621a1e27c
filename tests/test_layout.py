"""The layout: packages that follow the method, imports that point one way, names said once."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "esiamfc_lib"

ALLOWED = {
    "config": {"artefacts", "runtime"},
    "artefacts": set(),
    "runtime": set(),
    "reports": {"config", "runtime"},
    "page": {"figures", "reports", "runtime"},
    "data": {"config", "runtime"},
    "networks": {"data", "runtime"},
    "synthetic": {"data", "runtime"},
    "curation": {"config", "data", "runtime", "synthetic"},
    "training": {"config", "data", "networks", "runtime"},
    "clustering": {"data", "networks", "runtime"},
    "tracking": {"config", "data", "networks", "runtime"},
    "evaluation": {"config", "data", "networks", "runtime", "tracking"},
    "analysis": {
        *("artefacts", "config", "data", "evaluation", "networks"),
        *("runtime", "tracking", "training"),
    },
    "figures": {"data", "evaluation", "runtime"},
    "chain": {
        *("analysis", "artefacts", "clustering", "config", "data", "figures"),
        *("networks", "reports", "runtime"),
    },
}
"""Package or root module -> those that it may import, besides itself and ``errors``."""

FREE = {"commands", "cli", "__init__", "errors"}
"""``commands`` and ``cli`` stand above all others; ``errors`` imports none, which is tested."""


def modules():
    """Name from the library's root -> its file: ``data.vid``."""
    for file in sorted(LIBRARY.rglob("*.py")):
        yield ".".join(file.relative_to(LIBRARY).with_suffix("").parts), file


MODULES = dict(modules())


def imported_by(name):
    """Modules (or packages, where only those are named) that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = whole.removeprefix("esiamfc_lib.") in MODULES
                found.add(whole if is_module else node.module)
    inside = {one.removeprefix("esiamfc_lib.") for one in found if one.startswith("esiamfc_lib.")}
    return {one if one in MODULES else f"{one}.__init__" for one in inside}


def package_of(name):
    return name.partition(".")[0]


def test_every_package_is_in_the_table():
    assert {package_of(name) for name in MODULES} == set(ALLOWED) | FREE


@pytest.mark.parametrize("package", [*ALLOWED, "errors"])
def test_imports_point_down(package):
    allowed = ALLOWED.get(package, set()) | {package, "errors"}
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        if package_of(name) == package
        for other in imported_by(name)
        if package_of(other) not in allowed
    ]
    assert not wrong


def test_networks_take_only_the_sizes_of_the_crops():
    wrong = [
        (name, other)
        for name in MODULES
        if package_of(name) == "networks"
        for other in imported_by(name)
        if package_of(other) == "data" and other != "data.geometry"
    ]
    assert not wrong


def test_no_module_imports_itself_through_others():
    graph = {name: imported_by(name) & set(MODULES) for name in MODULES}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            done.add(path.pop())

    for name in graph:
        visit(name)


def test_modules_import_modules_and_not_faces():
    """A package's ``__init__`` is for notebooks and users; inside it would hide who needs what."""
    wrong = [
        (name, other)
        for name in MODULES
        if not name.endswith("__init__")
        for other in imported_by(name)
        if other.endswith(".__init__")
    ]
    assert not wrong


def test_no_public_name_stands_twice():
    places = defaultdict(list)
    for name, file in MODULES.items():
        if package_of(name) in ("commands", "cli"):
            continue  # each command has its arguments() and main()
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                places[node.name].append(name)
    assert not {name: where for name, where in places.items() if len(where) > 1}


def test_no_module_is_long():
    lines = {name: len(file.read_text("utf-8").splitlines()) for name, file in MODULES.items()}
    assert not {name: count for name, count in lines.items() if count > 350}


def test_the_library_is_thin():
    """The budget is 16,000 lines, 11,000 of them code."""
    lines = code = 0
    for file in MODULES.values():
        text = file.read_text(encoding="utf-8")
        lines += len(text.splitlines())
        code += len(code_lines(text))
    assert lines <= 16_000
    assert code <= 11_000


def code_lines(text):
    """Numbers of the lines that hold code: no comment, no docstring, not blank."""
    tree = ast.parse(text)
    texts = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text and isinstance(node.value.value, str):
            texts |= set(range(node.lineno, node.end_lineno + 1))
    return [
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.strip().startswith("#") and number not in texts
    ]


@pytest.mark.parametrize("package", sorted(one for one in ALLOWED if (LIBRARY / one).is_dir()))
def test_a_face_names_what_it_passes_on(package):
    text = MODULES[f"{package}.__init__"].read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    listed = [node for node in tree.body if isinstance(node, ast.Assign)]
    assert [target.id for node in listed for target in node.targets] == ["__all__"]
    assert set(ast.literal_eval(listed[0].value)) == imported


@pytest.mark.parametrize(
    ("face", "heavy"),
    [
        ("runtime", {"torch", "cv2", "pandas", "dask", "joblib"}),
        ("data", {"torch", "umap", "papermill"}),
        ("synthetic", {"torch"}),
        ("clustering", {"umap"}),
        ("training", {"tensorboard"}),
        ("chain", {"papermill", "torch"}),
    ],
)
def test_faces_are_light(face, heavy):
    code = f"import sys, esiamfc_lib.{face}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
