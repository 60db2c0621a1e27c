"""Which code a result depends on: imports followed to the end, through packages by name."""

import ast

import pytest

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import code
from esiamfc_lib.runtime.code import code_digest, library_modules


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A small stand-in for the package: a imports b inside a function, c is on its own."""
    folder = tmp_path / "library"
    (folder / "bench").mkdir(parents=True)
    (folder / "__init__.py").write_text("'the package'")
    (folder / "a.py").write_text("def work():\n    from esiamfc_lib import b\n")
    (folder / "b.py").write_text("from .bench import speed\nimport numpy\n")
    (folder / "bench" / "__init__.py").write_text("from esiamfc_lib.d import Thing\n")
    (folder / "bench" / "speed.py").write_text("from .. import d\n")
    (folder / "c.py").write_text("import esiamfc_lib.a\n")
    (folder / "d.py").write_text("class Thing: pass\n")
    monkeypatch.setattr(code, "SOURCES", folder)
    code_digest.cache_clear()
    yield folder
    code_digest.cache_clear()


@pytest.fixture
def faces(library):
    """A package whose face renames what it passes on, and one that hands on another's."""
    package = library / "shapes"
    package.mkdir()
    (package / "__init__.py").write_text(
        '"""Shapes."""\n'
        "from esiamfc_lib.shapes.round import circle as ring\n"
        "from esiamfc_lib.shapes.square import side\n"
        "from esiamfc_lib.bench import Thing\n"
        '__all__ = ["Thing", "ring", "side"]\n'
    )
    (package / "round.py").write_text("def circle(): pass\n")
    (package / "square.py").write_text("from esiamfc_lib.d import Thing\ndef side(): pass\n")
    return library


def names(*sources: str) -> list[str]:
    return [name.removeprefix("esiamfc_lib.") for name in library_modules(sources)]


def test_imports_are_followed_to_the_end(library):
    assert names("from esiamfc_lib.a import work") == ["a", "b", "bench.speed", "d"]
    assert names("import esiamfc_lib.c as c") == ["a", "b", "bench.speed", "c", "d"]
    assert names("from esiamfc_lib import d", "import os") == ["d"]
    assert names("import esiamfc_library.a, numpy") == []


@pytest.mark.parametrize(
    ("source", "reached"),
    [
        ("from esiamfc_lib.shapes import ring", ["shapes.round"]),
        ("from esiamfc_lib.shapes import ring as r, side", ["d", "shapes.round", "shapes.square"]),
        ("from esiamfc_lib.shapes import Thing", ["d"]),
        ("from esiamfc_lib import shapes\nshapes.side()", ["d", "shapes.square"]),
        ("import esiamfc_lib.shapes as s\nf = s.ring", ["shapes.round"]),
        ("from esiamfc_lib.shapes import square", ["d", "shapes.square"]),
        # what is used of it cannot be told
        ("from esiamfc_lib.shapes import *", ["d", "shapes.round", "shapes.square"]),
        ("from esiamfc_lib import shapes\nprint(shapes)", ["d", "shapes.round", "shapes.square"]),
        ("from esiamfc_lib.shapes import made_later", ["d", "shapes.round", "shapes.square"]),
        ("import esiamfc_lib.shapes", ["d", "shapes.round", "shapes.square"]),
    ],
)
def test_of_a_package_only_what_is_used_is_reached(faces, source, reached):
    assert names(source) == reached


def test_a_face_that_does_more_than_pass_on_counts_itself(faces):
    face = faces / "shapes" / "__init__.py"
    face.write_text(face.read_text() + "SIDES = compute()\n")
    assert "shapes" in names("from esiamfc_lib import shapes\nprint(shapes)")
    assert "shapes" in names("from esiamfc_lib.shapes import SIDES")


def test_comments_docstrings_and_layout_do_not_count(library):
    before = library_modules(["import esiamfc_lib.d"])
    (library / "d.py").write_text(
        '"""D."""\n\n\nclass Thing:  # one\n    """Of them."""\n\n    pass\n'
    )
    assert library_modules(["import esiamfc_lib.d"]) == before
    (library / "d.py").write_text("class Thing: x = 1\n")
    assert library_modules(["import esiamfc_lib.d"]) != before


def test_the_digest_of_all_code_behind_a_module(library):
    before = code_digest("esiamfc_lib.b")
    (library / "c.py").write_text("import esiamfc_lib.b\n")  # not reached from b
    code_digest.cache_clear()
    assert code_digest("esiamfc_lib.b") == before
    (library / "d.py").write_text("class Thing: x = 1\n")
    code_digest.cache_clear()
    assert code_digest("esiamfc_lib.b") != before


def test_what_only_shows_is_told_by_name():
    source = [
        "from esiamfc_lib import figures",
        "from esiamfc_lib.tracking import SiamFCTracker",
        "figures.success_precision",
    ]
    every = library_modules(source)
    computing = library_modules(source, shown=False)
    assert computing.items() < every.items()
    assert "esiamfc_lib.tracking.siamfc" in computing
    # reached through figures alone
    assert {"esiamfc_lib.figures.scores", "esiamfc_lib.config"} <= set(every) - set(computing)


def test_magics_are_skipped_and_bad_code_is_named(library):
    assert names("%matplotlib inline\n!ls\nfrom esiamfc_lib.d import Thing") == ["d"]
    with pytest.raises(StudyError, match=r"03\.ipynb: a cell is not valid Python"):
        library_modules(["def ("], where="03.ipynb")


def test_the_real_library_is_found():
    modules = library_modules(["from esiamfc_lib.chain import Chain"])
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

    monkeypatch.setattr(code.ast, "parse", disturbed)
    assert "esiamfc_lib.errors" in library_modules(["from esiamfc_lib import errors"])
    assert calls[0] == calls[1]


def test_what_trains_on_a_partition_does_not_depend_on_how_it_was_made():
    reached = library_modules(["from esiamfc_lib.clustering import load_partition"])
    assert "esiamfc_lib.clustering.membership" in reached
    made_by = ("pikmeans", "centroids", "size_control", "assignment", "partition", "embedding")
    assert not {f"esiamfc_lib.clustering.{name}" for name in made_by} & set(reached)
