"""The same convolutions, handed to cuDNN in other shapes: which of them is fastest on this card.

AlexNet's layers are awkward for a GPU's matrix units: conv1 has three input channels, and conv2,
conv4 and conv5 have two groups. Every form here computes the same sums; what it adds are zeros.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from esiamfc_lib.data.geometry import SEARCH_SIZE as SIDE
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.siamfc import SiamFC
from speed.gpu.flops import convolutions
from speed.gpu.run import Run
from speed.gpu.timing import seconds_of


def as_it_is(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, groups=layer.groups)


def by_groups(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution for each group."""
    parts = (tensor.chunk(layer.groups) for tensor in (layer.weight, layer.bias))
    inputs = x.chunk(layer.groups, 1)
    return torch.cat([F.conv2d(a, w, b, layer.stride) for a, w, b in zip(inputs, *parts)], 1)  # noqa: B905


def without_groups(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """One convolution of all channels, in which the weights between groups are 0."""
    count, last = layer.weight.shape[1], layer.groups - 1
    rows = [
        F.pad(part, (0, 0, 0, 0, j * count, (last - j) * count))
        for j, part in enumerate(layer.weight.chunk(layer.groups))
    ]
    return F.conv2d(x, torch.cat(rows), layer.bias, layer.stride)


def eight_channels(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Channels of zeros up to a multiple of 8."""
    return _filled_up(x, layer.weight, layer.bias, layer.stride)


def _filled_up(x: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int]) -> Tensor:
    more = 0, 0, 0, 0, 0, -x.shape[1] % 8
    return F.conv2d(F.pad(x, more), F.pad(weight, more), bias, stride)


def blocks(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Blocks of 2×2 pixels as channels, 12 and 4 of zeros: a kernel of 6×6, stride 1."""
    height, width = x.shape[-2:]
    tiles = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2)), 2)
    kernel = F.pixel_unshuffle(F.pad(layer.weight, (0, 1, 0, 1)), 2)
    return _filled_up(tiles, kernel, layer.bias, (1, 1))


FORMS: dict[str, Callable[[nn.Conv2d, Tensor], Tensor]] = {
    "as it is": as_it_is,
    "group by group": by_groups,
    "without groups": without_groups,
    "eight channels": eight_channels,
    "blocks of pixels": blocks,
}


class FormedConv(nn.Conv2d):
    """A convolution that is computed in one of ``FORMS``; an ordinary layer becomes one by
    ``reform``, with its weights."""

    form = "as it is"

    def forward(self, x: Tensor) -> Tensor:
        return FORMS[self.form](self, x)


def forms_of(layer: nn.Conv2d) -> list[str]:
    """Those that apply to a layer."""
    if layer.groups > 1:
        return ["as it is", "group by group", "without groups"]
    return ["as it is", "eight channels", "blocks of pixels"] if layer.in_channels == 3 else []


def convs(model: SiamFC | ESiamFC, j: int = 0) -> list[nn.Conv2d]:
    """conv1 to conv5, those of branch ``j``."""
    layers = [*model.stem.layers, *branches_of(model)[j].layers]
    return [layer for layer in layers if isinstance(layer, nn.Conv2d)]


def reform(model: SiamFC | ESiamFC, forms: tuple[str, ...]) -> None:
    """Let conv1 to conv5, of all branches, be computed in these forms."""
    for j in range(len(branches_of(model))):
        for layer, form in zip(convs(model, j), forms, strict=True):
            layer.__class__, layer.form = FormedConv, form


def inputs_of(model: SiamFC, images: Tensor) -> list[Tensor]:
    """What each convolution is given for these images."""
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, args: found.append(args[0].detach().clone()))
        for layer in convs(model)
    ]
    with torch.no_grad():
        model.features(images)
    for hook in hooks:
        hook.remove()
    return found


def timed(layer: nn.Conv2d, x: Tensor, form: str, learning: bool, run: Run) -> float:
    """Seconds of one form: forward, or forward and backward."""
    work = FORMS[form]
    if not learning:
        with torch.inference_mode():
            return seconds_of(lambda: work(layer, x), run.device, run.sizes.seconds / 3)
    x = x.requires_grad_(layer.in_channels != 3)  # no gradient flows into images
    wanted = [layer.weight, layer.bias, *[x] * x.requires_grad]
    gradient = torch.ones_like(work(layer, x))

    def both() -> None:
        torch.autograd.grad(work(layer, x), wanted, gradient)

    return seconds_of(both, run.device, run.sizes.seconds / 3)


def fastest(run: Run, learning: bool) -> tuple[str, ...]:
    """The fastest form of conv1 to conv5 in bf16; a row for each that was tried. To learn they are
    timed on large batches with weights in bf16: the choice is not measured for small ones."""
    images = run.sizes.formed[0 if learning else 1]
    model = SiamFC(run.width).to(run.device, torch.bfloat16, memory_format=torch.channels_last)
    pixels = torch.randint(0, 256, (images, 3, SIDE, SIDE), device=run.device)
    pixels = pixels.to(torch.bfloat16, memory_format=torch.channels_last)
    shapes = SiamFC(run.width).to("meta")
    stem, shape = convolutions(shapes.stem, 3, SIDE, SIDE)
    branch, _ = convolutions(shapes.branch, *shape)
    chosen = []
    for number, (layer, x, flop) in enumerate(
        zip(convs(model), inputs_of(model, pixels), stem + branch, strict=True), start=1
    ):
        passes = (2 if number == 1 else 3) if learning else 1
        taken = {}
        for form in forms_of(layer) or ["as it is"]:
            taken[form] = timed(layer, x, form, learning, run)
            how = "forward and backward" if learning else "forward"
            said = f"conv{number}, {images} images, bf16, {how}, {form}; reference: as it is"
            rate = passes * flop * images / taken[form] / 1e12
            first = taken["as it is"]
            note = f"{rate:.3g} TFLOP/s of what the layer is defined as"
            run.add(said, 1e3 * taken[form], 1e3 * first, "ms", less=True, note=note)
        chosen.append(min(taken, key=taken.get))
    return tuple(chosen)


def measure(run: Run) -> None:
    """Every form of every layer, for learning and for tracking; the run keeps the fastest."""
    for name, forms in (("learning", run.forms_to_learn), ("tracking", run.forms_to_track)):
        run.add(f"fastest forms for {name}", 1, 1, "done", note=", ".join(forms))
