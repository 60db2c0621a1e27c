"""A thin library for the reproducible study of ESiamFC, an ensemble of SiamFC trackers.

The packages, in the order of the method; the docstring of each lists its modules:

- ``data``: benchmarks, videos and the crop store; ``synthetic`` draws the built-in ones, and
  ``curation`` (notebook 01) cuts the crops
- ``networks``: SiamFC, the branches, the cluster weights; ``training`` (02, 05, 06) fits them
- ``clustering`` (03, 04): tracks as video features, and their balanced split by PIk-means
- ``tracking``, ``evaluation``, ``analysis`` (07 to 09): boxes, their scores, and what those say
- ``figures``: data in, figure out
- ``chain``: runs the notebooks, each only when something it depends on has changed
- ``commands``: the command line, behind ``cli``

``Tracker`` is for those who want boxes: ``Tracker.load(file)``, ``init`` and ``update``.
``runtime`` is how all of it works on this machine. Of the modules beside the packages ``config``
states every parameter, ``artefacts`` where the notebooks' files lie, ``reports`` writes what is
for people, ``page`` makes one page of it, and ``errors`` holds the one exception."""

__version__ = "0.1.0"


def __getattr__(name: str):
    """``Tracker``, read when it is asked for: importing PyTorch takes seconds."""
    if name == "Tracker":
        from esiamfc_lib.tracking.tracker import Tracker

        return Tracker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
