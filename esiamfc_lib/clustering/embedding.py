"""The embedding: one unit vector, the **video feature**, for every track.

A track's exemplars go through the baseline; each gives a vector of 6 × 6 × channels numbers, scaled
to unit length. **Screening** keeps the frames that agree most with the others; the mean of those,
scaled to unit length, is the track's video feature. Source: the ESiamFC paper (doi
10.1007/s00521-022-06911-4), ``bin/video_feature_rate.py`` of github.com/conquerhuang/ESiamFC."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from esiamfc_lib.clustering.centroids import check_unit_rows
from esiamfc_lib.data.exemplars import exemplar
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.networks.norms import folded
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.bars import Progress
from esiamfc_lib.runtime.devices import choose_device, choose_precision
from esiamfc_lib.runtime.files import digest_of, write_atomically
from esiamfc_lib.runtime.parallel import spread

FORMAT = 1
OUTCOME = ["sampled", "kept", "agreement", "screened_frames", "reason"]
JOB_TRACKS = 8  # tracks that a worker gets at a time


@dataclass(frozen=True)
class VideoFeatures:
    """Video features and where they come from. ``features`` (n, d) float32 has rows of unit length,
    ``tracks`` (n,) their "video/track_id", ``weights_digest`` is that of the network's file.
    ``table`` has a row for every track of the store, dropped ones too: ``track``, ``frames`` (in
    the store), ``sampled``, ``kept``, ``agreement`` (mean cosine of the kept frames with the
    track's others), ``screened_frames`` (their numbers, separated by spaces), ``reason`` ("" or why
    the track or frames were left out)."""

    features: np.ndarray
    tracks: np.ndarray
    table: pd.DataFrame
    weights_digest: str = ""

    def __len__(self) -> int:
        return len(self.tracks)

    def save(self, path: str | Path) -> None:
        """Write one ``.npz``; the same content gives the same bytes."""
        content = {"format": FORMAT, "features": self.features}
        content |= {"tracks": np.asarray(self.tracks, str), "weights_digest": self.weights_digest}
        for name, column in self.table.items():  # strings, where pandas has objects, need a pickle
            plain = column.dtype.kind in "biuf"
            content[f"table_{name}"] = column.to_numpy() if plain else column.to_numpy(str)
        write_atomically(path, lambda file: np.savez(file, **content))

    @classmethod
    def load(cls, path: str | Path, weights_digest: str | None = None) -> "VideoFeatures":
        """Read what :meth:`save` wrote. A ``StudyError`` names a missing or damaged file, features
        of weights other than ``weights_digest`` (None: any), or rows not of unit length."""
        if not Path(path).is_file():
            raise StudyError(f"no video features at {path}: run notebook 03 first")
        with refused(f"{path} is not a file of video features"):
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
            table = {n.removeprefix("table_"): found[n] for n in found if n.startswith("table_")}
            tracks, digest = found["tracks"].astype(object), str(found["weights_digest"])
            loaded = cls(found["features"], tracks, pd.DataFrame(table), digest)
        if weights_digest not in (None, digest):
            said = f"{path} holds features of weights {digest[:12] or '?'}"
            raise StudyError(f"{said}, not of {weights_digest[:12]}: run notebook 03 again")
        check_unit_rows(loaded.features, str(path))
        return loaded


def embed(
    store: CropStore,
    model: SiamFC,
    *,
    frames_per_track: int,
    min_frames: int,
    keep_fraction: float,
    keep_rounds: str,
    batch_size: int,
    device: str = "auto",
    precision: str = "fp32",
    weights_digest: str = "",
    workers: int = 1,
    scheduler: str = "",
) -> VideoFeatures:
    """Video features of all tracks of a store, whose crops stream through the network.

    Args:
        frames_per_track: evenly spaced, at most; min_frames: tracks with fewer are left out.
        keep_fraction: share of a track's frames that screening keeps, rounded ``keep_rounds``.
        precision: as in training; ``bf16`` moves a feature by about 1e-3.
        weights_digest: of the network's file, kept with the result.
        scheduler: address of a Dask scheduler, whose workers take the place of ``workers``
            processes; they must see the store's folder.

    A StudyError: no track has enough frames, the network gives zeros or NaN, no such device."""
    tracks = store.tracks
    table = pd.DataFrame({"track": tracks["track"].astype(str), "frames": tracks["frames"]})
    table[OUTCOME] = [0, 0, np.nan, "", ""]
    long_enough = np.flatnonzero(tracks["frames"] >= min_frames)
    table.loc[tracks["frames"] < min_frames, "reason"] = f"fewer than {min_frames} frames"
    if not len(long_enough):
        raise StudyError(f"{store.path}: none of {len(tracks)} tracks has {min_frames} frames")
    target = choose_device(device)
    bf16 = choose_precision(precision, target)[0] == "bf16"
    network = folded(model).to(target, memory_format=torch.channels_last)
    keep = keep_fraction, keep_rounds
    work = partial(_embed_tracks, store, network, frames_per_track, keep, batch_size, bf16)
    jobs = [long_enough[i : i + JOB_TRACKS] for i in range(0, len(long_enough), JOB_TRACKS)]

    def seen(job: np.ndarray) -> dict[str, str]:  # by a Dask worker, which must see the same store
        return {"data": CropStore(store.path).digest + digest_of([store.read_bytes(job[0], 0)])}

    features = []
    with Progress(total=len(long_enough), desc="embedding", unit="track") as bar:
        done = chain.from_iterable(spread(work, jobs, workers, scheduler, seen))
        for track, feature, kept, agreement, frames in done:
            features.append(feature)
            screened = " ".join(map(str, frames[~kept]))
            reason = "" if kept.all() else "the screened frames agree least with the others"
            mean = float(agreement[kept].mean())
            table.loc[track, OUTCOME] = [len(kept), int(kept.sum()), mean, screened, reason]
            bar.update()
    names = tracks["track"].to_numpy()[long_enough]
    return VideoFeatures(np.stack(features), names, table, weights_digest)


def _embed_tracks(store, model, frames_per_track, keep, batch_size, bf16, tracks) -> list[tuple]:
    """Per track: its index, video feature, frames kept, agreement of the frames, their numbers."""
    chosen = {track: evenly_spaced(len(store.frames(track)), frames_per_track) for track in tracks}
    exemplars = (exemplar(store, track, i) for track, frames in chosen.items() for i in frames)
    vectors = frame_features(exemplars, model, batch_size, bf16)
    results = []
    for track, frames in chosen.items():
        own = np.stack(list(islice(vectors, len(frames))))
        kept, agreement = screen(own, *keep)
        feature = own[kept].mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(feature)
        if not length > 0:
            name = store.tracks["track"][track]
            raise StudyError(f"track {name!r}: the network's features are zero or NaN")
        unit = (feature / length).astype(np.float32)
        results.append((track, unit, kept, agreement, store.frames(track)[frames]))
    return results


def frame_features(
    exemplars: Iterable[np.ndarray], model: torch.nn.Module, batch_size: int, bf16: bool = False
) -> Iterator[np.ndarray]:
    """Unit-length feature vectors, (36·channels,) float32, of a stream of exemplars, uint8
    (127, 127, 3) RGB, by a ``SiamFC`` in eval mode."""
    device = next(model.parameters()).device
    exemplars = iter(exemplars)
    while batch := list(islice(exemplars, batch_size)):
        images = torch.from_numpy(np.stack(batch)).to(device).permute(0, 3, 1, 2)
        images = images.float().contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            features = model.features(images).float().flatten(1)
        yield from torch.nn.functional.normalize(features, dim=1).cpu().numpy()


def screen(
    features: np.ndarray, keep_fraction: float, keep_rounds: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which frames of a track, (m, d) rows of unit length, agree most with the others: ``kept``
    (m,) bool, ``keep_fraction`` of them, rounded ``up`` or ``down``, but one at least; and (m,)
    mean cosines with the others."""
    m = len(features)
    count = int(np.ceil(keep_fraction * m - 1e-9))
    if keep_rounds == "down":
        count = max(int(keep_fraction * m + 1e-9), 1)
    agreement = (features @ features.sum(axis=0) - 1.0) / max(m - 1, 1)
    best = np.argsort(-agreement, kind="stable")[:count]
    return np.isin(np.arange(m), best), agreement


def nearest_agreement(
    features: np.ndarray, groups: np.ndarray, videos: np.ndarray
) -> tuple[float, float]:
    """Share of tracks, (n, d) rows of unit length, whose nearest track is of the same group, and
    the share to expect of one drawn by chance; both NaN where all are of one video. Tracks of one
    video share their background, so only those of other videos count."""
    allowed = videos[:, None] != videos[None, :]
    counted = allowed.any(axis=1)
    if not counted.any():
        return float("nan"), float("nan")
    same = groups[:, None] == groups[None, :]
    cosine = np.where(allowed, features @ features.T, -np.inf)
    nearest = same[np.arange(len(groups)), cosine.argmax(axis=1)]
    chance = (same & allowed).sum(axis=1)[counted] / allowed.sum(axis=1)[counted]
    return float(nearest[counted].mean()), float(chance.mean())
