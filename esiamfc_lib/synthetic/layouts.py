"""Where the built-in data lies and how it is annotated: as ILSVRC2015-VID, OTB, VOT and GOT-10k."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esiamfc_lib.data.geometry import box_to_corners, to_one_based
from esiamfc_lib.synthetic.scenes import Scene, Truth

FOLDERS = {  # of a video, from its index, which GOT-10k counts from 1
    "train": "VID/train/ILSVRC2015_VID_train_{thousand:04d}/ILSVRC2015_train_{index:08d}",
    "val": "VID/val/ILSVRC2015_val_{index:08d}",
    "otb": "OTB/Otb{index:03d}",
    "vot": "VOT/vot{index:03d}",
    "got10k": "GOT-10k/val/GOT-10k_Val_{number:06d}",
}
SPLITS = tuple(FOLDERS)  # position = the split's own stream of random numbers
FRAMES = {  # of a video; VID counts them from 0, the others from 1
    "train": "{0:06d}.JPEG",
    "val": "{0:06d}.JPEG",
    "otb": "img/{1:04d}.jpg",
    "vot": "{1:08d}.jpg",
    "got10k": "{1:08d}.jpg",
}


class Folders:
    """Where the parts of a data set lie. A row of ``families_csv`` is a track: split, video,
    track_id, family, shape, texture, motion, background, attributes (separated by blanks)."""

    def __init__(self, root: str | Path):
        self.root = Path(root)
        self.vid = self.root / "ILSVRC2015"
        self.otb = self.root / "OTB"
        self.vot = self.root / "VOT"
        self.got10k = self.root / "GOT-10k"
        self.families_csv = self.root / "families.csv"


@dataclass(frozen=True)
class Job:
    """One video to make: its split and its place there."""

    split: str
    index: int

    @property
    def trains(self) -> bool:  # in the layout of VID, no test sequence
        return self.split in ("train", "val")

    @property
    def name(self) -> str:
        return self.folders(Path())[0].name

    def folders(self, root: Path) -> list[Path]:
        """The folders that it fills: the frames' first, the annotation's last."""
        i = self.index
        folder = FOLDERS[self.split].format(index=i, number=i + 1, thousand=i // 1000)
        if not self.trains:
            return [root / folder]
        return [root / "ILSVRC2015" / kind / folder for kind in ("Data", "Annotations")]

    def row_file(self, root: Path) -> Path:
        """Its rows of ``families.csv``; written last, so it proves that the job is done."""
        return root / "rows" / f"{self.split}_{self.index:06d}.json"

    def done(self, root: Path) -> bool:
        return self.row_file(root).is_file() and all(f.is_dir() for f in self.folders(root))


GOT10K_META = """[METAINFO]
url: built-in
begin: 00:00:00
end: 00:00:06
anno_fps: 10Hz
object_class: {family}
motion_class: {motion}
major_class: {shape}
root_class: object
motion_adverb: steadily
resolution: ({scene.width}, {scene.height})
"""


def annotate(job: Job, folder: Path, scene: Scene, truths: list[list[Truth]]) -> None:
    """Write the annotation of a video into its folder; ``truths`` has one list a frame. Boxes and
    polygons of sequences count from 1; VOT has a tag file with 0 or 1 a frame for each challenge,
    GOT-10k zeros where the object is absent."""
    if job.trains:
        _write_vid(folder, job, scene, truths)
        return
    own = [truth for (truth,) in truths]
    if job.split == "otb":
        _lines(folder / "groundtruth_rect.txt", [to_one_based(t.box).astype(int) for t in own])
    elif job.split == "vot":
        _lines(folder / "groundtruth.txt", [t.polygon.ravel() + 1 for t in own], "{:.4f}")
        for tag, mark in scene.frame_marks(own).items():
            _lines(folder / f"{tag}.tag", mark.astype(int))
    else:
        boxes = [np.zeros(4) if t.box is None else to_one_based(t.box) for t in own]
        _lines(folder / "groundtruth.txt", boxes, "{:.4f}")
        _lines(folder / "absence.label", [int(t.box is None) for t in own])
        _lines(folder / "cover.label", [0 if t.box is None else round(8 * t.visible) for t in own])
        _lines(folder / "cut_by_image.label", [int(t.inside < 1) for t in own])
        text = GOT10K_META.format(scene=scene, **scene.facts(0))
        (folder / "meta_info.ini").write_text(text, encoding="utf-8")


VID_FRAME = (
    "<annotation>\n\t<folder>{folder}</folder>\n\t<filename>{t:06d}</filename>\n"
    "\t<source>\n\t\t<database>ILSVRC_2015</database>\n\t</source>\n"
    "\t<size>\n\t\t<width>{scene.width}</width>\n\t\t<height>{scene.height}</height>\n\t</size>\n"
    "{objects}</annotation>\n"
)
VID_OBJECT = (
    "\t<object>\n\t\t<trackid>{track}</trackid>\n\t\t<name>{name}</name>\n"
    "\t\t<bndbox>\n\t\t\t<xmin>{box[0]}</xmin>\n\t\t\t<ymin>{box[1]}</ymin>\n"
    "\t\t\t<xmax>{box[2]}</xmax>\n\t\t\t<ymax>{box[3]}</ymax>\n\t\t</bndbox>\n"
    "\t\t<occluded>{occluded:d}</occluded>\n\t\t<generated>0</generated>\n\t</object>\n"
)


def _write_vid(folder: Path, job: Job, scene: Scene, truths: list[list[Truth]]) -> None:
    """One XML file per frame, as in ILSVRC2015-VID: 0-based corners that belong to the box."""
    data = job.folders(Path())[0]
    name = data.name if job.split == "val" else f"{data.parent.name}/{data.name}"
    for t, seen in enumerate(truths):
        objects = ""
        for i, truth in enumerate(seen):
            if truth.box is not None:
                facts = {"name": scene.facts(i)["family"], "occluded": truth.occluded}
                box = box_to_corners(truth.box).astype(int)
                objects += VID_OBJECT.format(track=i, box=box, **facts)
        text = VID_FRAME.format(folder=name, t=t, objects=objects, scene=scene)
        (folder / f"{t:06d}.xml").write_text(text, encoding="utf-8")


def _lines(path: Path, rows, form: str = "{}") -> None:
    """A text file with one line of numbers a frame."""
    text = [",".join(form.format(v) for v in np.atleast_1d(row)) for row in rows]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
