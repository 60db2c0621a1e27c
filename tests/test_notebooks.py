"""The notebooks as files: they agree with the parameter models and keep to the house rules."""

import ast
from itertools import pairwise

import nbformat
import pytest

from esiamfc_lib.chain.profiles import load_profile, profile_names
from esiamfc_lib.config import STAGES, SweepParameters
from esiamfc_lib.runtime.code import library_modules
from esiamfc_lib.runtime.paths import project_root
from tools import parameters

LONGEST = 15
"""Lines that a code cell may have; a picture or a call, with prose around it."""

NOTEBOOKS = {model.notebook: model for model in (*STAGES, SweepParameters)}


@pytest.fixture(params=NOTEBOOKS)
def notebook(request, root) -> nbformat.NotebookNode:
    path = root / "notebooks" / f"{request.param}.ipynb"
    if not path.is_file():
        pytest.fail(f"no {path.name}")
    content = nbformat.read(path, as_version=4)
    content.metadata["model"] = NOTEBOOKS[request.param]
    return content


def code(notebook) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tagged(notebook) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def test_there_is_one_notebook_a_stage(root):
    assert sorted(path.stem for path in (root / "notebooks").glob("*.ipynb")) == sorted(NOTEBOOKS)


def test_parameters_cell_is_the_one_printed_from_the_model(notebook):
    (cell,) = tagged(notebook)
    assert cell.source == parameters.cell(notebook.metadata["model"]), "run 'make parameters'"


@pytest.mark.parametrize("model", [*STAGES, SweepParameters])
def test_the_printed_cell_gives_the_defaults(model, monkeypatch):
    monkeypatch.setenv("ESIAMFC_CHAIN", "1")
    namespace = {}
    exec(parameters.cell(model), namespace)
    assert model.from_notebook(namespace) == model()


def test_it_names_the_kernel_and_its_format_is_valid(notebook):
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    plain = nbformat.from_dict({**notebook, "metadata": {**notebook.metadata}})
    del plain.metadata["model"]
    nbformat.validate(plain)


def test_no_outputs_are_stored(notebook):
    for cell in code(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_cells_are_short_and_define_nothing_long(notebook):
    for cell in code(notebook):
        if cell not in tagged(notebook):
            assert len(cell.source.splitlines()) <= LONGEST, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.ClassDef), cell.source
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno - node.lineno <= 8, cell.source


def test_lines_of_code_are_short(notebook):
    for cell in code(notebook):
        if cell not in tagged(notebook):
            assert all(len(line) <= 100 for line in cell.source.splitlines()), cell.source


def test_it_shows_the_last_answer_first_and_keeps_its_own(notebook):
    cells = [cell.source for cell in code(notebook)]
    assert any("reports.last_answer(p)" in cell for cell in cells[:5])
    assert any("answer" in cell and "save_metrics(" in cell for cell in cells[-6:])


def test_what_a_function_reads_stays_what_it_was(notebook):
    """A control calls it later, when all cells have run: none of them may bind its names anew."""

    def names(node, context):
        found = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        return {n.id for n in found if isinstance(n.ctx, context)}

    cells = [ast.parse(cell.source) for cell in code(notebook) if cell not in tagged(notebook)]
    for i, cell in enumerate(cells):
        for function in [node for node in cell.body if isinstance(node, ast.FunctionDef)]:
            own = {a.arg for a in function.args.args} | names(function, ast.Store)
            for later in cells[i + 1 :]:
                assert not (names(function, ast.Load) - own) & names(later, ast.Store), (
                    function.name
                )


def test_imports_are_at_the_top(notebook):
    """In the first cells after the parameters, before anything is computed."""
    cells = [ast.parse(cell.source) for cell in code(notebook) if cell not in tagged(notebook)]
    imports = [any(isinstance(n, ast.Import | ast.ImportFrom) for n in ast.walk(c)) for c in cells]
    assert imports == sorted(imports, reverse=True)


def test_it_opens_with_its_question_and_what_it_reads_and_writes(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    opening = "".join(c.source for c in notebook.cells[:3] if c.cell_type == "markdown").lower()
    assert "reads" in opening and "writes" in opening


def test_prose_leads_the_code(notebook):
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(prose) * 2 >= len(code(notebook))


def test_it_uses_the_library_and_never_the_chain(notebook):
    modules = library_modules([cell.source for cell in code(notebook)])
    assert "esiamfc_lib.config" in modules
    assert not {"esiamfc_lib.chain.runner", "esiamfc_lib.cli"} & set(modules)


@pytest.mark.parametrize("name", profile_names())
def test_profiles_are_valid_and_every_key_has_a_comment(name, root, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    profile = load_profile(name)
    assert profile.run == project_root() / "data" / name
    assert profile.stages["dataset"].reports == project_root() / "reports" / name
    lines = (root / "notebooks" / "profiles" / f"{name}.yaml").read_text().splitlines()
    folded = 0  # where a text of several lines began
    for before, line in pairwise(lines):
        indent = len(line) - len(line.lstrip())
        folded = indent if line.endswith(">-") else folded if indent > folded else 0
        if line.strip() and not line.lstrip().startswith("#") and not 0 < folded < indent:
            assert "#" in line or before.lstrip().startswith("#"), line


def test_mini_is_printed_from_the_models_and_spells_out_every_default(root, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    assert parameters.MINI.read_text(encoding="utf-8") == parameters.mini(), "run 'make parameters'"
    assert load_profile("mini").stages == {model.stage: model() for model in STAGES}
