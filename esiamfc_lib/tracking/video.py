"""Track objects through a video, a folder of frames or a camera; no window is needed."""

import copy
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from esiamfc_lib.data import images
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.base import SequenceTracker
from esiamfc_lib.tracking.film import Film, annotated, checked_ending, frames_in_file

FORMATS = {"txt": "boxes.txt", "mot": "mot.txt", "csv": "boxes.csv", "json": "boxes.json"}
FILM = "tracked.mp4"
WRITING = "drawing and writing"
RATE = 25.0  # frames a second where a source gives none that a video can have
COUNTED = (".avi", ".m4v", ".mov", ".mp4")  # hold the number of their frames; others a duration,
TAIL = 0.1  # to which sound that is longer adds; seconds


@dataclass(frozen=True)
class Source:
    """Frames, uint8 (H, W, 3) RGB of one size, ended by a ``StudyError`` if some are missing; their
    number, 0 if unknown; frames a second; the path of the file or folder."""

    frames: Iterable[np.ndarray]
    total: int = 0
    fps: float = RATE
    path: str = ""


class Laps(Counter):
    """Seconds, by what they went to."""

    def __init__(self):
        super().__init__()
        self.since = time.perf_counter()

    def end(self, what: str) -> float:
        """The seconds since the last end went to ``what``; gives them."""
        since, self.since = self.since, time.perf_counter()
        self[what] += self.since - since
        return self.since - since

    def sentence(self, frames: int, of: int) -> str:
        """``240 frames in 4.1 s (58.5 frames/s): tracking 71%, ...``, what took 1% or more."""
        total = sum(self.values())
        shares = [f"{what} {part / total:.0%}" for what, part in self.most_common()]
        shares = ", ".join(share for share in shares if not share.endswith(" 0%"))
        count = f"{frames} of {of}" if of > frames else frames
        return f"{count} frames in {total:.1f} s ({frames / total:.1f} frames/s): {shares}"


def open_video(name: str) -> Source:
    """A video file, a folder of images (``images.image_files``), or a camera's number."""
    path = Path(name)
    if name and path.is_dir():
        if not (found := images.image_files(path)):
            endings = ", ".join(sorted(ending[1:] for ending in images.IMAGES))
            raise StudyError(f"no image ({endings}) in {path}")
        _tell_of_gaps(found)
        frames = images.of_one_size(found, map(images.read_image, found))
        return Source(frames, len(found), path=name)
    camera = name.isdecimal() and len(name) < 6 and not path.exists()
    if not camera and (not path.is_file() or path.suffix.lower() in images.IMAGES):
        raise StudyError(f"no video, folder or camera {name!r}")
    _for_opencv(name)
    # A file of many streams, as of action cameras, has thousands of packets between two frames.
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", "1000000")
    capture = cv2.VideoCapture(int(name) if camera else name)
    if not capture.isOpened():
        raise StudyError(f"{'camera ' if camera else ''}{name} cannot be opened as a video")
    count, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    total = int(count) if 0 < count < 1e9 and not camera else 0
    fps = fps if 0.01 <= fps <= 1000 else RATE
    return Source(_captured(capture, name, total, fps), total, fps, name)


def with_first(source: Source) -> tuple[Source, np.ndarray]:
    """The same source, and its first frame; a ``StudyError`` if there is none."""
    frames = iter(source.frames)
    if (first := next(frames, None)) is None:
        raise StudyError("the source gives no frame")
    return replace(source, frames=chain([first], frames)), first


def track_video(
    tracker: SequenceTracker,
    source: Source,
    boxes: Iterable[np.ndarray],
    out: Path,
    film: str | Path = FILM,
    form: str = "",
    laps: Laps | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Follow objects from their boxes (4,), 0-based, in the first frame, in one pass over a video;
    yields each frame's boxes (n, 4) and the picture that is written. Every object has a copy of the
    tracker; all copies share its network. A file of ``FORMATS`` (``form``; "": the first one with
    room for all) and ``out / film`` take the place of former ones when the loop ends, with all that
    has been tracked: by the last frame, an interruption, or a ``StudyError`` where frames are
    missing, which says how many there were. Other faults, and a video that its writer has not kept
    whole, leave the former ones; what is no result of tracking, the source itself or boxes without
    a video or a video without boxes, is never replaced. ``laps`` learns where the time went."""
    _for_opencv(out)
    _for_opencv(film)
    starts, laps = list(boxes), Laps() if laps is None else laps
    names = table_name(len(starts), form), film
    table, film = (files.writable_file(out / name, source.path) for name in names)
    former = [path for name in FORMATS.values() if (path := table.with_name(name)).exists()]
    if checked_ending(film) and bool(former) != film.exists():
        one = [*former, table][0]
        raise StudyError(f"one of {one} and {film} is no result: choose another output")
    trackers, found, end, writer = [copy.copy(tracker) for _ in starts], [], None, None
    with files.replacing(table) as new_table, files.replacing(film, film.suffix) as new_film:
        try:
            for image in source.frames:
                laps.end("reading")
                if writer:
                    now = np.array([each.update(image) for each in trackers], float)
                else:
                    for each, box in zip(trackers, starts, strict=True):
                        each.init(image, box)
                    now, writer = np.array(starts, float), Film(new_film, image, source.fps)
                fps = 1 / laps.end("tracking")
                weights = getattr(trackers[0], "fusion_weights", None) if len(starts) == 1 else None
                picture = annotated(image, now, weights, fps)
                writer.write(picture)
                found.append(now)
                laps.end(WRITING)
                yield now, picture
                laps.end("showing")
        except (StudyError, KeyboardInterrupt, GeneratorExit) as stop:
            end = stop
        finally:
            if writer:
                writer.close()
        if not found:
            raise end or StudyError("the source gives no frame")
        if (kept := frames_in_file(new_film)) < len(found):
            raise StudyError(f"{film} is incomplete: {kept} of {len(found)} frames were written")
        new_table.write_text(boxes_text(np.stack(found), table.name), encoding="utf-8")
        laps.end(WRITING)
    for path in {*former} - {table}:  # of other formats
        path.unlink()
    if isinstance(end, StudyError):
        of = f" of {source.total}" * bool(source.total)
        raise StudyError(f"{end}; incomplete: {len(found)}{of} frames are tracked, in {out}")
    if end:
        raise end


def table_name(objects: int, form: str = "") -> str:
    """Name of the file of boxes; a ``StudyError`` if its format has no room for the objects."""
    if form == "txt" and objects > 1:
        raise StudyError(f"the format txt has room for one object, not for {objects}")
    return FORMATS[form or ("mot" if objects > 1 else "txt")]


def boxes_text(boxes: np.ndarray, name: str) -> str:
    """Boxes (frames, objects, 4), 0-based, as the file of this ``name`` in ``FORMATS``. ``txt`` is
    a line ``x,y,w,h`` a frame; ``mot`` one of MOTChallenge, ``frame,id,x,y,w,h,1,-1,-1,-1``, an
    object, where frames, objects and pixels count from 1; ``csv`` and ``json`` name their columns,
    frames and pixels count from 0, and objects, as in the video, from 1."""
    frame, number = np.indices(boxes.shape[:2]).reshape(2, -1)
    table = pd.DataFrame(boxes.reshape(-1, 4), columns=["x", "y", "w", "h"])
    if name != FORMATS["txt"]:
        table.insert(0, "frame", frame)
        table.insert(1, "object", number + 1)
    if name == FORMATS["mot"]:
        table += [1, 0, 1, 1, 0, 0]
        table[["conf", "a", "b", "c"]] = 1, -1, -1, -1
    if name == FORMATS["json"]:
        return table.to_json(orient="records", double_precision=2) + "\n"
    header = name == FORMATS["csv"]
    return table.to_csv(index=False, header=header, float_format="%.2f", lineterminator="\n")


def _for_opencv(path: str | Path) -> None:
    # Its video functions end the process at other names.
    with refused(f"{str(path)!r}: videos need a path in UTF-8", UnicodeEncodeError):
        str(path).encode()


def _tell_of_gaps(found: list[Path]) -> None:
    """Names may be times, or every tenth number: only the user knows whether frames are missing."""
    numbers = [int((re.findall(r"\d+", file.stem) or [0])[-1]) for file in found]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = min((step for step in steps if step > 0), default=0)
    gaps = [i for i, step in enumerate(steps) if step > usual]
    if gaps:
        first, then = found[gaps[0]], found[gaps[0] + 1]
        more = f" ({len(gaps)} such gaps)" * (len(gaps) > 1)
        sys.stderr.write(f"{first} is followed by {then.name}: are frames missing?{more}\n")


def _captured(capture: cv2.VideoCapture, name: str, total: int, fps: float) -> Iterator[np.ndarray]:
    count, seconds = 0, 0.0
    try:
        while (read := capture.read())[0]:
            count, seconds = count + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    finally:
        capture.release()
    # A duration gives too many frames where the rate varies: then the last one's time counts.
    early = name.lower().endswith(COUNTED) or seconds + 1 / fps + TAIL < total / fps
    if count < total and early:
        raise StudyError(f"{name} ends before the {total} frames of its header")
