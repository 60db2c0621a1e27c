"""Where the data of a profile lies: the built-in data set, or the user's own roots and store.

Notebook 01 writes the answer to ``dataset.json``; the later stages read it there, so that a root
is named once."""

import json
from pathlib import Path

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.curation.archive import unpack_validation
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.curation.store_check import adopt
from esiamfc_lib.data.roots import Roots
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.paths import resolve
from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.settings import BuiltIn


def prepare(parameters: DatasetParameters) -> Roots:
    """Make the built-in data set, or check the user's roots, and write ``dataset.json``. The
    built-in data goes to ``raw/synthetic-<digest of its parameters>`` beside the profile's folder:
    profiles that agree share it, and it is never rewritten."""
    roots = _synthetic(parameters) if parameters.source == "synthetic" else _given(parameters)
    text = json.dumps(roots.model_dump(), indent=2) + "\n"
    (parameters.folder / "dataset.json").write_text(text, encoding="utf-8")
    return roots


def _synthetic(p: DatasetParameters) -> Roots:
    data = BuiltIn.of(p)
    layout = build(p.run.parent / "raw" / data.folder, data, p.workers)
    places = {kind: _portable(getattr(layout, kind)) for kind in ("vid", "otb", "vot", "got10k")}
    return Roots(source="synthetic", **places, more=p.more_roots)


def _given(p: DatasetParameters) -> Roots:
    if not p.vid_root and not p.store:
        raise StudyError("dataset.source is 'vid' but dataset.vid_root is empty")
    given = {"otb": p.otb_root, "vot": p.vot_root, "got10k": p.got10k_root}
    roots = Roots(source="vid", vid=_frames(p), **given, more=p.more_roots)
    for kind in ("vid", *given):
        if getattr(roots, kind):
            roots.path(kind)
    for name in roots.more:
        roots.benchmark(name)
    for part in ("Data/VID", "Annotations/VID") if roots.vid else ():
        if not (roots.path("vid") / part).is_dir():
            raise StudyError(f"dataset.vid_root: {roots.path('vid')} has no folder {part}")
    return roots


def _frames(p: DatasetParameters) -> str:
    """The VID root with frames as files: of an archive, some validation videos are unpacked."""
    root = resolve(p.vid_root)
    if not p.vid_root or not root.is_file():
        return p.vid_root
    folder = p.folder / f"validation-{root.stat().st_size}-{p.val_videos}"
    return _portable(folder) if unpack_validation(root, folder, p.val_videos) else ""


def fill_store(p: DatasetParameters, roots: Roots) -> dict:
    """Manifest of the study's crop store: a finished one is taken over, or videos are curated."""
    place = p.artefacts.store
    if p.store:
        with refused("dataset.store", StudyError):
            return adopt(resolve(p.store), place)
    if place.is_symlink():  # to a store that was taken over before, which is not ours to write
        place.unlink()
    videos = resolve(p.vid_root) if p.source == "vid" else roots.path("vid")
    own = {"splits", "jpeg_quality", "workers", "scheduler", "max_bad_fraction"}
    return curate(videos, place, families=roots.families, **p.model_dump(include=own))


def _portable(path: Path) -> str:
    """``path`` from the project's folder where it lies inside, so that a study can be moved."""
    root = resolve(".")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
