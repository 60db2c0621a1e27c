"""Parameters and profiles: what is wrong is said in one sentence, before anything runs."""

import ast
import tarfile
from pathlib import Path

import pytest

from esiamfc_lib.chain.profiles import check_profile, load_profile
from esiamfc_lib.config import (
    STAGES,
    BaselineParameters,
    ClusteringParameters,
    FusionParameters,
    StageParameters,
)
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import project_root, resolve


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"epoch": 3}, "unknown parameter 'epoch'"),
        ({"epochs": "3"}, "parameter 'epochs' = '3': Input should be a valid integer"),
        ({"epochs": 2.5}, "parameter 'epochs' = 2.5"),
        ({"epochs": True}, "parameter 'epochs' = True"),
        ({"epochs": -1}, "parameter 'epochs' = -1: Input should be greater than or equal to 0"),
        ({"lr": "1e-2"}, "write 1.0e-2"),
        ({"lr": "1e9"}, "1.0e+9"),
        ({"lr": "1.0e9"}, "1.0e+9"),
        ({"lr": 0.0}, "parameter 'lr' = 0.0"),
        ({"lr": float("nan")}, "parameter 'lr' = nan"),
        ({"precision": "fp8"}, "parameter 'precision' = 'fp8'"),
    ],
)
def test_faults_of_a_parameter_are_one_sentence(values, sentence):
    with pytest.raises(StudyError) as error:
        BaselineParameters.validated(values, where="profile: baseline")
    assert sentence in str(error.value)
    assert str(error.value).startswith("profile: baseline: ")
    assert "\n" not in str(error.value)


def test_whole_numbers_are_accepted_as_reals():
    assert BaselineParameters.validated({"lr": 1}).lr == 1.0


def test_from_notebook_takes_its_parameters_out_of_the_namespace(monkeypatch):
    monkeypatch.setenv("ESIAMFC_CHAIN", "1")
    namespace = {name: field.default for name, field in ClusteringParameters.model_fields.items()}
    namespace |= {"n_clusters": 4, "something_else": object()}
    assert ClusteringParameters.from_notebook(namespace).n_clusters == 4
    del namespace["kp"]
    with pytest.raises(StudyError, match="04_clustering: the parameters cell lacks kp"):
        ClusteringParameters.from_notebook(namespace)


def test_every_parameter_is_explained_and_of_a_json_type():
    for model in STAGES:
        for name, value in model().model_dump().items():
            assert isinstance(value, str | int | float | bool | list | dict), (model, name)
            assert model.model_fields[name].description, (model, name)


def test_relative_paths_count_from_the_project(root, monkeypatch, tmp_path):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    assert resolve("data/x") == root / "data/x"
    assert resolve("/data/x") == Path("/data/x")
    assert StageParameters(run_dir="data/y").run == root / "data/y"
    assert project_root(root / "notebooks") == root
    with pytest.raises(StudyError, match="no project folder"):
        project_root(tmp_path)


# -- profiles -------------------------------------------------------------------------------------


@pytest.fixture
def profile(tmp_path, root, monkeypatch):
    """Writes a profile file and gives its path."""
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))

    def write(text: str) -> str:
        file = tmp_path / "mine.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


def test_profile_sets_common_and_stage_parameters(profile):
    file = profile("run_dir: data/mine\nseed: 5\nbaseline:\n  epochs: 2\nclustering:\n")
    loaded = load_profile(file, ["baseline.lr=1.0e-3", "results.benchmarks=[otb2013]", "seed=6"])
    assert loaded.name == "mine"
    assert [model.stage for model in STAGES] == list(loaded.stages)
    assert {stage.seed for stage in loaded.stages.values()} == {6}
    assert {stage.run_dir for stage in loaded.stages.values()} == {"data/mine"}
    assert (loaded.stages["baseline"].epochs, loaded.stages["baseline"].lr) == (2, 1.0e-3)
    assert loaded.stages["results"].benchmarks == ["otb2013"]
    assert loaded.stages["fusion"].epochs == FusionParameters().epochs


@pytest.mark.parametrize(
    ("text", "changes", "sentence"),
    [
        ("baseline: {epoch: 3}", [], "baseline: unknown parameter 'epoch'"),
        ("baseline: {lr: 1e-2}", [], "write 1.0e-2"),
        ("training: {epochs: 3}", [], "unknown key 'training'"),
        ("baseline: 3", [], "baseline must hold parameters, not 3"),
        ("- baseline", [], "expected the keys"),
        ("baseline: {epochs: 3", [], "is not valid YAML"),
        ("baseline: {seed: 3}", [], "baseline.seed is set once, at the top level"),
        ("branches: {cluster_id: 3}", [], "branches.cluster_id is set by the chain"),
        ("", ["baseline.epochs"], "--set baseline.epochs: expected stage.key=value"),
        ("", ["epochs=3"], "--set epochs=3: expected stage.key=value"),
        ("", ["training.epochs=3"], "--set training.epochs=3: expected"),
        ("", ["baseline.epochs=three"], "parameter 'epochs' = 'three'"),
        ("", ["baseline.epochs=[3"], "the value is not valid YAML"),
        ("", ["clustering.n_clusters=0"], "parameter 'n_clusters' = 0"),
        ("", ["clustering.n_clusters=1"], "clustering.n_clusters = 1: an ensemble has 2 branches"),
    ],
)
def test_faults_of_a_profile_are_one_sentence(profile, text, changes, sentence):
    with pytest.raises(StudyError) as error:
        load_profile(profile(text), changes)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_profile_names_the_known_ones(root, monkeypatch, tmp_path):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    with pytest.raises(
        StudyError, match=r"'maxi' in .*mini, paper, real, reference, scaling, smoke"
    ):
        load_profile("maxi")
    with pytest.raises(StudyError, match="no such file"):
        load_profile(str(tmp_path / "absent.yaml"))


@pytest.fixture
def vid(tmp_path) -> Path:
    """Just enough of a VID root to pass the first look."""
    for part in ("Data", "Annotations"):
        (tmp_path / "vid" / part / "VID" / "train" / "video").mkdir(parents=True)
    (tmp_path / "otb").mkdir()
    return tmp_path / "vid"


REAL = "dataset.source=vid", "results.benchmarks=[otb2015]"


def given(vid: Path, *changes: str) -> list[str]:
    roots = [f"dataset.vid_root={vid}", f"dataset.otb_root={vid.parent / 'otb'}"]
    return [*REAL, *roots, *changes]


def test_profile_on_user_data_passes(profile, vid):
    check_profile(load_profile(profile(""), given(vid)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["dataset.vid_root="], "parameter 'vid_root' = None"),
        (["dataset.vid_root=''"], "dataset.vid_root is empty"),
        (["dataset.vid_root=/nowhere"], "dataset.vid_root: no folder /nowhere"),
        (["dataset.got10k_root=/nowhere"], "dataset.got10k_root: no folder /nowhere"),
        (["results.benchmarks=[otb]"], "results.benchmarks has 'otb': choose from otb2013, otb50,"),
        (["results.benchmarks=[vot2018]"], "no vot data in this profile: set dataset.vot_root"),
        (["dataset.source=synthetic"], "the source is 'synthetic', it makes its own data"),
        (["baseline.weights=/nowhere.npz"], "baseline.weights: no file /nowhere.npz"),
        (["baseline.epochs=0"], "there would be no trained network"),
        (["results.tracking={scale: 3}"], "results.tracking: unknown parameter 'scale'"),
        (["baseline.tracking={scale_num: 3.5}"], "parameter 'scale_num' = 3.5"),
        (["fusion.device=gpu"], "fusion: parameter 'device' = 'gpu'"),
    ],
)
def test_what_a_profile_counts_on_is_checked_first(profile, vid, changes, sentence):
    with pytest.raises(StudyError) as error:
        check_profile(load_profile(profile(""), given(vid, *changes)))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_vid_root_without_annotations(profile, vid):
    (vid / "Annotations" / "VID" / "train" / "video").rmdir()
    with pytest.raises(StudyError, match="has no Annotations/VID/train or it is empty"):
        check_profile(load_profile(profile(""), given(vid)))


def test_a_finished_store_needs_no_training_frames(profile, vid, tmp_path):
    store = tmp_path / "store"
    changes = given(vid, f"dataset.store={store}")
    with pytest.raises(StudyError, match=r"dataset\.store: .*store has no manifest.json"):
        check_profile(load_profile(profile(""), changes))
    store.mkdir()
    (store / "manifest.json").touch()
    with pytest.raises(StudyError, match="has no Data/VID/val or it is empty"):
        check_profile(load_profile(profile(""), changes))
    alone = [*changes, "dataset.vid_root=''"]
    with pytest.raises(StudyError, match=r"vid_root is empty \(a store holds crops only"):
        check_profile(load_profile(profile(""), alone))
    run = f"run_dir={tmp_path / 'run'}"
    own = tmp_path / "run/dataset/store"
    own.mkdir(parents=True)
    (own / "manifest.json").touch()
    with pytest.raises(StudyError, match="must lie apart"):
        check_profile(load_profile(profile(""), [*changes, run, f"dataset.store={own}"]))


def test_an_archive_is_a_vid_root(profile, vid, tmp_path):
    file = tmp_path / "vid.tar.gz"
    changes = given(vid, f"dataset.vid_root={file}")
    with tarfile.open(file, "w:gz") as tar:
        tar.add(vid, "ILSVRC2015")
    check_profile(load_profile(profile(""), changes))
    file.write_text("no archive")
    with pytest.raises(StudyError, match=r"vid\.tar\.gz is not a tar archive"):
        check_profile(load_profile(profile(""), changes))


NEUTRAL = {"workers", "scheduler", "device", "precision", "seed", "width", "run_dir"}
"""Parameters for which one value means "nothing special" wherever it stands."""

ESTIMATORS = {"clustering/pikmeans.py"}
"""scikit-learn's contract: an estimator has a default for everything."""


def test_no_function_of_the_library_has_a_default_for_what_config_holds(root):
    names = {name for model in STAGES for name in model.model_fields} - NEUTRAL
    library, found = root / "esiamfc_lib", []
    for file in sorted(library.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                plain = [*node.args.posonlyargs, *node.args.args]
                pairs = zip(plain[::-1], node.args.defaults[::-1], strict=False)
                pairs = [*pairs, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
                where = file.relative_to(library).as_posix()
                for argument, default in pairs:
                    # None: absent; a name or attribute: read from the models themselves
                    free = default is None or isinstance(default, ast.Name | ast.Attribute)
                    free = free or ast.unparse(default) == "None"
                    if argument.arg in names and not free:
                        found.append((where, node.name, argument.arg))
    assert [one for one in found if one[0] not in ESTIMATORS] == []
