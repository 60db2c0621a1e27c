"""Control arms in the graph of stages: what is shared runs once, what differs has its folder."""

import io
import json
from pathlib import Path

import pytest
from fake_study import edit, make_project

from esiamfc_lib.artefacts import MANIFEST, Artefacts
from esiamfc_lib.chain import notebook_run
from esiamfc_lib.chain.arms import branch_pairs
from esiamfc_lib.chain.fingerprint import code_cells
from esiamfc_lib.chain.graph import ancestry, find_stages, graph
from esiamfc_lib.chain.profiles import check_profile, load_profile
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.errors import StudyError

ARMS = """
arms:
  all:
    clustering: {n_clusters: 1}
    branches: {initial: "", pairs_per_epoch: 500}
  random:
    clustering: {method: random}
  seeds:
    branches: {membership: all}
"""
MAIN = ["dataset", "baseline", "embedding", "clustering", "comparison"]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project with arms whose branches start from the arm ``all``; notebooks run in here."""
    root = make_project(tmp_path / "a project")
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    file = root / "notebooks/profiles/tiny.yaml"
    file.write_text(file.read_text() + "branches: {initial: all}\n" + ARMS)
    for notebook, parameter in (
        ("04_clustering", "method"),
        ("05_transfer_learning", "membership"),
        ("05_transfer_learning", "initial"),
    ):
        edit(root, notebook, f"read += str({parameter}).encode()")

    def run_here(notebook, executed, parameters, outputs, **_):
        namespace = dict(parameters)
        for source in code_cells(notebook):
            exec(source, namespace)
        executed.parent.mkdir(parents=True, exist_ok=True)
        executed.write_text("executed")

    monkeypatch.setattr(notebook_run, "run_notebook", run_here)
    return root


def study(*changes: str, **options) -> Chain:
    return Chain(load_profile("tiny", changes), io.StringIO(), **options)


def run(*changes: str, **options) -> list[str]:
    """Stages that ran, in their order."""
    chain = study(*changes, **options)
    assert chain.run() == 0, chain.stream.getvalue()
    return chain.ran


def test_graph_holds_shared_stages_once_and_in_a_valid_order(project):
    stages = graph(load_profile("tiny"))
    assert list(stages) == [
        *MAIN,
        "clustering@all",
        "branches@all/0",
        "branches/0",
        "branches/1",
        "fusion",
        "results",
        "clustering@random",
        "branches@random/0",
        "branches@random/1",
        "fusion@random",
        "branches@seeds/0",
        "branches@seeds/1",
        "fusion@seeds",
        "controls",
    ]
    done = set()
    for name, stage in stages.items():
        assert set(stage.needs) <= done, name
        done.add(name)
    assert stages["branches@random/1"].folder == project / "data/tiny/arms/random/branches/1"
    assert stages["branches/0"].parameters.initial == (
        "data/tiny/arms/all/branches/0/branch.safetensors"
    )
    inputs = [name for name in stages["controls"].inputs if name.startswith("arms/")]
    assert inputs == [
        "arms/all/branches/0/branch.safetensors",
        "arms/random/clustering/centres.npz",
        "arms/random/fusion/esiamfc.safetensors",
        "arms/seeds/clustering/centres.npz",
        "arms/seeds/fusion/esiamfc.safetensors",
    ]


def test_without_arms_the_graph_is_the_notebooks(project):
    stages = graph(load_profile("tiny", ["arms={}", "branches.initial=''"]))
    assert list(stages) == [*MAIN, "branches/0", "branches/1", "fusion", "results", "controls"]
    assert not any(stage.links() for stage in stages.values())


def test_the_comparison_of_splits_can_be_left_out_and_nothing_needs_it(project):
    with_it = graph(load_profile("tiny"))
    without = graph(load_profile("tiny", ["comparison.runs=0"]))
    assert set(with_it) - set(without) == {"comparison"}
    assert not any("comparison" in stage.needs for stage in with_it.values())


def test_arms_run_in_their_own_folders_with_links_to_what_they_share(project):
    assert len(run()) == 19
    random = project / "data/tiny/arms/random"
    assert (random / "baseline").is_symlink() and not (random / "clustering").is_symlink()
    assert (random / "baseline").resolve() == (project / "data/tiny/baseline").resolve()
    assert (project / "data/tiny/arms/seeds/clustering").is_symlink()
    assert (random / "notebooks/05_transfer_learning_1.ipynb").is_file()
    assert run() == []


def test_a_change_of_one_arm_runs_that_arm_and_the_controls(project):
    run()
    arms = ARMS.replace("method: random", "method: kmeans")
    file = project / "notebooks/profiles/tiny.yaml"
    file.write_text(file.read_text().replace(ARMS, arms))
    assert run() == [
        "clustering@random", "branches@random/0", "branches@random/1", "fusion@random", "controls"
    ]  # fmt: skip


def test_a_stage_that_becomes_shared_gives_its_folder_up_and_gets_it_back(project):
    run()
    file = project / "notebooks/profiles/tiny.yaml"
    own = file.read_text()
    file.write_text(own.replace("{method: random}", "{method: pikmeans}"))
    stages = graph(load_profile("tiny"))
    assert not any("@random" in name for name in stages)
    assert run() == ["controls"]
    clustering = project / "data/tiny/arms/random/clustering"
    assert clustering.is_symlink()
    before = (project / "data/tiny/clustering/membership.csv").read_bytes()
    file.write_text(own)
    assert dict(study().plan())["clustering@random"] == "run: it has not run"
    assert run()[0] == "clustering@random"
    assert clustering.is_dir() and not clustering.is_symlink()
    assert (project / "data/tiny/clustering/membership.csv").read_bytes() == before


def test_another_start_trains_what_starts_from_it(project):
    run()
    trained = run("branches.epochs=5")
    assert {"branches@all/0", "branches/0", "branches@seeds/1"} <= set(trained)
    edit(project, "05_transfer_learning", "read += str((membership, initial, lr)).encode()")
    assert "branches@random/1" in run()


def test_results_of_trackers_are_kept_when_an_arm_joins(project):
    run()
    boxes = project / "data/tiny/controls/boxes"
    boxes.touch()
    file = project / "notebooks/profiles/tiny.yaml"
    file.write_text(file.read_text() + "  kmeans: {clustering: {method: kmeans}}\n")
    assert "controls" in run()
    assert boxes.is_file()


def test_controls_run_again_when_only_the_list_of_arms_changes(project):
    run()
    file = project / "notebooks/profiles/tiny.yaml"
    file.write_text(file.read_text().replace("  random:\n", "  random:\n    test: false\n"))
    assert run() == ["controls"]


def test_only_and_until_reach_into_arms(project):
    stages = graph(load_profile("tiny"))
    assert find_stages(stages, "@seeds") == ["branches@seeds/0", "branches@seeds/1", "fusion@seeds"]
    assert find_stages(stages, "branches@random") == ["branches@random/0", "branches@random/1"]
    assert find_stages(stages, "clustering") == [
        "clustering",
        "clustering@all",
        "clustering@random",
    ]
    with pytest.raises(StudyError, match=r"no stage '@none'; .*@all, @random, @seeds"):
        find_stages(stages, "@none")
    names = ancestry(stages, ["branches/1"])
    assert names == [*MAIN[:4], "clustering@all", "branches@all/0", "branches/1"]
    assert run(until="branches@all") == [*MAIN[:3], "clustering@all", "branches@all/0"]


def test_a_fold_that_is_gone_is_made_again_and_the_fusion_reads_it(project):
    folds = "('fold_0', 'fold_1')"
    edit(
        project,
        "05_transfer_learning",
        f"for fold in {folds}:\n    (run / name).mkdir(parents=True, exist_ok=True)\n"
        "    (run / name / f'{fold}.safetensors').write_text(fold)",
    )
    changes = "arms={}", "branches.initial=''", "branches.folds=2", "fusion.cross_fit=true"
    stages = graph(load_profile("tiny", changes))
    files = [f"branches/{i}/fold_{f}.safetensors" for i in range(2) for f in range(2)]
    assert [name for name in stages["fusion"].inputs if "fold_" in name] == files
    apart = graph(load_profile("tiny", [*changes[:3]]))
    assert not any("fold_" in name for name in apart["fusion"].inputs)
    run(*changes, until="fusion")
    assert run(*changes, until="fusion") == []
    (project / "data/tiny" / files[3]).unlink()
    assert run(*changes, until="fusion") == ["branches/1"]  # which writes the same bytes


def test_dry_run_touches_nothing(project):
    plan = dict(study().plan())
    assert plan["fusion@random"] == "run: it has not run"
    assert not (project / "data").exists()


def test_manifest_says_what_each_arm_is_and_how_much_it_learned(project):
    run(only="dataset")
    folder = project / "data/tiny"
    facts = Artefacts(folder).arms()
    assert list(facts) == ["main", "all", "random", "seeds"]
    assert facts["all"]["pairs"] == 3 * 500
    assert facts["main"]["pairs"] == facts["random"]["pairs"] == 3 * 500 + 2 * 3 * 1200
    assert facts["seeds"]["membership"] == "all" and facts["random"]["method"] == "random"
    profile = load_profile("tiny", ["branches.initial=''"])
    assert branch_pairs(profile.stages, profile.arms) == 2 * 3 * 1200
    changes = ["fusion.learns=all", "fusion.reads=distances"]
    joint = load_profile("tiny", [*changes, "fusion.epochs=2", "fusion.pairs_per_epoch=100"])
    learned = 3 * 500 + 2 * 3 * 1200 + 2 * 2 * 100
    assert branch_pairs(joint.stages, joint.arms) == learned
    assert branch_pairs(joint.arms["all"], joint.arms) == 3 * 500  # one network has no fusion
    run("arms={}", "branches.initial=''", only="dataset")
    assert Artefacts(folder).arms() == {}
    (folder / MANIFEST).write_text("{")
    with pytest.raises(StudyError, match="is damaged"):
        Artefacts(folder).arms()


def test_seeds_repeat_an_arm_and_the_arm_that_it_starts_from(project):
    arms = {
        "again": {"seeds": [1, 2]},
        "all": {"seeds": [0, 1], "branches": {"initial": ""}, "clustering": {"n_clusters": 1}},
    }
    profile = load_profile("tiny", [f"arms={json.dumps(arms)}"])
    assert list(profile.arms) == ["again_s1", "again_s2", "all", "all_s1"]
    stages = graph(profile)
    assert stages["branches/0"].parameters.initial.startswith("data/tiny/arms/all/")
    assert stages["branches@again_s1/0"].parameters.initial.startswith("data/tiny/arms/all_s1/")
    assert stages["branches@again_s2/0"].parameters.initial.startswith("data/tiny/arms/all/")
    seeds = {name: stage.parameters.seed for name, stage in stages.items()}
    assert seeds["baseline"] == seeds["clustering"] == 0 and "baseline@again_s1" not in seeds
    assert {seeds[name] for name in seeds if "@again_s1" in name} == {1}
    run(f"arms={json.dumps(arms)}", only="dataset")
    facts = Artefacts(project / "data/tiny").arms()
    assert [name for name in facts if facts[name]["repeats"] == "main"] == ["again_s1", "again_s2"]
    assert facts["all_s1"]["repeats"] == "all" and facts["all"]["repeats"] == ""


@pytest.mark.parametrize(
    ("arms", "sentence"),
    [
        ("[random]", "arms must hold names with changes, not ['random']"),
        ("{Random: {seeds: [1]}}", "arm 'Random': a name has small letters"),
        ("{main: {seeds: [1]}}", "arm 'main': a name has small letters"),
        ("{r: {}}", "arm 'r' must change some of clustering, branches, fusion"),
        ("{r: {test: false}}", "arm 'r' must change some of"),
        (
            "{r: {test: 1, seeds: [1]}}",
            "arms.r: parameter 'test' = 1: Input should be a valid boolean",
        ),
        ("{r: {baseline: {epochs: 1}}}", "unknown parameter 'baseline'"),
        (
            "{r: {clustering: 3}}",
            "arms.r: parameter 'clustering' = 3: Input should be a valid dictionary",
        ),
        ("{r: {clustering: {kpp: 1.0}}}", "arms.r.clustering: unknown parameter 'kpp'"),
        ("{r: {branches: {cluster_id: 1}}}", "arms.r.branches cannot set cluster_id"),
        ("{r: {seeds: 1}}", "arms.r: parameter 'seeds' = 1: Input should be a valid list"),
        (
            "{r: {seeds: [one]}}",
            "arms.r: parameter 'seeds.0' = 'one': Input should be a valid integer",
        ),
        ("{r: {seeds: [-1]}}", "parameter 'seed' = -1"),
        (
            "{r: {branches: {initial: nowhere}}}",
            "arms.r.branches.initial: no arm 'nowhere', and no",
        ),
        ("{r: {fusion: {device: gpu}}}", "arms.r.fusion: parameter 'device' = 'gpu'"),
    ],
)
def test_faults_of_arms_are_one_sentence(project, arms, sentence):
    with pytest.raises(StudyError) as error:
        check_profile(load_profile("tiny", [f"arms={arms}", "branches.initial=''"]))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_start_that_leads_back_to_itself(project):
    with pytest.raises(StudyError, match=r"leads back to itself: set branches\.initial"):
        study("arms={r: {clustering: {n_clusters: 1}}}", "branches.initial=r")


def test_the_profile_paper_can_test_the_claim(root):
    """The benchmarks of the claim, repeated arms, and a budget that is the ensemble's."""
    profile = load_profile(str(root / "notebooks/profiles/paper.yaml"))
    assert {"tcolor128", "dtb70", "lasot"} <= set(profile.stages["results"].benchmarks)
    assert {"tcolor128", "dtb70", "lasot"} == set(profile.stages["dataset"].more_roots)
    assert profile.stages["controls"].starts == 2
    repeated = {name for name in profile.arms if name.endswith(("_s1", "_s2"))}
    assert repeated == {
        f"{arm}_s{i}" for arm in ("again", "random", "equal_budget") for i in (1, 2)
    }
    assert {"kmeans", "seeds", "random", "equal_budget"} <= set(profile.arms)
    for name in ("equal_budget", "equal_budget_s2", "random_s1", "kmeans", "seeds", "again_s1"):
        pairs = branch_pairs(profile.arms[name], profile.arms)
        assert pairs == branch_pairs(profile.stages, profile.arms), name
        assert profile.arms[name]["branches"].initial == ""
    stages = graph(profile)
    assert sum(stage.kind == "branches" for stage in stages.values()) == 6 * 8 + 3
    assert "controls" in stages and "equal_budget_s1" in str(stages["controls"].files())
