"""Broken model files, made on the spot: name of the fault -> what writes the file into a folder."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import scipy.io
import torch
from safetensors.torch import save_file

from esiamfc_lib.networks.checkpoints import digest, save
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.published import PLACES
from esiamfc_lib.networks.siamfc import SiamFC

WIDTH = 1 / 6  # the narrowest whose width can be read off its first layer
NAN, INF = float("nan"), float("inf")
BROKEN = {}


def broken(suffix, name=""):
    """Decorator: the function gives the bytes of a file, or writes it; the fault has its name."""

    def note(make):
        BROKEN[(name or make.__name__).replace("_", " ") + f" {suffix}"] = (suffix, make)
        return make

    return note


def broken_file(fault: str, folder: Path) -> Path:
    """Write the file with this fault."""
    suffix, make = BROKEN[fault]
    path = folder / f"net.{suffix}"
    content = make(path)
    if isinstance(content, bytes):
        path.write_bytes(content)
    return path


def model(k: int = 0):
    torch.manual_seed(0)
    return (ESiamFC(k, WIDTH) if k else SiamFC(WIDTH)).eval()


def ours(path: Path, k: int = 0, change=None, text=None, about=()) -> None:
    """A model file of ours with changed tensors or header; its digest is right."""
    network = model(k)
    state = {n: t.detach().clone() for n, t in network.state_dict().items()}
    if change:
        change(state)
    header = {"network": "esiamfc" if k else "siamfc", "width": WIDTH, "format": 2 if k else 1}
    header |= {"k": k, "temperature": 1.0} if k else {}
    header |= {"digest": digest(state)} | dict(about)
    header = {name: value for name, value in header.items() if value is not None}
    save_file(state, path, {"esiamfc": json.dumps(header) if text is None else text})


def layers() -> dict[str, torch.Tensor]:
    """A whole SiamFC as ``conv1.weight`` ... ``bn4.running_var``, with corr_bias."""
    state = model().state_dict()
    found = {}
    for name, place in PLACES.items():
        for key, value in state.items():
            if key.startswith(f"{place}."):
                found[f"{name}.{key.removeprefix(place + '.')}"] = value.clone()
    return found | {"corr_bias": torch.tensor([-1.0])}


def torch_file(path: Path, changes=(), **values) -> None:
    """The state dict of ``layers`` with other values; those that are None are left out."""
    state = layers() | dict(changes) | values
    torch.save({name: value for name, value in state.items() if value is not None}, path)


def ensemble() -> dict[str, torch.Tensor]:
    """The reference ESiamFC with two branches."""
    state = {f"corr_bias{j}": torch.tensor([float(j)]) for j in (1, 2)}
    for name, value in layers().items():
        if name.startswith(("conv1.", "bn1.", "conv2.", "bn2.")):
            state[f"stem.feature1.{name}"] = value
        elif name != "corr_bias":
            state |= {f"branch{j}.{name}": value for j in (1, 2)}
    for name, value in model(2).cluster_weights.state_dict().items():
        own = name.replace("layers", "cluster_weight").replace("linear", "linear.0")
        state[f"cluster_weight.{own}"] = value
    return state


def packed(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_npy", ".npy"), content)
    return data.getvalue()


def bomb(name: str, begin: bytes = b"") -> bytes:
    """An archive whose directory says that a member of a few bytes becomes 2 GB."""
    content = begin + b"\0" * 99_999
    sizes = (struct.pack("<I", size) for size in (len(content), 2_000_000_000))
    return packed(**{name: content}).replace(*sizes)


def array_header(shape: str, kind: str = "<f4") -> bytes:
    """The beginning of an .npy file that promises an array of this shape."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


# Files that are none of their kind.

KINDS = ("safetensors", "npz", "mat", "pth")
for kind in KINDS:
    broken(kind, "empty")(lambda path: b"")
    broken(kind, "one byte")(lambda path: b"\x80")
    broken(kind, "noise")(lambda path: np.random.default_rng(0).bytes(5000))
    broken(kind, "text")(lambda path: b"version https://git-lfs.github.com/spec/v1\nsize 9\n" * 9)
    broken(kind, "web page")(lambda path: b"<!DOCTYPE html><html><body>404</body></html>")
    broken(kind, "a folder")(lambda path: path.mkdir())
    broken(kind, "a fifo")(lambda path: os.mkfifo(path))
    broken(kind, "a link to nothing")(lambda path: path.symlink_to("nowhere"))
    broken(kind, "zip of nothing")(lambda path: packed())
    broken(kind, "pickle")(lambda path: pickle.dumps({"weights": [1, 2, 3]}))


@broken("pth")
def truncated(path):
    torch_file(path)
    return path.read_bytes()[:-4000]


@broken("safetensors", "truncated")
def _(path):
    ours(path)
    return path.read_bytes()[:-4000]


@broken("npz", "truncated")
def _(path):
    np.savez(path, **{n: v.numpy() for n, v in layers().items() if n[:2] != "bn"})
    return path.read_bytes()[:-4000]


@broken("safetensors", "a bit turned")
def _(path):
    ours(path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 64
    return bytes(data)


@broken("npz", "a bit turned")
def _(path):
    np.savez(path, **{n: v.numpy() for n, v in layers().items() if n[:2] != "bn"})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 64
    return bytes(data)


@broken("safetensors", "a state dict renamed")
def _(path):
    torch_file(path)


@broken("pth", "a model file renamed")
def _(path):
    ours(path)


@broken("npz", "a state dict renamed")
def _(path):
    with path.open("wb") as file:
        torch.save(layers(), file)


@broken("mat", "a model file renamed")
def _(path):
    ours(path)


@broken("onnx", "an ONNX graph")
def _(path):
    return b"\x08\x07\x12\x07pytorch"


@broken("safetensors.gz", "packed once more")
def _(path):
    return b"\x1f\x8b" + b"\0" * 50


# Sizes that are promised.


@broken("safetensors", "header of 2^60 bytes")
def _(path):
    return struct.pack("<Q", 2**60) + b"{}" * 50


@broken("safetensors", "tensor of 10^12 numbers")
def _(path):
    text = b'{"x":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    return struct.pack("<Q", len(text)) + text


@broken("safetensors", "header nested without end")
def _(path):
    ours(path, text="[" * 100_000)


for fault, about in {
    "width 1e9": {"width": 1e9},
    "width 50": {"width": 50.0},
    "width 8": {"width": 8.0},
    "width 0": {"width": 0},
    "width below 0": {"width": -1.0},
    "width NaN": {"width": NAN},
    "width infinite": {"width": INF},
    "width as text": {"width": "0.125"},
    "width missing": {"width": None},
    "width of another network": {"width": 0.5},
    "format 0": {"format": 0},
    "format 99": {"format": 99},
    "format as text": {"format": "1"},
    "format missing": {"format": None},
    "network unknown": {"network": "yolo"},
    "network missing": {"network": None},
    "network of the other kind": {"network": "esiamfc"},
    "digest missing": {"digest": None},
    "digest wrong": {"digest": "0" * 64},
}.items():
    broken("safetensors", fault)(lambda path, about=about: ours(path, about=about))

for fault, about in {
    "k of 10^9": {"k": 10**9},
    "k of 64": {"k": 64},
    "k of 3 where there are 2": {"k": 3},
    "k of 1 where there are 2": {"k": 1},
    "k of 0": {"k": 0},
    "k as text": {"k": "2"},
    "k of 2.5": {"k": 2.5},
    "temperature 0": {"temperature": 0.0},
    "temperature NaN": {"temperature": NAN},
    "temperature infinite": {"temperature": INF},
}.items():
    broken("safetensors", fault)(lambda path, about=about: ours(path, 2, about=about))

for fault, text in {
    "header no JSON": "{",
    "header a list": "[]",
    "header a number": "3",
    "header empty": "",
}.items():
    broken("safetensors", fault)(lambda path, text=text: ours(path, text=text))


@broken("safetensors", "no header")
def _(path):
    save_file(dict(model().state_dict()), path)


for shape in ("(1000000000000,)", "(1000000, 1000000, 1000000, 1000000)", "(-1,)", "('a',)"):
    broken("npz", f"array of shape {shape}")(
        lambda path, shape=shape: packed(conv1_weight_npy=array_header(shape))
    )
broken("npz", "bomb")(lambda path: bomb("x_npy", array_header("(500000000,)")))
broken("npz", "objects")(lambda path: np.savez(path, x=np.array([{"a": 1}], dtype=object)))
broken("npz", "encrypted")(
    # the flag of encryption, in the member and in the directory
    lambda path: (
        packed(x_npy=array_header("(1,)") + b"\0" * 4)
        .replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
        .replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    )
)
broken("npz", "members that are no arrays")(lambda path: packed(a=b"a", b=b"b"))
broken("npz", "one array")(lambda path: array_header("(1,)") + b"\0" * 4)
broken("pth", "bomb")(lambda path: bomb("net__data"))


@broken("pth", "tensor of 10^12 numbers over one")
def _(path):
    torch_file(path, {"conv1.weight": torch.zeros(1).expand(10**12)})


@broken("pth", "layer of 10^9 channels over one number")
def _(path):
    torch_file(path, {"conv1.weight": torch.zeros(1, 1, 1, 1).expand(10**9, 3, 11, 11)})


@broken("pth", "first layer of 100000 channels")
def _(path):
    torch_file(path, {"conv1.weight": torch.zeros(100_000, 1, 1, 1)})


@broken("pth", "old format with a storage of 10^12 numbers")
def _(path):
    torch.save(layers(), path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    return data.replace(b"M\xb0\x16", b"\x8a\x06\x00\x10\xa5\xd4\xe8\x00", 1)


# Python objects and other things than a state dict.


class Evil:
    """Would run a command if it were unpickled."""

    def __reduce__(self):
        return os.system, ("touch was-run",)


for fault, content in {
    "a whole network": model(),
    "code": Evil(),
    "code among the weights": layers() | {"x": Evil()},
    "a function": {"x": os.system},
    "nothing": None,
    "a number": 3.5,
    "a text": "weights",
    "a tensor": torch.zeros(3),
    "a list of tensors": [torch.zeros(3)],
    "an empty dictionary": {},
    "an optimizer": torch.optim.SGD(model().parameters(), lr=0.1, momentum=0.9).state_dict(),
    "names that are numbers": {0: torch.zeros(3)},
    "numbers for tensors": {"conv1.weight": 3},
    "only a counter": {"epoch": torch.tensor(3)},
    "another network": torch.nn.Linear(3, 3).state_dict(),
    "no tensors in its state dict": {"state_dict": {}},
}.items():
    broken("pth", fault)(lambda path, content=content: torch.save(content, path))


# Networks that are not whole, or have something else besides.


def one(value):
    return lambda t: t.flatten()[3:4].fill_(value)


OURS = {
    "NaN in a layer": lambda s: one(NAN)(s["branch.layers.6.weight"]),
    "infinite in a layer": lambda s: one(-INF)(s["stem.layers.0.bias"]),
    "NaN in a bias": lambda s: s["branch.bias"].fill_(NAN),
    "variance NaN": lambda s: one(NAN)(s["stem.layers.1.running_var"]),
    "variance below 0": lambda s: one(-1.0)(s["stem.layers.1.running_var"]),
    "layer missing": lambda s: s.pop("branch.layers.6.bias"),
    "layer too many": lambda s: s.update(x=torch.zeros(1)),
    "shape turned": lambda s: s.update({"stem.layers.0.bias": s["stem.layers.0.bias"][None]}),
    "int8": lambda s: s.update({n: t.to(torch.int8) for n, t in s.items()}),
    "no tensors": lambda s: s.clear(),
}
for fault, change in OURS.items():
    broken("safetensors", fault)(lambda path, change=change: ours(path, change=change))
broken("safetensors", "NaN in the cluster weights")(
    lambda path: ours(path, 2, lambda s: one(NAN)(s["cluster_weights.linear.weight"]))
)


def with_value(name, value):
    tensor = layers()[name]
    one(value)(tensor)
    return {name: tensor}


def as_type(kind, only=""):
    return {n: t.to(kind) for n, t in layers().items() if t.is_floating_point() and only in n}


def adjusted(weight):
    return {"adjust.weight": weight, "adjust.bias": torch.ones(1), "corr_bias": None}


STATES = {
    "NaN in a layer": with_value("conv3.weight", NAN),
    "infinite in a layer": with_value("conv3.weight", INF),
    "NaN in a norm": with_value("bn2.running_mean", NAN),
    "variance below 0": with_value("bn2.running_var", -1.0),
    "too large for float32": {"conv3.weight": layers()["conv3.weight"].double() * 1e300},
    "int8": as_type(torch.int8),
    "complex": as_type(torch.complex64, "conv1"),
    "float8": as_type(torch.float8_e4m3fn, "conv1"),
    "sparse": {"conv1.weight": layers()["conv1.weight"].to_sparse()},
    "on no device": {"conv1.weight": torch.empty(16, 3, 11, 11, device="meta")},
    "quantised": {"conv1.bias": torch.quantize_per_tensor(torch.ones(16), 0.1, 0, torch.qint8)},
    "conv1 missing": {"conv1.weight": None},
    "conv5 bias missing": {"conv5.bias": None},
    "conv3 bias missing": {"conv3.bias": None},
    "norm missing": {n: None for n in layers() if n.startswith("bn3")},
    "factor of a norm missing": {"bn3.weight": None},
    "variances missing": {"bn3.running_var": None},
    "layer too many": {"conv6.weight": torch.zeros(3)},
    "part that is unknown": {"head.weight": torch.zeros(3)},
    "norm of the last layer": {"bn5.weight": torch.ones(40)},
    "two of one layer": {"ema.conv1.weight": layers()["conv1.weight"]},
    "shape turned": {"conv3.weight": layers()["conv3.weight"].permute(3, 2, 1, 0)},
    "no shape": {"conv1.weight": torch.tensor(1.0)},
    "no size": {"conv1.weight": torch.zeros(0, 3, 11, 11)},
    "two biases of the response": {"corr_bias": torch.zeros(2)},
    "response scaled by 0": adjusted(torch.zeros(1, 1, 1, 1)),
    "response turned over": adjusted(torch.full((1, 1, 1, 1), -0.001)),
    "response of two channels": adjusted(torch.ones(1, 2, 1, 1)),
    "response without bias": {"adjust.weight": torch.ones(1, 1, 1, 1), "corr_bias": None},
    "response twice": adjusted(torch.ones(1, 1, 1, 1)) | {"corr_bias": torch.ones(1)},
    "norm of the response without variance": {
        "bn_adjust.weight": torch.ones(1),
        "bn_adjust.bias": torch.ones(1),
        "bn_adjust.running_mean": torch.ones(1),
    },
    "norm of the response turned over": {
        "bn_adjust.weight": -torch.ones(1),
        "bn_adjust.bias": torch.ones(1),
        "bn_adjust.running_mean": torch.ones(1),
        "bn_adjust.running_var": torch.ones(1),
    },
}
for fault, changes in STATES.items():
    broken("pth", fault)(lambda path, changes=changes: torch_file(path, changes))


def without(*begin):
    return lambda state: [state.pop(name) for name in [*state] if name.startswith(begin)]


HEAVIEST = "cluster_weight.linear.0.weight"
ENSEMBLES = {
    "ensemble without cluster weights": without("cluster_weight"),
    "ensemble without one cluster weight": without(HEAVIEST),
    "ensemble with NaN in its cluster weights": lambda s: s[HEAVIEST].fill_(NAN),
    "ensemble without a bias": without("corr_bias2"),
    "ensemble without its first branch": without("branch1", "corr_bias1"),
    "ensemble without branches": without("branch", "corr"),
    "ensemble with half a branch": without("branch2.conv4"),
    "ensemble with something else": lambda s: s.update({"head.weight": torch.zeros(3)}),
    "ensemble with branch 10^9": lambda s: s.update({"branch1000000000.x": torch.zeros(3)}),
}
for fault, change in ENSEMBLES.items():

    @broken("pth", fault)
    def _(path, change=change):
        state = ensemble()
        change(state)
        torch.save(OrderedDict(state), path)


ARRAYS = {
    "NaN in a layer": {"conv3.weight": np.full((64, 40, 3, 3), NAN, "f4")},
    "array too many": {"x": np.zeros(3)},
    "array missing": {"conv4.bias": None},
    "whole numbers": {"conv3.weight": np.zeros((64, 40, 3, 3), "i4")},
    "complex": {"conv3.weight": np.zeros((64, 40, 3, 3), "c8")},
    "texts": {"conv3.weight": np.array(["a", "b"])},
    "dates": {"conv3.weight": np.zeros(3, "M8[s]")},
    "fields": {"conv3.weight": np.zeros(3, [("a", "f4")])},
    "bias of another size": {"conv1.bias": np.zeros(3, "f4")},
    "half the norms": {"bn1.weight": np.ones(16, "f4")},
}
for fault, changes in ARRAYS.items():

    @broken("npz", fault)
    def _(path, changes=changes):
        whole = {n: v.numpy() for n, v in layers().items() if n[:2] != "bn" and n != "corr_bias"}
        np.savez(path, **{n: v for n, v in (whole | changes).items() if v is not None})


# MatConvNet.


def matconvnet(path: Path, changes=()) -> None:
    """A network of MatConvNet with other values."""
    params = {}
    for name, value in layers().items():
        layer, _, field = name.partition(".")
        if field == "weight":
            turned = value.permute(2, 3, 1, 0) if value.ndim == 4 else value[:, None]
            params[layer + ("f" if value.ndim == 4 else "m")] = turned.numpy()
        elif field == "bias":
            params[f"{layer}b"] = value[:, None].numpy()
        elif field == "running_mean":
            params[f"{layer}x"] = np.stack([value.numpy(), np.ones(len(value), "f4")], axis=1)
    params |= {"adjust_f": np.array([[0.001]]), "adjust_b": np.array([[-1.0]])} | dict(changes)
    kept = [(name, value) for name, value in params.items() if value is not None]
    table = np.array(kept, dtype=[("name", object), ("value", object)])
    scipy.io.savemat(path, {"net": {"params": table.reshape(1, -1)}})


MATRICES = {
    "NaN in a layer": {"conv1b": np.full((16, 1), NAN)},
    "deviation of 0": {"bn1x": np.zeros((16, 2))},
    "deviations missing": {"bn1x": np.zeros((16, 1))},
    "param too many": {"conv6f": np.zeros((1, 1))},
    "param missing": {"conv4b": None},
    "filter without shape": {"conv1f": np.zeros((1, 1))},
    "complex": {"conv1b": np.full((16, 1), 1j)},
    "texts": {"conv1b": "weights"},
    "whole numbers": {"conv1b": np.zeros((16, 1), "i2")},
    "two of one layer": {"br_conv1b": np.zeros((16, 1))},
    "response scaled by 0": {"adjust_f": np.zeros((1, 1))},
    "response without scale": {"adjust_f": np.zeros((0, 0))},
}
for fault, changes in MATRICES.items():
    broken("mat", fault)(lambda path, changes=changes: matconvnet(path, changes))
broken("mat", "other variables")(lambda path: scipy.io.savemat(path, {"x": 1}))
broken("mat", "net is a number")(lambda path: scipy.io.savemat(path, {"net": 1}))
broken("mat", "params without names")(
    lambda path: scipy.io.savemat(path, {"net": {"params": np.zeros((1, 3))}})
)
broken("mat", "version 4")(lambda path: scipy.io.savemat(path, {"x": np.zeros((3, 3))}, format="4"))
broken("mat", "version 7.3")(
    lambda path: (
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + b"\0" * 99
    )
)
broken("mat", "version 9")(lambda path: b"MATLAB 9.0 MAT-file".ljust(124) + b"\x00\x09IM")


@broken("mat", "cells without end")
def _(path):
    scipy.io.savemat(path, {"net": np.array([[1, 2]], dtype=object)})
    return path.read_bytes().replace(struct.pack("<ii", 1, 2), struct.pack("<ii", 1, 2 * 10**9), 1)


def whole(path: Path) -> Path:
    """A file that is not broken, to see that the others are refused for their faults alone."""
    writers = {"pth": torch_file, "mat": matconvnet, "safetensors": lambda p: save(p, model())}
    writers[path.suffix[1:]](path)
    return path
