"""The built-in data set: made by code from a seed, in the layouts of the real ones.

The readers of the real data read it. Every video is a pure function of (seed, split, index): the
first N of 2N videos are the N videos, whatever the number of processes, and no split shares
anything with another one."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.data.images import write_image
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.files import exclusive, write_atomically
from esiamfc_lib.runtime.parallel import spread
from esiamfc_lib.synthetic.layouts import FRAMES, SPLITS, Folders, Job, annotate
from esiamfc_lib.synthetic.scenes import Scene
from esiamfc_lib.synthetic.settings import BuiltIn

QUALITY = 92  # of the JPEG files


def build(root: str | Path, data: BuiltIn, workers: int) -> Folders:
    """Make the data set in the folder ``root``, or finish one that was interrupted. A complete one
    is left alone; while another process works there, this one waits. A folder that cannot be
    written or that holds another data set is a ``StudyError``."""
    folders = Folders(root)
    manifest = data.manifest()
    jobs = [Job(split, i) for split in SPLITS for i in range(manifest["counts"][split])]
    begun = _is_begun(folders.root, manifest) and folders.families_csv.is_file()
    if begun and all(job.done(folders.root) for job in jobs):
        return folders
    held = f"another process makes the built-in data in {root}: waiting for it"
    with exclusive(folders.root, held, wait=True):
        if not _is_begun(folders.root, manifest):
            write_atomically(folders.root / "manifest.json", json.dumps(manifest, indent=2) + "\n")
        todo = [job for job in jobs if not job.done(folders.root)]
        make = partial(_make, root=folders.root, data=data)
        made = spread(make, todo, min(workers, len(todo)) or 1)
        for _ in progress(made, "built-in data", total=len(todo), unit="video"):
            pass
        for split, folder in (("vot", folders.vot), ("got10k", folders.got10k / "val")):
            if names := [job.name for job in jobs if job.split == split]:
                write_atomically(folder / "list.txt", "\n".join(names) + "\n")
        files = [job.row_file(folders.root) for job in jobs]
        rows = [row for file in files for row in json.loads(file.read_text(encoding="utf-8"))]
        table = pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
        write_atomically(folders.families_csv, table)
    return folders


def _is_begun(root: Path, manifest: dict) -> bool:
    """Whether the folder holds this data set, complete or not; another is a ``StudyError``."""
    file = root / "manifest.json"
    if not file.is_file():
        return False
    with refused(f"{file} is not a valid JSON file", ValueError):
        found = json.loads(file.read_text(encoding="utf-8"))
    if changed := [name for name in manifest if found.get(name) != manifest[name]]:
        said = f"{root} holds a data set made with other values of {', '.join(changed)}"
        raise StudyError(f"{said}: choose another folder or remove it")
    return True


def scene_of(job: Job, data: BuiltIn) -> Scene:
    """The scene of one video: a function of the seed, the split and the index only."""
    rng = np.random.default_rng([data.seed, SPLITS.index(job.split), job.index])
    frames, tracks = data.test_frames, 1
    if job.trains:
        frames, tracks = data.video_frames, int(rng.choice([1, 1, 2, 3]))
    family, may_vanish = job.index % data.families, job.split not in ("otb", "vot")
    return Scene(rng, data, frames=frames, family=family, tracks=tracks, may_vanish=may_vanish)


def _make(job: Job, root: Path, data: BuiltIn) -> None:
    """Render one video into folders of this process, then move them to their names. A worker that
    lives on for a moment after its parent was killed may end the same video."""
    scene = scene_of(job, data)
    folders = job.folders(root)
    parts = [folder.with_name(f".{folder.name}.{os.getpid()}") for folder in folders]
    for folder in folders:
        for left in (folder, *folder.parent.glob(f".{folder.name}.*")):
            shutil.rmtree(left, ignore_errors=True)
    for part in ((parts[0] / FRAMES[job.split]).parent, parts[-1]):
        part.mkdir(parents=True, exist_ok=True)
    truths = []
    for t, (frame, truth) in enumerate(scene.render()):
        write_image(parts[0] / FRAMES[job.split].format(t, t + 1), frame, QUALITY)
        truths.append(truth)
    annotate(job, parts[-1], scene, truths)
    for part, folder in zip(parts, folders, strict=True):
        if folder.exists():
            shutil.rmtree(part)
        else:
            part.rename(folder)
    rows = []
    for i, track in enumerate(zip(*truths, strict=True)):
        row = {"split": job.split, "video": job.name, "track_id": i, **scene.facts(i)}
        rows.append(row | {"attributes": " ".join(scene.attributes(track, i))})
    write_atomically(job.row_file(root), json.dumps(rows, indent=1))
