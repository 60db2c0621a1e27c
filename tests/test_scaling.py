"""The scaling study: what each point of the grid is, and what is made of its scores."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from esiamfc_lib import scaling
from esiamfc_lib.arms import branch_pairs
from esiamfc_lib.errors import StudyError
from esiamfc_lib.stages import graph

GRID = scaling.Grid(videos=(20, 10), separations=(1.0, 0.0), clusters=(2, 3), seeds=(4, 5))


@pytest.fixture(autouse=True)
def project(root, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))


def test_points_start_with_the_small_ones():
    assert list(GRID.points()) == [(10, 0.0), (10, 1.0), (20, 0.0), (20, 1.0)]


def test_every_arm_has_the_same_budget(tmp_path):
    chosen = scaling.profile(GRID, 20, 0.5, tmp_path, "scaling")
    assert chosen.run.parent == tmp_path
    data = chosen.stages["dataset"]
    assert (data.train_videos, data.separation, data.seed) == (20, 0.5, 4)
    budget = branch_pairs(chosen.stages, chosen.arms)
    start = 8 * 32000
    assert budget == start + 4 * 12000  # an epoch; 6 batches of 16 divide it
    for name, stages in chosen.arms.items():
        expected = start if name == "all" else budget
        assert branch_pairs(stages, chosen.arms) == expected, name
        assert stages["branches"].start == ("" if name == "all" else "all")
        assert stages["branches"].pairs_per_epoch % stages["branches"].batch_size == 0
    always = ["all", "equal_budget", "equal_budget_s5", "random"]
    repeated = ["random_s5", "seeds", "seeds_s5", "kmeans", "kmeans_s5"]
    assert list(chosen.arms) == [*always, *repeated, "k3", "k3_s5", "again_s5"]
    fewer = scaling.profile(GRID, 10, 0.5, tmp_path, "scaling").arms
    assert list(fewer) == [*always, "k3", "k3_s5", "again_s5"]
    uneven = scaling.profile(scaling.Grid((20,), clusters=(2, 7)), 20, 0.5, tmp_path, "scaling")
    assert branch_pairs(uneven.stages, uneven.arms) == start + 4 * 11872  # 14 batches of 16 do not
    assert chosen.arms["seeds"]["branches"].membership == "all"
    assert chosen.arms["kmeans"]["clustering"].method == "kmeans"
    assert chosen.arms["kmeans"]["clustering"].n_clusters == 2


def test_a_base_without_a_common_start(tmp_path):
    assert next(iter(scaling.profile(GRID, 10, 1.0, tmp_path, "smoke").arms)) == "equal_budget"


def test_points_run_whole(tmp_path):
    chosen = scaling.profile(GRID, 20, 0.5, tmp_path, "scaling")
    assert {stage.kind for stage in graph(chosen).values()} >= {"fusion", "results"}


def test_points_do_not_share_a_folder(tmp_path):
    folders = {scaling.folder(tmp_path, *point) for point in GRID.points()}
    assert len(folders) == 4


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"videos": ()}, "videos must be one number"),
        ({"seeds": (1, 1)}, "seeds must be one number or several different ones"),
        ({"clusters": (1,)}, "clusters and videos must be 2 or more"),
    ],
)
def test_faults_of_a_grid(values, sentence):
    with pytest.raises(StudyError, match=sentence):
        scaling.Grid(**values)


def test_faults_of_a_base_profile(tmp_path):
    with pytest.raises(StudyError, match="real is not on the built-in data"):
        scaling.profile(GRID, 20, 1.0, tmp_path, "real")
    many = scaling.Grid(videos=(20,), clusters=(2, 7, 11))
    with pytest.raises(StudyError, match="cannot be shared by 2, 7, 11 branches"):
        scaling.profile(many, 20, 1.0, tmp_path, "smoke")
    with pytest.raises(StudyError, match="nothing is done in"):
        scaling.collect(GRID, tmp_path, "scaling")


def fake_point(out, videos: int, separation: float, gain: float) -> None:
    """Scores as ``run`` leaves them: ESiamFC better than the others by ``gain``."""
    rng = np.random.default_rng(0)
    names = [f"{arm}{title}" for arm in ("", "k3 ", "random ") for title in scaling.TITLES]
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


def test_report_says_where_the_gain_starts_and_what_was_run(tmp_path):
    fake_point(tmp_path / "out", 10, 1.0, gain=0.0)
    fake_point(tmp_path / "out", 20, 1.0, gain=0.2)
    table = scaling.collect(GRID, tmp_path / "out", "scaling")
    assert len(table) == 2 * (1 + 3 * 4 + 2)
    own = table[(table["split"] == "pikmeans") & (table["fusion"] == "cluster weights")]
    assert own[["tracks", "k"]].to_numpy().tolist() == [[20, 2], [20, 3], [40, 2], [40, 3]]
    best = own[(own["k"] == 2) & (own["tracks"] == 40)].iloc[0]
    assert best["difference"] == pytest.approx(0.2, abs=0.02) and best["low_all"] > 0
    against = scaling.against_controls(GRID, tmp_path / "out")
    controls = ["equal_budget SiamFC", "random ESiamFC", "seeds ESiamFC", "kmeans ESiamFC"]
    assert sorted(against["minus"]) == sorted(controls)
    assert set(against["tracker"]) == {"ESiamFC"} and set(against["videos"]) == {20}
    assert (against["low_all"] > 0).all() and against["difference"].between(0.18, 0.22).all()
    learned = scaling.branch_losses(GRID, tmp_path / "out")
    assert learned["tracks"].tolist() == [10, 20]
    assert learned["validation_loss_after"].tolist() == [0.2, 0.2]
    said = scaling.write_report(
        GRID, table, against, learned, tmp_path / "report", "scaling", {"starts": 2}, "a test"
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


def test_a_gain_that_does_not_last_is_not_claimed(tmp_path):
    fake_point(tmp_path / "out", 10, 1.0, gain=0.2)
    fake_point(tmp_path / "out", 20, 1.0, gain=0.0)
    table = scaling.collect(GRID, tmp_path / "out", "scaling")
    (line,) = (s for s in scaling.findings(table) if "k = 2, cluster weights" in s)
    assert "no gain is shown that lasts" in line


def test_a_point_that_fails_does_not_stop_the_others(tmp_path, monkeypatch):
    ran = []

    class Broken:
        def __init__(self, profile, *_, **options):
            assert options["without"] == ("results",)
            ran.append(profile.run.name)

        def run(self):
            return 1

    monkeypatch.setattr(scaling, "Study", Broken)
    stream = io.StringIO()
    assert not scaling.run(GRID, tmp_path, "smoke", stream)
    assert len(ran) == 4 and ran[0] in stream.getvalue()


def test_controls_are_compared_from_the_closer_look_where_there_is_one(tmp_path):
    fake_point(tmp_path, 20, 1.0, gain=0.0)
    place = scaling.folder(tmp_path, 20, 1.0) / "scaling"
    scores = pd.read_csv(place / "scores.csv")
    scores.loc[scores["tracker"] == "ESiamFC", "success"] += 0.1
    scores.to_csv(place / "closer.csv", index=False)
    against = scaling.against_controls(GRID, tmp_path)
    assert len(against) == 4 and against["difference"].between(0.08, 0.12).all()


def test_only_the_most_videos_are_looked_at_closer(tmp_path, monkeypatch):
    class Done:
        def __init__(self, *_, **__):
            pass

        def run(self):
            return 0

    class Roots:
        def benchmark(self, name):
            return tmp_path / name

    asked = []

    def evaluate(run, benchmark, root, out, **options):
        out.mkdir(parents=True, exist_ok=True)
        asked.append((run.name, options["plan"]["starts"], options.get("arms")))
        return pd.DataFrame({"tracker": ["ESiamFC"]})

    monkeypatch.setattr(scaling, "Study", Done)
    monkeypatch.setattr(scaling.dataset, "load_roots", lambda run: Roots())
    monkeypatch.setattr(scaling.controls, "evaluate", evaluate)
    grid = scaling.Grid((10, 20), (1.0,), (2,), (4,))
    assert scaling.run(grid, tmp_path, "scaling", io.StringIO(), closer=8, starts=2, length=40)
    few, many = (scaling.folder(tmp_path, videos, 1.0) for videos in (10, 20))
    closer = ("equal_budget", "random", "seeds", "kmeans")
    assert asked == [(few.name, 2, None), (many.name, 2, None), (many.name, 8, closer)]
    assert (many / "scaling/closer.csv").is_file() and not (few / "scaling/closer.csv").exists()
    assert scaling.run(grid, tmp_path, "scaling", io.StringIO(), starts=2, length=40)
    assert not (many / "scaling/closer.csv").exists()  # one of other networks would be believed
