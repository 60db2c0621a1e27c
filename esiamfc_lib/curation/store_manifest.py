"""The files of a crop store beside its shards: manifest, problems, lock; written kill-safe."""

import json
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pandas as pd

from esiamfc_lib.data.store import FORMAT, shard_files, store_digest
from esiamfc_lib.data.store_index import Index
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import digest_of, write_atomically

BUSY = "another process is writing the crop store {}"


class DiskFullError(StudyError):
    """The disk is full; finished videos are safe."""


def manifest_of(index: Index, path: Path, parameters: dict) -> dict:
    """What a finished store says about itself."""
    digests = np.array(index.digests())
    crop_shard = index.shard[index.track_video].repeat(np.diff(index.offset))
    shards = [
        {
            "file": file.name,
            "videos": int((index.shard == n).sum()),
            "crops": int((crop_shard == n).sum()),
            "bytes": int(index.n_bytes[crop_shard == n].sum()),
            "digest": digest_of(d.encode() for d in digests[index.shard == n]),
        }
        for n, file in enumerate(shard_files(path))
    ]
    return {
        "format": FORMAT,
        "complete": True,
        "parameters": parameters,
        "frames": int(index.n_frames.sum()),
        "bad_frames": len({(video, n) for video, n, *_ in index.problem.tolist() if n != "-1"}),
        "problems": len(index.problem),
        "videos": len(index.video),
        "tracks": len(index.track_id),
        "crops": len(index.frame),
        "bytes": int(index.n_bytes.sum()),
        "source": digest_of(content.encode() for content in index.content),
        "digest": store_digest(index),
        "shards": shards,
        "made_with": {"opencv": cv2.__version__, "lmdb": lmdb.__version__, "numpy": np.__version__},
    }


def write_problems(store: Path, records: list[tuple[Index, int]]) -> Path:
    """Write ``problems.csv``: split, video, frame, track_id (-1: all), reason."""
    ordered = sorted((record for record, _ in records), key=lambda record: record.key)
    rows = [[record.split[0], *row] for record in ordered for row in record.problem]
    table = pd.DataFrame(rows, columns=["split", "video", "frame", "track_id", "reason"])
    path, text = store / "problems.csv", table.to_csv(index=False, lineterminator="\n")
    write_file(path, text.encode("utf-8", "surrogateescape"))
    return path


def write_file(path: Path, content: bytes | dict) -> None:
    """Write bytes, or JSON, so that a kill leaves the old file or the new one."""
    data = (json.dumps(content, indent=1) + "\n").encode() if isinstance(content, dict) else content
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DiskFullError(f"cannot write {path}: {error.strerror}") from error
