"""Curation: every track of ILSVRC2015-VID as 255×255 crops in the crop store, in one pass.

Frames are decoded, cut and encoded in many processes (``crops``) and written by one
(``store_writer``). It can be interrupted at any moment and started again."""

import csv
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.curation.archive import ArchiveSource
from esiamfc_lib.curation.crops import Chunk, cut, read_files
from esiamfc_lib.curation.frames import FolderSource
from esiamfc_lib.curation.store_manifest import DiskFullError, write_problems
from esiamfc_lib.curation.store_writer import SHARD_BYTES, StoreWriter
from esiamfc_lib.data.geometry import CONTEXT, EXEMPLAR_SIZE, SEARCH_SIZE
from esiamfc_lib.errors import DAMAGE, StudyError, refused
from esiamfc_lib.runtime.bars import Progress
from esiamfc_lib.runtime.files import apart, check_writable, digest_of
from esiamfc_lib.runtime.parallel import spread

DEFAULTS = DatasetParameters()


def curate(
    vid_root: str | Path,  # a folder in VID layout, or a tar archive of one
    store_path: str | Path,
    *,
    splits: Sequence[str] = DEFAULTS.splits,
    jpeg_quality: int = DEFAULTS.jpeg_quality,
    workers: int = 1,  # processes
    scheduler: str = "",  # address of Dask's, whose workers see the root under the same path
    max_bad_fraction: float = DEFAULTS.max_bad_fraction,  # give up above this share of bad frames
    part: tuple[int, int] = (0, 1),  # (i, n): every n-th video from the i-th on, see ``merge``
    force: bool = False,  # start again where parameters or source differ
    families: str | Path | None = None,  # table of known labels: video, track_id, family
    shard_bytes: int = SHARD_BYTES,
) -> dict:
    """Fill a crop store, or continue one that was interrupted, and return its manifest. A
    StudyError for other parameters or another source, no crop, too many bad frames
    (``problems.csv`` in the store lists them) or a full disk, an OSError for files that cannot be
    had from this machine: what was finished by then stays in the store."""
    root, store = Path(vid_root), Path(store_path)
    if root.is_file() and part != (0, 1):
        raise StudyError(f"{root}: an archive is one stream and cannot be divided into parts")
    apart(store, root)
    check_writable(store)
    source = ArchiveSource(root, splits) if root.is_file() else FolderSource(root, splits, part)
    sizes = {"context": CONTEXT, "exemplar_size": EXEMPLAR_SIZE, "search_size": SEARCH_SIZE}
    parameters = {"splits": sorted(set(splits)), "jpeg_quality": jpeg_quality, **sizes}
    labels = read_families(Path(families)) if families else {}
    given = (parameters, source.signatures, source.content, labels, force, shard_bytes)
    with closing(StoreWriter(store, *given)) as writer:
        chunks = source.chunks({record.key for record, _ in writer.records})
        cut_all = partial(cut, jpeg_quality=jpeg_quality)
        with closing(spread(cut_all, chunks, workers, scheduler, _seen)) as cuts:
            _fill(writer, cuts, source, max_bad_fraction)
        table = write_problems(store, writer.records)
        if not any(len(record.frame) for record, _ in writer.records):
            raise StudyError(f"{root}: not one object could be cut out, see {table}")
        return writer.complete()


def _seen(chunk: Chunk) -> dict[str, str]:  # by a Dask worker, which must see the same data
    return {"data": digest_of(read_files(chunk.frames[0])[:2])}


def read_families(path: Path) -> dict[tuple[str, int], str]:
    """Known labels by (video, track_id), from a table ``video, track_id, family``."""
    with refused(f"{path}: no table with video, track_id, family", (*DAMAGE, csv.Error)):
        rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        return {(r["video"], int(r["track_id"])): r["family"] for r in rows if r["track_id"]}


def _fill(writer: StoreWriter, cuts, source, max_bad_fraction: float) -> None:
    """Write every video that the store lacks."""
    look = {"desc": "curation", "unit": source.unit, "unit_scale": source.unit == "B"}
    with Progress(total=source.total, **look) as bar:
        for result in cuts:
            try:
                writer.add(result)
            except DiskFullError as error:
                raise _with_need(error, writer.records, bar.n / source.total) from error
            bar.set_postfix_str(f"{writer.bad_frames} bad frames", refresh=False)
            bar.update(result.at - bar.n)
            _check_bad(writer, max_bad_fraction, source.frames)
    _check_bad(writer, max_bad_fraction, writer.frames)


def _check_bad(writer: StoreWriter, most: float, total: float) -> None:
    """Give up as soon as the bad frames are more than the share ``most`` of all ``total``."""
    if writer.bad_frames > most * total:
        table = write_problems(writer.path, writer.records)
        said = f"{writer.bad_frames} of the first {writer.frames} frames are bad"
        raise StudyError(f"{said}, more than max_bad_fraction = {most} of all allows: see {table}")


def _with_need(error: DiskFullError, records: list, done: float) -> DiskFullError:
    """The full disk, with the space that the rest will take when the share ``done`` is there."""
    written = sum(int(record.n_bytes.sum()) for record, _ in records)
    if not done or not written:
        return error
    need = f"about {written * (1 / done - 1) / 1e9:.3g} GB more are needed"
    kept = f"the {len(records)} videos finished so far are kept, start again when there is space"
    return DiskFullError(f"{error}: {need}; {kept}")


def estimate(
    vid_root: str | Path,
    *,
    splits: Sequence[str] = DEFAULTS.splits,
    jpeg_quality: int = DEFAULTS.jpeg_quality,
    workers: int = 1,
    sample_videos: int = 12,  # evenly over the list
    sample_frames: int = 8,  # of each
) -> dict:
    """What curation of a folder in VID layout will take, from a few frames of a few videos,
    without writing anything; ``seconds_per_crop`` are of one process."""
    if Path(vid_root).is_file():
        raise StudyError(f"{vid_root} is an archive: the estimate needs a folder to count files in")
    source = FolderSource(Path(vid_root), splits)
    step = max(len(source.names) // sample_videos, 1)
    skip = set(source.names) - set(source.names[::step][:sample_videos])
    start = time.perf_counter()
    cuts = [cut(chunk, jpeg_quality) for chunk in source.chunks(skip, sample_frames)]
    taken = time.perf_counter() - start
    frames = sum(len(c.digests) for c in cuts)
    sizes = [len(crop.jpeg) for c in cuts for crop in c.crops]
    share = source.total / max(frames, 1)
    return {
        "videos": len(source.names),
        "frames": source.total,
        "crops": round(len(sizes) * share),
        "gigabytes": sum(sizes) * share / 1e9,
        "hours": taken * share / workers / 3600,
        "seconds_per_crop": taken / max(len(sizes), 1),
    }
