"""onnxruntime as the engine: for processors on which PyTorch's oneDNN is slow or absent.

One graph for the stem and one for each branch, made in memory. In int8 the graphs hold the same
steps and the same int8 weights as ``engine_int8``, written as pairs of QuantizeLinear and
DequantizeLinear, the form that every ONNX runtime with int8 kernels understands.
"""

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from esiamfc_lib.deploy.onnx_export import IR_VERSION, OPSET, OnnxGraph
from esiamfc_lib.deploy.quantisation import Int8Layer, Quantised
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.engine import Engine


class OnnxEngine(Engine):
    """The engine; int8 where the network's int8 form is given, else fp32.

    The number of threads is PyTorch's at the time it is made.
    """

    def __init__(self, model: SiamFC | ESiamFC, int8: Quantised | None = None):
        super().__init__(model, "cpu", "fp32")
        self.int8 = int8 is not None
        if int8 is None:
            self.stem_session = _session(_float_graph(self.model.stem.layers))
            self.sessions = [_session(_float_graph(branch.layers)) for branch in self.branches]
        else:
            self.stem_session = _session(_int8_graph(self.model.stem.layers, int8.stem, 1.0))
            self.sessions = [
                _session(_int8_graph(branch.layers, layers, int8.stem[-1].step))
                for branch, layers in zip(self.branches, int8.branches, strict=True)
            ]

    def images(self, crops: np.ndarray) -> Tensor:
        """uint8 (n, H, W, 3) → contiguous (n, 3, H, W), uint8 for int8 and float32 for fp32."""
        images = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
        return images if self.int8 else images.float()

    def stem(self, images: Tensor) -> Tensor:
        """(n, 3, S, S) → (n, 256·width, 28, 28) for S = 255: uint8 steps in int8, else float32."""
        return _call(self.stem_session, images)

    def branch(self, j: int, stem: Tensor) -> Tensor:
        """float32 features (n, 256·width, 22, 22)."""
        return _call(self.sessions[j], stem)


class _Int8Graph(OnnxGraph):
    """Layers between steps: each value is uint8 with a step, seen as float by the next layer."""

    def seen(self, value: str, step: float) -> str:
        zero, step = self.constant(np.uint8(0)), self.constant(np.float32(step))
        return self.add("DequantizeLinear", value, step, zero)

    def rounded(self, value: str, step: float, output: str = "") -> str:
        zero, step = self.constant(np.uint8(0)), self.constant(np.float32(step))
        return self.add("QuantizeLinear", value, step, zero, output=output)

    def convolution(self, layer: Int8Layer, like: nn.Conv2d, value: str, step: float) -> str:
        scale, zeros = layer.scale.numpy(), np.zeros(len(layer.scale))
        weight = self.add("DequantizeLinear", self.constant(layer.weight.numpy()),
                          self.constant(scale), self.constant(zeros.astype(np.int8)),
                          axis=0)  # fmt: skip
        unit = step * scale.astype(np.float64)
        bias = np.round(layer.bias.numpy() / unit).clip(-(2**31), 2**31 - 1)
        bias = self.add("DequantizeLinear", self.constant(bias.astype(np.int32)),
                        self.constant(unit.astype(np.float32)),
                        self.constant(zeros.astype(np.int32)), axis=0)  # fmt: skip
        return self.add("Conv", value, weight, bias, group=like.groups,
                        strides=list(like.stride))  # fmt: skip


def _float_graph(layers: nn.Sequential) -> bytes:
    graph = OnnxGraph()
    graph.layers(layers, "input", output="output")
    return _serialised(graph, TensorProto.FLOAT, TensorProto.FLOAT)


def _int8_graph(layers: nn.Sequential, int8: tuple[Int8Layer, ...], step: float) -> bytes:
    """Takes uint8 of one ``step``; gives uint8, or float32 where the last layer has no ReLU."""
    graph, int8 = _Int8Graph(), iter(int8)
    steps = "input"
    value = graph.seen(steps, step)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            current = next(int8)
            value = graph.convolution(current, layer, value, step)
            step, steps = current.step, ""
        elif isinstance(layer, nn.ReLU | nn.MaxPool2d):
            value = (
                graph.add("Relu", value)
                if isinstance(layer, nn.ReLU)
                else graph.add("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2])
            )
            steps = graph.rounded(value, step)
            value = graph.seen(steps, step)
    graph.add("Identity", steps or value, output="output")
    return _serialised(graph, TensorProto.UINT8, TensorProto.UINT8 if steps else TensorProto.FLOAT)


def _serialised(graph: OnnxGraph, taken: int, given: int) -> bytes:
    shape = ["n", "channels", "height", "width"]
    described = [
        [helper.make_tensor_value_info(name, kind, [f"{name}_{axis}" for axis in shape])]
        for name, kind in (("input", taken), ("output", given))
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "part", *described, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="esiamfc",
    )
    return model.SerializeToString(deterministic=True)


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _call(session: onnxruntime.InferenceSession, value: Tensor) -> Tensor:
    return torch.from_numpy(session.run(["output"], {"input": value.numpy()})[0])
