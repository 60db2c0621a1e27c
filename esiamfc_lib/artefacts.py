"""Where the artefacts of a study lie: one table for notebooks, library and chain.

Names count from a run folder, or from the folder of a control arm inside it, which looks alike."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from esiamfc_lib.errors import DAMAGE, refused

DATASET = "dataset/dataset.json"
STORE = "dataset/store/manifest.json"
BASELINE = "baseline/siamfc.safetensors"
FEATURES = "embedding/features.npz"
UMAP = "embedding/umap.npy"
STEM = "embedding/stem.json"
MEMBERSHIP = "clustering/membership.csv"
CENTRES = "clustering/centres.npz"
SPLIT = "clustering/metrics.json"
BRANCH = "branches/{}/branch.safetensors"
FOLD = "branches/{}/fold_{}.safetensors"
FUSION = "fusion/esiamfc.safetensors"
SCORES = "results/scores.csv"
CONTROLS = "controls/scores.csv"
EXPERIMENT = "experiment/videos.csv"
ARMS = "arms"
MANIFEST = "arms/arms.json"
SWEEP = "sweep.json"

MAIN = "main"  # name of the study itself among its arms, in the manifest


class Files(NamedTuple):
    """What a stage reads of the others' outputs, and what it must leave besides metrics.json."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


FILES = {
    "dataset": Files((), (DATASET, STORE)),
    "baseline": Files((DATASET, STORE), (BASELINE,)),
    "embedding": Files((DATASET, STORE, BASELINE), (FEATURES, UMAP)),
    "clustering": Files((BASELINE, FEATURES), (MEMBERSHIP, CENTRES, SPLIT)),
    "comparison": Files((STORE, BASELINE, FEATURES, UMAP, MEMBERSHIP, CENTRES, SPLIT), ()),
    "branches": Files((STORE, BASELINE, MEMBERSHIP), (BRANCH,)),
    "fusion": Files((STORE, BASELINE, MEMBERSHIP, CENTRES, BRANCH), (FUSION,)),
    "results": Files((DATASET, BASELINE, CENTRES, FUSION), (SCORES,)),
    "controls": Files((DATASET, STORE, BASELINE, MEMBERSHIP, CENTRES, FUSION, SCORES), (CONTROLS,)),
    "experiment": Files((STORE, BASELINE, MEMBERSHIP, CENTRES, FUSION), (EXPERIMENT,)),
}
"""Of each stage, from the profile's folder."""

BESIDE = {STORE: ("index.npz", "shard-*.mdb"), STEM: ("stem.npy",)}
"""Large files that belong to an artefact and stand beside it: known by their sizes."""


class Artefacts:
    """Paths of what the notebooks pass to each other, in the run folder ``run``."""

    def __init__(self, run: Path):
        self.run = run
        self.dataset = run / DATASET  # where the data lie, see data.load_roots
        self.store = (run / STORE).parent  # folder of the crop store
        self.baseline = run / BASELINE
        self.features = run / FEATURES  # video features of all tracks
        self.umap = run / UMAP  # (n, 2) places of the tracks on their map
        self.stem = (run / STEM).parent  # folder of the stem's features, where they are kept
        self.partition = (run / MEMBERSHIP).parent  # folder of membership and centres
        self.centres = run / CENTRES
        self.fusion = run / FUSION
        self.results = (run / SCORES).parent
        self.scores = run / SCORES  # of all trackers, one pass over the benchmarks
        self.control_scores = run / CONTROLS  # of all arms, from many starts
        self.closer_scores = run / "controls/closer.csv"  # of some arms, from more starts

    def branch(self, cluster: int) -> Path:
        """One base tracker, of notebook 05."""
        return self.run / BRANCH.format(cluster)

    def arm(self, name: str) -> "Artefacts":
        """Those of a control arm; of the study itself for ``MAIN``."""
        return self if name == MAIN else Artefacts(self.run / ARMS / name)

    def arms(self) -> dict[str, dict[str, Any]]:
        """Control arms: name -> facts, the study itself first; empty without arms."""
        file = self.run / MANIFEST
        if not file.is_file():
            return {}
        with refused(f"{file} is damaged, run the chain again", (*DAMAGE, AttributeError)):
            facts = json.loads(file.read_text(encoding="utf-8"))
            return {str(name): dict(values) for name, values in facts.items()}
