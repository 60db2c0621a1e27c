"""Looking after crop stores: verify, describe, merge, take over a finished one."""

import shutil
import zlib
from pathlib import Path

import numpy as np

from esiamfc_lib.curation import store_manifest
from esiamfc_lib.data import store as stores
from esiamfc_lib.data.geometry import SEARCH_SIZE
from esiamfc_lib.data.images import decode_image
from esiamfc_lib.data.store_index import join
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import Progress
from esiamfc_lib.runtime.files import apart, digest_of, exclusive


def info(path: str | Path) -> dict:
    """What a store holds: its manifest's counts and parameters, classes, lengths."""
    store = stores.CropStore(path)
    index, tracks = store.index, store.tracks
    lengths = np.quantile(tracks["frames"], (0, 0.5, 1)) if len(store) else np.zeros(3)
    return {
        "path": str(store.path),
        "complete": store.complete,
        "videos": len(index.video),
        "tracks": len(tracks),
        "crops": len(store),
        "gigabytes": round(float(index.n_bytes.sum()) / 1e9, 4),
        "bytes_per_crop": round(float(index.n_bytes.mean())) if len(store) else 0,
        "crops_per_track": dict(zip(("least", "median", "most"), lengths.tolist(), strict=True)),
        "classes": tracks["name"].value_counts().head(10).to_dict(),
        "problems": len(index.problem),
        "shards": len(store.shards),
        "parameters": store.manifest["parameters"],
        "digest": store.digest,
    }


def verify(path: str | Path, decode: bool = False) -> list[str]:
    """One sentence for each difference of a store from what it says about itself, to the checksum
    of every crop, and if it is unfinished or empty; ``decode`` decodes each crop as well. A
    StudyError if it cannot be read."""
    store = stores.CropStore(path)
    unfinished = [f"{path} is unfinished: curate it to its end, see manifest.json"]
    faults = _disagreements(store) if store.complete else unfinished
    faults += [] if len(store) else [f"{path} holds no crop"]
    with Progress(total=len(store), desc="verify", unit="crop") as bar:
        for track, name in enumerate(store.tracks["track"]):
            frames = store.frames(track)
            found = ((n, _crop_fault(store, track, i, decode)) for i, n in enumerate(frames))
            faults += [f"{name}/{n:06d}: {fault}" for n, fault in found if fault]
            bar.update(len(frames))
    return faults


def _disagreements(store: stores.CropStore) -> list[str]:
    """Where the manifest, the index and the shards of a finished store differ."""
    index, manifest = store.index, store.manifest
    expected = store_manifest.manifest_of(index, store.path, manifest["parameters"])
    del expected["made_with"]  # other versions may have made it
    wrong = [name for name, value in sorted(expected.items()) if value != manifest.get(name)]
    faults = [f"manifest.json and index.npz disagree about {name}" for name in wrong]
    digests = np.array(index.digests())
    for number, file in enumerate(store.shards):
        there = join((record, number) for record in stores.read_records(file)).digests()
        if there != digests[index.shard == number].tolist():
            faults.append(f"{file.name} and index.npz disagree about the crops")
    return faults


def _crop_fault(store: stores.CropStore, track: int, i: int, decode: bool) -> str:
    """What is wrong with one crop, or ""."""
    row = store.rows(track).start + i
    try:
        data = store.read_bytes(track, i)
        if len(data) != store.index.n_bytes[row]:
            return f"{len(data)} bytes instead of {store.index.n_bytes[row]}"
        if zlib.crc32(data) != store.index.crc[row]:
            return "the checksum differs"
        if decode and decode_image(data).shape != (SEARCH_SIZE, SEARCH_SIZE, 3):
            return "not a 255×255 image"
    except StudyError as error:
        return str(error)
    return ""


def adopt(source: str | Path, place: str | Path) -> dict:
    """Link a finished store, which is only ever read, where a study looks for its own (a link
    that is there is replaced), and return its manifest. A StudyError if it is unfinished, empty
    or not as it was made, or if ``place`` holds one."""
    source, place = Path(source).resolve(), Path(place)
    store = stores.CropStore(source)
    if not store.complete:
        raise StudyError(f"{source} is unfinished: curate it to its end, see manifest.json")
    if not len(store.tracks):
        raise StudyError(f"{source} holds no track: index.npz is empty")
    if faults := verify(source):
        more = f"; {len(faults) - 1} more faults" if len(faults) > 1 else ""
        raise StudyError(f"{source} is damaged: {faults[0]}{more}")
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        raise StudyError(f"{place} holds a store already: remove it to take over {source}")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source, target_is_directory=True)
    return store.manifest


def merge(paths: list[str | Path], out: str | Path) -> dict:
    """Join complete stores of different videos, for example parts that several machines made, by
    copying their shards, and return the manifest, whose digest is that of a store made in one go.
    A StudyError if they do not fit together, are damaged, or do not fit on the disk."""
    out = Path(out)
    apart(out, *paths)
    parts = [stores.CropStore(path) for path in paths]
    parameters = parts[0].manifest["parameters"]
    for store in parts:
        if not store.complete:
            raise StudyError(f"{store.path} is unfinished: curate it to its end before merging")
        if store.manifest["parameters"] != parameters:
            raise StudyError(f"{store.path} has different parameters than {parts[0].path}")
    if (out / "manifest.json").exists():
        raise StudyError(f"{out} holds a crop store already")
    source = out / "source.json"
    held = [*out.glob("[!.]*")]
    if held and not (source.exists() and "merged" in stores.read_json(source)):
        raise StudyError(f"{out} holds {min(held).name}, which no merge has left there")
    files = [file for store in parts for file in store.shards]
    records = stores.numbered_records(files)
    index = join(records)
    if sorted(index.digests()) != sorted(d for store in parts for d in store.index.digests()):
        raise StudyError("shards and index of a store disagree: verify each of them")
    needed = sum(file.stat().st_size for file in files)
    look = {"desc": "merge", "unit": "B", "unit_scale": True}
    with exclusive(out, store_manifest.BUSY.format(out)), Progress(total=needed, **look) as bar:
        if (free := shutil.disk_usage(out).free) < needed:
            said = f"the merged store takes {needed / 1e9:.3g} GB, {free / 1e9:.3g} are free"
            raise store_manifest.DiskFullError(f"cannot write {out}: {said}")
        merged = digest_of(content.encode() for content in index.content)
        store_manifest.write_file(source, {"merged": merged})
        for file in out.glob(stores.SHARDS):
            file.unlink()
        for number, file in enumerate(files):
            shutil.copyfile(file, out / stores.shard_name(number))
            bar.update(file.stat().st_size)
        manifest = store_manifest.manifest_of(index, out, parameters)
        store_manifest.write_file(out / "index.npz", index.to_bytes())
        store_manifest.write_problems(out, records)
        store_manifest.write_file(out / "manifest.json", manifest)
    return manifest
