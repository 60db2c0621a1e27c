"""Reader of ILSVRC2015-VID in its published layout.

Frames are ``<root>/Data/VID/train/ILSVRC2015_VID_train_0000/<video>/000000.JPEG`` and
``<root>/Data/VID/val/<video>/000000.JPEG``, each with its
``<root>/Annotations/VID/.../000000.xml``. A frame's file lists any number of objects; the objects
of one ``trackid`` in a video are a **track**, which may have gaps.
"""

import os
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esiamfc_lib.data.geometry import corners_to_box
from esiamfc_lib.data.images import read_bytes
from esiamfc_lib.data.sequence import Sequence, evenly_spaced
from esiamfc_lib.errors import StudyError

TRAIN_GROUP = "ILSVRC2015_VID_train_"
SPLITS = ("train", "val")


class Object(NamedTuple):
    """One ``<object>`` of a frame; ``box`` is ``x, y, w, h``."""

    track_id: int
    name: str
    box: tuple[float, float, float, float]
    occluded: bool
    generated: bool


class Annotation(NamedTuple):
    """One XML file: the frame's size and its objects."""

    width: int
    height: int
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

    def __len__(self) -> int:
        return len(self.frames)


def parse_annotation(data: bytes) -> Annotation:
    """Read one XML file; a StudyError if it is empty, no XML, or lacks a number."""
    if not data.strip():
        raise StudyError("annotation: the XML file is empty")
    try:
        tree = ElementTree.fromstring(data)
        objects = []
        for item in tree.iter("object"):
            corners = item.find("bndbox")
            box = corners_to_box(
                [float(corners.find(side).text) for side in ("xmin", "ymin", "xmax", "ymax")]
            )
            objects.append(
                Object(
                    int(item.find("trackid").text),
                    item.find("name").text or "",
                    tuple(box.tolist()),
                    item.findtext("occluded", "0") == "1",
                    item.findtext("generated", "0") == "1",
                )
            )
        size = tree.find("size")
        return Annotation(
            int(size.find("width").text), int(size.find("height").text), tuple(objects)
        )
    except ElementTree.ParseError as error:
        raise StudyError(f"annotation: not well-formed XML ({error})") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise StudyError("annotation: a field is missing or not a number") from error


def box_fault(box: tuple[float, float, float, float], width: int, height: int) -> str:
    """Why a box cannot be cropped, or "": it must have a size and touch the frame."""
    x, y, w, h = box
    if w < 1 or h < 1:
        return "inverted box"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return "box outside the frame"
    return ""


def _names(folder: Path, directories: bool) -> list[str]:
    """Sorted names of a folder's sub-folders (or files)."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() == directories)
    except OSError as error:
        raise StudyError(f"cannot list {folder}: {error.strerror}") from error


class VID:
    """One split, ``train`` or ``val``, of the data set under ``root``: listed on construction,
    read video by video. A StudyError if a part of the layout is missing or cannot be listed.
    """

    def __init__(self, root: str | Path, split: str = "train"):
        if split not in SPLITS:
            raise StudyError(f"VID has the splits {', '.join(SPLITS)}, not {split!r}")
        self.root, self.split = Path(root), split
        self._data = self.root / "Data" / "VID" / split
        self._annotations = self.root / "Annotations" / "VID" / split
        if not self.root.is_dir():
            raise StudyError(f"the VID root {self.root} does not exist")
        for folder in (self._data, self._annotations):
            if not folder.is_dir():
                raise StudyError(f"{self.root} is no VID root: {folder} is missing")
        self._places = self._list()
        self.videos: list[str] = sorted(self._places)

    def _list(self) -> dict[str, Path]:
        """Name of each video → its path below the split's folder, groups followed."""
        places: dict[str, Path] = {}
        for base in (self._data, self._annotations):
            for name in _names(base, directories=True):
                inside = _names(base / name, True) if name.startswith(TRAIN_GROUP) else [""]
                for place in [Path(name, video) for video in inside]:
                    if places.setdefault(place.name, place) != place:
                        raise StudyError(
                            f"{base}: the video {place.name} is there twice, as "
                            f"{places[place.name]} and {place}"
                        )
        return places

    def frame_path(self, video: str, frame: int) -> Path:
        return self._data / self._place(video) / f"{frame:06d}.JPEG"

    def annotation_path(self, video: str, frame: int) -> Path:
        return self._annotations / self._place(video) / f"{frame:06d}.xml"

    def _place(self, video: str) -> Path:
        if video not in self._places:
            raise StudyError(f"{self.root}: no video {video!r} in split {self.split!r}")
        return self._places[video]

    def frames(self, video: str) -> tuple[list[int], list[int]]:
        """Numbers of the frames that have an image, and of those that have an XML file."""
        place, numbers = self._place(video), []
        for folder, ending in ((self._data / place, ".JPEG"), (self._annotations / place, ".xml")):
            names = _names(folder, directories=False) if folder.is_dir() else []
            stems = [name.removesuffix(ending) for name in names if name.endswith(ending)]
            numbers.append([int(stem) for stem in stems if stem.isdecimal()])
        return numbers[0], numbers[1]

    def tracks(self, video: str) -> tuple[Track, ...]:
        """The tracks of a video, by ``track_id``, from its XML files alone; curation lists their
        faults.
        """
        found: list[tuple[int, Object]] = []
        for frame in sorted(self.frames(video)[1]):
            try:
                annotation = parse_annotation(read_bytes(self.annotation_path(video, frame)))
            except StudyError:
                continue
            found += [
                (frame, item)
                for item in annotation.objects
                if not box_fault(item.box, annotation.width, annotation.height)
            ]
        return gather_tracks(video, found)


def gather_tracks(video: str, found: list[tuple[int, Object]]) -> tuple[Track, ...]:
    """Sort (frame, object) pairs of a video into its tracks, by ``track_id``, then frame."""
    by_track: dict[int, dict[int, Object]] = {}
    for frame, item in found:
        by_track.setdefault(item.track_id, {})[frame] = item
    tracks = []
    for track_id, items in sorted(by_track.items()):
        frames = sorted(items)
        objects = [items[frame] for frame in frames]
        tracks.append(
            Track(
                video,
                track_id,
                objects[0].name,
                np.array(frames, dtype=np.int64),
                np.array([o.box for o in objects], dtype=np.float64),
                np.array([o.occluded for o in objects]),
                np.array([o.generated for o in objects]),
            )
        )
    return tuple(tracks)


def validation_sequences(root: str | Path, limit: int = 0, max_frames: int = 0) -> list[Sequence]:
    """The tracks of the ``val`` split as sequences to track, for choosing an epoch.

    Each is the longest run of consecutive frames of its track, 2 to ``max_frames`` (0 = all) of
    them. With a ``limit`` (0 = every track) below the number of videos, videos are taken evenly
    over the list, each with its longest track, and only those are read.
    """
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
        paths = tuple(str(vid.frame_path(track.video, n).absolute()) for n in track.frames[run])
        sequences.append(Sequence(f"{track.video}/{track.track_id}", paths, track.boxes[run]))
    return sequences


def _longest_run(frames: np.ndarray) -> np.ndarray:
    """Places of the longest (then first) stretch of consecutive frame numbers."""
    edges = np.flatnonzero(np.diff(frames) != 1) + 1
    return max(np.split(np.arange(len(frames)), edges), key=len)
