"""The crop store's table of contents: which crops there are, of which track, in which shard.

Kept as plain arrays (``.npz`` without pickle): a million crops load in a fraction of a second. A
video's own part of the index is its **record**, which lies in the shard beside its crops and is
written in the same transaction: a video is finished exactly when its record is there.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import digest_of


@dataclass(frozen=True)
class Index:
    """Arrays over V videos, T tracks and N crops, sorted by (split, video), track, frame.

    Attributes:
        video, split: (V,) names.
        shard: (V,) number of the shard that holds the video's crops.
        size: (V, 2) width and height of the frames.
        n_frames: (V,) frames looked at, with objects or without.
        content: (V,) digest of the source files.
        track_video: (T,) row of the track's video.
        track_id: (T,) unique within the video.
        track_name: (T,) class.
        track_family: (T,) family label, "" where unknown.
        offset: (T + 1,) crops of track t are rows ``offset[t]:offset[t + 1]``.
        frame: (N,) frame numbers.
        box: (N, 4) float32 ``x, y, w, h`` in the original frame.
        occluded, generated: (N,) flags of the annotation.
        n_bytes, crc: (N,) length and CRC-32 of the crop's JPEG.
        problem: (P, 4) text rows ``video, frame, track_id, reason`` of what was left out.
    """

    video: np.ndarray
    split: np.ndarray
    shard: np.ndarray
    size: np.ndarray
    n_frames: np.ndarray
    content: np.ndarray
    track_video: np.ndarray
    track_id: np.ndarray
    track_name: np.ndarray
    track_family: np.ndarray
    offset: np.ndarray
    frame: np.ndarray
    box: np.ndarray
    occluded: np.ndarray
    generated: np.ndarray
    n_bytes: np.ndarray
    crc: np.ndarray
    problem: np.ndarray

    def to_bytes(self) -> bytes:
        """The arrays as the content of an ``.npz`` file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{f.name: getattr(self, f.name) for f in fields(self)})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes | Path, name: str = "index") -> "Index":
        """The inverse of ``to_bytes``; a path reads the file.

        Raises:
            StudyError: damaged, or not an index.
        """
        try:
            with np.load(
                data if isinstance(data, Path) else io.BytesIO(data), allow_pickle=False
            ) as arrays:
                return cls(**{f.name: arrays[f.name] for f in fields(cls)})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise StudyError(f"{name} is damaged: {error}") from error

    def digests(self) -> list[str]:
        """One digest a video, of everything in it but the shard it happens to lie in."""
        firsts = np.searchsorted(self.track_video, np.arange(len(self.video) + 1))
        digests = []
        for v, name in enumerate(self.video):
            tracks = slice(firsts[v], firsts[v + 1])
            crops = slice(self.offset[firsts[v]], self.offset[firsts[v + 1]])
            parts = (
                np.array([f"{self.split[v]}/{name}"]),
                self.track_id[tracks],
                self.track_name[tracks],
                np.diff(self.offset[firsts[v] : firsts[v + 1] + 1]),
                self.frame[crops],
                self.box[crops],
                self.n_bytes[crops],
                self.crc[crops],
            )
            digests.append(
                digest_of(text_bytes(p) if p.dtype.kind == "U" else p.tobytes() for p in parts)
            )
        return digests


def text_bytes(texts: np.ndarray) -> bytes:
    """Text independent of how wide NumPy made the array."""
    return "\0".join(texts.tolist()).encode("utf-8", "surrogateescape")


def join(parts: list[Index], shards: list[int]) -> Index:
    """One index of several, in (split, video) order; ``shards`` gives each part's shard number.

    Raises:
        StudyError: a video is in two parts.
    """
    singles = [
        (single, shard)
        for part, shard in zip(parts, shards, strict=True)
        for single in ([part] if len(part.video) == 1 else by_video(part))
    ]
    singles.sort(key=lambda pair: (pair[0].split[0], pair[0].video[0]))
    names = [str(single.video[0]) for single, _ in singles]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StudyError(f"the video {twice} is there twice")
    if not singles:
        return empty()
    columns = {
        f.name: np.concatenate([getattr(single, f.name) for single, _ in singles])
        for f in fields(Index)
        if f.name not in ("track_video", "offset", "shard")
    }
    counts = [np.diff(single.offset) for single, _ in singles]
    return Index(
        **columns,
        shard=np.array([shard for _, shard in singles], dtype=np.int32),
        track_video=np.repeat(
            np.arange(len(singles), dtype=np.int32), [len(count) for count in counts]
        ),
        offset=np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64),
    )


def by_video(index: Index) -> list[Index]:
    """The records that an index of several videos is made of."""
    firsts = np.searchsorted(index.track_video, np.arange(len(index.video) + 1))
    records = []
    for v in range(len(index.video)):
        tracks = slice(firsts[v], firsts[v + 1])
        crops = slice(index.offset[firsts[v]], index.offset[firsts[v + 1]])
        values = {}
        for field in fields(Index):
            array = getattr(index, field.name)
            if field.name in ("video", "split", "shard", "size", "n_frames", "content"):
                values[field.name] = array[v : v + 1]
            elif field.name.startswith("track_"):
                values[field.name] = array[tracks]
            elif field.name == "problem":
                values[field.name] = array[array[:, 0] == index.video[v]]
            else:
                values[field.name] = array[crops]
        values["offset"] = index.offset[firsts[v] : firsts[v + 1] + 1] - index.offset[firsts[v]]
        values["track_video"] = np.zeros(len(values["track_id"]), dtype=np.int32)
        records.append(Index(**values))
    return records


def empty() -> Index:
    """An index of nothing."""
    text, integer = np.zeros(0, dtype="U1"), np.zeros(0, dtype=np.int32)
    flag = np.zeros(0, dtype=bool)
    return Index(
        video=text,
        split=text,
        shard=integer,
        size=np.zeros((0, 2), np.int32),
        n_frames=integer,
        content=text,
        track_video=integer,
        track_id=integer,
        track_name=text,
        track_family=text,
        offset=np.zeros(1, np.int64),
        frame=integer,
        box=np.zeros((0, 4), np.float32),
        occluded=flag,
        generated=flag,
        n_bytes=integer,
        crc=np.zeros(0, np.uint32),
        problem=np.zeros((0, 4), "U1"),
    )
