"""Looking after crop stores: verify, describe, merge."""

import shutil
import zlib
from pathlib import Path

import numpy as np

from esiamfc_lib.curation.store_manifest import (
    DiskFullError,
    lock,
    manifest_of,
    write_bytes,
    write_json,
    write_problems,
)
from esiamfc_lib.data.geometry import SEARCH_SIZE
from esiamfc_lib.data.images import decode_image
from esiamfc_lib.data.store import CropStore, read_records
from esiamfc_lib.data.store_index import join
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import Progress


def info(path: str | Path) -> dict:
    """What a store holds, for reading: its manifest's counts and parameters, classes, lengths."""
    store = CropStore(path)
    index, lengths = store.index, np.diff(store.index.offset)
    classes = store.tracks["name"].value_counts()
    return {
        "path": str(store.path),
        "complete": store.complete,
        "videos": len(index.video),
        "tracks": len(index.track_id),
        "crops": len(store),
        "gigabytes": round(float(index.n_bytes.sum()) / 1e9, 4),
        "bytes_per_crop": round(float(index.n_bytes.mean())) if len(store) else 0,
        "crops_per_track": {
            "least": int(lengths.min()) if len(lengths) else 0,
            "median": float(np.median(lengths)) if len(lengths) else 0.0,
            "most": int(lengths.max(initial=0)),
        },
        "classes": {str(name): int(count) for name, count in classes.head(10).items()},
        "problems": len(index.problem),
        "shards": len(store.shards),
        "parameters": store.manifest["parameters"],
        "digest": store.digest,
    }


def verify(path: str | Path, decode: bool = False) -> list[str]:
    """Compare every crop with the index.

    Args:
        path: the store.
        decode: decode every crop as well, instead of comparing checksums alone.

    Returns:
        One sentence for each fault; none: the store is as it was made.
    """
    store = CropStore(path)
    index, faults = store.index, []
    if store.complete:
        manifest = manifest_of(index, store.path, store.manifest["parameters"], {})
        faults += [
            f"manifest.json and index.npz disagree about {name}"
            for name in ("crops", "tracks", "videos", "bytes", "digest")
            if manifest[name] != store.manifest[name]
        ]
        for number, file in enumerate(store.shards):
            if sum(len(r.frame) for r in read_records(file)) != int(
                np.diff(index.offset)[index.shard[index.track_video] == number].sum()
            ):
                faults.append(f"{file.name} and index.npz disagree about the number of crops")
    with Progress(total=len(store), desc="verify", unit="crop") as bar:
        for track, name in enumerate(store.tracks["track"]):
            rows = store.rows(track)
            faults += [
                f"{name}/{store.index.frame[row]:06d}: {fault}"
                for row in range(rows.start, rows.stop)
                if (fault := _fault(store, track, row, decode))
            ]
            bar.update(rows.stop - rows.start)
    return faults


def _fault(store: CropStore, track: int, row: int, decode: bool) -> str:
    """What is wrong with one crop, or ""."""
    try:
        data = store.read_bytes(track, row - store.rows(track).start)
        if len(data) != store.index.n_bytes[row]:
            return f"{len(data)} bytes instead of {store.index.n_bytes[row]}"
        if zlib.crc32(data) != store.index.crc[row]:
            return "the checksum differs"
        if decode and decode_image(data).shape != (SEARCH_SIZE, SEARCH_SIZE, 3):
            return "not a 255×255 image"
    except StudyError as error:
        return str(error)
    return ""


def merge(paths: list[str | Path], out: str | Path) -> dict:
    """Join complete stores of different videos, for example the parts made by several machines.

    Args:
        paths: the stores; their shards are copied.
        out: folder of the new store.

    Returns:
        The manifest of the new store. Its digest equals that of a store made in one go.

    Raises:
        StudyError: a store is unfinished, parameters differ, a video is in two of them, the new
            folder holds a store already, or the disk is full.
    """
    out = Path(out)
    stores = [CropStore(path) for path in paths]
    for store in stores:
        if not store.complete:
            raise StudyError(f"{store.path} is unfinished: curate it to its end before merging")
        if store.manifest["parameters"] != stores[0].manifest["parameters"]:
            raise StudyError(
                f"{store.path} and {stores[0].path} were made with different parameters"
            )
    if (out / "manifest.json").exists():
        raise StudyError(f"{out} holds a crop store already")
    first = np.cumsum([0] + [len(store.shards) for store in stores])
    records = [
        (record, int(first[n]) + shard)
        for n, store in enumerate(stores)
        for shard, file in enumerate(store.shards)
        for record in read_records(file)
    ]
    index = join([record for record, _ in records], [shard for _, shard in records])
    held = lock(out)
    try:
        files = [file for store in stores for file in store.shards]
        with Progress(
            total=sum(f.stat().st_size for f in files), desc="merge", unit="B", unit_scale=True
        ) as bar:
            for number, file in enumerate(files):
                shutil.copyfile(file, out / f"shard-{number:04d}.mdb")
                bar.update(file.stat().st_size)
        counts = {
            name: sum(store.manifest[name] for store in stores)
            for name in ("frames", "bad_frames", "problems")
        }
        manifest = manifest_of(index, out, stores[0].manifest["parameters"], counts)
        write_bytes(out / "index.npz", index.to_bytes())
        write_problems(out / "problems.csv", [record for record, _ in records])
        write_json(out / "source.json", {"merged": manifest["source"]})
        write_json(out / "manifest.json", manifest)
    except OSError as error:
        needed = sum(file.stat().st_size for file in files) / 1e9
        raise DiskFullError(
            f"cannot write {out}: {error.strerror} (the merged store takes {needed:.3g} GB)"
        ) from error
    finally:
        held.close()
    return manifest
