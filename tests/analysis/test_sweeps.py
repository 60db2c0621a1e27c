"""What a sweep says, from scores as notebook 08 leaves them."""

import json

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib import analysis
from esiamfc_lib.artefacts import MANIFEST, STORE, SWEEP, Artefacts
from esiamfc_lib.errors import StudyError

TITLES = ("ESiamFC", "Nearest centroid", "Uniform", "Oracle")
COLUMNS = (
    *("tracker", "benchmark", "sequence", "start", "direction", "perturbation", "frames"),
    *("success", "precision", "family", "seed"),
)


def make_point(out, videos: int, separation: float, gain: float) -> str:
    """Scores of a point in which ESiamFC is better than the others by ``gain``; its folder."""
    rng = np.random.default_rng(0)
    names = [f"{arm}{title}" for arm in ("", "k3 ", "random ") for title in TITLES]
    names += ["seeds ESiamFC", "kmeans ESiamFC"]
    rows = []
    for name in ["equal_budget SiamFC", "SiamFC", *names]:
        for sequence, start in np.ndindex(8, 2):
            for seed in (4, 5) if name != "SiamFC" else (np.nan,):
                success = 0.5 + gain * (name == "ESiamFC") + 0.01 * rng.normal()
                place = (name, "otb2015", f"s{sequence}", 20 * start, "forward", 0, 39)
                rows.append((*place, success, 0.6, "ball", seed))
    folder = f"train_videos={videos},separation={separation:g}"
    study = Artefacts(out / folder)
    for path in (study.control_scores, study.run / STORE):
        path.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(study.control_scores, index=False)
    (study.run / STORE).write_text(json.dumps({"tracks": 2 * videos}))
    facts = {"clusters": 2, "method": "pikmeans", "membership": "nearest", "seed": 4, "pairs": 9}
    arms = dict.fromkeys(("main", "random", "seeds", "kmeans", "equal_budget"), facts)
    (study.run / MANIFEST).parent.mkdir()
    (study.run / MANIFEST).write_text(json.dumps(arms | {"k3": facts | {"clusters": 3}}))
    return folder


@pytest.fixture
def sweep_of(tmp_path):
    """A function that makes a sweep over videos: {videos: gain}; its working folder."""

    def make(gains: dict[int, float]):
        listed = [
            {
                "folder": make_point(tmp_path, videos, 1.0, gain),
                "values": {"dataset.train_videos": videos, "dataset.separation": 1.0},
            }
            for videos, gain in gains.items()
        ]
        # a point that has not run
        listed.append({"folder": "later", "values": {"dataset.train_videos": 99}})
        (tmp_path / SWEEP).write_text(json.dumps(listed))
        return tmp_path

    return make


def test_where_the_gain_starts(sweep_of):
    points = analysis.read_points(sweep_of({10: 0.0, 20: 0.2}))
    assert points["tracks"].tolist() == [20, 40]
    table = analysis.gains(points)
    assert len(table) == 2 * (1 + 3 * 4 + 2)
    assert list(table)[:2] == ["dataset.train_videos", "dataset.separation"]
    own = table[table["tracker"] == "ESiamFC"]
    assert own["clusters"].tolist() == [2, 2] and own["pairs"].tolist() == [9, 9]
    assert table[table["tracker"] == "k3 ESiamFC"]["clusters"].tolist() == [3, 3]
    best = own[own["tracks"] == 40].iloc[0]
    assert best["difference"] == pytest.approx(0.2, abs=0.02) and best["low_all"] > 0
    said = {line.partition(":")[0]: line for line in analysis.gain_sentences(table, "tracks")}
    assert said["ESiamFC"].endswith("the gain is shown from 40 tracks on")
    assert said["k3 Oracle"].endswith("an upper bound")


def test_a_gain_that_does_not_last_is_not_claimed(sweep_of):
    table = analysis.gains(analysis.read_points(sweep_of({10: 0.2, 20: 0.0})))
    (line,) = (s for s in analysis.gain_sentences(table, "tracks") if s.startswith("ESiamFC:"))
    assert line.endswith("no gain is shown that lasts to the largest number of tracks")


def test_controls_are_compared_from_the_closer_look_where_there_is_one(sweep_of):
    points = analysis.read_points(sweep_of({10: 0.0, 20: 0.0}))
    study = Artefacts(points["run"].iloc[1])
    scores = pd.read_csv(study.control_scores)
    kept = ["ESiamFC", "equal_budget SiamFC", "random ESiamFC", "seeds ESiamFC", "kmeans ESiamFC"]
    scores = scores[scores["tracker"].isin(kept)]
    scores.loc[scores["tracker"] == "ESiamFC", "success"] += 0.1
    scores.to_csv(study.closer_scores, index=False)
    table = analysis.against_controls(points)
    looked = table[(table["dataset.train_videos"] == 20) & (table["tracker"] == "ESiamFC")]
    assert sorted(looked["minus"]) == sorted(kept[1:])
    assert looked["difference"].between(0.08, 0.12).all()


def test_faults(tmp_path):
    with pytest.raises(StudyError, match="make one with 'esiamfc run --sweep'"):
        analysis.read_points(tmp_path)
    (tmp_path / SWEEP).write_text('[{"folder": "a", "values": {}}]')
    with pytest.raises(StudyError, match=r"no point of the sweep in .* is done"):
        analysis.read_points(tmp_path)
    (tmp_path / SWEEP).write_text("{")
    with pytest.raises(StudyError, match="is damaged"):
        analysis.read_points(tmp_path)
