"""A thin library for the reproducible study of ESiamFC, an ensemble of SiamFC trackers.

The modules, in the order of the method; the ones in brackets are their parts:

- shared: ``config``, ``errors``, ``progress``, ``reports``, ``sequence``, ``geometry``
- 01 dataset: ``dataset``, ``vid``, ``synthetic`` (``synthetic_*``), ``curation`` (``sources``,
  ``archive``, ``cutting``, ``parallel``), ``store`` (``store_*``)
- 02, 05, 06 training: ``pairs`` (``loader``, ``augmentation``), ``networks``, ``tasks``,
  ``training`` (``run_folder``, ``training_log``, ``devices``), ``averaging``, ``checkpoints``,
  ``conversion``, ``export``
- 03 embedding: ``embedding``, ``maps`` (``map_page``)
- 04 clustering: ``clustering`` (``samples``, ``control``, ``balance``), ``partition``,
  ``cluster_study``
- 07 results: ``tracking`` (``sequence_tracker``, ``ensemble``, ``ablation``, ``video``, ``trax``),
  ``engine`` (``engine_int8``, ``engine_onnx``, ``quantisation``, ``rounding``), ``lockstep``
  (``batched``), ``benchmarks``, ``supervised``, ``metrics``, ``specs``, ``evaluation``,
  ``scoring``, ``multistart``, ``statistics`` (``pairing``), ``selection``, ``paper_table``,
  ``controls``, ``specialists``
- the scaling study: ``scaling`` (``scaling_report``)
- figures: ``figures``, ``figures_clusters``, ``figures_tracking``, ``figures_specialists``,
  ``figures_scaling``
- the chain: ``study`` (``profiles``, ``arms``, ``stages``, ``fingerprint``, ``execution``,
  ``kernels``, ``provenance``, ``terminal``), ``cli`` with ``commands`` and ``bench``
"""

__version__ = "0.1.0"
