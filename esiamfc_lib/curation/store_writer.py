"""Writing the crop store: one writer, and a video's record in one transaction with its crops.

A kill at any moment loses the video in work and nothing else. Videos are added in a fixed order,
so that a store that was interrupted and continued equals one that was not."""

import errno
import os
import resource
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from operator import itemgetter
from pathlib import Path

import lmdb
import numpy as np

from esiamfc_lib.curation.crops import Cut, Problem
from esiamfc_lib.curation.store_manifest import BUSY, DiskFullError, manifest_of, write_file
from esiamfc_lib.data import store
from esiamfc_lib.data.store_index import Index, join
from esiamfc_lib.data.vid import Object
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.files import digest_of, exclusive

MAP_SIZE = 1 << 40  # address space, not disk: the file grows as it is written
SHARD_BYTES = 4 << 30  # beyond this a new shard is begun
COMMIT_BYTES = 64 << 20  # what a transaction holds in memory: very long videos take several
# LMDB reports a write that fitted only in part as an input/output error.
NO_SPACE = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO]


class StoreWriter:
    """Adds videos to a store one after the other and closes it with its index; ``records`` are of
    the videos that are completely in it. Parameters or signatures other than those of the store
    that is there are refused, as is a damaged one, or with ``force`` begin it again. Where only a
    finished video's signature has changed (the time of a copied file), ``content`` decides. A shard
    takes no further video beyond ``shard_bytes``."""

    def __init__(
        self,
        path: Path,
        parameters: dict,  # what the crops depend on
        signatures: dict[str, str],  # what identifies the source
        content: Callable[[str], str] | None = None,  # digest of a video's files
        families: dict[tuple[str, int], str] | None = None,  # label by (video, track_id)
        force: bool = False,
        shard_bytes: int = SHARD_BYTES,
    ):
        self.path, self._parameters, self._signatures = path, parameters, signatures
        self._families, self._shard_bytes, self._content = families or {}, shard_bytes, content
        self.records: list[tuple[Index, int]] = []  # each with the number of its shard
        self._written = Counter()  # bytes of crops, by shard
        self.frames = self.bad_frames = 0  # looked at; those of which something was left out
        self._environment: lmdb.Environment | None = None
        self._pending: list[tuple[bytes, bytes]] = []
        # Of a limit of address space (ulimit -v) a quarter, in whole pages.
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        self._map = MAP_SIZE if limit < 0 else min(MAP_SIZE, limit >> 14 << 12)
        self._lock, there = exclusive(path, BUSY.format(path)), False
        try:
            with suppress(StudyError) if force else nullcontext():
                there = self._continue()
            if not there:
                self._start()
            self._begin_video()
        except BaseException:
            self.close()
            raise

    def _begin_video(self) -> None:
        self._shard = max(self._written, default=0)
        # Half of a small map is left for the last video of a shard.
        if self._written[self._shard] > min(self._shard_bytes, self._map // 2):
            self._close_shard()
            self._shard += 1
        self._crops: dict[tuple[int, int], tuple[Object, int, int]] = {}
        self._digests: dict[int, str] = {}
        self._problems: list[Problem] = []
        self._size: tuple[int, int] | None = None

    def _continue(self) -> bool:
        """Take up what is there; False: nothing is."""
        manifest, source = self.path / "manifest.json", self.path / "source.json"
        if not (manifest.is_file() and source.is_file()):
            if store.shard_files(self.path):
                said = "has shards but lacks manifest.json or source.json: force to start it again"
                raise StudyError(f"{self.path} {said}")
            return False
        records = store.numbered_records(store.shard_files(self.path))
        contents = {"/".join(record.key): record.content[0] for record, _ in records}
        fault = f"{manifest} or source.json is damaged"
        with refused(fault, (AttributeError, TypeError)):
            old, new = store.read_json(manifest).get("parameters", {}), self._parameters
            changed = [n for n in sorted({*old, *new}) if old.get(n) != new.get(n)]
            difference = [f"{n}: there {old.get(n)!r}, now {new.get(n)!r}" for n in changed]
            difference += self._source_differences(store.read_json(source), contents)
        if difference:
            said = f"was made differently ({'; '.join(difference)}): choose another folder"
            raise StudyError(f"{self.path} {said}, or force to start it again")
        for record, shard in records:
            self._count(record, shard)
        write_file(source, self._signatures)
        return True

    def _source_differences(self, old: dict[str, str], contents: dict[str, str]) -> list[str]:
        """What is another source than the one before; ``contents`` of the finished videos."""
        new = self._signatures
        changed = [name for name in sorted(set(old) & set(new)) if old[name] != new[name]]
        if changed and self._content:
            names = progress(changed, "comparing", unit="video")
            changed = [n for n in names if n in contents and contents[n] != self._content(n)]
        groups = {"new": sorted(set(new) - set(old)), "gone": sorted(set(old) - set(new))}
        said = []
        for word, names in (groups | {"changed": changed}).items():
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            said += [f"{word} in the source: {', '.join(names[:3])}{more}"] if names else []
        return said

    def _start(self) -> None:
        files = [self.path / name for name in ("manifest.json", "index.npz", "problems.csv")]
        for file in [*files, *self.path.glob(store.SHARDS)]:
            file.unlink(missing_ok=True)
        facts = {"format": store.FORMAT, "complete": False, "parameters": self._parameters}
        write_file(self.path / "source.json", self._signatures)
        write_file(self.path / "manifest.json", facts)

    def add(self, cut: Cut) -> None:
        """Take over a chunk; with a video's last chunk the video is finished."""
        for crop in cut.crops:
            self._crops[crop.object.track_id, crop.frame] = (crop.object, len(crop.jpeg), crop.crc)
            key = store.crop_key(cut.name[1], crop.object.track_id, crop.frame)
            self._pending.append((key, crop.jpeg))
        self._digests |= cut.digests
        self._problems += cut.problems
        self._size = self._size or cut.size
        if cut.last:
            record = self._record(*cut.name)
            self._pending.append((store.record_key(*cut.name), record.to_bytes()))
        if cut.last or sum(len(value) for _, value in self._pending) > COMMIT_BYTES:
            self._commit()
        if cut.last:
            self._count(record, self._shard)
            self._begin_video()

    def _record(self, split: str, video: str) -> Index:
        """The index of the video that has just ended."""
        order = sorted(self._crops)  # (track_id, frame)
        objects = [self._crops[key] for key in order]
        tracks, firsts = np.unique([track for track, _ in order], return_index=True)
        problems = [(video, *found) for found in sorted(self._problems, key=itemgetter(0, 1))]
        if not order:
            problems.append((video, -1, -1, "video without tracks"))
        return Index.of(
            video=[video],
            split=[split],
            shard=[0],
            size=[self._size or (0, 0)],
            n_frames=[len(self._digests)],
            content=[digest_of(self._digests[n].encode() for n in sorted(self._digests))],
            track_video=[0] * len(tracks),
            track_id=tracks,
            track_name=[objects[i][0].name for i in firsts],
            track_family=[self._families.get((video, int(track)), "") for track in tracks],
            offset=[*firsts, len(order)] if order else [0],
            frame=[frame for _, frame in order],
            box=[item.box for item, _, _ in objects],
            occluded=[item.occluded for item, _, _ in objects],
            generated=[item.generated for item, _, _ in objects],
            n_bytes=[n_bytes for _, n_bytes, _ in objects],
            crc=[crc for _, _, crc in objects],
            problem=problems,
        )

    def _commit(self) -> None:
        """Write what is pending, all or nothing."""
        try:
            if self._environment is None:
                file = str(self.path.resolve() / store.shard_name(self._shard))
                how = {"subdir": False, "lock": False, "metasync": False}
                self._environment = lmdb.open(file, map_size=self._map, **how)
            with self._environment.begin(write=True) as transaction:
                for key, value in self._pending:
                    transaction.put(key, value)
        except lmdb.BadValsizeError as error:
            raise StudyError(f"a video's name is too long: {self._pending[0][0]!r}") from error
        except lmdb.Error as error:
            said = f"cannot write the crop store at {self.path}: {error}"
            if any(os.strerror(code) in str(error) for code in NO_SPACE):
                raise DiskFullError(f"no space left: {said}") from error
            hint = "; close the CropStore that reads it" if "already open" in str(error) else ""
            if isinstance(error, lmdb.MapFullError | lmdb.MemoryError):
                hint = "; the limit of address space is too low, see ulimit -v"
            raise StudyError(f"{said}{hint}") from error
        self._pending = []

    def _count(self, record: Index, shard: int) -> None:
        """Note a finished video."""
        self.records.append((record, shard))
        self._written[shard] += int(record.n_bytes.sum())
        self.frames += int(record.n_frames[0])
        self.bad_frames += len(set(record.problem[:, 1]) - {"-1"})

    def complete(self) -> dict:
        """Write index and manifest, which is returned: parameters, counts, bytes and digests."""
        self._close_shard()
        index = join(self.records)
        manifest = manifest_of(index, self.path, self._parameters)
        write_file(self.path / "index.npz", index.to_bytes())
        write_file(self.path / "manifest.json", manifest)
        return manifest

    def _close_shard(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def close(self) -> None:
        self._close_shard()
        self._lock.close()
