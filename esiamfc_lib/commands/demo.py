"""Track three objects in a short clip with the ensemble that is shipped, and say what to try next.

Nothing is needed but this library. Boxes, a video, and copies of clip and ensemble are left in DIR.
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from esiamfc_lib.data.geometry import iou
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.parallel import threads
from esiamfc_lib.runtime.paths import INSTALLED
from esiamfc_lib.tracking import video
from esiamfc_lib.tracking.tracker import Tracker

DEMO = Path(__file__).parents[1] / "demo"
WEIGHTS, CLIP, ABOUT = "esiamfc.safetensors", "clip.mp4", "demo.json"  # by tools/demo.py
NOTEBOOKS = f"cp -r '{INSTALLED}' . && jupyter lab notebooks"
SAID = DEMO.with_name("templates") / "demo.txt"


def arguments(parser: ArgumentParser) -> None:
    default = {"default": Path("esiamfc_demo"), "help": "default: esiamfc_demo"}
    parser.add_argument("--out", type=Path, metavar="DIR", **default)


def main(args: Namespace) -> int:
    """Track, compare with the truth, and tell."""
    about = _about()
    truth = np.array(about["truth"], float)
    for name in (WEIGHTS, CLIP):
        copy, shipped = args.out / name, (DEMO / name).read_bytes()
        if copy.exists() and copy.read_bytes() != shipped:
            raise StudyError(f"{copy} is another file than the demo's: choose another --out")
        write_atomically(copy, shipped)
    tracker, clip = Tracker.load(DEMO / WEIGHTS), video.open_video(str(DEMO / CLIP))
    frames = video.track_video(tracker, clip, truth[0], args.out)
    with threads(1):  # more of them wait for each other where the machine is busy
        boxes = np.stack([found for found, _ in progress(frames, "demo", total=len(truth))])
    overlaps = iou(boxes[1:], truth[1:]).mean(axis=0)
    told = {
        "each": ", ".join(f"{n} {o:.2f}" for n, o in zip(about["objects"], overlaps, strict=True)),
        "notebooks": NOTEBOOKS if INSTALLED.is_dir() else "make notebooks",
        "film": args.out / video.FILM,
        "weights": args.out / WEIGHTS,
    }
    told |= {"tracker": tracker, "frames": len(boxes), "overlap": overlaps.mean()}
    sys.stdout.write(SAID.read_text(encoding="utf-8").format(**told))
    return 0


def _about() -> dict:
    return json.loads((DEMO / ABOUT).read_text(encoding="utf-8"))["clip"]
