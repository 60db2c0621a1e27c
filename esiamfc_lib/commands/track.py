"""Track one object through a video: writes its boxes and an annotated mp4."""

import re
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from esiamfc_lib.commands.evaluate import chosen, tracker_arguments
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.tracking import video


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", metavar="VIDEO|FOLDER|CAMERA", help="CAMERA is a number")
    # Else argparse takes -10,-10,36,30 for an option.
    parser._negative_number_matcher = re.compile(r"-[.\d]")
    where = "the object in the first frame; pixels, the left-top one is 0,0"
    parser.add_argument("--box", required=True, metavar="X,Y,W,H", help=where)
    default = {"default": Path("tracked"), "help": "default: tracked"}
    parser.add_argument("--out", type=Path, metavar="DIR", **default)
    tracker_arguments(parser)


def main(args: Namespace) -> int:
    """Track until the frames or the user's patience (Ctrl-C) end."""
    trackers = chosen(args)
    if len(trackers) != 1:
        raise StudyError(f"one tracker is needed, --weights and --fusion give {len(trackers)}")
    with refused(f"--box {args.box}: four numbers X,Y,W,H are expected", ValueError):
        # float() takes 6_0 for 60.
        box = [float(value) for value in args.box.replace("_", " _ ").split(",")]
    source = video.open_video(args.source)
    frames = video.track_video(trackers[0].build(), source, [box], args.out)
    count, left = 0, 0
    try:
        for _ in progress(frames, "track", total=source.total or None, unit="frame"):
            count += 1
    except KeyboardInterrupt:
        if not count:
            raise
        frames.close()
        left = max(source.total - count, 0)
    of = f" of {count + left}" if left else ""
    sys.stdout.write(f"{count}{of} frames: {args.out / 'tracked.mp4'}, {args.out / 'boxes.txt'}\n")
    return 130 if left else 0
