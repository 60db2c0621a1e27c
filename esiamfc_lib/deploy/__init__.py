"""Faster than the study needs: int8 networks, ONNX files.

In reading order: ``quantisation`` (the int8 form of a network), ``int8`` (its engine), ``spec``
(trackers that may use it), ``onnx_export``."""

from esiamfc_lib.deploy.spec import FastTrackerSpec

__all__ = ["FastTrackerSpec"]
