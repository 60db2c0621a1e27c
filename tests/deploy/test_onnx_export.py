"""ONNX graphs equal the networks; the convert command."""

import numpy as np
import onnxruntime
import pytest
import torch

from esiamfc_lib import cli
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.networks.correlation import cross_correlation
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from tools import onnx_export


def trained(model):
    """Statistics off 0 and 1, biases off 0, weights of the fusion off uniform."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in [*model.named_buffers(), *model.named_parameters()]:
            if name.endswith(("running_mean", "bias")):
                value.copy_(torch.randn(value.shape, generator=generator))
            elif name.endswith("running_var"):
                value.uniform_(0.5, 2, generator=generator)
        model.stem.layers[1].running_var.mul_(1e4)  # images reach 255
        if isinstance(model, ESiamFC):
            model.cluster_weights.linear.weight.normal_(generator=generator)
            model.cluster_weights.temperature = 2.0
    return model.eval()


@pytest.mark.parametrize(
    "model", [SiamFC(0.05), ESiamFC(1, 0.05), ESiamFC(3, 0.05)], ids=["siamfc", "k1", "k3"]
)
def test_graphs_equal_the_network(tmp_path, model):
    exemplar_file, search_file, error = onnx_export.to_onnx(trained(model), tmp_path)
    assert error < 1e-5
    session = onnxruntime.InferenceSession(str(exemplar_file))
    image = np.random.default_rng(1).uniform(0, 255, (1, 3, 127, 127)).astype(np.float32)
    weights, kernel = session.run(["weights", "kernel"], {"image": image})
    if isinstance(model, ESiamFC):
        with torch.no_grad():
            expected = model.cluster_weights(model.stem(torch.from_numpy(image))).numpy()
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-6)
        assert weights.max() > 0.5 or model.k == 1
    else:
        np.testing.assert_array_equal(weights, [[1.0]])
    # Any number and size of search images.
    later = onnxruntime.InferenceSession(str(search_file))
    response = later.run(
        ["response"],
        {
            "images": np.zeros((3, 3, 239, 239), np.float32),
            "kernel": kernel,
            "bias": np.zeros(1, np.float32),
        },
    )[0]
    assert response.shape == (3, 1, 15, 15)


def test_difference_is_noticed(tmp_path):
    model = trained(SiamFC(0.05))
    exemplar_file, search_file, _error = onnx_export.to_onnx(model, tmp_path)
    with torch.no_grad():
        model.branch.layers[-1].weight.mul_(1.01)
    assert onnx_export.difference(model, exemplar_file, search_file) > onnx_export.TOLERANCE


def test_kernel_is_scaled_features(tmp_path):
    model = trained(SiamFC(0.05))
    exemplar_file, _search_file, _error = onnx_export.to_onnx(model, tmp_path)
    image = np.full((1, 3, 127, 127), 100, np.float32)
    kernel = onnxruntime.InferenceSession(str(exemplar_file)).run(["kernel"], {"image": image})[0]
    with torch.no_grad():
        z = model.features(torch.from_numpy(image))
    np.testing.assert_allclose(kernel, model.branch.scale * z.numpy(), rtol=1e-3, atol=1e-4)
    assert cross_correlation(z, z).shape == (1, 1, 1)


def test_convert_command(tmp_path, capsys):
    source, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    checkpoints.save(source, SiamFC(0.05), training={"lr": 0.1})
    assert cli.main(["convert", str(source), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "SiamFC, width 0.05" in printed
    about = checkpoints.load(out)[1]
    assert about["source"] == "in.safetensors" and about["training"] == {"lr": 0.1}
    assert about["digest"] == checkpoints.load(source)[1]["digest"]
    assert cli.main(["convert", str(tmp_path / "no.npz"), "--out", str(out)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_the_command_writes_what_it_says(tmp_path, capsys):
    source = tmp_path / "in.safetensors"
    checkpoints.save(source, SiamFC(0.05))
    words = [str(source), "--out", str(tmp_path / "graphs")]
    assert cli.run("onnx_export", lambda: onnx_export, words) == 0
    assert "equal to" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "graphs").iterdir()} == {
        "exemplar.onnx",
        "search.onnx",
    }


def test_published_network(tmp_path, shared):
    path = shared / "real/weights/siamfc_2016-08-17_color_bnfolded.npz"
    assert onnx_export.to_onnx(published.load_siamfc(path), tmp_path)[2] < 1e-5
