"""Paths: relative ones count from the project's folder; where the notebooks are."""

import os
from pathlib import Path

from esiamfc_lib.errors import StudyError

CHAIN = "ESIAMFC_CHAIN"
"""Set in the kernels that the chain starts: only they write into a run's folder."""

EXPLORED = ".explore"
"""Ending of the folder in which notebooks work that are run by hand, beside the run's."""

INSTALLED = Path(__file__).parents[1] / "notebooks"
"""The notebooks of a wheel; in the repository they stand beside the library, not in it."""


def project_root(start: Path | None = None) -> Path:
    """The folder that holds ``notebooks/profiles``: ``start`` or a parent of it. With a library
    from a wheel, which has notebooks of its own, any folder will do: ``start`` itself."""
    here = Path(start or os.environ.get("ESIAMFC_ROOT", "") or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "notebooks/profiles").is_dir() and folder != INSTALLED.parent:
            return folder
    if INSTALLED.is_dir():
        return here
    raise StudyError(f"no project folder (with notebooks/profiles) at or above {here}")


def notebook_folder() -> Path:
    """Where the notebooks and their ``profiles/`` lie: the project's, else those of the wheel."""
    own = project_root() / "notebooks"
    return INSTALLED if INSTALLED.is_dir() and not (own / "profiles").is_dir() else own


def resolve(path: str | Path) -> Path:
    """An absolute path; a relative one counts from the project's folder, not from the notebook."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else project_root() / path


def exploration(run: Path) -> Path:
    """Where a notebook works: the run's folder in the chain, else ``<run>.explore`` beside it. That
    folder shows the run's stages, each as a link, until a notebook makes its own: what is explored
    is read by later notebooks, and the run stays as it is."""
    if os.environ.get(CHAIN):
        return run
    own = run.with_name(run.name + EXPLORED)
    for stage in (*run.glob("[!.]*/"), *run.glob("branches/*/"), *run.glob("sweep.json")):
        place = own / stage.relative_to(run)
        if stage.name in ("branches", "notebooks"):  # branches are linked one by one
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.unlink(missing_ok=True)  # a link to what the run has no longer
            place.symlink_to(stage)
    return own


def explored(path: Path) -> bool:
    """Whether a path lies in the folder of an exploration."""
    return any(part.endswith(EXPLORED) for part in path.parts)


def own_folder(folder: Path) -> Path:
    """A folder to write to, made on first use; a link to that of another run is replaced."""
    if folder.is_symlink():
        folder.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
