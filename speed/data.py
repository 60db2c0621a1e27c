"""Curation, crop store and loader, each against a baseline of the same run.

The frames are drawn for the purpose; nothing but a temporary folder is needed.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.images import encode_jpeg
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.training.loading import PairLoader
from esiamfc_lib.training.pairs import PairDataset
from speed import Row, row, two_step


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument(
        "--crops",
        type=int,
        default=100_000,
        help="size of the large curation (default %(default)s); 0 = leave it out",
    )
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default 5)")
    parser.add_argument("--tmp", type=Path, help="where to work; default: the system's")


def rows(args: Namespace) -> list[Row]:
    """All measurements."""
    with tempfile.TemporaryDirectory(dir=args.tmp) as name:
        folder = Path(name)
        found = curation_rows(folder, args.workers, args.repeats)
        found += loader_rows(CropStore(folder / "store"), args.repeats)
        if args.crops:
            found += scale_rows(folder, args.workers, args.crops)
        return found


def draw_vid(root: Path, videos: int, frames: int, width: int, height: int) -> int:
    """Textured frames with two moving boxes each, in VID layout; gives the bytes of a frame."""
    rng = np.random.default_rng(0)
    size, noise = (2 * width, 2 * height), np.zeros((2 * height, 2 * width, 3), np.float32)
    for sigma in (1.5, 3, 8, 24):
        layer = rng.standard_normal((size[1], size[0], 3)).astype(np.float32)
        noise += cv2.GaussianBlur(layer, (0, 0), sigma) * sigma * 20
    picture = np.clip(noise + 128, 0, 255).astype(np.uint8)
    total = 0
    for v in range(videos):
        place = Path("VID/train/ILSVRC2015_VID_train_0000", f"video_{v:04d}")
        for part in ("Data", "Annotations"):
            (root / part / place).mkdir(parents=True)
        for n in range(frames):
            x, y = (17 * v + 3 * n) % width, (11 * v + 2 * n) % height
            data = encode_jpeg(picture[y : y + height, x : x + width], 90)
            total += len(data)
            (root / "Data" / place / f"{n:06d}.JPEG").write_bytes(data)
            objects = "".join(
                f"<object><trackid>{t}</trackid><name>n{t}</name><bndbox><xmax>{left + w}</xmax>"
                f"<xmin>{left}</xmin><ymax>{top + h}</ymax><ymin>{top}</ymin></bndbox>"
                "<occluded>0</occluded><generated>0</generated></object>"
                for t, (left, top, w, h) in enumerate(
                    (
                        (width // 8 + 2 * n, height // 6 + n, width // 5, height // 4),
                        (width // 2 - n, height // 2 - n // 2, width // 4, height // 5),
                    )
                )
            )
            (root / "Annotations" / place / f"{n:06d}.xml").write_text(
                f"<annotation><size><width>{width}</width><height>{height}</height></size>"
                f"{objects}</annotation>"
            )
    return total // (videos * frames)


def in_turn(works: list, repeats: int) -> list[float]:
    """Median seconds of several works, run in turn so that a busy moment hits them alike."""
    for work in works:
        work()
    seconds = [[] for _ in works]
    for _ in range(repeats):
        for work, of in zip(works, seconds, strict=True):
            start = time.perf_counter()
            work()
            of.append(time.perf_counter() - start)
    return [median(of) for of in seconds]


def curation_rows(folder: Path, workers: int, repeats: int) -> list[Row]:
    """Curation into the store against files and a second encoding; leaves ``folder/store``."""
    root, crops = folder / "vid", 20 * 30 * 2
    draw_vid(root, 20, 30, 640, 480)

    archive = folder / "vid.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for part in ("Annotations", "Data"):
            tar.add(root / part, f"ILSVRC2015/{part}")

    def ours(processes: int, source: Path = root, store: str = "store") -> None:
        shutil.rmtree(folder / store, ignore_errors=True)
        curate(source, folder / store, workers=processes)

    def reference(numpy_mean: bool) -> None:
        shutil.rmtree(folder / "two-step", ignore_errors=True)
        two_step.curate(root, folder / "two-step", workers, numpy_mean)

    one_pass, public, cheap = in_turn(
        [lambda: ours(workers), lambda: reference(True), lambda: reference(False)], repeats
    )
    alone, streamed = in_turn([lambda: ours(1), lambda: ours(1, archive, "streamed")], repeats)
    stored = CropStore(folder / "store").manifest
    large = folder / "large"
    frame_bytes = draw_vid(large, 4, 30, 1280, 720)

    (of_large,) = in_turn([lambda: ours(1, large, "wide")], repeats)
    return [
        row(
            f"curation and store, 640×480, {workers} processes, against two steps",
            crops / one_pass,
            crops / public,
            "crops/s",
            "ratio ≥ 3",
        ),
        row(
            "the same, two steps with a cheap mean colour",
            crops / one_pass,
            crops / cheap,
            "crops/s",
        ),
        row(
            f"curation and store, {workers} processes against one",
            crops / one_pass,
            crops / alone,
            "crops/s",
        ),
        row(
            "curation and store, one process, from a tar.gz stream against from a folder",
            crops / streamed,
            crops / alone,
            "crops/s",
        ),
        row(
            "curation and store, one process, 1280×720 against 640×480, frames",
            120 / of_large,
            600 / alone,
            "frames/s",
        ),
        row(
            "bytes of a stored crop (reference: bytes of a 1280×720 frame)",
            stored["bytes"] / stored["crops"],
            frame_bytes,
            "bytes",
            less_is_better=True,
        ),
    ]


def loader_rows(store: CropStore, repeats: int) -> list[Row]:
    """The loader against nothing but decoding, and two workers against one."""
    pairs, batch = 1024, 16
    drawn = {"frame_range": 100, "negative_fraction": 0.0, "hard_negatives": False}
    dataset = PairDataset(store, length=pairs, **drawn)
    chosen = dataset.pairs(np.arange(pairs))
    jpegs = [
        np.frombuffer(store.read_bytes(track, row - store.rows(track).start), np.uint8)
        for pair in zip(chosen["track"], chosen["exemplar"], chosen["search"], strict=True)
        for track, row in ((pair[0], pair[1]), (pair[0], pair[2]))
    ]

    def decode(some: list[np.ndarray]) -> None:
        for data in some:
            cv2.imdecode(data, cv2.IMREAD_COLOR)

    def load(loader) -> None:
        for _ in loader.epoch(0):
            pass

    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    # Batch by batch in turn, because the two differ by a few percent only; the same pairs.
    batches = PairLoader(dataset, batch).epoch(0)
    bare_batches = iter([jpegs[i : i + 2 * batch] for i in range(0, 2 * pairs, 2 * batch)])
    bare, whole = (
        pairs / batch * each
        for each in in_turn(
            [lambda: decode(next(bare_batches)), lambda: next(batches)], pairs // batch - 2
        )
    )
    one, two = (PairLoader(dataset, batch, workers) for workers in (1, 2))
    single, double = in_turn([lambda: load(one), lambda: load(two)], repeats)
    cv2.setNumThreads(threads)
    return [
        row(
            "loader on one core against two bare JPEG decodes a pair",
            pairs / whole,
            pairs / bare,
            "pairs/s",
            "ratio ≥ 0.9",
        ),
        row(
            "loader, two worker processes against one",
            pairs / double,
            pairs / single,
            "pairs/s",
            "ratio ≥ 1.8",
        ),
    ]


# Peak memory is read from /proc: getrusage would count the memory of whoever started the process.
LARGE_RUN = """
import json, re, sys, time
from pathlib import Path
from esiamfc_lib.curation import curate
from esiamfc_lib.runtime.parallel import spread
def peak(_):
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
small, large, out, workers = *map(Path, sys.argv[1:4]), int(sys.argv[4])
curate(small, out / "warm-up", workers=workers)  # starts the processes
start = time.perf_counter()
crops = curate(large, out / "store", workers=workers)["crops"]
seconds = time.perf_counter() - start
peaks = [peak(0), *spread(peak, range(8 * workers), workers)]
print(json.dumps({"crops": crops, "seconds": seconds, "peak": max(peaks)}))
"""

OPENING = """
import sys, time
from esiamfc_lib.data import CropStore
start = time.perf_counter()
store = CropStore(sys.argv[1])
store.tracks
store.read(0, 0)
print(time.perf_counter() - start)
"""


def scale_rows(folder: Path, workers: int, crops: int) -> list[Row]:
    """A large curation against a small one: the same videos under other names."""
    base, frames = folder / "base", 50
    draw_vid(base, 50, frames, 320, 240)
    draw_vid(folder / "tiny", workers, 2, 320, 240)
    small = repeated(base, folder / "small", 5_000 // (2 * frames))
    large = repeated(base, folder / "large-run", crops // (2 * frames))
    first, big, last = (
        fresh(LARGE_RUN, folder / "tiny", root, folder / out, workers)
        for root, out in ((small, "s"), (large, "l"), (small, "t"))
    )
    opening = median(float(fresh(OPENING, folder / "l" / "store")) for _ in range(3))
    each = 1e6 * big["seconds"] / big["crops"]
    of_small = 1e6 * (first["seconds"] + last["seconds"]) / (first["crops"] + last["crops"])
    return [
        row(
            f"time a crop, {big['crops']:,} crops against {first['crops']:,}",
            each,
            of_small,
            "µs",
            "ratio ≥ 0.9",
            less_is_better=True,
        ),
        row(
            f"peak memory of any process, {big['crops']:,} crops (reference: the limit)",
            big["peak"] / 1e6,
            500,
            "MB",
            "ratio ≥ 1",
            less_is_better=True,
        ),
        row(
            f"opening the store of {big['crops']:,} crops (reference: the limit)",
            opening,
            1.0,
            "s",
            "ratio ≥ 1",
            less_is_better=True,
        ),
    ]


def repeated(base: Path, root: Path, videos: int) -> Path:
    """A VID root of ``videos`` videos, links to those of ``base`` in turn."""
    place = Path("VID/train/ILSVRC2015_VID_train_0000")
    for part in ("Data", "Annotations"):
        originals = sorted((base / part / place).iterdir())
        (root / part / place).mkdir(parents=True)
        for v in range(videos):
            (root / part / place / f"copy_{v:05d}").symlink_to(originals[v % len(originals)])
    return root


def fresh(code: str, *words):
    """What a new Python process says at the end of ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)
