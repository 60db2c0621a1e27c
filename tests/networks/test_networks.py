"""Networks: sizes, parameter counts, the correlation, labels and the loss by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.cluster_weights import ClusterWeights
from esiamfc_lib.networks.correlation import cross_correlation
from esiamfc_lib.networks.esiamfc import ESiamFC, exemplar_weights, fuse
from esiamfc_lib.networks.loss import balanced_loss, response_labels
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import Branch, SiamFC, Stem, channels


def count(module):
    return sum(p.numel() for p in module.parameters())


def images(n, size, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 255


def test_parameter_counts_at_width_1_are_the_references():
    convolutions = (
        11 * 11 * 3 * 96
        + 5 * 5 * 48 * 256
        + 3 * 3 * 256 * 384
        + 3 * 3 * 192 * 384
        + 3 * 3 * 192 * 256
    )
    biases, norms, response = 96 + 256 + 384 + 384 + 256, 2 * (96 + 256 + 384 + 384), 1
    assert count(SiamFC(1.0)) == convolutions + biases + norms + response == 2_336_321
    assert (
        count(ClusterWeights(6, 1.0))
        == 9 * (256 * 384 + 384 * 512 + 512 * 1024)
        + (384 + 512 + 1024)
        + 2 * (384 + 512)
        + 6 * 1024
        == 7_382_656
    )
    assert count(ESiamFC(6)) == count(Stem()) + 6 * count(Branch()) + count(ClusterWeights(6))


def test_channels_are_multiples_of_8_and_exact_at_width_1():
    assert [channels(n, 0.25) for n in (96, 256, 384)] == [24, 64, 96]
    assert channels(100, 1) == 100
    assert channels(96, 0.01) == 8
    assert all(channels(n, w) % 8 == 0 for n in (96, 256, 384) for w in (0.1, 0.3, 0.7, 1.5))


def test_shapes_and_stride():
    model = SiamFC(0.125).eval()
    assert model.stem(images(2, 127)).shape == (2, 32, 12, 12)
    assert model.stem(images(1, 255)).shape == (1, 32, 28, 28)
    assert model.features(images(2, 127)).shape == (2, 32, 6, 6)
    assert model.features(images(1, 255)).shape == (1, 32, 22, 22)
    assert model(images(2, 127), images(2, 255)).shape == (2, 17, 17)
    assert model(images(2, 127), images(2, 239)).shape == (2, 15, 15)
    assert model(images(1, 127), images(3, 255)).shape == (3, 17, 17)
    # An image moved by the stride of 8 gives the features moved by one cell.
    big = images(1, 135)
    torch.testing.assert_close(
        model.features(big[..., 8:, 8:])[..., :-1, :-1],
        model.features(big[..., :127, :127])[..., 1:, 1:],
    )


def test_cross_correlation_equals_convolution_forward_and_backward():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 5, 2, 3, generator=generator, dtype=torch.float64).float()
    x = torch.randn(3, 5, 6, 7, generator=generator, dtype=torch.float64).float()
    results = []
    for correlate in (
        cross_correlation,
        lambda z, x: F.conv2d(x.reshape(1, 15, 6, 7), z, groups=3)[0],
    ):
        own_z, own_x = z.clone().requires_grad_(), x.clone().requires_grad_()
        out = correlate(own_z, own_x)
        (out * torch.arange(out.numel()).reshape(out.shape)).sum().backward()
        results.append((out, own_z.grad, own_x.grad))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(cross_correlation(z[:1], x), F.conv2d(x, z[:1])[:, 0])


@pytest.mark.parametrize("size", [127, 255, 128])
def test_first_convolution_by_blocks_is_the_same_forward_and_backward(size):
    layer, x = Stem(0.125).layers[0], images(1, size)
    results = []
    for forward in (layer.by_blocks, layer.forward):
        layer.zero_grad()
        out = forward(x)
        (out * out).mean().backward()
        results.append((out, layer.weight.grad.clone(), layer.bias.grad.clone()))
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-3, atol=1e-3)


def test_response_by_hand():
    branch = Branch(1.0)
    branch.bias.data.fill_(-2.0)
    z, x = torch.full((1, 256, 6, 6), 2.0), torch.ones(1, 256, 22, 22)
    torch.testing.assert_close(
        branch.response(z, x), torch.full((1, 17, 17), 0.001 * 2 * 256 * 36 - 2)
    )
    # The scale makes up for fewer channels: the same response at every width.
    narrow = Branch(0.25)
    torch.testing.assert_close(
        narrow.response(z[:, :64], x[:, :64]), torch.full((1, 17, 17), 0.001 * 2 * 256 * 36)
    )


def test_initial_activations_keep_their_scale_whatever_the_width():
    generator = torch.Generator().manual_seed(0)
    for width in (0.125, 1.0):
        branch = SiamFC(width, seed=1).branch
        inputs = torch.relu(
            torch.randn(8, branch.layers[0].in_channels, 12, 12, generator=generator)
        )
        assert branch(inputs).std().item() == pytest.approx(1.0, abs=0.25)
    first, again, other = (SiamFC(0.125, seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert not torch.equal(first["stem.layers.0.weight"], other["stem.layers.0.weight"])


def test_labels_by_hand():
    labels = response_labels(17, radius=16)
    # Radius 16 at stride 8: two cells; 13 cells lie within, as in the paper.
    assert labels.sum() == 13
    assert labels[8, 6:11].tolist() == [1] * 5
    assert labels[7, 6:11].tolist() == [0, 1, 1, 1, 0]
    assert response_labels(15, radius=16).sum() == 13
    assert response_labels(3, radius=8).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def test_balanced_loss_by_hand():
    labels = torch.zeros(3, 3)
    labels[1, 1] = 1
    assert balanced_loss(torch.zeros(2, 3, 3), labels).item() == pytest.approx(math.log(2))
    responses = torch.full((1, 3, 3), -1.0)
    responses[0, 1, 1] = 2.0
    expected = 0.5 * math.log1p(math.exp(-2)) + 0.5 * math.log1p(math.exp(-1))
    assert balanced_loss(responses, labels).item() == pytest.approx(expected)


def test_balanced_loss_of_a_pair_of_different_objects():
    labels = torch.stack([torch.zeros(3, 3), torch.eye(3)])
    responses = torch.full((2, 3, 3), 1.0)
    negative = math.log1p(math.exp(1))
    mixed = 0.5 * math.log1p(math.exp(-1)) + 0.5 * negative
    assert balanced_loss(responses, labels).item() == pytest.approx((negative + mixed) / 2)


def test_fusion_weights_sum_to_one_and_the_fused_response_is_the_weighted_sum():
    model = ESiamFC(3, 0.125).eval()
    exemplar, search = images(2, 127), images(2, 255)
    z, x = model.stem(exemplar), model.stem(search)
    weights, responses = model.cluster_weights(z), model.responses(z, x)
    assert weights.shape == (2, 3) and responses.shape == (2, 3, 17, 17)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    by_hand = sum(weights[:, j, None, None] * responses[:, j] for j in range(3))
    torch.testing.assert_close(model(exemplar, search), by_hand)
    torch.testing.assert_close(fuse(responses, torch.tensor([[0.0, 1.0, 0.0]])), responses[:, 1])


def test_weights_of_many_exemplars_are_those_of_each():
    model = ESiamFC(3, width=0.1, seed=1).eval()
    exemplars = np.random.default_rng(0).integers(0, 256, (70, 127, 127, 3), np.uint8)
    weights = exemplar_weights(model, iter(exemplars))
    assert weights.shape == (70, 3)
    one = torch.from_numpy(exemplars[66:67]).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        alone = model.cluster_weights(model.stem(one))[0].numpy()
    np.testing.assert_allclose(weights[66], alone, atol=1e-6)


def test_temperature_sharpens_the_weights():
    weights = ClusterWeights(3, 0.125).eval()
    z = images(1, 12).repeat(1, 11, 1, 1)[:, :32]
    spread = weights(z)
    weights.temperature = 0.01
    assert weights(z).max() > spread.max()


def test_ensemble_is_assembled_of_base_trackers_and_gives_them_back():
    trackers = [SiamFC(0.125, seed=0) for _ in range(2)]
    trackers[1].branch = SiamFC(0.125, seed=5).branch
    model = ESiamFC.assembled(trackers)
    for j, tracker in enumerate(trackers):
        back = model.base_tracker(j).state_dict()
        assert all(torch.equal(back[n], t) for n, t in tracker.state_dict().items())
    with pytest.raises(StudyError, match="different stems"):
        ESiamFC.assembled([SiamFC(0.125, seed=0), SiamFC(0.125, seed=1)])


def test_folded_network_is_the_same_function():
    model = SiamFC(0.125)
    model(images(4, 127), images(4, 255))  # moves the statistics of BatchNorm off 0 and 1
    model.eval()
    plain = folded(model)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in plain.modules())
    torch.testing.assert_close(
        plain(images(1, 127), images(1, 255)),
        model(images(1, 127), images(1, 255)),
        rtol=1e-4,
        atol=1e-4,
    )
