"""The scaling study: what each point of the grid is, and how they run."""

import io

import pandas as pd
import pytest

from esiamfc_lib.chain import scaling
from esiamfc_lib.chain.arms import branch_pairs
from esiamfc_lib.chain.graph import graph
from esiamfc_lib.errors import StudyError

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
