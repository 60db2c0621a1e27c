"""Annotation files of the built-in data, in the layouts of ILSVRC2015-VID, OTB, VOT and GOT-10k."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from esiamfc_lib.data.geometry import box_to_corners, to_one_based
from esiamfc_lib.synthetic.scenes import Scene, Truth

IMAGE_FOLDER = {"train": "", "val": "", "otb": "img", "vot": "", "got10k": ""}
IMAGE_NAME = {
    "train": "{:06d}.JPEG",
    "val": "{:06d}.JPEG",
    "otb": "{:04d}.jpg",
    "vot": "{:08d}.jpg",
    "got10k": "{:08d}.jpg",
}


def write_vid(folder: Path, data: Path, scene: Scene, truths: list[list[Truth]]) -> None:
    """One XML file a frame, as in ILSVRC2015-VID: 0-based corners that belong to the box."""
    families = scene.families()
    name = data.name if data.parent.name == "val" else f"{data.parent.name}/{data.name}"
    for t, objects in enumerate(truths):
        root = ElementTree.Element("annotation")
        _element(root, "folder", name)
        _element(root, "filename", f"{t:06d}")
        _element(_element(root, "source"), "database", "ILSVRC_2015")
        size = _element(root, "size")
        _element(size, "width", scene.width)
        _element(size, "height", scene.height)
        for track, truth in enumerate(objects):
            if truth.box is None:
                continue
            entry = _element(root, "object")
            _element(entry, "trackid", track)
            _element(entry, "name", families[track])
            corners = box_to_corners(truth.box).astype(int)
            bndbox = _element(entry, "bndbox")
            for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
                _element(bndbox, key, value)
            _element(entry, "occluded", int(truth.occluded))
            _element(entry, "generated", 0)
        ElementTree.indent(root, "\t")
        (folder / f"{t:06d}.xml").write_text(
            ElementTree.tostring(root, "unicode") + "\n", encoding="utf-8"
        )


def _element(parent, tag: str, text="") -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag)
    child.text = str(text) if text != "" else None
    return child


def _lines(path: Path, rows, form: str = "{}", separator: str = ",") -> None:
    """A text file with one line of numbers a frame."""
    text = [separator.join(form.format(v) for v in np.atleast_1d(row)) for row in rows]
    path.write_text("\n".join(text) + "\n", encoding="utf-8")


def write_otb(folder: Path, scene: Scene, truths: list[Truth]) -> None:
    """``groundtruth_rect.txt``, counted from 1."""
    _lines(folder / "groundtruth_rect.txt", [to_one_based(t.box).astype(int) for t in truths])


def write_vot(folder: Path, scene: Scene, truths: list[Truth]) -> None:
    """Polygons counted from 1, and one tag file for each challenge with 0 or 1 a frame."""
    _lines(folder / "groundtruth.txt", [t.polygon.ravel() + 1 for t in truths], "{:.4f}")
    for tag, mark in scene.frame_marks(truths).items():
        _lines(folder / f"{tag}.tag", mark.astype(int))


def write_got10k(folder: Path, scene: Scene, truths: list[Truth]) -> None:
    """Boxes counted from 1 (zeros where the object is absent), labels and ``meta_info.ini``."""
    absent = np.zeros(4)
    _lines(
        folder / "groundtruth.txt",
        [absent if t.box is None else to_one_based(t.box) for t in truths],
        "{:.4f}",
    )
    _lines(folder / "absence.label", [int(t.box is None) for t in truths])
    _lines(folder / "cover.label", [0 if t.box is None else round(8 * t.visible) for t in truths])
    _lines(folder / "cut_by_image.label", [int(t.inside < 1) for t in truths])
    facts = scene.facts(0)
    meta = {
        "url": "built-in",
        "begin": "00:00:00",
        "end": "00:00:06",
        "anno_fps": "10Hz",
        "object_class": facts["family"],
        "motion_class": facts["motion"],
        "major_class": facts["shape"],
        "root_class": "object",
        "motion_adverb": "steadily",
        "resolution": f"({scene.width}, {scene.height})",
    }
    (folder / "meta_info.ini").write_text(
        "[METAINFO]\n" + "".join(f"{k}: {v}\n" for k, v in meta.items()), encoding="utf-8"
    )


WRITERS = {"otb": write_otb, "vot": write_vot, "got10k": write_got10k}
