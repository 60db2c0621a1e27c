"""A wheel holds all that the study needs, and works where there is no repository."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from esiamfc_lib.runtime import paths


@pytest.fixture(scope="module")
def wheel(root, tmp_path_factory):
    """The wheel of these sources, unpacked; built from a copy, as building leaves files."""
    place = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("esiamfc_lib", "notebooks"):
        shutil.copytree(root / name, place / "sources" / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(root / name, place / "sources")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*build, "-w", str(place), str(place / "sources")], check=True)
    (file,) = place.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(place / "installed")
    return place / "installed"


def test_everything_of_the_library_is_in_it(wheel, root):
    for folder, target in (("esiamfc_lib", "esiamfc_lib"), ("notebooks", "esiamfc_lib/notebooks")):
        files = subprocess.run(
            ["git", "-C", root, "ls-files", "-co", "--exclude-standard", folder],
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        assert files
        for file in files:
            inside = wheel / target / os.path.relpath(file, folder)
            assert inside.read_bytes() == (root / file).read_bytes(), file
    (metadata,) = wheel.glob("*.dist-info/METADATA")
    said = metadata.read_text("utf-8")
    assert "License-Expression: MIT" in said and "Requires-Dist: torch==" in said
    assert [*wheel.glob("*.dist-info/licenses/LICENSE")]


def test_it_works_without_the_repository(wheel, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "ESIAMFC_ROOT"}
    environment["PYTHONPATH"] = str(wheel)

    def said(*words):
        command = [sys.executable, "-m", "esiamfc_lib.cli", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert f"smoke      {tmp_path}/data/smoke: 0 of 10 stage runs done" in said("run", "--list")
    assert "dataset      run: it has not run" in said("run", "--profile", "smoke", "--dry-run")
    assert not [*tmp_path.iterdir()]
    assert f"cp -r '{wheel}/esiamfc_lib/notebooks' ." in said("demo")


def test_the_project_goes_before_what_is_installed(tmp_path, monkeypatch):
    monkeypatch.delenv("ESIAMFC_ROOT", raising=False)
    library = tmp_path / "site-packages/esiamfc_lib"
    own = tmp_path / "work/notebooks"
    for folder in (library / "notebooks", own):
        (folder / "profiles").mkdir(parents=True)
    monkeypatch.setattr(paths, "INSTALLED", library / "notebooks")
    monkeypatch.chdir(own)
    assert (paths.project_root(), paths.notebook_folder()) == (own.parent, own)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert (paths.project_root(), paths.notebook_folder()) == (elsewhere, library / "notebooks")
    monkeypatch.chdir(library / "notebooks")  # the library is no project to write into
    assert paths.project_root() != library
