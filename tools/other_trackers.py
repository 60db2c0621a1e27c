"""Other trackers beside this project's SiamFC, on the same frames: accuracy and speed.

    python -m tools.other_trackers --otb DIR --out FILE [--weights FILE [--int8 FILE]]

Sequences in OTB layout are tracked in one pass, frame 1 counts, and scored by the metrics of the
study (``evaluation.metrics``). OpenCV's trackers are run as it offers them, with its own settings:
MIL always; KCF and CSRT where ``opencv-contrib-python`` is installed in place of
``opencv-python``; Nano, Vit and DaSiamRPN with the ONNX files of their networks, which are not
part of OpenCV. A tracker that reports the object as lost keeps its last box.

All run on one thread and in turn, sequence by sequence, so that a busy machine slows all of them.
The speed is frames a second of processor time, decoding left out: other programs on the machine
count little in it. The file has a row a tracker and sequence; rows of what was not run now stay as
they are, and the column ``source`` says where each comes from.
"""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from esiamfc_lib import cli
from esiamfc_lib.chain import record
from esiamfc_lib.data import benchmarks, images
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.metrics import score
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.parallel import threads
from tools.int8 import FastTrackerSpec

MEASURED = "measured by this command"
NETWORKS = {
    "Nano": ("backbone", "neckhead"),
    "Vit": ("net",),
    "DaSiamRPN": ("model", "kernel_cls1", "kernel_r1"),
}
"""Trackers of OpenCV that need files -> what OpenCV's parameters call them, in order."""


class OpenCVTracker:
    """One of OpenCV's trackers, with the interface of the project's own."""

    def __init__(self, make: Callable):
        self.make = make

    def init(self, image: np.ndarray, box: np.ndarray) -> None:
        self.tracker, self.box = self.make(), box
        self.tracker.init(image, tuple(round(float(side)) for side in box))

    def update(self, image: np.ndarray) -> np.ndarray:
        found, box = self.tracker.update(image)
        self.box = np.array(box, float) if found else self.box
        return self.box


def opencv_trackers(networks: dict[str, list[Path] | None]) -> dict[str, tuple]:
    """Name -> (tracker, files of its weights); ``networks``: files by name, see ``NETWORKS``."""
    found: dict[str, tuple] = {}
    for name in ("MIL", "KCF", "CSRT"):
        if hasattr(cv2, f"Tracker{name}_create"):
            found[name] = OpenCVTracker(getattr(cv2, f"Tracker{name}_create")), []
    for name, weights in networks.items():
        if weights:
            given = getattr(cv2, f"Tracker{name}_Params")()
            for parameter, file in zip(NETWORKS[name], weights, strict=True):
                setattr(given, parameter, str(files.existing(file)))
            make = getattr(cv2, f"Tracker{name}_create")
            found[name] = OpenCVTracker(lambda make=make, given=given: make(given)), weights
    return found


def own_trackers(weights: Path, int8: Path | None) -> dict[str, tuple]:
    """This project's SiamFC with these weights, in each precision."""
    found: dict[str, tuple] = {}
    for precision, file in (("fp32", weights), ("bf16", weights), ("int8", int8)):
        if file:
            names = {
                "name": f"SiamFC {precision}",
                "weights": str(weights),
                "int8": str(int8 or ""),
            }
            spec = FastTrackerSpec(**names, kind="siamfc", precision=precision)
            found[spec.name] = spec.build(), [file]
    return found


def track(tracker, frames: list[np.ndarray], box: np.ndarray) -> tuple[np.ndarray, float]:
    """Boxes (n, 4), the first one as given, and the seconds of processor time."""
    start = time.process_time()
    tracker.init(frames[0], box)
    boxes = [box, *(tracker.update(frame) for frame in frames[1:])]
    return np.array(boxes), time.process_time() - start


def measure(trackers: dict[str, tuple], root: Path, limit: int = 0) -> Iterator[dict]:
    """A row a tracker and sequence: ``tracker, benchmark, sequence, frames, success, precision,
    frames_per_second``."""
    sequences, _ = benchmarks.read_benchmark("otb2015", root, limit)
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with threads(1):
        for sequence in sequences:
            rgb = [images.read_image(file) for file in sequence.frames]
            bgr = [np.ascontiguousarray(frame[..., ::-1]) for frame in rgb]
            for name, (tracker, _) in trackers.items():
                given = bgr if isinstance(tracker, OpenCVTracker) else rgb
                boxes, seconds = track(tracker, given, sequence.boxes[0])
                one = score(boxes, sequence.boxes)
                facts = {"tracker": name, "benchmark": "otb2015", "sequence": sequence.name}
                facts |= {"frames": len(boxes), "success": one.success, "precision": one.precision}
                yield facts | {"frames_per_second": len(boxes) / seconds}
    cv2.setNumThreads(before)


def joined(before: pd.DataFrame, rows: list[dict]) -> pd.DataFrame:
    """The table with new rows in the place of older ones of the same tracker and sequence, and of
    all that was quoted of that tracker."""
    key, new = ["tracker", "sequence"], pd.DataFrame(rows)
    if len(before):
        quoted = before["tracker"].isin(new["tracker"]) & (before["source"] != MEASURED)
        before = before[~quoted]
    table = pd.concat([before, new], ignore_index=True)
    return table.drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)


def arguments(parser: ArgumentParser) -> None:
    add, several = parser.add_argument, {"type": Path, "metavar": "FILE"}
    add("--otb", required=True, type=Path, metavar="DIR", help="sequences in OTB layout")
    add("--out", required=True, **several, help="a CSV; rows of trackers not run now stay")
    add("--weights", **several, help="a SiamFC, any known format: runs in fp32 and bf16")
    add("--int8", **several, help="its int8 form (python -m tools.quantise): runs, too")
    add("--only", nargs="+", default=[], metavar="NAME", help="of these trackers; default: all")
    add("--limit", type=int, default=0, metavar="N", help="the first sequences; 0: all")
    for name, names in NETWORKS.items():
        given = {"nargs": len(names), "metavar": tuple(part.upper() for part in names)}
        add(f"--{name.lower()}", type=Path, **given, help=f"ONNX files of OpenCV's {name}")


def main(args: Namespace) -> int:
    out = files.writable_file(args.out, *filter(None, (args.otb, args.weights, args.int8)))
    if args.int8 and not args.weights:
        raise StudyError("--int8 is a form of --weights: give both")
    trackers = opencv_trackers({name: getattr(args, name.lower()) for name in NETWORKS})
    trackers |= own_trackers(args.weights, args.int8) if args.weights else {}
    if unknown := set(args.only) - set(trackers):
        there = ", ".join(trackers)
        raise StudyError(f"{', '.join(sorted(unknown))}: not here; there are {there}")
    trackers = {name: one for name, one in trackers.items() if not args.only or name in args.only}
    made = {"opencv": cv2.__version__, "torch": torch.__version__}
    made |= {"processor": record.environment()["processor"], "source": MEASURED}
    table, rows = pd.read_csv(out) if out.is_file() else pd.DataFrame(), []
    for row in progress(measure(trackers, args.otb, args.limit), "track", unit="run"):
        sizes = [file.stat().st_size for file in trackers[row["tracker"]][1]]
        rows.append(row | {"weights_mb": sum(sizes) / 1e6} | made)
        text = joined(table, rows).to_csv(index=False, lineterminator="\n")
        files.write_atomically(out, text)  # each time: nothing is lost where it is stopped
    sys.stdout.write(f"{out}: {len(rows)} rows of {', '.join(trackers)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.other_trackers", lambda: sys.modules[__name__], sys.argv[1:]))
