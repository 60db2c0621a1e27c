"""A thin library for the reproducible study of ESiamFC, an ensemble of SiamFC trackers.

Modules are read in the order of the method: ``config``, ``geometry``, ``sequence``, ``vid``,
``synthetic``, ``store``, ``curation``, ``pairs``, ``networks``, ``training``, ``checkpoints``,
``embedding``, ``clustering``, ``tracking``, ``benchmarks``, ``evaluation``, ``statistics``,
``figures``, ``study``, ``cli``.
"""

__version__ = "0.1.0"
