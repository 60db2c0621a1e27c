"""Faster than the study needs: int8 networks, ONNX files, the server of the VOT toolkit.

In reading order: ``engines`` (which one this machine should use), ``quantisation`` and
``rounding`` (the int8 form of a network), ``int8`` (its engine), ``onnx_export``, ``trax`` (the
toolkit's protocol).
"""

from esiamfc_lib.deploy.engines import choose, make
from esiamfc_lib.deploy.quantisation import quantise

__all__ = [
    "choose",
    "make",
    "quantise",
]
