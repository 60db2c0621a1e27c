"""The mean of networks."""

import pytest
import torch

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.training.averaging import averaged


def test_parameters_and_statistics_are_means():
    a, b = SiamFC(0.125, seed=1), SiamFC(0.125, seed=2)
    before = {name: value.clone() for name, value in b.state_dict().items()}
    for name, value in averaged([a, b]).state_dict().items():
        one, other = a.state_dict()[name], b.state_dict()[name]
        if value.is_floating_point():
            torch.testing.assert_close(value, (one + other) / 2)
        else:
            assert torch.equal(value, other)
    assert all(torch.equal(before[name], value) for name, value in b.state_dict().items())


def test_the_mean_of_equal_networks_is_that_network():
    a = SiamFC(0.125, seed=1)
    for name, value in averaged([a, a, a]).state_dict().items():
        assert torch.equal(value, a.state_dict()[name])


def test_what_cannot_be_averaged():
    with pytest.raises(StudyError, match="no networks"):
        averaged([])
    with pytest.raises(StudyError, match="one architecture"):
        averaged([SiamFC(0.125), SiamFC(0.25)])
