"""Model files: round trips, digests, damage; conversion of published networks."""

import json
import os

import numpy as np
import pytest
import scipy.io
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints, norms, published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime import files
from esiamfc_lib.training.run_folder import Position, RunFolder

LAYERS = {
    "conv1": (3, 96, 11, 2, 1),
    "conv2": (96, 256, 5, 1, 2),
    "conv3": (256, 384, 3, 1, 1),
    "conv4": (384, 384, 3, 1, 2),
    "conv5": (384, 256, 3, 1, 2),
}


def images(n, size, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 255


def published_layers(eps=1e-5):
    """The published network as one sequence of layers, the way public code writes it down."""
    torch.manual_seed(0)
    layers = []
    for name, (inputs, outputs, kernel, stride, groups) in LAYERS.items():
        layers.append(nn.Conv2d(inputs, outputs, kernel, stride, groups=groups))
        if name != "conv5":
            norm = nn.BatchNorm2d(outputs, eps=eps)
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.data.uniform_(0.5, 2)
            norm.bias.data.normal_()
            layers += [norm, nn.ReLU()]
        if name in ("conv1", "conv2"):
            layers.append(nn.MaxPool2d(3, 2))
    return nn.Sequential(*layers).eval()


def reference_response(net, exemplar, search, scale, bias):
    with torch.no_grad():
        return F.conv2d(net(search), net(exemplar))[:, 0] * scale + bias


def assert_same_function(model, net, scale, bias):
    exemplar, search = images(1, 127), images(1, 255, seed=1)
    with torch.no_grad():
        ours = model(exemplar, search)
    theirs = reference_response(net, exemplar, search, scale, bias)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.abs().max().item())


def test_round_trip_keeps_every_bit_and_the_header(tmp_path):
    model = ESiamFC(3, 0.125, seed=2)
    model.cluster_weights.temperature = 0.5
    path = tmp_path / "model.safetensors"
    digest = checkpoints.save(path, model, training={"lr": 0.01}, data="abc")
    loaded, about = checkpoints.load(path)
    assert all(torch.equal(t, loaded.state_dict()[n]) for n, t in model.state_dict().items())
    assert not loaded.training and loaded.cluster_weights.temperature == 0.5
    assert about["digest"] == digest == checkpoints.digest(model.state_dict())
    assert about["training"] == {"lr": 0.01} and about["data"] == "abc"
    assert (about["network"], about["k"], about["width"]) == ("esiamfc", 3, 0.125)
    first = path.read_bytes()
    checkpoints.save(path, model, training={"lr": 0.01}, data="abc")
    assert path.read_bytes() == first


def test_an_ensemble_of_format_1_is_read_under_the_present_names(tmp_path):
    model, path = ESiamFC(2, 0.125, seed=2), tmp_path / "model.safetensors"
    state = {n.replace("cluster_weights.", "weights."): t for n, t in model.state_dict().items()}
    about = {"network": "esiamfc", "width": 0.125, "k": 2, "temperature": 1.0}

    def write(number):
        header = {"format": number, **about, "digest": checkpoints.digest(state)}
        save_file(state, path, metadata={"esiamfc": json.dumps(header)})

    write(1)
    loaded, header = checkpoints.load(path)
    assert all(torch.equal(t, loaded.state_dict()[n]) for n, t in model.state_dict().items())
    assert header["format"] == 1 and header["digest"] == checkpoints.digest(state)
    checkpoints.save(path, loaded)
    assert checkpoints.load(path)[1]["format"] == 3
    write(4)
    with pytest.raises(StudyError, match="has format 4, this version reads up to 3"):
        checkpoints.load(path)


def test_digest_depends_on_names_and_values_not_on_memory_layout():
    state = {"a": torch.arange(24.0).reshape(1, 2, 3, 4)}
    same = {"a": state["a"].to(memory_format=torch.channels_last)}
    assert checkpoints.digest(state) == checkpoints.digest(same)
    assert checkpoints.digest(state) != checkpoints.digest({"b": state["a"]})
    assert checkpoints.digest(state) != checkpoints.digest({"a": state["a"] + 1})


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(StudyError, match="no such file"):
        checkpoints.load(path)
    path.write_bytes(b"not a model")
    with pytest.raises(StudyError, match="is not a safetensors file"):
        checkpoints.load(path)
    checkpoints.save(path, SiamFC(0.125))
    with pytest.raises(StudyError, match="holds a SiamFC, not a ESiamFC"):
        published.load_esiamfc(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StudyError, match="do not match the digest"):
        checkpoints.load(path)
    path.write_bytes(data[:-100])
    with pytest.raises(StudyError, match="is not a safetensors file"):
        checkpoints.load(path)


def test_state_files_refuse_code(tmp_path):
    path = tmp_path / "state.pt"
    torch.save({"evil": os.system}, path)
    with pytest.raises(StudyError, match="is not a PyTorch file of plain tensors"):
        checkpoints.load_state(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StudyError, match="is not a PyTorch file of plain tensors"):
        checkpoints.load_state(path)
    checkpoints.save_state(path, {"t": torch.ones(2), "n": [1, "a"]})
    assert checkpoints.load_state(path)["n"] == [1, "a"]


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_published_folded_network(shared):
    path = shared / "real/weights/siamfc_2016-08-17_color_bnfolded.npz"
    model = published.load_siamfc(path)
    assert model.width == 1.0
    norm = model.stem.layers[1]
    values = torch.randn(2, 96, 5, 5)
    torch.testing.assert_close(norm(values), values, rtol=1e-6, atol=1e-6)
    with np.load(path, allow_pickle=False) as arrays:

        def features(x):
            for i, (_, _, _, stride, groups) in enumerate(LAYERS.values(), 1):
                weight = torch.from_numpy(arrays[f"conv{i}.weight"])
                bias = torch.from_numpy(arrays[f"conv{i}.bias"])
                x = F.conv2d(x, weight, bias, stride, groups=groups)
                x = torch.relu(x) if i < 5 else x
                x = F.max_pool2d(x, 3, 2) if i < 3 else x
            return x

        assert_same_function(model, features, 0.001, -2.148)


def numbered(net, prefix="features"):
    return {f"{prefix}.{n}": t for n, t in net.state_dict().items()}


def blocks(net):
    place = {
        0: "conv1.0",
        1: "conv1.1",
        4: "conv2.0",
        5: "conv2.1",
        8: "conv3.0",
        9: "conv3.1",
        11: "conv4.0",
        12: "conv4.1",
        14: "conv5.0",
    }
    return {
        f"backbone.{place[int(n.split('.')[0])]}.{n.split('.', 1)[1]}": t
        for n, t in net.state_dict().items()
    }


def batch_norm(net, scale, bias, name="bn_adjust"):
    """Blocks with a BatchNorm behind the correlation, which makes of it scale and bias."""
    norm = nn.BatchNorm2d(1)
    norm.running_mean[:], norm.running_var[:] = 50.0, 4e4 - 1e-5
    norm.weight.data[:], norm.bias.data[:] = 200 * scale, bias + 50 * scale
    return blocks(net) | {f"{name}.{n}": t for n, t in norm.state_dict().items()}


SETS_EPS = ("blocks", "one sequence", "tiny variances")
"""Namings whose networks have an epsilon of their own."""


@pytest.mark.parametrize(
    "naming", ["numbered", *SETS_EPS, "adjusted", "bn_adjust", "wrapped", "branch", "half"]
)
def test_public_pytorch_namings(tmp_path, naming):
    net, scale, bias = published_layers(eps=1e-6 if naming in SETS_EPS else 1e-5), 0.001, 0.0
    if naming == "tiny variances":  # epsilon of the file and less than our own
        net[1].running_var[:5], net[5].running_var[:5] = 1e-7, 0.0
    state = numbered(net)
    if naming == "half":
        net = net.half().float()
        state = {n: t.half() if t.is_floating_point() else t for n, t in numbered(net).items()}
    elif naming in ("blocks", "tiny variances"):
        state = blocks(net)
    elif naming == "one sequence":
        state = numbered(net, "feature")
    elif naming == "bn_adjust":
        scale, bias = 0.002, -1.0
        state = batch_norm(net, scale, bias)
    elif naming == "adjusted":
        scale, bias = 0.002, -1.0
        state = numbered(net, "feat_extraction") | {
            "adjust.weight": torch.full((1, 1, 1, 1), scale),
            "adjust.bias": torch.tensor([bias]),
        }
    else:
        bias = 0.5
        state |= {"corr_bias": torch.tensor([bias])}
    if naming == "wrapped":
        state = {"epoch": 3, "state_dict": {f"module.module.{n}": t for n, t in state.items()}}
    elif naming == "branch":
        state = {_reference_name(n): t for n, t in state.items()}
    torch.save(state, tmp_path / "net.pth")
    assert_same_function(published.load_siamfc(tmp_path / "net.pth"), net, scale, bias)


def _reference_name(name):
    parts = name.split(".")
    if parts[0] != "features":
        return name
    number = int(parts[1])
    place = f"feature1.{number}" if number < 8 else f"feature2.{number - 8}"
    return f"{place}.{parts[2]}"


def test_reference_ensemble(tmp_path):
    net = published_layers()
    weights = ESiamFC(2).cluster_weights
    state = {}
    for name, value in numbered(net).items():
        own = _reference_name(name)
        if own.startswith("feature1"):
            state[f"stem.{own}"] = value
        else:
            state |= {f"branch{j}.{own}": value for j in (1, 2)}
    state |= {"corr_bias1": torch.tensor([1.0]), "corr_bias2": torch.tensor([2.0])}
    for name, value in weights.state_dict().items():
        state[
            "cluster_weight."
            + name.replace("layers", "cluster_weight").replace("linear", "linear.0")
        ] = value
    torch.save(state, tmp_path / "ensemble.pth")
    model = published.load_esiamfc(tmp_path / "ensemble.pth")
    assert model.k == 2
    assert [b.bias.item() for b in model.branches] == [1.0, 2.0]
    assert_same_function(model.base_tracker(0), net, 0.001, 1.0)
    assert torch.equal(model.cluster_weights.linear.weight, weights.linear.weight)


@pytest.mark.parametrize("prefix", ["", "br_"])
def test_matconvnet(tmp_path, prefix):
    net, params = published_layers(eps=0.0), []

    def add(name, value):
        params.append((name, np.asarray(value, np.float32)))

    for i, place in enumerate((0, 4, 8, 11, 14), 1):
        add(f"{prefix}conv{i}f", net[place].weight.detach().permute(2, 3, 1, 0))
        add(f"{prefix}conv{i}b", net[place].bias.detach()[:, None])
        if i < 5:
            norm = net[place + 1]
            add(f"{prefix}bn{i}m", norm.weight.detach()[:, None])
            add(f"{prefix}bn{i}b", norm.bias.detach()[:, None])
            add(f"{prefix}bn{i}x", torch.stack([norm.running_mean, norm.running_var.sqrt()], 1))
    if prefix:  # scale and bias of the response as a BatchNorm, as in the authors' later networks
        add("fin_adjust_bnm", [[3.0]])
        add("fin_adjust_bnb", [[-4.0]])
        add("fin_adjust_bnx", [[100.0, 2000.0]])
        scale, bias = 3 / 2000, -4 - 100 * 3 / 2000
    else:
        add("adjust_f", [[0.001]])
        add("adjust_b", [[-2.0]])
        scale, bias = 0.001, -2.0
    table = np.array([tuple(p) for p in params], dtype=[("name", object), ("value", object)])
    scipy.io.savemat(tmp_path / "net.mat", {"net": {"params": table.reshape(1, -1)}})
    assert_same_function(published.load_siamfc(tmp_path / "net.mat"), net, scale, bias)


def test_folded_norms_cannot_learn():
    model = SiamFC(0.125, seed=1)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):  # as after folding
                layer.weight.fill_((1 + layer.eps) ** 0.5)
    norms.check_norms(model, learn=False)
    with pytest.raises(StudyError, match="BatchNorm is folded into these weights"):
        norms.check_norms(model, learn=True)
    with torch.no_grad():
        model.stem.layers[1].running_mean += 1
    norms.check_norms(model, learn=True)


def test_conversion_names_what_is_wrong(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"features.0.weight": torch.zeros(96, 3, 11, 11)}, path)
    with pytest.raises(StudyError, match="conv1 or conv5 is missing"):
        published.load_any(path)
    state = numbered(published_layers())
    del state["features.4.bias"]
    torch.save(state, path)
    with pytest.raises(StudyError, match=r"does not fit: stem\.layers\.4\.bias is not there"):
        published.load_any(path)
    other = tmp_path / "net.onnx"
    other.write_bytes(b"")
    with pytest.raises(StudyError, match=r"unknown kind of network file '\.onnx'"):
        published.load_any(other)
    np.savez(tmp_path / "net.npz", x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(StudyError, match=r"is not a network as \.npz"):
        published.load_any(tmp_path / "net.npz")
    scipy.io.savemat(tmp_path / "net.mat", {"x": 1})
    with pytest.raises(StudyError, match=r"is not a network as \.mat: it lacks 'net'"):
        published.load_any(tmp_path / "net.mat")


def test_a_training_does_not_resume_from_weights_that_are_not_finite(tmp_path):
    learners = SiamFC(0.125)
    optimizer = torch.optim.SGD(learners.parameters(), lr=0.1)
    folder = RunFolder(tmp_path, {}, keep=1, enabled=True)
    folder.save_state(learners, optimizer, Position())
    assert folder.load_state(learners, optimizer, lambda state: state) == Position()
    learners.branch.bias.data[:] = float("nan")
    folder.save_state(learners, optimizer, Position())
    with pytest.raises(StudyError, match=r"state\.pt: branch\.bias has NaN or infinite values"):
        folder.load_state(learners, optimizer, lambda state: state)


def test_header_is_readable_without_this_project(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, SiamFC(0.125))
    size = int.from_bytes(path.read_bytes()[:8], "little")
    plain = json.loads(path.read_bytes()[8 : 8 + size])
    assert json.loads(plain["__metadata__"]["esiamfc"])["network"] == "siamfc"
    assert checkpoints.load(path)[1]["network"] == "siamfc"
