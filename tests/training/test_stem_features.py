"""The stem's features on disk: they are what the stem makes, and only of its own crops."""

import json

import numpy as np
import pytest
import torch
from mini_vid import make_vid

from esiamfc_lib.chain.graph import graph
from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.config import FusionParameters, TransferParameters
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.training import stem_features
from esiamfc_lib.training.augmentation import augment
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.loop import fit
from esiamfc_lib.training.measure import evaluate_loss
from esiamfc_lib.training.pairs import PairDataset
from esiamfc_lib.training.stem_features import find_stem_features, keep_stem_features, pairs_of
from esiamfc_lib.training.tasks import BranchTask, FusionTask

WIDTH = 0.05
DRAWN = {"frame_range": 100, "negative_fraction": 0.0, "hard_negatives": False}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stem")
    curate(make_vid(folder / "vid", videos=4, frames=8), folder / "store")
    return CropStore(folder / "store")


@pytest.fixture
def model():
    return SiamFC(WIDTH).eval()


def small(kind=TransferParameters, **values):
    return kind(device="cpu", threads=1, precision="fp32", epochs=1, batch_size=4, **values)


def test_features_are_those_of_the_images(store, model, tmp_path, monkeypatch):
    monkeypatch.setattr(stem_features, "BATCH", 5)  # an incomplete last batch among them
    kept = keep_stem_features(store, model, tmp_path)
    assert kept.values.shape == (len(store), 28, 28, model.stem.channels)
    numbers = list(range(12))
    pixels = pairs_of(None, store, length=12, seed=3, **DRAWN).__getitems__(numbers)
    assert pixels.exemplar.dtype == torch.uint8
    images = augment(pixels, augmentation="none")
    features = pairs_of(kept, store, length=12, seed=3, **DRAWN).__getitems__(numbers)
    with torch.inference_mode():
        for image, feature in zip(images, (features.exemplar, features.search), strict=True):
            expected = model.stem(image)
            assert feature.shape == expected.shape
            torch.testing.assert_close(feature.float(), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("task", ["branch", "fusion"])
def test_a_task_has_the_same_loss_on_features(store, model, tmp_path, task):
    kept = keep_stem_features(store, model, tmp_path)

    def loss(kept):
        pairs = PairLoader(pairs_of(kept, store, length=16, seed=1, **DRAWN), 4)
        if task == "branch":
            return evaluate_loss(
                BranchTask(model, radius=16.0, diversity_weight=0.0), pairs, small()
            )
        ensemble = ESiamFC.assembled([model, model])
        clusters, options = [0] * len(store.tracks), {"temperature": 1.0, "entropy_weight": 0.0}
        own = FusionTask(ensemble, clusters, radius=16.0, **options)
        return evaluate_loss(own, pairs, small(FusionParameters))

    assert loss(kept) == pytest.approx(loss(None), rel=1e-3)
    assert loss(kept) == loss(kept)


def test_a_branch_learns_from_features(store, tmp_path):
    model = SiamFC(WIDTH).eval()
    kept = keep_stem_features(store, model, tmp_path / "stem")
    stem = {name: value.clone() for name, value in model.stem.state_dict().items()}
    before = model.branch.state_dict()["layers.0.weight"].clone()
    pairs = PairLoader(pairs_of(kept, store, length=8, seed=1, **DRAWN), 4)
    result = fit(
        BranchTask(model, radius=16.0, diversity_weight=0.0),
        small(pairs_per_epoch=8),
        pairs,
        tmp_path / "run",
        validation=pairs,
    )
    assert not torch.equal(result.model.branch.state_dict()["layers.0.weight"], before)
    for name, value in result.model.stem.state_dict().items():
        assert torch.equal(value, stem[name])


def test_worker_processes_give_the_same_features(store, model, tmp_path):
    kept = keep_stem_features(store, model, tmp_path)
    data = pairs_of(kept, store, length=12, seed=2, **DRAWN)
    alone, helped = (list(PairLoader(data, 4, workers=n).epoch(0)) for n in (0, 2))
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a.search, b.search) and torch.equal(a.exemplar, b.exemplar)


def test_found_only_where_it_can_serve(store, model, tmp_path):
    assert find_stem_features(tmp_path, store, model, augmentation="none") is None
    assert isinstance(pairs_of(None, store, length=4, **DRAWN), PairDataset)
    kept = keep_stem_features(store, model, tmp_path)
    assert find_stem_features(tmp_path, store, model, augmentation="none").digest == kept.digest
    # augmentation needs the pixels
    assert find_stem_features(tmp_path, store, model, augmentation="paper") is None
    with pytest.raises(StudyError, match="another stem"):
        find_stem_features(tmp_path, store, SiamFC(WIDTH, seed=1), augmentation="none")


def test_written_again_it_is_the_same(store, model, tmp_path):
    first = keep_stem_features(store, model, tmp_path)
    facts = (tmp_path / stem_features.FACTS).read_bytes()
    assert keep_stem_features(store, model, tmp_path).digest == first.digest
    assert (tmp_path / stem_features.FACTS).read_bytes() == facts


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "stem.npy").write_bytes(b"no array"),
        lambda folder: (folder / "stem.npy").unlink(),
        lambda folder: np.save(folder / "stem.npy", np.zeros((1, 28, 28, 8), np.float16)),
        lambda folder: (folder / "stem.json").write_text("{"),
        lambda folder: (folder / "stem.json").write_text(json.dumps({"shape": [1]})),
    ],
)
def test_damage_is_named(store, model, tmp_path, damage):
    keep_stem_features(store, model, tmp_path)
    damage(tmp_path)
    with pytest.raises(StudyError, match=r"stem\.json.*--force embedding"):
        find_stem_features(tmp_path, store, model, augmentation="none")


def test_features_too_large_for_float16(store, model, tmp_path):
    with torch.no_grad():
        for parameter in model.stem.parameters():
            parameter.mul_(1e4)
    with pytest.raises(StudyError, match="keep_stem"):
        keep_stem_features(store, model, tmp_path)
    assert find_stem_features(tmp_path, store, model, augmentation="none") is None


def test_a_stage_that_learns_from_them_depends_on_them():
    with_stem = graph(load_profile("smoke", ["embedding.keep_stem=true"]))
    assert "embedding/stem.json" in with_stem["embedding"].outputs
    for name in ("branches/0", "fusion"):
        assert "embedding/stem.json" in with_stem[name].inputs
        assert "embedding" in with_stem[name].needs
    assert "embedding/stem.json" not in graph(load_profile("smoke"))["fusion"].inputs


def test_a_full_disk_is_a_sentence_and_leaves_nothing(store, model, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stem_features.files, "write_atomically", full)
    with pytest.raises(StudyError, match=r"cannot be kept: .*No space left"):
        keep_stem_features(store, model, tmp_path)
    assert find_stem_features(tmp_path, store, model, augmentation="none") is None
