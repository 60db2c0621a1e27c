"""The built-in data set: made by code from a seed, in the layouts of the real ones.

``build`` writes videos in the layout of ILSVRC2015-VID and test sequences in those of OTB, VOT and
GOT-10k, so that the readers of the real data read it. Every video is a pure function of (seed,
split, index): the first N of 2N videos are the N videos, whatever the number of processes, and no
split shares anything with another one.
"""

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import joblib
import numpy as np
import pandas as pd

from esiamfc_lib.data.images import write_image
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.synthetic import layouts
from esiamfc_lib.synthetic.objects import FAMILIES
from esiamfc_lib.synthetic.scenes import Scene

VERSION = 1  # of the pictures: raise it when a change of the code changes them
QUALITY = 92  # of the JPEG files
SPLITS = ("train", "val", "otb", "vot", "got10k")  # position = the split's own stream of numbers


@dataclass(frozen=True)
class Layout:
    """Where the parts of the data set lie."""

    root: Path

    @property
    def vid(self) -> Path:
        """ILSVRC2015-VID layout: ``Data/VID`` and ``Annotations/VID``."""
        return self.root / "ILSVRC2015"

    @property
    def otb(self) -> Path:
        """OTB layout: ``<sequence>/img`` and ``groundtruth_rect.txt``."""
        return self.root / "OTB"

    @property
    def vot(self) -> Path:
        """VOT layout: ``list.txt`` and one folder a sequence."""
        return self.root / "VOT"

    @property
    def got10k(self) -> Path:
        """GOT-10k layout: ``val/list.txt`` and one folder a sequence."""
        return self.root / "GOT-10k"

    @property
    def families_csv(self) -> Path:
        """One row a track: split, video, track_id, family, shape, texture, motion, background,
        attributes."""
        return self.root / "families.csv"

    def families(self) -> pd.DataFrame:
        """The table in ``families_csv``; ``attributes`` are separated by blanks."""
        return pd.read_csv(self.families_csv, keep_default_na=False)


@dataclass(frozen=True)
class Job:
    """One video to make."""

    split: str
    index: int

    @property
    def name(self) -> str:
        """Name of the video or sequence."""
        return {
            "train": f"ILSVRC2015_train_{self.index:08d}",
            "val": f"ILSVRC2015_val_{self.index:08d}",
            "otb": f"Otb{self.index:03d}",
            "vot": f"vot{self.index:03d}",
            "got10k": f"GOT-10k_Val_{self.index + 1:06d}",
        }[self.split]

    def folders(self, layout: Layout) -> list[Path]:
        """The folders that it fills; all of them exist when it is done."""
        if self.split in ("train", "val"):
            # The original keeps a thousand training videos a folder.
            part = (
                f"train/ILSVRC2015_VID_train_{self.index // 1000:04d}"
                if self.split == "train"
                else "val"
            )
            return [
                layout.vid / kind / "VID" / part / self.name for kind in ("Data", "Annotations")
            ]
        parent = {"otb": layout.otb, "vot": layout.vot, "got10k": layout.got10k / "val"}
        return [parent[self.split] / self.name]

    def row_file(self, layout: Layout) -> Path:
        """Its rows of ``families.csv``; written last, so it proves that the job is done."""
        return layout.root / "rows" / f"{self.split}_{self.index:06d}.json"

    def done(self, layout: Layout) -> bool:
        return self.row_file(layout).is_file() and all(f.is_dir() for f in self.folders(layout))


def build(
    root: str | Path,
    *,
    seed: int = 0,
    train_videos: int = 150,
    val_videos: int = 18,
    video_frames: int = 40,
    otb_sequences: int = 24,
    vot_sequences: int = 6,
    got10k_sequences: int = 12,
    test_frames: int = 60,
    width: int = 320,
    height: int = 240,
    families: int = 6,
    separation: float = 1.0,
    hues: float = 1.0,
    conflict: float = 0.0,
    workers: int = 1,
) -> Layout:
    """Make the data set, or finish one that was interrupted; a complete one is left alone.

    Args:
        root: folder of the data set; made if missing.
        seed: decides everything.
        train_videos, val_videos, otb_sequences, vot_sequences, got10k_sequences: how many.
        video_frames, test_frames: length of the VID videos and of the test sequences.
        width, height: of a frame, pixels.
        families: kinds of objects, 2 to 12.
        separation: how much families differ, 1 = well separated, 0 = the label says nothing.
        hues: share of the colour circle that the objects of one family use, 1 = all of it.
        conflict: share of objects whose look changes: the colours in every other family, the
            pattern in the rest, see ``synthetic_changes``.
        workers: processes; no influence on the result.

    Raises:
        StudyError: a value out of range, a folder that cannot be written, or one that holds a
            data set with other parameters.
    """
    layout = Layout(Path(root))
    counts = dict(
        zip(
            SPLITS,
            (train_videos, val_videos, otb_sequences, vot_sequences, got10k_sequences),
            strict=True,
        )
    )
    settings = {
        "version": VERSION,
        "seed": seed,
        "counts": counts,
        "video_frames": video_frames,
        "test_frames": test_frames,
        "width": width,
        "height": height,
        "families": families,
        "separation": separation,
        "hues": hues,
        "conflict": conflict,
    }
    _check(settings)
    _claim(layout.root, settings)
    jobs = [Job(split, i) for split in SPLITS for i in range(counts[split])]
    todo = [job for job in jobs if not job.done(layout)]
    if todo:
        make = partial(_make, layout=layout, settings=settings, processes=workers)
        parallel = joblib.Parallel(n_jobs=min(workers, len(todo)), return_as="generator_unordered")
        for _ in progress(
            parallel(joblib.delayed(make)(job) for job in todo),
            "built-in data",
            total=len(todo),
            unit="video",
        ):
            pass
    if todo or not layout.families_csv.is_file():
        _summarise(layout, jobs)
    return layout


def _check(settings: dict) -> None:
    limits = {
        "families": (2, len(FAMILIES)),
        "separation": (0, 1),
        "hues": (0, 1),
        "conflict": (0, 1),
        "video_frames": (2, 10**6),
        "test_frames": (2, 10**6),
        "width": (64, 4096),
        "height": (64, 4096),
        "seed": (0, 2**63),
    }
    for name, (low, high) in limits.items():
        if not low <= settings[name] <= high:
            raise StudyError(f"built-in data: {name} = {settings[name]} is outside {low} to {high}")
    for name, count in settings["counts"].items():
        if count < 0:
            raise StudyError(f"built-in data: the number of {name} videos is negative ({count})")


def _claim(root: Path, settings: dict) -> None:
    """Write the manifest, or compare it with the one that is there."""
    manifest = root / "manifest.json"
    if manifest.is_file():
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StudyError(f"{manifest} is no valid JSON file: {error}") from error
        changed = [name for name in settings if found.get(name) != settings[name]]
        if changed:
            raise StudyError(
                f"{root} holds a data set made with other values of "
                f"{', '.join(changed)}: choose another folder or remove it"
            )
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_atomically(manifest, json.dumps(settings, indent=2) + "\n")
    except OSError as error:
        raise StudyError(f"built-in data: cannot write to {root}: {error.strerror}") from error


def scene_of(job: Job, settings: dict) -> Scene:
    """The scene of one video: a function of the seed, the split and the index only."""
    rng = np.random.default_rng([settings["seed"], SPLITS.index(job.split), job.index])
    training = job.split in ("train", "val")
    return Scene(
        rng,
        frames=settings["video_frames" if training else "test_frames"],
        width=settings["width"],
        height=settings["height"],
        family=job.index % settings["families"],
        families=settings["families"],
        separation=settings["separation"],
        hues=settings["hues"],
        conflict=settings["conflict"],
        tracks=int(rng.choice([1, 1, 2, 3])) if training else 1,
        may_vanish=job.split not in ("otb", "vot"),
    )


def _make(job: Job, layout: Layout, settings: dict, processes: int) -> None:
    """Render one video into part folders, then move them to their names."""
    if processes > 1:
        cv2.setNumThreads(1)
    scene = scene_of(job, settings)
    folders = job.folders(layout)
    parts = [folder.with_name(f".{folder.name}.part") for folder in folders]
    for folder in [*folders, *parts]:
        shutil.rmtree(folder, ignore_errors=True)
    for part in parts:
        part.mkdir(parents=True)
    images = parts[0] / layouts.IMAGE_FOLDER[job.split]
    images.mkdir(exist_ok=True)
    first = 0 if job.split in ("train", "val") else 1
    truths = []
    for t, (frame, truth) in enumerate(scene.render(), first):
        write_image(images / layouts.IMAGE_NAME[job.split].format(t), frame, QUALITY)
        truths.append(truth)
    tracks = [list(track) for track in zip(*truths, strict=True)]
    if job.split in ("train", "val"):
        layouts.write_vid(parts[1], folders[0], scene, truths)
    else:
        layouts.WRITERS[job.split](parts[0], scene, tracks[0])
    for part, folder in zip(parts, folders, strict=True):
        part.rename(folder)
    rows = [
        {
            "split": job.split,
            "video": job.name,
            "track_id": i,
            **scene.facts(i),
            "attributes": " ".join(scene.attributes(track, i)),
        }
        for i, track in enumerate(tracks)
    ]
    write_atomically(job.row_file(layout), json.dumps(rows, indent=1))


def _summarise(layout: Layout, jobs: list[Job]) -> None:
    """``families.csv`` and the lists of sequences."""
    rows = [
        row for job in jobs for row in json.loads(job.row_file(layout).read_text(encoding="utf-8"))
    ]
    for split, folder in (("vot", layout.vot), ("got10k", layout.got10k / "val")):
        names = [job.name for job in jobs if job.split == split]
        if names:
            write_atomically(folder / "list.txt", "\n".join(names) + "\n")
    write_atomically(
        layout.families_csv, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")
    )
