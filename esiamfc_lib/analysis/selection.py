"""A choice that ``python -m tools.choose`` made on held-out videos."""

import json
from pathlib import Path

from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.errors import refused


def selected_tracking(path: str | Path) -> dict:
    """The tracking parameters that a ``selection.json`` holds, else a StudyError."""
    with refused(f"{path} holds no choice of tracking parameters"):
        values = json.loads(Path(path).read_text(encoding="utf-8"))["tracking"]
        TrackingParameters.validated(values, where=str(path))
        return values
