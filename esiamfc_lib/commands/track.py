"""Track objects through a video: writes their boxes and a video that shows them."""

import re
import sys
from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from esiamfc_lib.commands.evaluate import chosen, tracker_arguments
from esiamfc_lib.data import benchmark_files, geometry, images
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.tracking import video
from esiamfc_lib.tracking.base import checked_box
from esiamfc_lib.tracking.film import ENDINGS, checked_ending
from esiamfc_lib.tracking.page import Page, has_display


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("source", metavar="VIDEO|FOLDER|CAMERA", help="CAMERA is a number")
    # Else argparse takes -10,-10,36,30 for an option.
    parser._negative_number_matcher = re.compile(r"-[.\d]")
    add(
        "--box", action="append", default=[], metavar="X,Y,W,H|FILE",
        help="an object in the first frame, in pixels, the left-top one is 0,0; or a file whose "
        "first line has it, as in OTB, VOT and GOT-10k, where pixels count from 1; repeated for "
        "several objects; without it a page to draw on is opened, or you are asked",
    )  # fmt: skip
    add("--out", type=Path, default=Path("tracked"), metavar="DIR", help="default: tracked")
    kinds = f"the video, DIR/{video.FILM} if not given: {', '.join(ENDINGS)}"
    add("--video", type=Path, metavar="FILE", help=kinds)
    what = "of the boxes: txt (default for one object), mot (for several), csv, json"
    add("--format", choices=video.FORMATS, default="", help=what)
    add("--live", action="store_true", help="watch in a browser while it tracks")
    tracker_arguments(parser)
    parser.set_defaults(device="auto", precision="auto")  # as the demo and Tracker.load


def main(args: Namespace) -> int:
    """Track until the frames or the user's patience (Ctrl-C, or Stop in the page) end."""
    specs = chosen(args)
    if len(specs) != 1:
        raise StudyError(f"one tracker is needed, --weights and --fusion give {len(specs)}")
    boxes, display = [_given(text) for text in args.box], has_display()
    if not boxes and not sys.stdin.isatty():
        raise StudyError("--box X,Y,W,H or --box FILE is needed: there is no terminal to ask at")
    source, first = video.with_first(video.open_video(args.source))
    name = args.video.absolute() if args.video else video.FILM
    film = checked_ending(args.out / name)
    if not boxes:
        files.writable_file(film, source.path)  # before anybody is asked
    tracker, count, left = specs[0].build(), 0, 0
    with ExitStack() as stack:
        page = Page(first, args.live) if args.live or (display and not boxes) else None
        if page:
            stack.enter_context(page).open(watch=bool(boxes))
        boxes = boxes or (page.boxes.get() if page else _typed(first, args.out, source.path))
        laps = video.Laps()
        frames = video.track_video(tracker, source, boxes, args.out, name, args.format, laps)
        try:
            for _, picture in progress(frames, "track", total=source.total or None, unit="frame"):
                count += 1
                if page:
                    page.image = picture
                    if page.stopped:
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            if not count:
                raise
            frames.close()
            left = max(source.total - count, 0)
    objects = f"{len(boxes)} objects, one network, " * (len(boxes) > 1)
    where = ", ".join(specs[0].runs_on()[:2])
    table = args.out / video.table_name(len(boxes), args.format)
    sys.stdout.write(f"{laps.sentence(count, count + left)}; {objects}{where}; {film}, {table}\n")
    return 130 if left else 0


def _given(text: str) -> np.ndarray:
    """The box (4,), 0-based, that ``--box`` says, itself or as the name of a file."""
    if Path(text).is_file():
        regions = benchmark_files.numbers(Path(text), (4, 8))
        if not len(regions):
            raise StudyError(f"--box {text}: the file is empty")
        return geometry.from_one_based(geometry.polygon_to_box(regions[0]))
    with refused(f"--box {text}: four numbers X,Y,W,H are expected, or a file", ValueError):
        # float() takes 6_0 for 60.
        return np.array([float(value) for value in text.replace("_", " _ ").split(",")])


def _typed(first: np.ndarray, out: Path, source: str) -> list[np.ndarray]:
    """Boxes that are typed at the terminal, where no page can be shown."""
    picture = files.writable_file(out / "first_frame.jpg", source)
    files.write_atomically(picture, images.encode_jpeg(first))
    sys.stdout.write(f"there is no display to draw on: look at {picture}\n")
    found = []
    with refused("no box is given", EOFError):
        while text := input(f"X,Y,W,H of object {len(found) + 1}{', or nothing' * bool(found)}: "):
            try:
                found.append(checked_box(_given(text), first))
            except StudyError as error:
                sys.stdout.write(f"{error}\n")
    if not found:
        raise StudyError("no box is given")
    return found
