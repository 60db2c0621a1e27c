"""Notebook 01: from annotated frames to the store of crops (Bertinetto et al. 2016, section 2).

In reading order: ``inputs`` (built-in data, the user's folders, or a finished store), ``pipeline``
(one pass over all videos), ``frames`` and ``archive`` (folders and tar files), ``crops`` (cut and
encode), ``store_writer`` (LMDB shards, resumable), ``store_manifest`` (what the store holds),
``store_check`` (verify, merge, adopt)."""

from esiamfc_lib.curation.inputs import fill_store, prepare
from esiamfc_lib.curation.pipeline import curate, estimate

__all__ = ["curate", "estimate", "fill_store", "prepare"]
