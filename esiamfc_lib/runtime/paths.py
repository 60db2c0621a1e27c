"""Paths: relative ones count from the project's folder."""

import os
from pathlib import Path

from esiamfc_lib.errors import StudyError


def project_root(start: Path | None = None) -> Path:
    """The folder that holds ``notebooks/`` and ``pyproject.toml``: ``start`` or a parent of it."""
    here = Path(start or os.environ.get("ESIAMFC_ROOT", "") or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise StudyError(f"no project folder (with notebooks/ and pyproject.toml) at or above {here}")


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one counts from the project's folder, not from the notebook."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path
