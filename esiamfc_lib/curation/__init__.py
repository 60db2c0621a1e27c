"""Notebook 01: from annotated frames to the store of crops (Bertinetto et al. 2016, section 2).

In reading order: ``inputs`` (built-in data or the user's folders), ``pipeline`` (one pass over
all videos), ``frames`` and ``archive`` (folders and tar files), ``crops`` (cut and encode),
``store_writer`` (LMDB shards, resumable), ``store_manifest`` (what the store holds),
``store_check`` (verify, merge).
"""

from esiamfc_lib.curation.inputs import prepare
from esiamfc_lib.curation.pipeline import curate, estimate

__all__ = [
    "curate",
    "estimate",
    "prepare",
]
