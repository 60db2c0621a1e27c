"""Where the artefacts of a study lie: one table for notebooks, library and chain.

Names count from a run folder, or from the folder of a control arm inside it, which looks alike.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esiamfc_lib.errors import StudyError

DATASET = "dataset/dataset.json"
STORE = "dataset/store/manifest.json"
BASELINE = "baseline/siamfc.safetensors"
FEATURES = "embedding/features.npz"
STEM = "embedding/stem.json"
MEMBERSHIP = "clustering/membership.csv"
CENTRES = "clustering/centres.npz"
BRANCH = "branches/{}/branch.safetensors"
FUSION = "fusion/esiamfc.safetensors"
SCORES = "results/scores.csv"
ARMS = "arms"
MANIFEST = "arms/arms.json"
SWEEP = "sweep.json"

MAIN = "main"
"""Name of the study itself among its arms, in the manifest."""


@dataclass(frozen=True)
class Artefacts:
    """Paths of what the notebooks pass to each other.

    Attributes:
        run: the run folder.
    """

    run: Path

    @property
    def dataset(self) -> Path:
        """Where the data lie, of notebook 01 (``data.load_roots`` reads it)."""
        return self.run / DATASET

    @property
    def store(self) -> Path:
        """Folder of the crop store, of notebook 01."""
        return (self.run / STORE).parent

    @property
    def baseline(self) -> Path:
        """SiamFC, of notebook 02."""
        return self.run / BASELINE

    @property
    def features(self) -> Path:
        """Video features of all tracks, of notebook 03."""
        return self.run / FEATURES

    @property
    def stem(self) -> Path:
        """Folder of the stem's features of all crops, where notebook 03 keeps them."""
        return (self.run / STEM).parent

    @property
    def partition(self) -> Path:
        """Folder with membership and centres, of notebook 04."""
        return (self.run / MEMBERSHIP).parent

    @property
    def centres(self) -> Path:
        """Centres of the clusters, of notebook 04."""
        return self.run / CENTRES

    def branch(self, cluster: int) -> Path:
        """One base tracker, of notebook 05."""
        return self.run / BRANCH.format(cluster)

    @property
    def fusion(self) -> Path:
        """The ensemble, of notebook 06."""
        return self.run / FUSION

    @property
    def results(self) -> Path:
        """Folder of boxes and scores, of notebook 07."""
        return (self.run / SCORES).parent

    @property
    def control_scores(self) -> Path:
        """Scores of all arms from many starts, of notebook 07."""
        return self.results / "controls.csv"

    @property
    def closer_scores(self) -> Path:
        """Scores of the arms that were looked at from more starts, of notebook 07."""
        return self.results / "closer.csv"

    def arm(self, name: str) -> "Artefacts":
        """Those of a control arm; of the study itself for ``MAIN``."""
        return self if name == MAIN else Artefacts(self.run / ARMS / name)

    def arms(self) -> dict[str, dict[str, Any]]:
        """Control arms: name -> facts, the study itself first; empty without arms.

        Raises:
            StudyError: the list is damaged.
        """
        file = self.run / MANIFEST
        if not file.is_file():
            return {}
        try:
            facts = json.loads(file.read_text(encoding="utf-8"))
            return {str(name): dict(values) for name, values in facts.items()}
        except (ValueError, AttributeError, TypeError) as error:
            raise StudyError(f"{file} is damaged ({error}): run the chain again") from None
