"""The documentation as a site: it builds without a warning and fetches nothing."""

import importlib
import json
import re
import subprocess
import sys

import nbformat
import pytest

from esiamfc_lib.cli import COMMANDS
from esiamfc_lib.config import STAGES, TrackingParameters

for name in ("sphinx", "myst_nb", "furo", "latex2mathml", "sphinx_copybutton"):
    pytest.importorskip(name, reason=f"{name} builds the site: pip install -e '.[docs]'")


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    """Folder of the site, of a run that has executed one notebook."""
    out, run = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("data") / "tiny"
    (run / "notebooks").mkdir(parents=True)
    executed = nbformat.read(root / "notebooks/03_embedding.ipynb", nbformat.NO_CONVERT)
    cell = next(cell for cell in executed.cells if cell.cell_type == "code")
    cell.outputs = [nbformat.v4.new_output("stream", text="said by the run\n")]
    nbformat.write(executed, run / "notebooks/03_embedding.ipynb")
    command = [sys.executable, "tools/site.py", "--run", str(run), "--out", str(out)]
    built = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return out / "html"


def read(site, page: str) -> str:
    return (site / page).read_text(encoding="utf-8")


def test_every_notebook_is_a_page_with_the_outputs_of_the_run_if_it_has_any(root, site):
    for file in root.glob("notebooks/*.ipynb"):
        page = read(site, f"tutorials/{file.stem}.html")
        title = "".join(json.loads(file.read_text("utf-8"))["cells"][0]["source"]).split("\n")[0]
        assert title.removeprefix("# ") in page
        executed = file.stem == "03_embedding"
        assert ("as the run <code" in page) == ("said by the run" in page) == executed
        assert ("without its outputs" in page) != executed
    assert "<math" in read(site, "tutorials/01_dataset_prep.html")


def test_every_command_and_parameter_is_there(site):
    page = read(site, "reference/cli.html")
    assert all(f'id="{name}"' in page for name in COMMANDS)
    assert "--jpeg-quality" in page and "--lockstep" in page
    page = read(site, "reference/parameters.html")
    names = [name for model in (*STAGES, TrackingParameters) for name in model.model_fields]
    assert all(f">{name}</span>" in page for name in names if name != "_")
    # with bounds and default
    row = re.search(r"<tr[^>]*>(?:(?!</tr>).)*>jpeg_quality<.*?</tr>", page, re.DOTALL)[0]
    assert "≥ 1, ≤ 100" in row and ">95<" in row


def test_every_public_name_is_there(root, site):
    for face in sorted(root.glob("esiamfc_lib/*/__init__.py")):
        module = importlib.import_module(f"esiamfc_lib.{face.parent.name}")
        page = f"reference/api/{face.parent.name}.html"
        for name in getattr(module, "__all__", ()):
            # A constant without a docstring has no entry of its own; autodoc shows what is said.
            if callable(getattr(module, name)):
                assert f'id="{module.__name__}.{name}"' in read(site, page), name


def test_nothing_is_fetched(site):
    pages = list(site.glob("**/*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]*)\"", text)
        loaded += re.findall(r"<link[^>]*\shref=\"([^\"]*)\"", text)
        assert not [file for file in loaded if re.match(r"(\w+:)?//", file)], page
    for style in site.glob("_static/**/*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8")), (
            style
        )
