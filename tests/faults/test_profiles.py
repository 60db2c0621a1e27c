"""Broken profiles: what can be known before the first stage is said by the dry run."""

import json

import numpy as np
import pytest

from esiamfc_lib import cli
from esiamfc_lib.chain.profiles import check_profile, load_profile
from esiamfc_lib.networks.checkpoints import save
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC

STAGES = ("dataset", "baseline", "embedding", "clustering", "branches", "fusion", "results")
BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

TEXTS = {
    # no YAML, or not what a profile is
    "open brace": "baseline: {epochs: 3",
    "tab": "baseline:\n\tepochs: 3\n",
    "colon twice": "baseline: epochs: 3\n",
    "list": "- baseline\n",
    "text": "baseline\n",
    "number": "3\n",
    "false": "false\n",
    "empty list": "[]\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "bomb": BOMB,
    "alias": "baseline: &b {epochs: 3}\nfusion: *b\n",
    "alias to itself": "arms: &a {x: *a}\n",
    "merge of an alias": "baseline: &b {epochs: 3}\nfusion: {<<: *b}\n",
    "python object": "seed: !!python/object/apply:os.system [true]\n",
    "unknown tag": "seed: !number 3\n",
    "nul": "seed: 3\0\n",
    "latin-1": b"report_dir: caf\xe9\n",
    "binary": np.random.default_rng(0).bytes(300),
    "deep": "seed: " + "[" * 3000,
    "long": "# " + "x" * 2**20 + "\nseed: 3\n",
    "a number of 5000 digits": f"seed: {'9' * 5000}\n",
    "a date that is none": "seed: 2026-13-45\n",
    # keys
    "key twice": "seed: 1\nseed: 2\n",
    "stage twice": "baseline: {epochs: 3}\nbaseline: {lr: 0.1}\n",
    "parameter twice": "baseline: {epochs: 3, epochs: 4}\n",
    "tracking twice": "results: {tracking: {scale_lr: 0.1, scale_lr: 0.2}}\n",
    "arm twice": "arms: {a: {seeds: [1]}, a: {seeds: [2]}}\n",
    "change of an arm twice": "arms: {a: {clustering: {kp: 1.0, kp: 2.0}}}\n",
    "unknown stage": "training: {epochs: 3}\n",
    "number for a key": "3: {epochs: 3}\n",
    "list for a key": "[a]: 3\n",
    "number for a parameter": "baseline: {3: 3}\n",
    "nothing for a parameter": "baseline: {~: 3}\n",
    "unknown parameter": "baseline: {epoch: 3}\n",
    "seed of a stage": "baseline: {seed: 3}\n",
    "cluster": "branches: {cluster_id: 3}\n",
    # sections
    **{f"{stage} as a number": f"{stage}: 3\n" for stage in STAGES},
    "stage as false": "baseline: false\n",
    "stage as a list": "baseline: []\n",
    "stage as a text": 'baseline: ""\n',
    "arms as a number": "arms: 0\n",
    "arms as a list": "arms: []\n",
    "arms as false": "arms: false\n",
    # arms
    "arm of nothing": "arms: {a: }\n",
    "arm with a bad name": "arms: {A-1: {seeds: [1]}}\n",
    "arm called main": "arms: {main: {seeds: [1]}}\n",
    "arm that changes the data": "arms: {a: {dataset: {families: 3}}}\n",
    "arm with a wrong value": "arms: {a: {clustering: {kp: -1.0}}}\n",
    "arm with seed below 0": "arms: {a: {seeds: [-1]}}\n",
    "arm with seed above 2^32": "arms: {a: {seeds: [4294967296]}}\n",
    "arm with a seed twice": "arms: {a: {seeds: [1, 1]}}\n",
    "arm with a text for a seed": "arms: {a: {seeds: [one]}}\n",
    "arm named like a repetition": "arms: {a: {seeds: [1]}, a_s1: {clustering: {kp: 1.0}}}\n",
    "arm that starts from itself": "arms: {a: {branches: {initial: a}}}\n",
    "arms that start from each other": (
        "arms: {a: {branches: {initial: b}}, b: {branches: {initial: a}}}\n"
    ),
    "arm from nowhere": "arms: {a: {branches: {initial: nowhere}}}\n",
    "arm of more clusters than tracks": "dataset: {train_videos: 4}\n"
    "clustering: {n_clusters: 2}\narms: {a: {clustering: {n_clusters: 20}}}\n",
}

CHANGES = [
    # common
    *("seed=-1", "seed=4294967296", "seed=1.5", "seed=true", "seed=one", "seed=", "seed=.nan"),
    *("run_dir=", "run_dir=''", "run_dir=3", "run_dir=[a]", r'run_dir="a\0b"', "run_dir=~nobody/x"),
    *("report_dir=''", "report_dir=3"),
    # data
    *("dataset.source=disk", "dataset.source=vid", "dataset.vid_root=x", "dataset.otb_root=x"),
    *("dataset.splits=[]", "dataset.splits=[val]", "dataset.splits=[train,train]"),
    *("dataset.splits=train", "dataset.splits=[test]", "dataset.families=1", "dataset.families=7"),
    *("dataset.families=13", "dataset.train_videos=0", "dataset.train_videos=1000000000000000"),
    *("dataset.video_frames=1", "dataset.frame_width=1000000", "dataset.frame_width=10"),
    *("dataset.separation=1.5", "dataset.separation=.inf", "dataset.jpeg_quality=101"),
    *("dataset.workers=0", "dataset.workers=1000000", "dataset.max_bad_fraction=-0.1"),
    *("dataset.scheduler=machine", "dataset.more_roots=[a]", "dataset.more_roots={a: 3}"),
    *("dataset.store=nowhere", "dataset.store=weights.npz", "dataset.test_frames=60.0"),
    # training
    *("baseline.epochs=0", "baseline.epochs=-1", "baseline.epochs=1e3", "baseline.epochs='3'"),
    *("baseline.epochs=1000000000000000000000000000000", "baseline.batch_size=1000000000"),
    *("baseline.lr=1e-2", "baseline.lr=0", "baseline.lr=.inf", "baseline.lr=.nan"),
    *("baseline.lr=-0.1", "baseline.width=0.0", "baseline.width=1000.0", "baseline.width=.nan"),
    *("baseline.momentum=1.0", "baseline.validation_fraction=1.0", "baseline.precision=fp8"),
    *("baseline.schedule=cosine", "baseline.device=gpu", "baseline.device=cuda:99"),
    *("baseline.weights=nowhere.npz", "baseline.weights=folder", "baseline.weights=text.npz"),
    *("baseline.weights=ensemble.safetensors", "baseline.weights=nan.safetensors"),
    *("baseline.weights=weights.json", "baseline.train_norms=1", "baseline.tracking=3"),
    *("baseline.tracking={scale: 3}", "baseline.tracking={scale_num: 4}"),
    *("baseline.validate_every=0", "baseline.workers=-1", "baseline.threads=-1"),
    # clusters
    *("embedding.frames_per_track=0", "embedding.keep_fraction=2.0", "embedding.umap_neighbors=1"),
    *("embedding.precision=auto", "embedding.workers=0", "embedding.batch_size=0"),
    *("clustering.n_clusters=1", "clustering.n_clusters=0", "clustering.n_clusters=1000000000"),
    *("clustering.method=ward", "clustering.kp=-1.0", "comparison.runs=-1"),
    "clustering.n_init=0",
    # branches and fusion
    *("branches.membership=none", "branches.initial=nowhere", "branches.initial=folder"),
    *("branches.initial=ensemble.safetensors", "branches.average_epochs=4", "branches.epochs=-1"),
    *("branches.folds=1", "fusion.cross_fit=true", "fusion.balance=0.1", "fusion.reads=image"),
    *("branches.average_epochs=0", "branches.negative_fraction=1.1", "fusion.temperature=0.0"),
    *("fusion.entropy_weight=.nan", "fusion.epochs=0", "fusion.hard_negatives=yes please"),
    # results
    *("results.benchmarks=[]", "results.benchmarks=[otb]", "results.benchmarks=otb2015"),
    *("results.benchmarks=[otb2015,otb2015]", "results.benchmarks=[uav123]"),
    *("results.benchmarks=[got10k-test]", "results.benchmarks=[[otb2015]]"),
    *("results.trackers=[]", "results.trackers=[siamfc,siamfc]", "results.trackers=[kcf]"),
    *("results.published=nowhere", "results.published=text.npz", "results.published=weights.json"),
    *("results.published=folder", "results.selection=nowhere", "results.selection=weights.json"),
    *("results.selection=folder", "results.tracking={scale_num: 2}", "results.tracking=[3]"),
    *("results.tracking={scale_num: 0}", "results.tracking={local_scales: 2}"),
    *("results.tracking={search_size: 100000}", "results.tracking={scale_step: .inf}"),
    *("results.tracking={search_size: 127}", "results.tracking={window_influence: 2.0}"),
    *("controls.perturb=0.5", "controls.segment_frames=1", "results.max_sequences=-1"),
    *("controls.closer_arms=3", "controls.closer_arms=[nobody]", "controls.closer_arms=[[a]]"),
    *("controls.closer_arms=[random,random]", "results.workers=0", "results.device=tpu"),
    # what is no change
    *("seed", "=3", "baseline.=3", ".epochs=3", "baseline.epochs.x=3", "epochs=3", "x=[", "seed=["),
    *("training.epochs=3", "arms=3", "arms=[a]", "baseline=3", "baseline.lr={a: 1, a: 2}"),
    *("seed=*a", "seed=!!python/name:os.system", "seed=2026-13-45", ""),
]

WORDS = {
    "jobs 0": ["-n", "0"],
    "jobs below 0": ["-n", "-2"],
    "jobs as text": ["-n", "two"],
    "jobs without end": ["-n", "1000000000"],
    "seed as an option": ["--seed", "-1"],
    "workers as an option": ["--workers", "0"],
    "unknown stage": ["--only", "training"],
    "unknown stage to force": ["--force", "@nobody"],
    "no such profile": ["--profile", "nowhere"],
    "no such file": ["--profile", "nowhere.yaml"],
    "a folder": ["--profile", "folder.yaml"],
    "a way out": ["--profile", "../notebooks/profiles/mini"],
    "sweep of nothing": ["--sweep", "dataset.families="],
    "sweep of one value twice": ["--sweep", "dataset.families=3,3"],
    "sweep of an open list": ["--sweep", "dataset.families=[3"],
    "sweep of a date": ["--sweep", "seed=2026-01-01"],
    "sweep of a mapping": ["--sweep", "seed={a: 1}"],
    "sweep out of range": ["--sweep", "dataset.families=3,99"],
    "sweep of a folder": ["--sweep", "run_dir=a,b"],
    "sweep without a parameter": ["--sweep", "=3"],
}

ARM = "arms: {random: {clustering: {method: random}}}\n"
"""An arm, so that there is something that ``closer_arms`` may name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    """What the broken profiles name: files of the wrong kind."""
    folder = tmp_path_factory.mktemp("profiles")
    (folder / "folder").mkdir()
    (folder / "folder.yaml").mkdir()
    (folder / "text.npz").write_text("no archive\n")
    (folder / "weights.json").write_text("[1, 2]\n")
    save(folder / "ensemble.safetensors", ESiamFC(2, 0.125))
    network = SiamFC(0.125)
    network.branch.bias.data[:] = float("nan")
    save(folder / "nan.safetensors", network)
    return folder


@pytest.fixture
def refused(folder, root, tmp_path, monkeypatch, capsys):
    """Runs ``esiamfc run ... --dry-run``: it must say one sentence, and write nothing."""
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    monkeypatch.chdir(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def run(*words: str, profile: str | bytes = ARM) -> str:
        file = tmp_path / "mine.yaml"
        file.write_bytes(profile.encode() if isinstance(profile, str) else profile)
        given = [] if "--profile" in words else ["--profile", str(file)]
        try:
            status = cli.main(["run", *given, *words, "--dry-run"])
        except SystemExit as end:  # of argparse
            status = end.code
        shown = capsys.readouterr()
        assert status == 2, shown
        said = [line for line in shown.err.splitlines() if line.startswith("esiamfc run: ")]
        assert len(said) == 1 and shown.out == "" and len(said[0]) < 700, shown
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        return said[0]

    return run


@pytest.mark.parametrize("text", TEXTS.values(), ids=[name.replace(" ", "-") for name in TEXTS])
def test_a_broken_profile_is_refused_before_the_first_stage(text, refused):
    assert "mine" in refused(profile=text)


@pytest.mark.parametrize("change", CHANGES)
def test_a_broken_change_is_refused_before_the_first_stage(change, folder, refused):
    for name in ("weights=", "initial=", "published=", "selection=", "store="):
        if name in change and not change.endswith("="):  # files count from the project's folder
            change = change.replace(name, f"{name}{folder}/")
    refused("--set", change)


@pytest.mark.parametrize("words", WORDS.values(), ids=[name.replace(" ", "-") for name in WORDS])
def test_a_broken_option_is_refused_before_the_first_stage(words, refused):
    refused(*words)


def test_what_a_profile_may_say_is_not_refused(root, tmp_path, monkeypatch):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    file = tmp_path / "mine.yaml"
    scores = tmp_path / "scores.json"
    scores.write_text(json.dumps({"seq_wise": {"a": {"success_score": 0.5}}}))
    save(tmp_path / "net.safetensors", SiamFC(0.125))
    for text in (
        "",
        "baseline:\n",
        "\N{BYTE ORDER MARK}seed: 4294967295\n",
        "arms:\n",
        "seed: 3\r\nbaseline:\r\n  epochs: 2\r\n",
        f"baseline: {{weights: {tmp_path / 'net.safetensors'}, epochs: 0}}\n",
        f"results: {{published: {scores}, tracking: {{scale_num: 5, local_scales: 5}}}}\n",
        "branches: {epochs: 3, average_epochs: 3, device: cpu}\n",
        "controls: {closer_arms: [random]}\n",
    ):
        file.write_bytes(text.encode())
        check_profile(load_profile(str(file)))
    assert load_profile(str(file), ["arms={}"]).stages["controls"].closer_arms == ["random"]
