"""How many floating-point operations the method asks for: 2 for each multiplication and addition.

Counted are convolutions, linear layers and the correlation, by what they are defined as, whatever
computes them; BatchNorm, ReLU, pooling, loss and optimiser are left out (below 1 % at width 1).

- A convolution with weights (O, I / groups, k, k) and h × w cells of output: 2 · h · w · O · (I /
  groups) · k². Two images pass through it: exemplar and search region.
- The correlation of (C, 6, 6) with (C, 22, 22): 2 · 17² · 6² · C.
- Backward: the gradient of the weights costs as much as forward, and so does that of the input; no
  gradient flows into images, or out of what learns into what is frozen. So what learns counts three
  times, but for its first convolution, which counts twice; what is frozen counts once.
"""

import torch
from torch import nn

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import Branch, SiamFC

EXEMPLAR_CELLS, RESPONSE_CELLS = 6, 17
SIDES = EXEMPLAR_SIZE, SEARCH_SIZE


def convolutions(module: nn.Module, *shape: int) -> tuple[list[float], tuple[int, ...]]:
    """FLOP of each convolution and linear layer, in order, for one input (C, h, w); and the shape
    of the output. The module is on "meta": nothing is computed."""
    found: list[float] = []

    def note(layer: nn.Module, _, output: torch.Tensor) -> None:
        cells = output.shape[-2] * output.shape[-1] if isinstance(layer, nn.Conv2d) else 1
        found.append(2.0 * cells * layer.weight.numel())

    layers = [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        output = module(torch.empty(1, *shape, device="meta"))
    for hook in hooks:
        hook.remove()
    return found, tuple(output.shape[1:])


def correlation(branch: Branch) -> float:
    """FLOP of one response, by its definition."""
    return 2.0 * RESPONSE_CELLS**2 * EXEMPLAR_CELLS**2 * branch.channels


class Work:
    """FLOP of networks of a width: ``stem`` and ``branch`` (conv by conv) of one exemplar and one
    search region, ``response``, and ``weights`` (of an exemplar, layer by layer)."""

    def __init__(self, width: float, k: int):
        model, ensemble = SiamFC(width).to("meta").eval(), ESiamFC(k, width).to("meta").eval()
        self.k = k
        stems, branches = [], []
        for side in SIDES:
            stem, shape = convolutions(model.stem, 3, side, side)
            branch, _ = convolutions(model.branch, *shape)
            stems.append(stem)
            branches.append(branch)
            if side == EXEMPLAR_SIZE:
                self.weights, _ = convolutions(ensemble.cluster_weights, *shape)
        self.stem = [a + b for a, b in zip(*stems, strict=True)]
        self.branch = [a + b for a, b in zip(*branches, strict=True)]
        self.response = correlation(model.branch)
        self.of_search = sum(stems[1]), sum(branches[1])

    def forward(self, kind: str) -> float:
        """FLOP of a pair, forward."""
        stem, branch = sum(self.stem), sum(self.branch) + self.response
        return stem + (self.k * branch + sum(self.weights) if kind == "fusion" else branch)

    def step(self, kind: str) -> float:
        """FLOP of a pair, forward and backward: of ``baseline``, ``branch``, ``six`` (each of k
        branches learns from pairs of its own) or ``fusion``."""
        forward = self.forward(kind)
        if kind == "baseline":
            return 3 * forward - self.stem[0]
        if kind == "fusion":
            return forward + 2 * sum(self.weights) - self.weights[0]
        return forward + 2 * (sum(self.branch) + self.response) - self.branch[0]

    def frame(self, k: int, scales: int = 3) -> float:
        """FLOP of a tracked frame: k branches on every scale's search region."""
        stem, branch = self.of_search
        return scales * (stem + k * (branch + self.response))
