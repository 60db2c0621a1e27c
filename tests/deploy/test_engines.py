"""Engines against the fp32 network; int8 rounding against its parts; the int8 file's faults."""

import pickle

import numpy as np
import pytest
import torch
from faults import scene
from torch import nn

from esiamfc_lib import cli
from esiamfc_lib.config import TrackingParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.correlation import correlation, cross_correlation
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import devices
from esiamfc_lib.tracking.engine import Engine
from esiamfc_lib.tracking.esiamfc import BranchTracker, ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs
from tools import int8 as int8_tool
from tools.int8 import FastTrackerSpec, Int8Engine, Quantised, beside, max_pool
from tools.quantise import channel_scales, quantise, rounded, second_moments, training_crops

WIDTH = 0.125


def quantised(model, crops) -> Quantised:
    """``quantise`` without the names of the parts."""
    *_, result = quantise(model, crops)
    return result


@pytest.fixture(scope="module")
def crops():
    """Smooth texture, six crops."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (6, 3, 24, 24), generator=generator).float()
    fine = nn.functional.interpolate(coarse, (255, 255), mode="bilinear")
    return fine.permute(0, 2, 3, 1).to(torch.uint8).contiguous().numpy()


@pytest.fixture(scope="module")
def ensemble():
    return ESiamFC(2, WIDTH, seed=3)


@pytest.fixture(scope="module")
def int8(ensemble, crops):
    return quantised(ensemble, crops)


def features(chosen: Engine, crops: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        stem = chosen.stem(chosen.images(crops))
        return torch.cat([chosen.branch(j, stem).float() for j in range(chosen.k)], 1)


def distance(a, b) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("precision, tolerance", [("bf16", 0.02), ("int8", 0.06)])
def test_every_engine_has_the_features_of_the_network(ensemble, int8, crops, precision, tolerance):
    exact = features(Engine(ensemble), crops[:3])
    engine = Int8Engine(ensemble, int8) if precision == "int8" else Engine(ensemble, "cpu", "bf16")
    ours = features(engine, crops[:3])
    assert ours.shape == exact.shape == (3, 2 * 32, 22, 22)
    assert 0 < distance(ours, exact) < tolerance


def test_any_size_of_search_region(ensemble, int8, crops):
    exact, ours = Engine(ensemble), Int8Engine(ensemble, int8)
    for side in (127, 159, 239):
        part = np.ascontiguousarray(crops[:2, :side, :side])
        assert distance(features(ours, part), features(exact, part)) < 0.08


@pytest.mark.parametrize("side", [3, 4, 57, 123])
def test_pooling_of_whole_numbers(side):
    generator = torch.Generator().manual_seed(side)
    x = torch.randint(0, 256, (2, side, side, 8), dtype=torch.uint8, generator=generator)
    x = x.permute(0, 3, 1, 2)
    expected = nn.functional.max_pool2d(x.float(), 3, 2)
    torch.testing.assert_close(max_pool(x).float(), expected, rtol=0, atol=0)


def test_bf16_correlation_is_the_exact_one_rounded():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 64, 6, 6, generator=generator)
    x = torch.randn(3, 64, 22, 22, generator=generator).to(memory_format=torch.channels_last)
    exact = cross_correlation(z, x)
    torch.testing.assert_close(correlation(z, x), exact, rtol=0, atol=0)
    assert correlation(z, x.bfloat16()).dtype == torch.float32
    assert distance(correlation(z, x.bfloat16()), exact) < 0.01


def test_rounding_keeps_the_output_where_the_nearest_does_not():
    """Inputs that move together: single weights may be off as long as their sum is right."""
    torch.manual_seed(0)
    layer = nn.Conv2d(16, 8, 3, groups=2)
    x = torch.rand(4, 1, 20, 20) * torch.rand(16, 1, 1) + 0.05 * torch.rand(4, 16, 20, 20)
    scale = channel_scales(layer.weight) * 8  # coarse steps: 4 bits
    with torch.no_grad():
        exact = nn.functional.conv2d(x, layer.weight, groups=2)
        nearest = (layer.weight / scale[:, None, None, None]).round()
        ours = rounded(layer.weight, scale, second_moments(layer, x)).float()
        errors = [
            distance(nn.functional.conv2d(x, q * scale[:, None, None, None], groups=2), exact)
            for q in (nearest, ours)
        ]
    assert errors[1] < errors[0] / 3


def test_a_fine_tuned_branch_survives_int8(ensemble, crops):
    """A change below half a step: nearest rounding would undo it altogether."""
    base = SiamFC(WIDTH, seed=1)
    with torch.no_grad():
        for layer in (m for m in base.modules() if isinstance(m, nn.Conv2d)):
            scale = channel_scales(layer.weight)[:, None, None, None]
            layer.weight.copy_((layer.weight / scale).round() * scale)
        tuned = SiamFC(WIDTH)
        tuned.load_state_dict(base.state_dict())
        conv = tuned.branch.layers[0]
        conv.weight += 0.2 * channel_scales(conv.weight)[:, None, None, None]
    before, after = (features(Engine(model), crops[:2]) for model in (base, tuned))
    ours = features(Int8Engine(tuned, quantised(tuned, crops)), crops[:2])
    assert distance(ours, after) < distance(before, after) / 3


def test_the_file_holds_the_int8_network(ensemble, int8, crops, tmp_path):
    path = beside(tmp_path / "esiamfc.safetensors")
    assert path.name == "esiamfc.int8.safetensors"
    int8.save(path)
    first = path.read_bytes()
    again = Quantised.load(path, ensemble)
    assert again.digest == int8.digest
    assert (again.crops, again.count) == (int8.crops, len(crops))
    again.save(path)
    assert path.read_bytes() == first
    with pytest.raises(StudyError, match="other weights"):
        Quantised.load(path, ESiamFC(2, WIDTH, seed=4))
    path.write_bytes(first[: len(first) // 2])
    with pytest.raises(StudyError, match="is not a safetensors file"):
        Quantised.load(path, ensemble)
    damaged = bytearray(first)
    damaged[-9] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(StudyError, match="do not match the digest"):
        Quantised.load(path, ensemble)
    with pytest.raises(StudyError, match=r"tools\.quantise"):
        Quantised.load(tmp_path / "none.safetensors", ensemble)


def test_crops_decide_the_steps_and_equal_crops_the_bytes(ensemble, int8, crops):
    assert quantised(ensemble, crops).digest == int8.digest
    assert quantised(ensemble, crops[:3]).digest != int8.digest
    with pytest.raises(StudyError, match="uint8 crops"):
        quantised(ensemble, crops.astype(np.float32))
    with pytest.raises(StudyError, match="all 0, or not finite"):
        broken = SiamFC(WIDTH)
        nn.init.constant_(broken.stem.layers[1].weight, 0.0)
        quantised(broken, crops[:1])


def test_engines_that_do_not_exist(ensemble, int8, tmp_path):
    with pytest.raises(StudyError, match="precision is one of"):
        Engine(ensemble, "cpu", "fp16")
    with pytest.raises(StudyError, match="1 branches, the network 2"):
        Int8Engine(ensemble, int8.of_branch(0))
    with pytest.raises(StudyError, match="parameter 'precision'"):
        TrackerSpec.validated({"name": "x", "kind": "siamfc", "precision": "int8"})
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ensemble)
    spec = FastTrackerSpec(name="x", kind="ensemble", weights=str(weights), precision="int8")
    with pytest.raises(StudyError, match=r"tools\.quantise"):
        spec.build()


def test_auto_says_why(monkeypatch, tmp_path):
    weights = tmp_path / "siamfc.safetensors"
    spec = FastTrackerSpec(name="x", kind="siamfc", weights=str(weights), precision="auto")
    monkeypatch.setattr(devices, "cpu_flags", lambda: {"avx512_vnni", "avx512_bf16"})
    assert spec.runs_on()[:2] == ("cpu", "bf16")
    beside(weights).touch()
    assert spec.runs_on()[:2] == ("cpu", "int8")
    assert "avx512_vnni" in spec.runs_on()[2]
    asked = spec.model_copy(update={"precision": "bf16"})
    assert asked.runs_on() == ("cpu", "bf16", "as asked for")
    monkeypatch.setattr(devices, "cpu_flags", set)
    assert spec.runs_on()[:2] == ("cpu", "fp32")


def test_a_spec_depends_on_all_that_moves_boxes(ensemble, int8, tmp_path):
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ensemble)
    int8.save(beside(weights))
    common = {"name": "x", "kind": "ensemble", "weights": str(weights)}
    loop = TrackingParameters(scale_step=1.1)
    changes = [{}, {"precision": "int8"}, {"precision": "bf16"}, {"top": 1}, {"threshold": 0.4},
               {"tracking": loop}]  # fmt: skip
    facts = [str(FastTrackerSpec(**common, **change).facts()) for change in changes]
    assert len(set(facts)) == len(changes)
    other = tmp_path / "other.safetensors"
    quantised(ensemble, np.full((1, 255, 255, 3), 99, np.uint8)).save(other)
    changed = FastTrackerSpec(**common, precision="int8", int8=str(other))
    assert str(changed.facts()) not in facts


def test_specs_build_int8_trackers(ensemble, int8, crops, tmp_path):
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ensemble)
    int8.save(beside(weights))
    names = ["branches", "uniform"]
    options = {"esiamfc": weights, "precision": "int8", "kind_of_spec": FastTrackerSpec}
    branch, _, uniform = (spec.build() for spec in tracker_specs(names, **options))
    assert isinstance(branch, BranchTracker) and isinstance(uniform, ESiamFCTracker)
    whole, alone = features(uniform.engine, crops[:1]), features(branch.engine, crops[:1])
    torch.testing.assert_close(alone, whole[:, :32], rtol=0, atol=0)
    sent = pickle.loads(pickle.dumps(tracker_specs(names, **options)))
    assert sent == tracker_specs(names, **options)


def test_the_commands_know_int8(ensemble, tmp_path, capsys):
    scene.otb(tmp_path / "otb", ["S"], count=3)
    weights = tmp_path / "esiamfc.safetensors"
    checkpoints.save(weights, ensemble)
    words = ["--benchmark", "otb2015", "--root", tmp_path / "otb", "--weights", weights]
    words += ["--out", tmp_path / "out", "--no-figures", "--precision", "int8"]
    assert int8_tool.main(["evaluate", *map(str, words)]) == 2
    assert "no such file: " + str(beside(weights)) in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["evaluate", *map(str, words)])


def test_int8_tracks_as_fp32_does(crops):
    model = SiamFC(WIDTH, seed=1)
    box = np.array([110.0, 100, 40, 30])
    trackers = [
        SiamFCTracker(model),
        SiamFCTracker(model, engine=Int8Engine(model, quantised(model, crops))),
    ]
    boxes = []
    for tracker in trackers:
        tracker.init(crops[0], box)
        boxes.append([tracker.update(np.roll(crops[0], (i, 2 * i), (0, 1))) for i in (1, 2, 3)])
    np.testing.assert_allclose(boxes[1], boxes[0], atol=2.0)


def test_training_crops_are_of_the_training_split():
    class Store:
        path = "x"

        def __init__(self, splits):
            import pandas as pd

            self.tracks = pd.DataFrame({"split": splits})

        def frames(self, track):
            return np.arange(3)

        def read(self, track, i):
            return np.full((255, 255, 3), 10 * track + i, np.uint8)

    crops = training_crops(Store(["val", "train", "val", "train"]), 5)
    assert set(crops[:, 0, 0, 0] // 10) == {1, 3}
    assert len(np.unique(crops[:, 0, 0, 0])) == 5
    with pytest.raises(StudyError, match="no training videos"):
        training_crops(Store(["val"]), 5)
