"""The mean of several networks: checkpoints of one training averaged into one.

The last networks of a training lie around a minimum; their mean lies nearer to its middle, and
costs nothing when it tracks (Izmailov et al. 2018, *Averaging Weights Leads to Wider Optima and
Better Generalization*).
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn

from esiamfc_lib.errors import StudyError


def averaged(models: Sequence[nn.Module]) -> nn.Module:
    """A network whose parameters and buffers are the means of those of ``models``.

    Means are taken in float64. BatchNorm statistics are averaged as well, which is exact where they
    are frozen and close where the networks are of neighbouring epochs; whole numbers, such as
    BatchNorm's count of batches, are those of the last network.

    Args:
        models: of one architecture; they stay as they are.

    Raises:
        StudyError: no network, or networks of different architectures.
    """
    if not models:
        raise StudyError("no networks to average")
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if any(shape != shapes[0] for shape in shapes):
        raise StudyError("only networks of one architecture and width can be averaged")
    result = copy.deepcopy(models[-1])
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[-1].items()
        if value.is_floating_point()
    }
    result.load_state_dict({**states[-1], **mean})
    return result
