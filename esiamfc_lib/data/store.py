"""The crop store: 255×255 crops of every frame of every track, as JPEG in LMDB.

A store is a folder::

    shard-0000.mdb ...  LMDB: video/track/frame → JPEG bytes; #split/video → the video's record
    index.npz           all records joined (see ``store_index``)
    manifest.json       parameters, counts, bytes, digests
    source.json         what was read: one signature per video
    problems.csv        frames and boxes that were left out, with the reason

Nothing in it depends on where it lies. It is read with any number of processes at once, forked or
not; a store must not be read while it is written."""

import json
import weakref
from collections.abc import Iterable
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path

import lmdb
import numpy as np
import pandas as pd

from esiamfc_lib.data.images import decode_image, decode_into, read_bytes
from esiamfc_lib.data.store_index import Index, join
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import digest_of

FORMAT = 1

# LMDB allows one open environment a file and process: two stores on one path share it. Weak, so
# that the files close with the last store that uses them.
_environments: "weakref.WeakValueDictionary[str, lmdb.Environment]" = weakref.WeakValueDictionary()


def crop_key(video: str, track_id: int, frame: int) -> bytes:
    """Key of a crop: readable, and ordered by video, track, frame."""
    return f"{video}/{track_id:03d}/{frame:06d}".encode("utf-8", "surrogateescape")


def record_key(split: str, video: str) -> bytes:
    """Key of a video's record."""
    return f"#{split}/{video}".encode("utf-8", "surrogateescape")


SHARDS = "shard-[0-9][0-9][0-9][0-9].mdb"
"""Pattern of the shards' names: what else lies beside them is the user's."""


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"shard-{number:04d}.mdb"


def shard_files(path: Path) -> list[Path]:
    """The store's shards, in order; a kill can leave an empty file where one was to begin. A
    StudyError if one is missing between others."""
    files = sorted(file for file in path.glob(SHARDS) if file.stat().st_size)
    if lost := {shard_name(n) for n in range(len(files))} - {file.name for file in files}:
        raise StudyError(f"{path / min(lost)} is missing")
    return files


def open_shard(file: Path) -> lmdb.Environment:
    """A shard for reading, shared with whoever in this process has it open; read-only and without a
    lock file, so that read-only media work. The mapping survives a fork. A StudyError if it is no
    shard, or cut short: reading beyond its end would end this process."""
    key = str(file.resolve())
    if (environment := _environments.get(key)) is None:
        with refused(f"{file.parent}: cannot open the shard {file.name}", lmdb.Error):
            if not file.is_file():  # opening a pipe would never end
                raise lmdb.Error("no such file")
            environment = lmdb.open(key, subdir=False, readonly=True, lock=False, readahead=False)
            size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            if (there := file.stat().st_size) < size:
                raise StudyError(f"{file} is cut short: {there} bytes instead of {size}")
        _environments[key] = environment
    return environment


def read_records(file: Path) -> list[Index]:
    """The records of a shard's finished videos."""
    fault = refused(f"{file} is damaged", lmdb.Error)
    with fault, open_shard(file).begin(buffers=True) as transaction:
        cursor = transaction.cursor()
        cursor.set_range(b"#")
        found = takewhile(lambda entry: entry[0][:1] == b"#", cursor)
        return [Index.from_bytes(bytes(value), f"{file}: a record") for _, value in found]


def numbered_records(shards: list[Path]) -> list[tuple[Index, int]]:
    """The records of all shards, each with the number of its shard."""
    return [(record, n) for n, file in enumerate(shards) for record in read_records(file)]


def read_json(path: Path) -> dict:
    """The object in a JSON file; a StudyError if it cannot be read."""
    with refused(f"cannot read {path}", (TypeError, ValueError, RecursionError)):
        return dict(json.loads(read_bytes(path)))


def store_digest(index: Index) -> str:
    """Digest of a store's whole content, whatever shards it lies in."""
    return digest_of(digest.encode() for digest in index.digests())


class CropStore:
    """A crop store, for reading, finished or not; a StudyError if it is none, or damaged."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            raise StudyError(f"{self.path} is not a crop store: manifest.json is missing")
        self.manifest: dict = read_json(manifest)
        if (found := self.manifest.get("format")) != FORMAT:
            raise StudyError(f"{manifest}: format {found!r}, this version reads {FORMAT}")
        needed = {"complete": bool, "parameters": dict}
        if self.manifest.get("complete"):
            needed |= {"digest": str, "shards": list, "tracks": int}
        there = {name for name in needed if isinstance(self.manifest.get(name), needed[name])}
        if lacking := sorted(set(needed) - there):
            raise StudyError(f"{manifest} lacks {', '.join(lacking)}")
        self.complete: bool = self.manifest["complete"]
        if self.complete:
            self.shards = [self.path / shard_name(n) for n, _ in enumerate(self.manifest["shards"])]
            self.index = Index.from_bytes(self.path / "index.npz", str(self.path / "index.npz"))
        else:
            self.shards = shard_files(self.path)
            self.index = join(numbered_records(self.shards))
        if not set(self.index.shard) <= set(range(len(self.shards))):
            raise StudyError(f"{manifest} and index.npz disagree about shards")
        for file in self.shards:
            open_shard(file)  # a first look at each

    def __getstate__(self) -> dict:
        # Environments stay behind: a spawned worker opens its own.
        return {name: value for name, value in self.__dict__.items() if name != "_open"}

    def __len__(self) -> int:
        return len(self.index.frame)

    @cached_property
    def digest(self) -> str:
        """Digest of the content; equal stores have equal digests, whatever made them."""
        return self.manifest["digest"] if self.complete else store_digest(self.index)

    @cached_property
    def _open(self) -> list[lmdb.Environment]:
        return [open_shard(file) for file in self.shards]

    @cached_property
    def tracks(self) -> pd.DataFrame:
        """One row per track, in the order of track indices: ``track`` ("video/track_id", unique),
        ``video``, ``track_id``, ``name`` (class), ``split``, ``frames`` (number of crops),
        ``family`` ("" where unknown), ``width`` and ``height`` of the video's frames."""
        index, of = self.index, self.index.track_video
        video = pd.Series(index.video[of], dtype=object)
        columns = {
            "track": video + "/" + pd.Series(index.track_id).astype(str).astype(object),
            "video": video,
            "track_id": index.track_id,
            "name": index.track_name.astype(object),
            "split": index.split[of].astype(object),
            "frames": np.diff(index.offset),
            "family": index.track_family.astype(object),
            "width": index.size[of, 0],
            "height": index.size[of, 1],
        }
        return pd.DataFrame(columns)

    @property
    def problems(self) -> pd.DataFrame:
        """What curation left out: ``video``, ``frame``, ``track_id``, ``reason``."""
        return pd.DataFrame(self.index.problem, columns=["video", "frame", "track_id", "reason"])

    def rows_of(self, track_ids: Iterable[str]) -> np.ndarray:
        """(n,) indices of tracks by ids, "video/track_id"; a StudyError names an unknown one."""
        track_ids = list(track_ids)
        rows = pd.Index(self.tracks["track"]).get_indexer(track_ids)
        if (rows < 0).any():
            raise StudyError(f"{self.path} has no track {track_ids[int(rows.argmin())]!r}")
        return rows

    def rows(self, track: int) -> slice:
        """The crops of a track, as rows of the index's per-crop arrays."""
        if not 0 <= track < len(self.index.track_id):
            raise StudyError(f"track {track}: {self.path} has {len(self.index.track_id)} tracks")
        return slice(int(self.index.offset[track]), int(self.index.offset[track + 1]))

    def frames(self, track: int) -> np.ndarray:
        """(n,) frame numbers of a track, ascending."""
        return self.index.frame[self.rows(track)]

    def boxes(self, track: int | None = None) -> np.ndarray:
        """(n, 4) float64 boxes in the original frames, of a track or of all crops."""
        rows = slice(None) if track is None else self.rows(track)
        return self.index.box[rows].astype(np.float64)

    def _row(self, track: int, i: int) -> int:
        rows = self.rows(track)
        if not 0 <= i < rows.stop - rows.start:
            raise StudyError(f"crop {i} of track {track}: it has {rows.stop - rows.start}")
        return rows.start + i

    def read_bytes(self, track: int, i: int) -> bytes:
        """The i-th crop of a track, as JPEG."""
        return self._get(track, self._row(track, i), bytes)

    def read(self, track: int, i: int) -> np.ndarray:
        """The i-th crop of a track: uint8 (255, 255, 3) RGB."""
        return self._get(track, self._row(track, i), decode_image)

    def read_row_into(self, out: np.ndarray, track: int, row: int) -> None:
        """The crop at ``row`` of the per-crop arrays into ``out``: (255, 255, 3), contiguous."""
        self._get(track, row, partial(decode_into, out))

    def _get(self, track: int, row: int, convert):
        """``convert`` the stored bytes without a copy, while the transaction holds them."""
        video = self.index.track_video[track]
        key = crop_key(self.index.video[video], self.index.track_id[track], self.index.frame[row])
        shard = self.index.shard[video]
        fault = refused(f"{self.shards[shard]} is damaged", lmdb.Error)
        with fault, self._open[shard].begin(buffers=True) as transaction:
            data = transaction.get(key)
            if data is None:
                name = key.decode("utf-8", "replace")
                raise StudyError(f"{self.path}: the crop {name} is missing")
            return convert(data)
