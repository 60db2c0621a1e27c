"""Curation on more and more cores: crops a second against one process."""

import shutil
import time
from pathlib import Path

from esiamfc_lib.curation.pipeline import curate
from speed.gpu.run import Run


def measure(run: Run) -> None:
    """Every process has as many videos to cut, so that each figure takes as long."""
    videos, alone = sorted((run.data.layout.vid / "Annotations/VID/train").glob("*/*")), 0.0
    for workers in run.sizes.curators:
        if workers > run.cores or not run.time_for(f"{workers} processes", 4):
            continue
        count = min(len(videos), run.sizes.curated * workers)
        first = some(run.data.layout.vid, run.folder / f"first-{workers}", videos[:workers])
        root = some(run.data.layout.vid, run.folder / f"some-{workers}", videos[:count])
        curate(first, run.folder / "warm-up", workers=workers)  # starts the processes
        start = time.perf_counter()
        crops = curate(root, run.folder / "cut", workers=workers)["crops"]
        rate = crops / (time.perf_counter() - start)
        alone = alone or rate
        run.add(f"curation, {workers} processes; reference: one", rate, alone, "crops/s")
        for name in ("warm-up", "cut", first, root):
            shutil.rmtree(run.folder / name)


def some(vid: Path, root: Path, videos: list[Path]) -> Path:
    """A VID root of some of the videos, by links."""
    for folder in videos:
        for part in ("Data", "Annotations"):
            place = folder.relative_to(vid / "Annotations")
            (root / part / place).parent.mkdir(parents=True, exist_ok=True)
            (root / part / place).symlink_to(vid / part / place)
    return root
