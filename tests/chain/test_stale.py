"""Which stages a change of the library makes stale: none for a comment, else those that use it.

``stages_of_modules.csv`` beside this file is the table to check by eye; ``make stages`` prints it
anew after the layout has changed.
"""

import csv
import shutil
from pathlib import Path

import pytest

from esiamfc_lib.chain.fingerprint import code_cells
from esiamfc_lib.chain.graph import stale
from esiamfc_lib.config import STAGES
from esiamfc_lib.runtime import code

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("stages_of_modules.csv")
NAMES = [model.stage for model in STAGES]


def reached() -> dict[str, dict[str, str]]:
    """Stage -> the modules that its notebook reaches, with their digests."""
    notebooks = {model.stage: ROOT / "notebooks" / f"{model.notebook}.ipynb" for model in STAGES}
    return {
        stage: code.library_modules(code_cells(file), shown=False)
        for stage, file in notebooks.items()
    }


def made_stale(before: dict[str, str], name: str) -> bool:
    """Whether a stage with these modules gives up its files when the code of one has changed."""
    same = {"parameters": {}, "inputs": {}}
    after = before | ({name: "changed"} if name in before else {})
    return stale(same | {"computing": before}, same | {"computing": after})


def table() -> list[list[str]]:
    """A row a module of the library, x below the stages that a change of its code makes stale."""
    modules = reached()
    every = sorted(
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in (ROOT / "esiamfc_lib").rglob("*.py")
        if file.name != "__init__.py"
    )
    rows = [["module", *NAMES]]
    for name in every:
        marks = ["x" if made_stale(modules[stage], name) else "" for stage in NAMES]
        rows.append([name.removeprefix("esiamfc_lib."), *marks])
    return rows


@pytest.fixture
def changed_library(tmp_path, monkeypatch):
    """A function that appends a line to every module of a copy of the library."""
    copy = tmp_path / "esiamfc_lib"
    shutil.copytree(ROOT / "esiamfc_lib", copy)

    def change(line: str) -> None:
        for file in copy.rglob("*.py"):
            file.write_text(f"{file.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
        monkeypatch.setattr(code, "SOURCES", copy)

    return change


def test_a_comment_in_any_module_makes_no_stage_stale(changed_library):
    before = reached()
    changed_library("# a comment")
    assert reached() == before


def test_a_constant_makes_the_stages_stale_that_use_its_module(changed_library):
    before = reached()
    changed_library("A_NEW_CONSTANT = 1")
    after = reached()
    for stage in NAMES:
        assert before[stage].keys() == after[stage].keys()
        assert not set(before[stage].items()) & set(after[stage].items())


def test_the_table_is_that_of_the_code():
    with TABLE.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == table()


def test_what_must_not_train_anew_does_not():
    modules = reached()
    for name in ("curation.archive", "clustering.pikmeans", "tracking.esiamfc", "figures.maps"):
        for stage in ("branches", "fusion"):
            assert not made_stale(modules[stage], f"esiamfc_lib.{name}")
    for name in ("tracking.esiamfc", "synthetic.textures", "curation.archive", "chain.runner"):
        assert not made_stale(modules["baseline"], f"esiamfc_lib.{name}")
    assert made_stale(modules["baseline"], "esiamfc_lib.networks.siamfc")


if __name__ == "__main__":
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table())
