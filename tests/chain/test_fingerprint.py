"""Fingerprints: what counts as a change, and what does not."""

import ast
import hashlib

import pytest
from fake_study import code, write_notebook

from esiamfc_lib.chain import fingerprint as fp
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.code import library_modules


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small stand-in for the package: a imports b inside a function, c is on its own."""
    folder = tmp_path / "library"
    (folder / "bench").mkdir(parents=True)
    (folder / "__init__.py").write_text("'the package'")
    (folder / "a.py").write_text("def work():\n    from esiamfc_lib import b\n")
    (folder / "b.py").write_text("from .bench import speed\nimport numpy\n")
    (folder / "bench" / "__init__.py").write_text("from esiamfc_lib.d import Thing\n")
    (folder / "bench" / "speed.py").write_text("from .. import d\nfrom . import absent\n")
    (folder / "c.py").write_text("import esiamfc_lib.a\n")
    (folder / "d.py").write_text("class Thing: pass\n")
    monkeypatch.setattr(fp, "SOURCES", folder)
    return folder


def names(*sources: str) -> list[str]:
    return [name.removeprefix("esiamfc_lib.") for name in library_modules(sources)]


def test_imports_are_followed_to_the_end(library):
    assert names("from esiamfc_lib.a import work") == ["a", "b", "bench", "bench.speed", "d"]
    assert names("import esiamfc_lib.c as c") == ["a", "b", "bench", "bench.speed", "c", "d"]
    assert names("from esiamfc_lib import d", "import os") == ["d"]
    assert names("import esiamfc_library.a, numpy") == []


def test_magics_are_skipped_and_bad_code_is_named(library):
    assert names("%matplotlib inline\n!ls\nfrom esiamfc_lib.d import Thing") == ["d"]
    with pytest.raises(StudyError, match=r"03\.ipynb: a cell is not valid Python"):
        library_modules(["def ("], where="03.ipynb")


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert fp.file_digest(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(StudyError, match=r"cannot read .*absent: No such file"):
        fp.file_digest(tmp_path / "absent")


def test_what_changed_is_said(library, tmp_path):
    notebook, data = tmp_path / "n.ipynb", tmp_path / "data"
    data.write_text("1")

    def look(work: str, **parameters) -> dict:
        cells = [code("x = 1", 0, "parameters"), code(work, 1)]
        write_notebook(notebook, *cells)
        return fp.fingerprint(notebook, parameters, {"store/data": data})

    first = look("import esiamfc_lib.d", lr=0.1, epochs=3)
    assert fp.differences(first, look("import esiamfc_lib.d", lr=0.1, epochs=3)) == []
    assert fp.differences(first, look("import esiamfc_lib.d", lr=0.2, size=(1, 2))) == [
        "epochs: 3 -> 'unset'",
        "lr: 0.1 -> 0.2",
        "size: 'unset' -> [1, 2]",
    ]
    (library / "d.py").write_text("class Thing: x = 1\n")
    data.write_text("2")
    assert fp.differences(first, look("import esiamfc_lib.d ", lr=0.1, epochs=3)) == [
        "esiamfc_lib.d changed",
        "store/data changed",
    ]
    assert "the notebook's code changed" in fp.differences(
        first, look("import esiamfc_lib.c", lr=0.1, epochs=3)
    )


def test_unreadable_notebooks(tmp_path):
    with pytest.raises(StudyError, match="no notebook"):
        fp.code_cells(tmp_path / "n.ipynb")
    (tmp_path / "n.ipynb").write_text("{}")
    with pytest.raises(StudyError, match="is not a notebook"):
        fp.code_cells(tmp_path / "n.ipynb")


def test_the_real_library_is_found():
    modules = library_modules(["from esiamfc_lib.chain.runner import Study"])
    assert {"esiamfc_lib.chain.runner", "esiamfc_lib.chain.graph", "esiamfc_lib.config"} <= set(
        modules
    )
    assert "esiamfc_lib.chain.notebook_run" in modules  # imported inside a function
    assert "esiamfc_lib.cli" not in modules


def test_a_parse_that_another_thread_disturbed_is_repeated(monkeypatch):
    parse, calls = ast.parse, []

    def disturbed(source):
        calls.append(source)
        if len(calls) == 1:
            raise SystemError("AST constructor recursion depth mismatch")
        return parse(source)

    monkeypatch.setattr(fp.ast, "parse", disturbed)
    assert "esiamfc_lib.errors" in library_modules(["from esiamfc_lib import errors"])
    assert calls[0] == calls[1]
