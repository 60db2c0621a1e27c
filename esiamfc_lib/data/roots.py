"""Where the data of a study lie: training videos and benchmarks (``dataset.json``)."""

import json
from pathlib import Path

from pydantic import Field

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.data.vid import SPLITS, VID
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.paths import resolve
from esiamfc_lib.runtime.validation import Parameters


class Roots(Parameters):
    """Folders of the data sets, from the project's folder if relative; empty: not there."""

    source: str = Field("synthetic", description="synthetic or vid")
    vid: str = Field("", description="holds Data/VID and Annotations/VID")
    otb: str = Field("", description="OTB layout")
    vot: str = Field("", description="VOT layout")
    got10k: str = Field("", description="GOT-10k layout")
    more: dict[str, str] = Field({}, description="further benchmarks by name")

    def path(self, kind: str) -> Path:
        """Absolute folder of ``vid``, ``otb``, ``vot`` or ``got10k``; a StudyError if none."""
        hint = ", with the validation videos as files" if kind == "vid" else ""
        none = f"no {kind} data in this profile: set dataset.{kind}_root{hint}"
        return _folder(getattr(self, kind), f"dataset.{kind}_root", none)

    def benchmark(self, name: str) -> Path:
        """Absolute folder of ``otb2015``, ``uav123`` or another one; a StudyError if none."""
        layout = next((kind for kind in ("otb", "vot", "got10k") if name.startswith(kind)), "")
        none = f"no folder for benchmark {name}: add it to dataset.more_roots"
        more = self.more.get(name, "")
        return self.path(layout) if layout else _folder(more, f"dataset.more_roots: {name}", none)

    def every_video(self) -> list[VID]:
        """Training videos and those for validation, of which frames are there."""
        there = [s for s in SPLITS if self.vid and (self.path("vid") / "Data/VID" / s).is_dir()]
        return [VID(self.path("vid"), split) for split in there]

    def videos(self) -> VID | None:
        """The training videos, else those for validation; None where no frames are there."""
        return next(iter(self.every_video()), None)

    @property
    def families(self) -> Path | None:
        """The table of known family labels, which only the built-in data has."""
        return self.path("vid").parent / "families.csv" if self.source == "synthetic" else None


def _folder(given: str, field: str, none: str) -> Path:
    if not given or not resolve(given).is_dir():
        raise StudyError(f"{field}: no folder {resolve(given)}" if given else none)
    return resolve(given)


def load_roots(run: Path) -> Roots:
    """The roots that notebook 01 wrote into the profile's folder ``run``."""
    file = run / DatasetParameters.stage / "dataset.json"
    with refused(f"{file}: run notebook 01 of this profile", (OSError, ValueError)):
        values = json.loads(file.read_text(encoding="utf-8"))
    return Roots.validated(values, where=str(file))
