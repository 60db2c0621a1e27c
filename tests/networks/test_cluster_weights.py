"""The modules that weigh the branches: what they read, their files, and the soup."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC, soup
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.tracking.spec import tracker_specs

WIDTH = 0.03  # 8 channels everywhere: embeddings of 288 numbers


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture
def baseline():
    return SiamFC(WIDTH, seed=5).eval()


def assembled(baseline, kind, k=3):
    """Branches unlike each other, on the baseline's stem, and its frozen part."""
    trackers = [SiamFC(WIDTH, seed=seed) for seed in range(k)]
    for tracker in trackers:
        tracker.stem.load_state_dict(baseline.stem.state_dict())
    centres = unit(np.random.default_rng(1).normal(size=(k, 288))).astype(np.float32)
    return ESiamFC.assembled(trackers, 0, kind, baseline=baseline, centres=centres).eval(), centres


def images(n=4):
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (n, 3, 127, 127))).float()


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_distances_are_those_of_the_clustering(baseline):
    model, centres = assembled(baseline, "distances")
    module = model.cluster_weights
    module.log_t.data.fill_(np.log(0.05) / 3)
    module.temperature = 2.0
    module.prices.copy_(torch.tensor([0.3, 0.0, -0.3]))
    with torch.no_grad():
        found = module(model.stem(images())).numpy()
        x = unit(baseline.features(images()).flatten(1).double().numpy())
    distances = -np.log((x @ centres.T.astype(np.float64) + 1) / 2)
    expected = softmax(-distances / 0.05 / 2.0 - np.array([[0.3, 0.0, -0.3]]))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert expected.max(1).min() > 0.4  # the weights do depend on the distances


def test_distances_begin_with_weights_that_are_decided_and_no_more(baseline):
    model, centres = assembled(baseline, "distances")
    with torch.no_grad():
        logits = model.cluster_weights.logits(torch.from_numpy(centres)).numpy()
    own = logits.diagonal()
    others = (logits.sum(1) - own) / 2
    assert (own - others).mean() == pytest.approx(1.0, rel=1e-3)


def test_embedding_weights_read_the_baselines_embedding(baseline):
    model, _ = assembled(baseline, "embedding")
    with torch.no_grad():
        model.cluster_weights.linear.weight.normal_(generator=torch.Generator().manual_seed(0))
        found = model.cluster_weights(model.stem(images())).numpy()
        x = unit(baseline.features(images()).flatten(1).numpy())
    weight = model.cluster_weights.linear.weight.detach().numpy()
    np.testing.assert_allclose(found, softmax(3 * x @ weight.T), rtol=1e-3)


@pytest.mark.parametrize("kind", ["stem", "embedding", "distances"])
def test_a_file_holds_the_whole_module(tmp_path, baseline, kind):
    model, _ = assembled(baseline, kind)
    if kind != "stem":
        model.cluster_weights.prices.fill_(0.25)
    checkpoints.save(tmp_path / "model.safetensors", model)
    loaded, about = checkpoints.load(tmp_path / "model.safetensors")
    assert about["reads"] == loaded.cluster_weights.reads == kind
    assert all(torch.equal(t, loaded.state_dict()[n]) for n, t in model.state_dict().items())
    with torch.no_grad():
        z = model.stem(images())
        assert torch.equal(model.cluster_weights(z), loaded.cluster_weights(z))


def test_a_file_of_format_2_is_read(tmp_path, baseline):
    model, _ = assembled(baseline, "stem")
    state = {name: t.contiguous() for name, t in model.state_dict().items()}
    about = {"format": 2, "network": "esiamfc", "width": WIDTH, "k": 3, "temperature": 0.5}
    header = json.dumps(about | {"digest": checkpoints.digest(state)})
    save_file(state, tmp_path / "old.safetensors", metadata={"esiamfc": header})
    loaded, _ = checkpoints.load(tmp_path / "old.safetensors")
    assert loaded.cluster_weights.reads == "stem" and loaded.cluster_weights.temperature == 0.5
    assert checkpoints.digest(loaded.state_dict()) == checkpoints.digest(state)


def test_other_centres_are_refused(baseline):
    with pytest.raises(StudyError, match=r"centres \(3, 9\)"):
        trackers = [baseline] * 3
        ESiamFC.assembled(trackers, 0, "distances", baseline=baseline, centres=np.ones((3, 9)))


def test_the_soup_is_the_mean_of_the_branches(baseline):
    model, _ = assembled(baseline, "stem")
    model.branches[1].layers[1].running_mean.fill_(3.0)
    merged = soup(model)
    for name, tensor in merged.branch.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            each = [b.state_dict()[name].double() for b in model.branches]
            torch.testing.assert_close(tensor.double(), sum(each) / 3, rtol=1e-5, atol=1e-7)
    assert all(
        torch.equal(t, merged.stem.state_dict()[n]) for n, t in model.stem.state_dict().items()
    )


def test_the_soup_is_a_tracker(tmp_path, baseline):
    model, _ = assembled(baseline, "distances")
    checkpoints.save(tmp_path / "model.safetensors", model)
    (spec,) = tracker_specs(["soup"], esiamfc=tmp_path / "model.safetensors")
    frames = np.random.default_rng(2).integers(0, 256, (2, 120, 160, 3), np.uint8)
    ours, theirs = spec.build(), SiamFCTracker(soup(model))
    for tracker in (ours, theirs):
        tracker.init(frames[0], np.array([50.0, 40.0, 30.0, 20.0]))
    assert np.array_equal(ours.update(frames[1]), theirs.update(frames[1]))
    assert spec.name == "Soup"
    with pytest.raises(StudyError, match="not 'soup'"):
        ESiamFCTracker(model, "soup")


@pytest.mark.parametrize("kind", ["embedding", "distances"])
def test_a_tracker_weighs_by_the_module_that_its_file_holds(tmp_path, baseline, kind):
    model, _ = assembled(baseline, kind)
    checkpoints.save(tmp_path / "model.safetensors", model)
    (spec,) = tracker_specs(["cluster_weight"], esiamfc=tmp_path / "model.safetensors")
    frame = np.random.default_rng(2).integers(0, 256, (120, 160, 3), np.uint8)
    tracker = spec.build()
    tracker.init(frame, np.array([50.0, 40.0, 30.0, 20.0]))
    with torch.no_grad():
        expected = model.cluster_weights(model.stem(tracker._exemplar(frame)))[0].numpy()
    np.testing.assert_allclose(tracker.fusion_weights, expected, rtol=1e-3)
