"""Faster than the study needs: int8 networks, ONNX files, the server of the VOT toolkit.

In reading order: ``quantisation`` and ``rounding`` (the int8 form of a network), ``int8`` (its
engine), ``spec`` (trackers that may use it), ``onnx_export``, ``trax`` (the toolkit's protocol).
"""

from esiamfc_lib.deploy.quantisation import quantise
from esiamfc_lib.deploy.spec import FastTrackerSpec

__all__ = ["FastTrackerSpec", "quantise"]
