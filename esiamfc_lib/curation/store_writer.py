"""Writing the crop store: one writer, and a video's record in one transaction with its crops.

A kill at any moment loses the video in work and nothing else. Videos are added in a fixed order,
so that a store that was interrupted and continued equals one that was not.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np

from esiamfc_lib.curation.crops import Cut, Problem
from esiamfc_lib.curation.store_manifest import DiskFullError, lock, manifest_of, write_file
from esiamfc_lib.data import store
from esiamfc_lib.data.store_index import Index, join
from esiamfc_lib.data.vid import Object, gather_tracks
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.files import digest_of

MAP_SIZE = 1 << 40  # address space, not disk: the file grows as it is written
SHARD_BYTES = 4 << 30  # beyond this a new shard is begun
COMMIT_BYTES = 64 << 20  # what a transaction holds in memory: very long videos take several
# LMDB reports a write that fitted only in part as an input/output error.
NO_SPACE = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO]


class StoreWriter:
    """Adds videos to a store one after the other and closes it with its index; ``records`` are of
    the videos that are completely in it.

    Parameters or signatures other than those of the store that is there are refused, or with
    ``force`` begin it again. Where only a finished video's signature has changed (the time of a
    copied file), ``content`` decides. A shard takes no further video beyond ``shard_bytes``.
    """

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
        self.records: list[Index] = []
        self._shard_of: list[int] = []
        self._shard = self._shard_written = 0
        self._environment: lmdb.Environment | None = None
        self._pending: list[tuple[bytes, bytes]] = []
        self._begin_video()
        self._lock = lock(path)
        try:
            if not self._continue(force):
                self._start()
        except StudyError:
            self.close()
            raise

    def _begin_video(self) -> None:
        self._crops: dict[tuple[int, int], tuple[Object, int, int]] = {}
        self._digests: dict[int, str] = {}
        self._problems: list[Problem] = []
        self._size: tuple[int, int] | None = None

    def _continue(self, force: bool) -> bool:
        """Take up what is there; False: nothing is, or it is to be replaced."""
        manifest, source = self.path / "manifest.json", self.path / "source.json"
        if not (manifest.is_file() and source.is_file()):
            if store.shard_files(self.path) and not force:
                raise StudyError(
                    f"{self.path} has shards but lacks manifest.json or source.json: "
                    "force to start it again"
                )
            return False
        records = store.numbered_records(store.shard_files(self.path))
        old = store.read_json(manifest).get("parameters", {})
        difference = [
            f"{name}: there {old.get(name)!r}, now {self._parameters.get(name)!r}"
            for name in sorted({*old, *self._parameters})
            if old.get(name) != self._parameters.get(name)
        ]
        contents = {"/".join(record.key): record.content[0] for record, _ in records}
        difference += self._source_differences(store.read_json(source), contents)
        if difference and not force:
            raise StudyError(
                f"{self.path} was made differently ({'; '.join(difference)}): choose "
                "another folder, or force to start it again"
            )
        if difference:
            return False
        for record, shard in records:
            self._count(record, shard)
        write_file(source, self._signatures)
        return True

    def _source_differences(self, old: dict[str, str], contents: dict[str, str]) -> list[str]:
        """What is another source than the one before; ``contents`` of the finished videos."""
        new = self._signatures
        changed = [name for name in sorted(set(old) & set(new)) if old[name] != new[name]]
        if changed and self._content:
            changed = [
                name
                for name in progress(changed, "comparing", unit="video")
                if name in contents and contents[name] != self._content(name)
            ]
        new_ones, gone = sorted(set(new) - set(old)), sorted(set(old) - set(new))
        said = []
        for word, names in (("new", new_ones), ("gone", gone), ("changed", changed)):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                said.append(f"{word} in the source: {', '.join(names[:3])}{more}")
        return said

    def _start(self) -> None:
        files = [self.path / name for name in ("manifest.json", "index.npz", "problems.csv")]
        for file in [*files, *store.shard_files(self.path)]:
            file.unlink(missing_ok=True)
        write_file(self.path / "source.json", self._signatures)
        facts = {"format": store.FORMAT, "complete": False, "parameters": self._parameters}
        write_file(self.path / "manifest.json", facts)

    def add(self, cut: Cut) -> None:
        """Take over a chunk; with a video's last chunk the video is finished."""
        for crop in cut.crops:
            self._crops[crop.object.track_id, crop.frame] = (crop.object, len(crop.jpeg), crop.crc)
            key = store.crop_key(cut.video, crop.object.track_id, crop.frame)
            self._pending.append((key, crop.jpeg))
        self._digests |= cut.digests
        self._problems += cut.problems
        self._size = self._size or cut.size
        if cut.last:
            record = self._record(cut.split, cut.video)
            self._pending.append((store.record_key(cut.split, cut.video), record.to_bytes()))
        if cut.last or sum(len(value) for _, value in self._pending) > COMMIT_BYTES:
            self._commit()
        if cut.last:
            self._count(record, self._shard)
            self._begin_video()

    def _record(self, split: str, video: str) -> Index:
        """The index of the video that has just ended."""
        crops = self._crops
        tracks = gather_tracks(video, [(frame, item) for (_, frame), (item, *_) in crops.items()])
        order = [(track.track_id, int(frame)) for track in tracks for frame in track.frames]
        objects = [crops[key] for key in order]
        problems = [
            (video, str(frame), str(track_id), reason)
            for frame, track_id, reason in sorted(self._problems, key=lambda problem: problem[:2])
        ]
        if not tracks:
            problems.append((video, "-1", "-1", "video without tracks"))
        return Index.of(
            video=[video],
            split=[split],
            shard=[0],
            size=[self._size or (0, 0)],
            n_frames=[len(self._digests)],
            content=[digest_of(self._digests[n].encode() for n in sorted(self._digests))],
            track_video=[0] * len(tracks),
            track_id=[track.track_id for track in tracks],
            track_name=[track.name for track in tracks],
            track_family=[self._families.get((video, track.track_id), "") for track in tracks],
            offset=np.cumsum([0] + [len(track) for track in tracks]),
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
                file = self.path / f"shard-{self._shard:04d}.mdb"
                self._environment = lmdb.open(
                    str(file.resolve()), subdir=False, lock=False, map_size=MAP_SIZE, metasync=False
                )
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
            raise StudyError(f"{said}{hint}") from error
        self._pending = []

    def _count(self, record: Index, shard: int) -> None:
        """Note a finished video; begin a new shard when this one has grown enough."""
        self.records.append(record)
        self._shard_of.append(shard)
        if shard > self._shard:
            self._shard, self._shard_written = shard, 0
        self._shard_written += int(record.n_bytes.sum())
        if self._shard_written > self._shard_bytes:
            self._close_shard()
            self._shard, self._shard_written = self._shard + 1, 0

    def complete(self, summary: dict) -> dict:
        """Write index and manifest, which is returned: ``summary``, counts, bytes and digests."""
        self._close_shard()
        index = join(zip(self.records, self._shard_of, strict=True))
        manifest = manifest_of(index, self.path, self._parameters, summary)
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
