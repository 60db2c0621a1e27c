"""The chain: notebooks run by papermill, each only when something it depends on has changed.

In reading order: ``profiles`` (YAML to parameters), ``arms`` (control arms), ``graph`` (stages,
inputs, outputs), ``fingerprint`` (what a stage depends on), ``record`` (how a stage went),
``notebook_run`` (one notebook), ``kernels`` (processes that must end), ``runner`` (all of them),
``display`` (the terminal), ``sweep`` (the study at several values of a parameter)."""

from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.chain.runner import Chain

__all__ = ["Chain", "load_profile"]
