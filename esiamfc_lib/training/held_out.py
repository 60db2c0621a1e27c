"""Which videos are held out: for validation by all, and in turn, fold by fold, by branches."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints


def split_videos(videos: Sequence[str], fraction: float) -> tuple[set[str], set[str]]:
    """Divide videos (names in any order, with repetitions) into training and validation.
    ``fraction`` is kept for validation, at least one video if above 0: those whose names have the
    smallest digests. No seed: a branch that is repeated with another one starts from a network that
    must not have learned from the videos it is judged by. A ``StudyError`` where nothing would be
    left for training."""
    names = sorted(set(videos))
    count = max(round(fraction * len(names)), 1) if fraction > 0 else 0
    if count >= len(names):
        said = f"{len(names)} videos cannot be divided with validation_fraction = {fraction}"
        raise StudyError(f"{said}: nothing is left for training")
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


def track_folds(store: CropStore, fraction: float, folds: int) -> np.ndarray:
    """(number of tracks,) fold of every track, 0 to ``folds`` - 1: a pure function of its video's
    name and of ``folds``; -1 where ``split_tracks`` with ``fraction`` holds the video out."""
    learned, found = split_tracks(store, fraction)[0], np.full(len(store.tracks), -1)
    names = [f"fold {video}".encode() for video in store.tracks["video"].iloc[learned]]
    found[learned] = [int.from_bytes(sha256(name).digest()[:4]) % folds for name in names]
    return found


def without_fold(tracks: np.ndarray, fold: np.ndarray, left_out: int) -> np.ndarray:
    """Those of ``tracks`` in other folds (``track_folds``); a StudyError if there is none."""
    if not len(rest := tracks[fold[tracks] != left_out]):
        raise StudyError(f"all tracks of the cluster are in fold {left_out}: change branches.folds")
    return rest


def fold_files(branches: Sequence[Path]) -> list[list[Path]]:
    """Of each fold the files of the branches without it, beside those of the ``branches`` that have
    seen all. A ``StudyError`` where notebook 05 has left no fold out."""
    folds = int(checkpoints.load(branches[0])[1].get("training", {}).get("folds", 0))
    if not folds:
        raise StudyError(f"{branches[0]}: no fold was left out: set branches.folds to 2 or more")
    return [[own.with_name(f"fold_{f}.safetensors") for own in branches] for f in range(folds)]
