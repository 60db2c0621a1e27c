"""Scores beside those that others published."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.data import read_benchmark
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.scores import (
    COLUMNS,
    beside_published,
    result_file,
    score_table,
    summary,
)

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


def test_published_otb_scores_through_reader_and_tables(shared, tmp_path):
    """Board and Twinnings end in a row of zeros, which the published scores count as a miss."""
    folder = shared / "real" / "published" / "OTB2015"
    expected = json.loads((folder / "SiamFC.json").read_text())["seq_wise"]
    frame = tmp_path / "frame.jpg"
    cv2.imwrite(str(frame), np.zeros((480, 640, 3), np.uint8))
    truths = {"Board": ["Board"], "Twinnings": ["Twinnings"], "Jogging": ["Jogging.1", "Jogging.2"]}
    for name, targets in truths.items():
        images = tmp_path / "OTB" / name / "img"
        images.mkdir(parents=True)
        for target in targets:
            truth = (folder / "groundtruth" / f"{target}.txt").read_text()
            suffix = target.removeprefix(name)
            (images.parent / f"groundtruth_rect{suffix}.txt").write_text(truth)
            place = result_file(tmp_path / "out", "boxes", "SiamFC", target)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text((folder / "SiamFC" / f"{target}.txt").read_text())
        for i in range(len(truth.splitlines())):
            (images / f"{i + 1:04d}.jpg").symlink_to(frame)
    sequences, missing = read_benchmark("otb2015", tmp_path / "OTB")
    assert len(missing) == 96
    table = score_table(tmp_path / "out", ["SiamFC"], sequences, "otb2015").set_index("sequence")
    for target in (one for targets in truths.values() for one in targets):
        for column in ("success", "precision"):
            score = expected[target][f"{column}_score"]
            assert table.loc[target, column] == pytest.approx(score, abs=5e-5), target


def test_got10k_is_sorted_by_its_own_score():
    rows = [("A", 0.6, 0.3), ("B", 0.5, 0.4)]
    scores = pd.DataFrame(
        [
            {"tracker": t, "sequence": "s", "success": success, "ao": ao, "counted": 9, "frames": 9}
            for t, success, ao in rows
        ]
    ).reindex(columns=list(COLUMNS))
    for benchmark, best in (("got10k-val", "B"), ("otb2015", "A")):
        assert summary(scores.assign(benchmark=benchmark))["tracker"].iloc[0] == best
