"""Write a SiamFC or an ESiamFC as ONNX, and compare it with the network.

    python -m tools.onnx_export WEIGHTS --out FOLDER

Images are float32 RGB, 0 to 255; WEIGHTS is a file of any kind that ``esiamfc convert`` reads.

``exemplar.onnx``: ``image`` (1, 3, 127, 127) → ``kernel`` (1, k·C, 6, 6), ``bias`` (1,),
``weights`` (1, k). ``search.onnx``: ``images`` (N, 3, S, S), ``kernel``, ``bias`` → ``response``
(N, 1, R, R), R = 17 for S = 255. The fused response, a sum of weight · (scale · correlation +
bias), is one correlation with the branches' kernels side by side, each times its weight and scale.
"""

import io
import sys
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esiamfc_lib import cli
from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.files import writable_folder, write_atomically

OPSET = 17  # read by every onnxruntime since 1.14
TOLERANCE = 1e-4  # of the response's range


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="file of the network")
    files = "of exemplar.onnx and search.onnx"
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=files)


def main(args: Namespace) -> int:
    """Write, compare, tell."""
    writable_folder(args.out)
    exemplar, search, error = to_onnx(published.load_any(args.weights)[0], args.out)
    sys.stdout.write(f"{exemplar}, {search}: equal to {error:.1e} of the range\n")
    return 0


class ExemplarPart(nn.Module):
    """What is computed once a sequence: image → kernel, bias, weights."""

    def __init__(self, model: SiamFC | ESiamFC):
        super().__init__()
        self.model, self.branches = model, branches_of(model)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stem, weights = self.model.stem(image), torch.ones(1, 1)
        if isinstance(self.model, ESiamFC):
            weights = self.model.cluster_weights(stem)
        parts = [branch.scale * branch(stem) for branch in self.branches]
        kernel = torch.cat([weights[:, i, None, None, None] * z for i, z in enumerate(parts)], 1)
        biases = torch.cat([branch.bias for branch in self.branches])
        return kernel, (weights * biases).sum(1), weights


class SearchPart(nn.Module):
    """What is computed every frame: images, kernel, bias → response."""

    def __init__(self, model: SiamFC | ESiamFC):
        super().__init__()
        self.stem, self.branches = model.stem, nn.ModuleList(branches_of(model))

    def forward(self, images: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        stem = self.stem(images)
        return F.conv2d(torch.cat([branch(stem) for branch in self.branches], 1), kernel, bias)


def to_onnx(model: SiamFC | ESiamFC, folder: str | Path) -> tuple[Path, Path, float]:
    """Write both graphs; their files and the largest difference of their response from ours, in
    shares of its range. A ``StudyError`` if that is more than 1e-4."""
    model = folded(model).cpu().float().eval()
    files = Path(folder) / "exemplar.onnx", Path(folder) / "search.onnx"
    image, images = (torch.zeros(1, 3, size, size) for size in (EXEMPLAR_SIZE, SEARCH_SIZE))
    first, later = ExemplarPart(model), SearchPart(model)
    with torch.no_grad():
        kernel, bias, _ = first(image)
    free = {"images": {0: "n", 2: "height", 3: "width"}}
    free["response"] = {0: "n", 2: "rows", 3: "columns"}
    names = ["image"], ["kernel", "bias", "weights"]
    write_atomically(files[0], _graph(first, (image,), *names))
    names = ["images", "kernel", "bias"], ["response"]
    write_atomically(files[1], _graph(later, (images, kernel, bias), *names, dynamic_axes=free))
    error = difference(model, *files)
    if error > TOLERANCE:
        raise StudyError(
            f"{files[1]}: the response differs from the network's by {error:.1e} of "
            f"its range, more than {TOLERANCE:.0e}"
        )
    return *files, error


def _graph(part: nn.Module, inputs: tuple, given: list, made: list, **axes) -> bytes:
    """The checked file of what a part computes. By PyTorch's older exporter: the newer one needs
    another package and gives names of its own."""
    file, options = io.BytesIO(), {"input_names": given, "output_names": made} | axes
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.onnx.export(part, inputs, file, opset_version=OPSET, dynamo=False, **options)
    onnx.checker.check_model(onnx.load_from_string(file.getvalue()), full_check=True)
    return file.getvalue()


def difference(model: SiamFC | ESiamFC, exemplar: Path, search: Path) -> float:
    """Largest difference of the graphs' response on noise, divided by the response's range."""
    rng = np.random.default_rng(0)
    z, x = (
        rng.uniform(0, 255, (n, 3, size, size)).astype(np.float32)
        for n, size in ((1, EXEMPLAR_SIZE), (2, SEARCH_SIZE))
    )
    first, later = (
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"])
        for p in (exemplar, search)
    )
    kernel, bias = first.run(["kernel", "bias"], {"image": z})
    response = later.run(["response"], {"images": x, "kernel": kernel, "bias": bias})[0][:, 0]
    with torch.no_grad():
        ours = model.eval()(torch.from_numpy(z), torch.from_numpy(x)).numpy()
    return float(np.abs(response - ours).max() / np.ptp(ours))


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.onnx_export", lambda: sys.modules[__name__], sys.argv[1:]))
