"""The scaling study's report: what is made of the scores of its points."""

import json

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.artefacts import MANIFEST
from esiamfc_lib.chain import scaling, scaling_tables
from esiamfc_lib.clustering import membership
from esiamfc_lib.errors import StudyError

GRID = scaling.Grid(videos=(20, 10), separations=(1.0, 0.0), clusters=(2, 3), seeds=(4, 5))
FAMILIES = ["ball", "face", "ball", "face"]
SPLITS = {"main": ("pikmeans", [1, 0, 1, 0]), "kmeans": ("kmeans", [0, 0, 0, 1])}


class Store:
    """The tracks that all points have."""

    def __init__(self, _):
        names = [str(i) for i in range(len(FAMILIES))]
        self.tracks = pd.DataFrame({"track": names, "family": FAMILIES})


@pytest.fixture(autouse=True)
def project(root, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    monkeypatch.setattr(scaling_tables, "CropStore", Store)


def fake_point(out, videos: int, separation: float, gain: float) -> None:
    """Scores as ``run`` leaves them: ESiamFC better than the others by ``gain``."""
    rng = np.random.default_rng(0)
    names = [f"{arm}{title}" for arm in ("", "k3 ", "random ") for title in scaling_tables.TITLES]
    names += ["seeds ESiamFC", "kmeans ESiamFC"]
    rows = [
        (name, "otb2015", f"s{s}", start, "forward", 0, 39,
         0.5 + gain * (name == "ESiamFC") + 0.01 * rng.normal(), 0.6, "ball", seed)
        for name in ["equal_budget SiamFC", "SiamFC", *names]
        for s in range(8)
        for start in (0, 20)
        for seed in ((4, 5) if name != "SiamFC" else (np.nan,))
    ]  # fmt: skip
    columns = [
        "tracker", "benchmark", "sequence", "start", "direction", "perturbation", "frames",
        "success", "precision", "family", "seed",
    ]  # fmt: skip
    folder = scaling.folder(out, videos, separation)
    (folder / "scaling").mkdir(parents=True)
    pd.DataFrame(rows, columns=columns).to_csv(folder / "scaling/scores.csv", index=False)
    (folder / "branches/0").mkdir(parents=True)
    facts = {"cluster": 0, "tracks": videos, "validation_loss_before": 0.3}
    (folder / "branches/0/metrics.json").write_text(
        json.dumps(facts | {"validation_loss_after": 0.2})
    )
    (folder / "dataset/store").mkdir(parents=True)
    (folder / "dataset/store/manifest.json").write_text(json.dumps({"tracks": 2 * videos}))
    facts = {}
    for name, (method, labels) in SPLITS.items():
        facts[name] = {"clusters": 2, "membership": "nearest", "seed": 4}
        columns = {"track": range(len(labels)), "cluster": labels, "second": 0}
        split = pd.DataFrame(columns | {"distance": 0.0, "second_distance": 0.0})
        place = folder if name == "main" else folder / "arms" / name
        (place / "clustering").mkdir(parents=True)
        centres = np.zeros((2, 1), np.float32)
        membership.save_partition(
            membership.Partition(split, centres, method), place / "clustering"
        )
    facts["kmeans_s5"] = facts["kmeans"] | {"seed": 5}  # has not run
    facts |= {"seeds": facts["main"] | {"membership": "all"}, "all": {"clusters": 1}}
    (folder / MANIFEST).write_text(json.dumps(facts))


def test_report_says_where_the_gain_starts_and_what_was_run(tmp_path):
    fake_point(tmp_path / "out", 10, 1.0, gain=0.0)
    fake_point(tmp_path / "out", 20, 1.0, gain=0.2)
    table = scaling_tables.collect(GRID, tmp_path / "out", "scaling")
    assert len(table) == 2 * (1 + 3 * 4 + 2)
    own = table[(table["split"] == "pikmeans") & (table["fusion"] == "cluster weights")]
    assert own[["tracks", "k"]].to_numpy().tolist() == [[20, 2], [20, 3], [40, 2], [40, 3]]
    best = own[(own["k"] == 2) & (own["tracks"] == 40)].iloc[0]
    assert best["difference"] == pytest.approx(0.2, abs=0.02) and best["low_all"] > 0
    against = scaling_tables.against_controls(GRID, tmp_path / "out")
    controls = ["equal_budget SiamFC", "random ESiamFC", "seeds ESiamFC", "kmeans ESiamFC"]
    assert sorted(against["minus"]) == sorted(controls)
    assert set(against["tracker"]) == {"ESiamFC"} and set(against["videos"]) == {20}
    assert (against["low_all"] > 0).all() and against["difference"].between(0.18, 0.22).all()
    tables = scaling_tables.measure(GRID, tmp_path / "out", "scaling")
    assert tables["scaling"].equals(table) and tables["scaling_controls"].equals(against)
    learned = tables["scaling_branches"]
    assert learned["tracks"].tolist() == [10, 20]
    assert learned["validation_loss_after"].tolist() == [0.2, 0.2]
    said = scaling_tables.write_report(
        GRID, tables, tmp_path / "report", "scaling", {"starts": 2}, "a test"
    )
    assert sum("ESiamFC − " in line for line in said) == 4
    (line,) = (line for line in said if "k = 2, cluster weights" in line)
    assert line.endswith("the gain is shown from 40 tracks on")
    (line,) = (line for line in said if "k = 3, oracle" in line)
    assert line.endswith("an upper bound")
    page = (tmp_path / "report/README.md").read_text()
    assert "2 of 4 points" in page and "304000 pairs" in page and "a test" in page
    assert (tmp_path / "report/figures/scaling_cluster_weights.pdf").is_file()
    assert (tmp_path / "report/tables/scaling.tex").is_file()
    assert "| 20 | 1.000 | 2 | pikmeans | 1.000 | 1.000 |" in page
    assert "| 20 | 1.000 | 2 | kmeans | 3.000 |" in page


def test_a_gain_that_does_not_last_is_not_claimed(tmp_path):
    fake_point(tmp_path / "out", 10, 1.0, gain=0.2)
    fake_point(tmp_path / "out", 20, 1.0, gain=0.0)
    table = scaling_tables.collect(GRID, tmp_path / "out", "scaling")
    (line,) = (s for s in scaling_tables.findings(table) if "k = 2, cluster weights" in s)
    assert "no gain is shown that lasts" in line


def test_controls_are_compared_from_the_closer_look_where_there_is_one(tmp_path):
    fake_point(tmp_path, 20, 1.0, gain=0.0)
    place = scaling.folder(tmp_path, 20, 1.0) / "scaling"
    scores = pd.read_csv(place / "scores.csv")
    scores.loc[scores["tracker"] == "ESiamFC", "success"] += 0.1
    scores.to_csv(place / "closer.csv", index=False)
    against = scaling_tables.against_controls(GRID, tmp_path)
    assert len(against) == 4 and against["difference"].between(0.08, 0.12).all()


def test_nothing_is_done(tmp_path):
    with pytest.raises(StudyError, match="nothing is done in"):
        scaling_tables.collect(GRID, tmp_path, "scaling")
