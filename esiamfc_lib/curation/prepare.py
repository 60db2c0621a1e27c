"""Where the data of a profile lies: the built-in data set, or the user's own roots.

Notebook 01 writes the answer to ``dataset.json``; the later stages read it there, so that a root
is named once.
"""

import hashlib
import json
from pathlib import Path

from pydantic import Field

from esiamfc_lib.config import DatasetParameters, Parameters, resolve
from esiamfc_lib.errors import StudyError

SYNTHETIC = (
    "seed",
    "train_videos",
    "val_videos",
    "video_frames",
    "otb_sequences",
    "vot_sequences",
    "got10k_sequences",
    "test_frames",
    "families",
    "separation",
    "hues",
    "conflict",
)


class Roots(Parameters):
    """Folders of the data sets; an empty string means: not there.

    Relative paths count from the project's folder.
    """

    source: str = Field("synthetic", description="synthetic or vid")
    vid: str = Field("", description="holds Data/VID and Annotations/VID")
    otb: str = Field("", description="OTB layout")
    vot: str = Field("", description="VOT layout")
    got10k: str = Field("", description="GOT-10k layout")
    more: dict[str, str] = Field({}, description="further benchmarks by name")

    def path(self, kind: str) -> Path:
        """Absolute folder of ``kind`` (``vid``, ``otb``, ``vot``, ``got10k``).

        Raises:
            StudyError: the profile names no such folder, or it does not exist.
        """
        given = getattr(self, kind)
        if not given:
            raise StudyError(f"no {kind} data in this profile: set dataset.{kind}_root")
        folder = resolve(given)
        if not folder.is_dir():
            raise StudyError(f"dataset.{kind}_root: no folder {folder}")
        return folder

    def benchmark(self, name: str) -> Path:
        """Absolute folder of a benchmark: ``otb2015``, ``vot2018``, ``got10k-val``, ``uav123`` ...

        Raises:
            StudyError: the profile names no such folder, or it does not exist.
        """
        layout = next((kind for kind in ("otb", "vot", "got10k") if name.startswith(kind)), "")
        if layout:
            return self.path(layout)
        if name not in self.more:
            raise StudyError(f"no folder for benchmark {name}: add it to dataset.more_roots")
        folder = resolve(self.more[name])
        if not folder.is_dir():
            raise StudyError(f"dataset.more_roots: no folder {folder} for benchmark {name}")
        return folder

    @property
    def families(self) -> Path | None:
        """The table of known family labels, which only the built-in data has."""
        return self.path("vid").parent / "families.csv" if self.source == "synthetic" else None


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


def load_roots(run: Path) -> Roots:
    """The roots that notebook 01 wrote into the profile's folder ``run``."""
    file = run / DatasetParameters.stage / "dataset.json"
    if not file.is_file():
        raise StudyError(f"{file} is missing: run notebook 01 of this profile first")
    try:
        return Roots.validated(json.loads(file.read_text(encoding="utf-8")), where=str(file))
    except json.JSONDecodeError as error:
        raise StudyError(f"{file} is not valid JSON ({error}): run notebook 01 again") from None


def _synthetic(p: DatasetParameters) -> Roots:
    from esiamfc_lib.synthetic import build

    choice = {name: getattr(p, name) for name in SYNTHETIC}
    choice |= {"width": p.frame_width, "height": p.frame_height}
    facts = json.dumps(choice | {"version": build.VERSION}, sort_keys=True)
    digest = hashlib.sha256(facts.encode()).hexdigest()[:10]
    root = p.run.parent / "raw" / f"synthetic-{digest}"
    build.build(root, **choice, workers=p.workers)
    base = _portable(root)
    return Roots(
        source="synthetic",
        vid=f"{base}/ILSVRC2015",
        otb=f"{base}/OTB",
        vot=f"{base}/VOT",
        got10k=f"{base}/GOT-10k",
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
