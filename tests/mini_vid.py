"""A few frames in the layout of ILSVRC2015-VID, for the tests of reader, curation and store."""

from pathlib import Path

import cv2
import numpy as np

from esiamfc_lib.data.images import write_image


def frame(width=96, height=72, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def xml(objects, width=96, height=72):
    """Objects are (track_id, name, xmin, ymin, xmax, ymax[, occluded, generated])."""
    text = f"<annotation><size><width>{width}</width><height>{height}</height></size>"
    for track_id, name, xmin, ymin, xmax, ymax, *flags in objects:
        occluded, generated = flags or (0, 0)
        text += (
            f"<object><trackid>{track_id}</trackid><name>{name}</name><bndbox>"
            f"<xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin>"
            f"</bndbox><occluded>{occluded}</occluded><generated>{generated}</generated>"
            "</object>"
        )
    return text + "</annotation>"


def folders(root: Path, video: str, split="train", group="ILSVRC2015_VID_train_0000"):
    place = Path(split, group, video) if split == "train" else Path(split, video)
    pair = root / "Data" / "VID" / place, root / "Annotations" / "VID" / place
    for folder in pair:
        folder.mkdir(parents=True, exist_ok=True)
    return pair


def make_video(root: Path, video: str, frames=6, split="train", tracks=2, seed=0, **where):
    """A video of ``frames`` frames with ``tracks`` moving boxes; track 1 is absent in frame 2."""
    images, annotations = folders(root, video, split, **where)
    for n in range(frames):
        objects = [
            (
                t,
                f"class{t}",
                10 + 3 * n + 20 * t,
                12 + n,
                29 + 3 * n + 20 * t,
                35 + n,
                int(n == 1),
                int(n > 3),
            )
            for t in range(tracks)
            if not (t == 1 and n == 2)
        ]
        write_image(images / f"{n:06d}.JPEG", frame(seed=seed * 1000 + n))
        (annotations / f"{n:06d}.xml").write_text(xml(objects))
    return images, annotations


def make_vid(root: Path, videos=3, frames=6, val=1):
    """Training and validation videos; gives the root."""
    for v in range(videos):
        make_video(root, f"train_{v}", frames, seed=v, group=f"ILSVRC2015_VID_train_000{v % 2}")
    for v in range(val):
        make_video(root, f"val_{v}", frames, split="val", seed=100 + v)
    return root
