"""Reader of ILSVRC2015-VID in its published layout.

Frames are ``<root>/Data/VID/train/ILSVRC2015_VID_train_0000/<video>/000000.JPEG`` and
``<root>/Data/VID/val/<video>/000000.JPEG``, each with its
``<root>/Annotations/VID/.../000000.xml``. The groups between split and video may have any name,
or be left out. A frame's file lists any number of objects; the objects of one ``trackid`` in a
video are a **track**, which may have gaps."""

import math
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np

from esiamfc_lib.data.geometry import corners_to_box
from esiamfc_lib.data.images import IMAGES, read_bytes
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import LONGEST_NAME, in_order, plain_name, visible

SPLITS = ("train", "val")
CORNERS = ("xmin", "ymin", "xmax", "ymax")
ENDINGS = {"Data": IMAGES, "Annotations": {".xml"}}  # of a frame's two files, in any case
MOST_XML = 1 << 20  # bytes of an annotation, which has a few thousand
LARGEST = 2**31 - 1  # number of a frame or track: the store's index keeps 32 bits


class Object(NamedTuple):
    """One ``<object>`` of a frame; ``box`` is ``x, y, w, h``."""

    track_id: int
    name: str
    box: tuple[float, float, float, float]
    occluded: bool
    generated: bool


class Annotation(NamedTuple):
    """One XML file: the frame's size and its objects."""

    size: tuple[int, int]  # width, height
    objects: tuple[Object, ...]


@dataclass(frozen=True)
class Track:
    """One object in one video."""

    video: str
    track_id: int  # unique within the video only
    name: str  # class, a WordNet id in the real set
    frames: np.ndarray  # (n,) numbers, ascending; gaps are possible
    boxes: np.ndarray  # (n, 4) x, y, w, h
    occluded: np.ndarray  # (n,) flags of the annotation
    generated: np.ndarray


def parse_annotation(data: bytes) -> Annotation:
    """Read one XML file; a StudyError if it is empty, no XML, or a field is missing or cannot be.
    ``MOST_XML`` bytes and expat's own limit keep what they expand to small."""
    if not data.strip():
        raise StudyError("annotation: the XML file is empty")
    try:
        tree, objects = ElementTree.fromstring(data), []
        for item in tree.iter("object"):
            corners = [float(item.findtext(f"bndbox/{side}")) for side in CORNERS]
            box = tuple(corners_to_box(corners).tolist())
            flags = [item.findtext(flag, "0") == "1" for flag in ("occluded", "generated")]
            name, track_id = item.find("name").text or "", _whole(item, "trackid", 0, LARGEST)
            if len(name) > LONGEST_NAME:
                raise ValueError(name)
            objects.append(Object(track_id, name, box, *flags))
        size = tuple(_whole(tree, f"size/{side}", 1, 65_535) for side in ("width", "height"))
        return Annotation(size, tuple(objects))
    except (ElementTree.ParseError, LookupError) as error:  # an unknown encoding
        raise StudyError(f"annotation: not well-formed XML ({error})") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise StudyError("annotation: a field is missing or not a number in its range") from error


def _whole(item: ElementTree.Element, name: str, least: int, most: int) -> int:
    value = int(item.findtext(name))
    if not least <= value <= most:
        raise ValueError(name)
    return value


def box_fault(box: tuple[float, float, float, float], width: int, height: int) -> str:
    """Why a box cannot be cropped, or "": it must have a size and touch the frame."""
    x, y, w, h = box
    if not math.isfinite(sum(box)) or max(w, h) > 100 * max(width, height):
        return "box without bounds"
    if w < 1 or h < 1:
        return "inverted box" if min(w, h) <= 0 else "box below a pixel"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return "box outside the frame"
    return ""


def frame_of(part: str, file: PurePath) -> int | None:
    """Number of the frame that a file below ``Data`` or ``Annotations`` belongs to, None if it is
    neither an image nor an annotation; a StudyError if no frame can have the number."""
    if not file.stem.isdecimal() or file.suffix.lower() not in ENDINGS[part]:
        return None
    if len(file.stem) > 99 or int(file.stem) > LARGEST:
        raise StudyError(f"{file}: the number of a frame is at most {LARGEST}")
    return int(file.stem)


def _refuse(error: OSError) -> None:
    raise StudyError(f"cannot list {error.filename}: {error.strerror}") from error


def _videos(part: str, base: Path) -> Iterator[Path]:
    """Places of the videos below ``base``: folders with a frame, or without a folder. All others
    are groups, of at most three levels (a link can lead round)."""
    for folder, inside, files in os.walk(base, onerror=_refuse, followlinks=True):
        place = Path(folder).relative_to(base)
        inside[:] = sorted(filter(visible, inside))
        has_frame = any(frame_of(part, place / file) is not None for file in files)
        if place.name and (has_frame or not inside or len(place.parts) > 3):
            inside.clear()
            yield place


class VID:
    """One split, ``train`` or ``val``, of the data set under ``root``: listed on construction,
    read video by video. A StudyError if a part of the layout is missing or cannot be listed."""

    def __init__(self, root: str | Path, split: str = "train"):
        if split not in SPLITS:
            raise StudyError(f"VID has the splits {', '.join(SPLITS)}, not {split!r}")
        self.root, self.split = Path(root), split
        self._bases = {part: self.root / part / "VID" / split for part in ENDINGS}
        if not self.root.is_dir():
            raise StudyError(f"the VID root {self.root} does not exist")
        for folder in self._bases.values():
            if not folder.is_dir():
                raise StudyError(f"{self.root} is not a VID root: {folder} is missing")
        found = [place for base in self._bases.items() for place in _videos(*base)]
        groups = {group for place in found for group in place.parents}  # empty in the other part
        self._places: dict[str, PurePath] = {}
        for place in found:
            if place not in groups:
                note_place(self._places, place.name, place, self.root)
        self.videos: list[str] = sorted(self._places)

    def frame_path(self, video: str, frame: int) -> Path:
        return self.frames(video)[0][frame]

    def frames(self, video: str) -> tuple[dict[int, Path], dict[int, Path]]:
        """The images and the XML files of a video, by the numbers of their frames, in order."""
        if video not in self._places:
            raise StudyError(f"{self.root}: no video {video!r} in split {self.split!r}")
        found = []
        for part, base in self._bases.items():
            folder, names = base / self._places[video], []
            if folder.is_dir():
                _, _, names = next(os.walk(folder, onerror=_refuse))
            numbers = {folder / name: frame_of(part, folder / name) for name in names}
            frames = in_order(file for file, number in numbers.items() if number is not None)
            found.append({numbers[file]: file for file in frames})
        return tuple(found)

    def tracks(self, video: str) -> tuple[Track, ...]:
        """The tracks of a video, by ``track_id``, over the frames that have both files; curation
        lists their faults."""
        found: dict[int, dict[int, Object]] = {}
        images, files = self.frames(video)
        for frame in sorted(images.keys() & files.keys()):
            with suppress(StudyError):
                annotation = parse_annotation(read_bytes(files[frame], MOST_XML, seen=True))
                for item in annotation.objects:
                    if not box_fault(item.box, *annotation.size):
                        found.setdefault(item.track_id, {})[frame] = item
        tracks = []
        for track_id, items in sorted(found.items()):
            _, names, *columns = zip(*items.values(), strict=True)
            columns = map(np.array, (list(items), *columns))
            tracks.append(Track(video, track_id, names[0], *columns))
        return tuple(tracks)


def note_place(places: dict, name: str, place: PurePath, where: Path) -> None:
    """Note where a video lies; a StudyError if in two groups, or if its name can be no key."""
    video = f"{where}: the video {place.name}"
    if plain_name(place.name, where).startswith("#"):
        raise StudyError(f"{video} begins with #, as the store's records do")
    if places.setdefault(name, place) != place:
        raise StudyError(f"{video} is there twice: {places[name]}, {place}")


def validation_sequences(root: str | Path, limit: int = 0, max_frames: int = 0) -> list[Sequence]:
    """The tracks of the ``val`` split as sequences to track, for choosing an epoch. Each is the
    longest run of consecutive frames of its track, 2 to ``max_frames`` (0 = all) of them. With a
    ``limit`` (0 = every track) below the number of videos, videos are taken evenly over the list,
    each with its longest track, and only those are read."""
    if min(limit, max_frames) < 0:
        raise StudyError(f"a number of sequences or frames below zero: {min(limit, max_frames)}")
    vid = VID(root, "val")
    runs = []
    for place in evenly_spaced(len(vid.videos), limit or len(vid.videos)):
        of_video = [(track, _longest_run(track.frames)) for track in vid.tracks(vid.videos[place])]
        of_video.sort(key=lambda pair: -len(pair[1]))  # of equals the one with the lower id first
        runs += [(rank, *pair) for rank, pair in enumerate(of_video) if len(pair[1]) >= 2]
    runs.sort(key=lambda run: run[0])  # every video's longest track before any second one
    sequences = []
    for _, track, run in runs[: limit or None]:
        run = run[: max_frames or None]
        images = vid.frames(track.video)[0]
        paths = tuple(str(images[n].absolute()) for n in track.frames[run].tolist())
        sequences.append(Sequence(f"{track.video}/{track.track_id}", paths, track.boxes[run]))
    return sequences


def _longest_run(frames: np.ndarray) -> np.ndarray:
    """Places of the longest (then first) stretch of consecutive frame numbers."""
    edges = np.flatnonzero(np.diff(frames) != 1) + 1
    return max(np.split(np.arange(len(frames)), edges), key=len)
