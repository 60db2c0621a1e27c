"""SiamFC and ESiamFC as ONNX; images are float32 RGB, 0 to 255.

``exemplar.onnx``: ``image`` (1, 3, 127, 127) → ``kernel`` (1, k·C, 6, 6), ``bias`` (1,),
``weights`` (1, k). ``search.onnx``: ``images`` (N, 3, S, S), ``kernel``, ``bias`` → ``response``
(N, 1, R, R), R = 17 for S = 255. The fused response, a sum of weight · (scale · correlation +
bias), is one correlation with the branches' kernels side by side, each times its weight and scale.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC, branches_of
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.files import write_atomically

OPSET, IR_VERSION = 17, 8  # read by every onnxruntime since 1.14
TOLERANCE = 1e-4  # of the response's range


class OnnxGraph:
    """Collects nodes and their constants."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, value: np.ndarray) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes) -> str:
        output = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def layers(self, layers: nn.Module, value: str) -> str:
        """Append a sequence of folded layers; returns the name of its output."""
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                tensors = [self.constant(t.detach().numpy()) for t in (layer.weight, layer.bias)]
                how = {"strides": [*layer.stride], "pads": [*layer.padding] * 2}
                value = self.add("Conv", value, *tensors, group=layer.groups, **how)
            elif isinstance(layer, nn.ReLU):
                value = self.add("Relu", value)
            elif isinstance(layer, nn.MaxPool2d):
                how = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
                value = self.add("MaxPool", value, **how)
            elif not isinstance(layer, nn.Identity):
                raise StudyError(f"no ONNX form is known for the layer {type(layer).__name__}")
        return value

    def model(self, name: str, inputs: dict[str, list], outputs: dict[str, list]) -> bytes:
        """The checked file of a graph between values of these names and shapes."""
        described = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in values.items()]
            for values in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, name, *described, self.constants)
        about = {"ir_version": IR_VERSION, "producer_name": "esiamfc"}
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, **about)
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def to_onnx(model: SiamFC | ESiamFC, folder: str | Path) -> tuple[Path, Path, float]:
    """Write both graphs; their files and the largest difference of their response from ours, in
    shares of its range. A ``StudyError`` if that is more than 1e-4.
    """
    model = folded(model).cpu().float()
    files = Path(folder) / "exemplar.onnx", Path(folder) / "search.onnx"
    for path, data in zip(files, (_exemplar(model), _search(model)), strict=True):
        write_atomically(path, data)
    error = difference(model, *files)
    if error > TOLERANCE:
        raise StudyError(
            f"{files[1]}: the response differs from the network's by {error:.1e} of "
            f"its range, more than {TOLERANCE:.0e}"
        )
    return *files, error


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


def _exemplar(model: SiamFC | ESiamFC) -> bytes:
    graph, branches = OnnxGraph(), branches_of(model)
    k, c = len(branches), branches[0].channels
    stem = graph.layers(model.stem.layers, "image")
    if isinstance(model, ESiamFC):
        fusion = model.cluster_weights
        pooled = graph.add("GlobalAveragePool", graph.layers(fusion.layers, stem))
        matrix = fusion.linear.weight.detach().numpy().T / fusion.temperature
        logits = graph.add("MatMul", graph.add("Flatten", pooled), graph.constant(matrix))
        weights = graph.add("Softmax", logits, output="weights", axis=1)
    else:
        weights = graph.add("Identity", graph.constant(np.ones((1, 1), "f4")), output="weights")

    def reshaped(value: str, *shape: int, output: str = "") -> str:
        return graph.add("Reshape", value, graph.constant(np.array(shape)), output=output)

    # (1, k) weights as one factor a channel: (1, k, 1, 1, 1) times (1, k, C, 6, 6).
    features = graph.add("Concat", *(graph.layers(b.layers, stem) for b in branches), axis=1)
    scales = graph.constant(np.array([[b.scale for b in branches]], np.float32))
    split = reshaped(features, 1, k, c, 6, 6)
    factors = reshaped(graph.add("Mul", weights, scales), 1, k, 1, 1, 1)
    reshaped(graph.add("Mul", split, factors), 1, k * c, 6, 6, output="kernel")
    biases = graph.constant(np.array([[b.bias.item()] for b in branches], np.float32))
    reshaped(graph.add("MatMul", weights, biases), 1, output="bias")
    return graph.model(
        "exemplar",
        {"image": [1, 3, EXEMPLAR_SIZE, EXEMPLAR_SIZE]},
        {"kernel": [1, k * c, 6, 6], "bias": [1], "weights": [1, k]},
    )


def _search(model: SiamFC | ESiamFC) -> bytes:
    graph, branches = OnnxGraph(), branches_of(model)
    stem = graph.layers(model.stem.layers, "images")
    features = graph.add("Concat", *(graph.layers(b.layers, stem) for b in branches), axis=1)
    graph.add("Conv", features, "kernel", "bias", output="response")
    channels = len(branches) * branches[0].channels
    return graph.model(
        "search",
        {"images": ["n", 3, "height", "width"], "kernel": [1, channels, 6, 6], "bias": [1]},
        {"response": ["n", 1, "rows", "columns"]},
    )
