"""From frames to crops: the part of curation that runs in the worker processes.

A frame is decoded once; every object in it is cut out in one step and encoded once. The result
goes back as JPEG bytes, so that one process can write it."""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2

from esiamfc_lib.data import geometry
from esiamfc_lib.data.images import MOST_BYTES, decode_image, encode_jpeg, read_bytes
from esiamfc_lib.data.vid import MOST_XML, Annotation, Object, box_fault, parse_annotation
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import digest_of

Name = tuple[str, str]  # of a video: split, video
Problem = tuple[int, int, str]  # frame, track_id (-1: the whole frame), reason


class FrameFiles(NamedTuple):
    """One frame's files: a path, the content, what is wrong with it, or None: no such file."""

    frame: int
    annotation: Path | bytes | str | None
    image: Path | bytes | str | None


class Chunk(NamedTuple):
    """A few frames of one video."""

    name: Name
    frames: tuple[FrameFiles, ...]
    last: bool  # the video ends with it
    at: int  # how much of the source has been read with it, in the source's unit


class Crop(NamedTuple):
    """One object of one frame, cut out: JPEG bytes and their CRC-32."""

    frame: int
    object: Object
    jpeg: bytes
    crc: int


@dataclass
class Cut:
    """The crops of a chunk of frames, and its problems."""

    name: Name
    last: bool
    at: int
    crops: list[Crop] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    digests: dict[int, str] = field(default_factory=dict)  # of a frame's two files
    size: tuple[int, int] | None = None


def cut(chunk: Chunk, jpeg_quality: int) -> Cut:
    """Cut all crops of a chunk; what is broken is skipped and reported, never raised. An OSError
    is the machine's fault and not a frame's."""
    # The processes are the parallelism: OpenCV's own threads would only compete with them.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    result = Cut(chunk.name, chunk.last, chunk.at)
    for files in chunk.frames:
        try:
            cut_frame(files, result, jpeg_quality)
        except StudyError as error:
            result.problems.append((files.frame, -1, str(error)))
    cv2.setNumThreads(threads)
    return result


def cut_frame(files: FrameFiles, result: Cut, jpeg_quality: int) -> None:
    """Add a frame's crops and problems to ``result``; a StudyError if all of it is at fault."""
    xml, jpeg, fault = read_files(files)
    result.digests[files.frame] = digest_of([xml, jpeg])
    if fault:
        raise StudyError(fault)
    annotation = parse_annotation(xml)
    result.size = result.size or annotation.size
    objects = usable(files.frame, annotation, result)
    if not objects:
        return
    image = decode_image(jpeg)
    if image.shape[1::-1] != annotation.size:
        both = *annotation.size, *image.shape[1::-1]
        raise StudyError("size differs: XML {}×{}, image {}×{}".format(*both))
    border, image = geometry.mean_colour(image), geometry.four_channels(image)
    for item in objects:
        jpeg = encode_jpeg(search_crop(image, item.box, border), jpeg_quality)
        result.crops.append(Crop(files.frame, item, jpeg, zlib.crc32(jpeg)))


def read_files(files: FrameFiles) -> tuple[bytes, bytes, str]:
    """A frame's XML and JPEG, empty where they are not read, and what is wrong with them, or "".
    The words hold no path, so that a list of problems is the same wherever the data lies."""
    contents, faults = [], []
    for file, kind, most in zip(files[1:], ("XML", "JPEG"), (MOST_XML, MOST_BYTES), strict=True):
        if isinstance(file, Path):
            try:
                file = read_bytes(file, most, seen=True)
            except StudyError as error:
                file = str(error).removeprefix(f"{file} ")
        if not isinstance(file, bytes):
            faults.append(f"{kind} {file}" if file else f"missing {kind}")
        contents.append(file if isinstance(file, bytes) else b"")
    return contents[0], contents[1], ", ".join(faults)


def usable(frame: int, annotation: Annotation, result: Cut) -> list[Object]:
    """The objects of a frame that can be cropped; the others become problems."""
    chosen: dict[int, Object] = {}
    for item in annotation.objects:
        twice = "track appears twice in the frame" if item.track_id in chosen else ""
        if fault := twice or box_fault(item.box, *annotation.size):
            result.problems.append((frame, item.track_id, fault))
        else:
            chosen[item.track_id] = item
    return list(chosen.values())


def search_crop(image, box, border=None):
    """The 255×255 crop of an RGB frame about a box: its central 127 pixels are the exemplar.
    ``border`` is the colour outside the frame, by default the frame's mean."""
    side = geometry.search_side(geometry.context_side(box[2], box[3]))
    return geometry.crop(image, geometry.center(box), side, geometry.SEARCH_SIZE, border)
