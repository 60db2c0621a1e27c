"""Fingerprints: what counts as a change, and what does not."""

import pytest
from fake_study import code, write_notebook

from esiamfc_lib.chain import fingerprint as fp
from esiamfc_lib.config import STAGES
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import code as code_of_library


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small stand-in for the package: c imports d."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "c.py").write_text("import esiamfc_lib.d\n")
    (folder / "d.py").write_text("class Thing: pass\n")
    monkeypatch.setattr(code_of_library, "SOURCES", folder)
    return folder


def test_what_changed_is_said(library, tmp_path):
    notebook, data = tmp_path / "n.ipynb", tmp_path / "data"
    data.write_text("1")

    def look(work: str, **parameters) -> dict:
        cells = [code("x = 1", 0, "parameters"), code(work, 1)]
        write_notebook(notebook, *cells)
        return fp.fingerprint(notebook, parameters, {"store/data": data})

    first = look("import esiamfc_lib.d", lr=0.1, epochs=3)
    assert fp.causes(first, look("import esiamfc_lib.d", lr=0.1, epochs=3)) == []
    assert fp.causes(first, look("import esiamfc_lib.d", lr=0.2, size=(1, 2))) == [
        "epochs: 3 -> 'unset'",
        "lr: 0.1 -> 0.2",
        "size: 'unset' -> [1, 2]",
    ]
    (library / "d.py").write_text("class Thing: x = 1\n")
    data.write_text("2")
    assert fp.causes(first, look("import esiamfc_lib.d ", lr=0.1, epochs=3)) == [
        "esiamfc_lib.d changed",
        "store/data changed",
    ]
    assert "the notebook's code changed" in fp.causes(
        first, look("import esiamfc_lib.c", lr=0.1, epochs=3)
    )


def test_unreadable_notebooks(tmp_path):
    with pytest.raises(StudyError, match="no notebook"):
        fp.code_cells(tmp_path / "n.ipynb")
    (tmp_path / "n.ipynb").write_text("{}")
    with pytest.raises(StudyError, match="is not a notebook"):
        fp.code_cells(tmp_path / "n.ipynb")


@pytest.mark.parametrize("model", STAGES, ids=lambda model: model.stage)
def test_the_notebooks_take_the_parameters_of_their_stages(root, model):
    notebook = root / "notebooks" / f"{model.notebook}.ipynb"
    fp.check_notebook(notebook, model.model_fields)
    with pytest.raises(StudyError, match="has no parameter speed"):
        fp.check_notebook(notebook, ["speed"])
