"""The crop store's table of contents: which crops there are, of which track, in which shard.

Kept as plain arrays (``.npz`` without pickle): a million crops load in a fraction of a second. A
video's own part of the index is its **record**, which lies in the shard beside its crops and is
written in the same transaction: a video is finished exactly when its record is there.
"""

import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import digest_of

TYPES = {
    "video": ("U",), "split": ("U",), "shard": (np.int32,), "size": (np.int32, 2),
    "n_frames": (np.int32,), "content": ("U",), "track_video": (np.int32,),
    "track_id": (np.int32,), "track_name": ("U",), "track_family": ("U",),
    "offset": (np.int64,), "frame": (np.int32,), "box": (np.float32, 4), "occluded": (bool,),
    "generated": (bool,), "n_bytes": (np.int32,), "crc": (np.uint32,), "problem": ("U", 4),
}  # fmt: skip
"""Type of each column of an index and, where a row has several values, their number."""


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

    @classmethod
    def of(cls, **columns) -> "Index":
        """An index of these columns, in the types of ``TYPES``; one that is not given is empty."""
        columns = {"offset": [0]} | columns
        return cls(
            **{
                name: np.asarray(columns.get(name, []), kind).reshape(-1, *shape)
                for name, (kind, *shape) in TYPES.items()
            }
        )

    @property
    def key(self) -> tuple[str, str]:
        """(split, video) of a record, which has one video."""
        return str(self.split[0]), str(self.video[0])

    def to_bytes(self) -> bytes:
        """The arrays as the content of an ``.npz`` file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in TYPES})
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
                return cls(**{name: arrays[name] for name in TYPES})
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
    """One index of the records of single videos, in (split, video) order.

    Args:
        parts: the records.
        shards: number of the shard that each lies in.

    Raises:
        StudyError: a video is in two parts.
    """
    pairs = sorted(zip(parts, shards, strict=True), key=lambda pair: pair[0].key)
    singles = [part for part, _ in pairs]
    names = Counter(str(single.video[0]) for single in singles)
    if twice := [name for name, count in names.items() if count > 1]:
        raise StudyError(f"the video {twice[0]} is there twice")
    if not singles:
        return Index.of()
    columns = {
        name: np.concatenate([getattr(single, name) for single in singles])
        for name in TYPES
        if name not in ("track_video", "offset", "shard")
    }
    lengths = np.concatenate([np.diff(single.offset) for single in singles])
    tracks = [len(single.track_id) for single in singles]
    return Index.of(
        **columns,
        shard=[shard for _, shard in pairs],
        track_video=np.repeat(np.arange(len(singles)), tracks),
        offset=np.concatenate([[0], np.cumsum(lengths)]),
    )
