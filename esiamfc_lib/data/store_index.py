"""The crop store's table of contents: which crops there are, of which track, in which shard.

Plain arrays (``.npz`` without pickle): a million crops load in a fraction of a second. A video's
own part of the index is its **record**, which lies in the shard beside its crops and is written
in the same transaction: a video is finished exactly when its record is there."""

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np

from esiamfc_lib.data.images import read_bytes
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import digest_of


@dataclass(frozen=True)
class Index:
    """Arrays over V videos, T tracks and N crops, sorted by (split, video), track, frame."""

    video: Annotated[np.ndarray, "U"]  # (V,) names
    split: Annotated[np.ndarray, "U"]
    shard: Annotated[np.ndarray, np.int32]  # (V,) number of the shard that holds the crops
    size: Annotated[np.ndarray, np.int32, 2]  # (V, 2) width and height of the frames
    n_frames: Annotated[np.ndarray, np.int32]  # (V,) looked at, with objects or without
    content: Annotated[np.ndarray, "U"]  # (V,) digest of the source files
    track_video: Annotated[np.ndarray, np.int32]  # (T,) row of the track's video
    track_id: Annotated[np.ndarray, np.int32]  # (T,) unique within the video
    track_name: Annotated[np.ndarray, "U"]  # (T,) class
    track_family: Annotated[np.ndarray, "U"]  # (T,) label, "" where unknown
    offset: Annotated[np.ndarray, np.int64]  # (T + 1,) track t: rows offset[t]:offset[t + 1]
    frame: Annotated[np.ndarray, np.int32]  # (N,) numbers
    box: Annotated[np.ndarray, np.float32, 4]  # (N, 4) x, y, w, h in the original frame
    occluded: Annotated[np.ndarray, bool]  # (N,) flags of the annotation
    generated: Annotated[np.ndarray, bool]
    n_bytes: Annotated[np.ndarray, np.int32]  # (N,) length of the crop's JPEG
    crc: Annotated[np.ndarray, np.uint32]  # (N,) its CRC-32
    problem: Annotated[np.ndarray, "U", 4]  # (P, 4) video, frame, track_id, reason: left out

    @classmethod
    def of(cls, **columns) -> "Index":
        """An index of these columns, in the types of ``TYPES``; one that is not given is empty."""
        columns = {"offset": [0]} | columns
        arrays = {
            name: np.asarray(columns.get(name, []), kind).reshape(-1, *shape)
            for name, (kind, *shape) in TYPES.items()
        }
        return cls(**arrays)

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
        """The inverse of ``to_bytes``, a StudyError for damaged bytes; a path reads the file."""
        with refused(f"{name} is damaged", Exception):
            file = io.BytesIO(read_bytes(data) if isinstance(data, Path) else data)
            with np.load(file, allow_pickle=False) as arrays:
                if any(member.compress_type for member in arrays.zip.filelist):
                    raise ValueError("compressed, which this library never writes")
                index = cls.of(**{name: arrays[name] for name in TYPES})
            rows = [len(getattr(index, name)) for name in TYPES]
            videos, tracks, crops = rows[0], rows[6], rows[11]
            if rows[:-1] != [videos] * 6 + [tracks] * 4 + [tracks + 1] + [crops] * 6:
                raise ValueError("its columns do not fit together")
            return index

    def digests(self) -> list[str]:
        """One digest per video, of everything in it but the shard it happens to lie in."""
        firsts = np.searchsorted(self.track_video, np.arange(len(self.video) + 1))
        of_tracks = self.track_id, self.track_name, np.diff(self.offset)
        of_crops = self.frame, self.box, self.n_bytes, self.crc
        digests = []
        for v, (first, end) in enumerate(pairwise(firsts)):
            parts = [np.array([f"{self.split[v]}/{self.video[v]}"])]
            parts += [column[first:end] for column in of_tracks]
            parts += [column[self.offset[first] : self.offset[end]] for column in of_crops]
            digests.append(digest_of(map(column_bytes, parts)))
        return digests


# Of each column: the type and, where a row has several values, their number.
TYPES = {name: hint.__metadata__ for name, hint in Index.__annotations__.items()}


def column_bytes(column: np.ndarray) -> bytes:
    """The values as bytes; of text they do not depend on how wide NumPy made the array."""
    if column.dtype.kind != "U":
        return column.tobytes()
    return "\0".join(column.tolist()).encode("utf-8", "surrogateescape")


def join(records: Iterable[tuple[Index, int]]) -> Index:
    """One index of the records of single videos, each with the number of its shard, in (split,
    video) order; a StudyError if a video is there twice."""
    pairs = sorted(records, key=lambda pair: pair[0].key)
    singles = [record for record, _ in pairs]
    names = Counter(str(single.video[0]) for single in singles)
    if twice := [name for name, count in names.items() if count > 1]:
        raise StudyError(f"the video {twice[0]} is there twice")
    if not singles:
        return Index.of()
    columns = {name: np.concatenate([vars(single)[name] for single in singles]) for name in TYPES}
    lengths = np.concatenate([np.diff(single.offset) for single in singles])
    columns["offset"] = np.cumsum([0, *lengths])
    columns["shard"] = [shard for _, shard in pairs]
    columns["track_video"] = np.repeat(range(len(singles)), [len(s.track_id) for s in singles])
    return Index.of(**columns)
