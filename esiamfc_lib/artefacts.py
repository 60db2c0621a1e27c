"""Where the artefacts of a study lie: one table for notebooks, library and chain."""

import json
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


FOLDER, MANIFEST = "arms", "arms/arms.json"


MAIN = "main"
"""Name of the study itself among its arms, in the manifest."""


def read_manifest(run: Path) -> dict[str, dict[str, Any]]:
    """What ``write_manifest`` wrote: name -> facts, the study itself first; empty without arms.

    Raises:
        StudyError: the file is damaged.
    """
    file = run / MANIFEST
    if not file.is_file():
        return {}
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): dict(values) for name, values in facts.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise StudyError(f"{file} is damaged ({error}): run the chain again") from None
