"""Exemplars out of the crop store: the middle of the stored crops."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from esiamfc_lib.data.geometry import EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.data.store import CropStore

MARGIN = (SEARCH_SIZE - EXEMPLAR_SIZE) // 2  # around the exemplar in a crop


def exemplar(store: CropStore, track: int, i: int) -> np.ndarray:
    """The i-th exemplar of a track, the middle of its crop: uint8 (127, 127, 3) RGB."""
    middle = slice(MARGIN, MARGIN + EXEMPLAR_SIZE)
    return store.read(track, i)[middle, middle]


def middle_exemplars(store: CropStore, tracks: Iterable[int]) -> Iterator[np.ndarray]:
    """The exemplar in the middle of each of ``tracks`` (indices), one after another."""
    return (exemplar(store, track, len(store.frames(track)) // 2) for track in tracks)


def thumbnails(store: CropStore, tracks: Iterable[str], side: int = 64) -> np.ndarray:
    """(n, side, side, 3) uint8 RGB: the middle exemplar of each of ``tracks`` (their ids)."""
    middles = middle_exemplars(store, store.rows_of(tracks))
    small = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in middles]
    return np.stack(small)
