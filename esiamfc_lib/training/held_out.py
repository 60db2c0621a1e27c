"""Which videos are held out for validation."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError


def split_videos(videos: Sequence[str], fraction: float) -> tuple[set[str], set[str]]:
    """Divide videos (names in any order, with repetitions) into training and validation.
    ``fraction`` is kept for validation, at least one video if above 0: those whose names have the
    smallest digests. No seed: a branch that is repeated with another one starts from a network that
    must not have learned from the videos it is judged by. A ``StudyError`` where nothing would be
    left for training."""
    names = sorted(set(videos))
    count = max(round(fraction * len(names)), 1) if fraction > 0 else 0
    if count >= len(names):
        raise StudyError(
            f"{len(names)} videos cannot be divided with validation_fraction = "
            f"{fraction}: nothing is left for training"
        )
    validation = set(sorted(names, key=lambda name: sha256(name.encode()).digest())[:count])
    return set(names) - validation, validation


def split_tracks(
    store: CropStore, fraction: float, members: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training tracks and of validation tracks, ascending, by ``split_videos``. The
    training videos of the whole store are divided, whatever the members (indices of the tracks that
    take part, for example of one cluster; None = all): all stages of a study then agree on which
    videos none of them has learned from. Videos of the ``val`` split, where the store holds them,
    are always held out."""
    tracks = store.tracks
    chosen = np.arange(len(tracks)) if members is None else np.sort(members)
    held_out = split_videos(tracks.loc[tracks["split"] == "train", "video"], fraction)[1]
    kept = (tracks["video"].isin(held_out) | (tracks["split"] == "val")).to_numpy()[chosen]
    return chosen[~kept], chosen[kept]
