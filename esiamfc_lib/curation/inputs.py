"""Where the data of a profile lies: the built-in data set, or the user's own roots.

Notebook 01 writes the answer to ``dataset.json``; the later stages read it there, so that a root
is named once.
"""

import json
from pathlib import Path

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.data.roots import Roots
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import resolve
from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.settings import BuiltIn


def prepare(parameters: DatasetParameters) -> Roots:
    """Make the built-in data set, or check the user's roots, and write ``dataset.json``.

    The built-in data goes to ``raw/synthetic-<digest of its parameters>`` beside the profile's
    folder: profiles that agree share it, and it is never rewritten.

    Raises:
        StudyError: a root is missing or is not in the layout it should have.
    """
    roots = _synthetic(parameters) if parameters.source == "synthetic" else _given(parameters)
    text = json.dumps(roots.model_dump(), indent=2) + "\n"
    (parameters.folder / "dataset.json").write_text(text, encoding="utf-8")
    return roots


def _synthetic(p: DatasetParameters) -> Roots:
    data = BuiltIn.of(p)
    layout = build(p.run.parent / "raw" / data.folder, data, p.workers)
    return Roots(
        source="synthetic",
        vid=_portable(layout.vid),
        otb=_portable(layout.otb),
        vot=_portable(layout.vot),
        got10k=_portable(layout.got10k),
        more=p.more_roots,
    )


def _given(p: DatasetParameters) -> Roots:
    if not p.vid_root:
        raise StudyError("dataset.source is 'vid' but dataset.vid_root is empty")
    roots = Roots(
        source="vid", vid=p.vid_root, otb=p.otb_root, vot=p.vot_root, got10k=p.got10k_root,
        more=p.more_roots,
    )  # fmt: skip
    for kind in ("vid", "otb", "vot", "got10k"):
        if getattr(roots, kind):
            roots.path(kind)
    for name in roots.more:
        roots.benchmark(name)
    for part in ("Data/VID", "Annotations/VID"):
        if not (roots.path("vid") / part).is_dir():
            raise StudyError(f"dataset.vid_root: {roots.path('vid')} has no folder {part}")
    return roots


def _portable(path: Path) -> str:
    """``path`` from the project's folder where it lies inside, so that a study can be moved."""
    root = resolve(".")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
