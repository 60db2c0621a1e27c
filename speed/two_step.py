"""The baseline of ``python -m speed data``: crops as files first, then into LMDB.

This is how the public SiamFC trainings prepare their data: cut each crop by padding, slicing and
resizing, write it as a JPEG file, then read all the files back and encode them a second time.
"""

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import cv2
import lmdb
import numpy as np

from esiamfc_lib.runtime.parallel import spread


def curate(root: Path, folder: Path, workers: int, numpy_mean: bool = True) -> int:
    """Both steps over every training video below ``root``; gives the number of crops.

    Args:
        numpy_mean: take the frame's mean colour with ``image.mean(axis=(0, 1))`` as the public
            code does, which costs more than decoding the frame; False: with ``cv2.mean``.
    """
    annotations = root / "Annotations" / "VID" / "train"
    places = [path.relative_to(annotations) for path in sorted(annotations.glob("*/*"))]
    crops = folder / "crops"
    # In the processes that ours uses, too: neither side pays for starting them.
    write = partial(_write, root=root, crops=crops, numpy_mean=numpy_mean)
    for _ in spread(write, places, workers):
        pass
    with lmdb.open(str(folder / "lmdb"), map_size=1 << 40) as environment:
        count = 0
        for video in spread(encode_again, [crops / place.name for place in places], workers):
            with environment.begin(write=True) as transaction:
                for key, data in video:
                    transaction.put(key.encode(), data)
                    count += 1
    return count


def _write(place: Path, root: Path, crops: Path, numpy_mean: bool) -> None:
    write_files(root, place, crops / place.name, numpy_mean)


def write_files(root: Path, place: Path, out: Path, numpy_mean: bool) -> None:
    """First step: the crops of one video as JPEG files."""
    cv2.setNumThreads(1)
    out.mkdir(parents=True)
    for xml in sorted((root / "Annotations" / "VID" / "train" / place).glob("*.xml")):
        image = cv2.imread(str(root / "Data" / "VID" / "train" / place / f"{xml.stem}.JPEG"))
        mean = image.mean(axis=(0, 1)) if numpy_mean else cv2.mean(image)[:3]
        for item in ElementTree.parse(xml).iter("object"):
            box = [
                int(item.find(f"bndbox/{side}").text) for side in ("xmin", "ymin", "xmax", "ymax")
            ]
            name = f"{xml.stem}.{int(item.find('trackid').text):02d}.x.jpg"
            cv2.imwrite(str(out / name), padded_crop(image, box, mean))


def padded_crop(image: np.ndarray, corners: list[int], mean: np.ndarray) -> np.ndarray:
    """Pad the frame, cut whole pixels, resize to 255×255."""
    x0, y0, x1, y1 = corners
    w, h = x1 - x0 + 1, y1 - y0 + 1
    side = round(np.sqrt((w + (w + h) / 2) * (h + (w + h) / 2)) * 255 / 127)
    left, top = round((x0 + x1) / 2 - side / 2), round((y0 + y1) / 2 - side / 2)
    height, width = image.shape[:2]
    pads = max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0)
    if any(pads):
        image = cv2.copyMakeBorder(image, *pads, cv2.BORDER_CONSTANT, value=list(mean))
    left, top = left + pads[2], top + pads[0]
    return cv2.resize(image[top : top + side, left : left + side], (255, 255))


def encode_again(folder: Path) -> list[tuple[str, bytes]]:
    """Second step: the JPEG files of one video, decoded and encoded again."""
    cv2.setNumThreads(1)
    return [
        (f"{folder.name}/{file.name}", cv2.imencode(".jpg", cv2.imread(str(file)))[1].tobytes())
        for file in sorted(folder.iterdir())
    ]
