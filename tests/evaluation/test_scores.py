"""Scores beside those that others published."""

import json

import pandas as pd
import pytest

from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.scores import beside_published

SCORES = pd.DataFrame(
    [
        {"tracker": tracker, "sequence": sequence, "success": success, "precision": 0.5}
        for tracker in ("SiamFC", "Other")
        for sequence, success in (("Deer", 0.4), ("Girl", 0.8), ("Mine", 0.0))
    ]
)


def published(tmp_path, **sequences: float):
    path = tmp_path / "published.json"
    entries = {
        name: {"success_score": value, "precision_score": 1.0} for name, value in sequences.items()
    }
    path.write_text(json.dumps({"seq_wise": entries}))
    return path


def test_only_common_sequences_are_compared_and_averaged(tmp_path):
    path = published(tmp_path, Deer=0.5, Girl=0.7, Elsewhere=0.1)
    table = beside_published(SCORES, "SiamFC", path)
    assert table["sequence"].tolist() == ["Deer", "Girl", "mean"]
    assert table["success"].tolist() == pytest.approx([0.4, 0.8, 0.6])
    assert table["published_success"].tolist() == pytest.approx([0.5, 0.7, 0.6])


def test_faults_name_the_file(tmp_path):
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    for path in (tmp_path / "missing.json", broken):
        with pytest.raises(StudyError, match=f"{path.name} holds no published scores"):
            beside_published(SCORES, "SiamFC", path)
    with pytest.raises(StudyError, match="none of the sequences"):
        beside_published(SCORES, "SiamFC", published(tmp_path, Elsewhere=0.1))
