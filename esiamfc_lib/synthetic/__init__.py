"""The built-in data: videos of drawn objects whose families differ as far as is asked for.

It stands in for ILSVRC2015-VID and the benchmarks where those are absent, in their layouts. In
reading order: ``settings`` (what to make), ``dataset`` (all videos, on disk), ``layouts`` (VID,
OTB, VOT, GOT-10k), ``scenes`` (one video), ``objects`` (families and their members), ``shapes``,
``motion``, ``textures``, ``backgrounds``, ``painting``."""

from esiamfc_lib.synthetic.dataset import build
from esiamfc_lib.synthetic.objects import FAMILIES, family_sheet
from esiamfc_lib.synthetic.settings import BuiltIn

__all__ = ["FAMILIES", "BuiltIn", "build", "family_sheet"]
