"""Everything that one GPU is to show, in one run of at most eight minutes: correctness, curation,
training, tracking, and a real training from scratch; each row beside a baseline of the same run.

    python -m speed gpu --json reports/bench/gpu-CARD.json [--minutes 8] [--only PART ...]

The data are built in and made by the run itself, on all cores. Every part has its share of the
minutes: what does not fit is left out, and a row says so. A part that fails leaves its traceback in
a row, and the others go on. The file is written anew after every row, so that a run that is ended
keeps what it has measured. Without a GPU all of it runs in a short form on the CPU, in about a
minute at width 0.125: that tests the check and says nothing about speed.

What has to be installed is in ``NEEDS``: fewer packages than the study needs. PyTorch may be of
any version from 2.4 on. torchvision is used where it is there, to decode JPEG on the GPU.
"""

import os
import shutil
import tempfile
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from pathlib import Path

from esiamfc_lib.errors import StudyError
from speed import Row

NEEDS = {
    **{"numpy": "numpy", "torch": "torch", "cv2": "opencv-python-headless", "PIL": "pillow"},
    **{"got10k": "got10k", "lmdb": "lmdb", "pandas": "pandas", "pydantic": "pydantic"},
    **{"simplejpeg": "simplejpeg", "joblib": "joblib", "threadpoolctl": "threadpoolctl"},
    **{"tqdm": "tqdm", "safetensors": "safetensors", "scipy": "scipy", "sklearn": "scikit-learn"},
    **{"lightning_fabric": "lightning-fabric", "tensorboard": "tensorboard", "six": "six"},
    **{"yaml": "pyyaml", "shapely": "shapely"},
}
"""Module -> the distribution that holds it; with what these need themselves, nothing else is
imported."""


PARTS = {
    "card": 4,
    "convolutions": 12,
    "data": 45,
    "curation": 19,
    "training": 80,
    "learning": 130,
    "ensemble": 90,
    "correctness": 40,
    "tracking": 60,
}
"""Part -> its share of the time, in seconds of eight minutes; its module is ``speed.gpu.<part>``,
its function ``measure``. In the order of the run: what is tracked has been trained before."""


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add("--minutes", type=float, help="all parts together (default: 8 on a GPU, 2 without)")
    add("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    add("--width", type=float, help="of the networks (default: 1 on a GPU, 0.125 without)")
    add("--k", type=int, default=6, help="branches (default: 6)")
    add("--device", default="auto", help="auto, cpu, cuda (default: auto)")
    add("--tmp", type=Path, help="where to work; default: memory, where that is a file system")


def rows(args: Namespace) -> list[Row]:
    """All measurements of the parts that are asked for."""
    if missing := [name for module, name in NEEDS.items() if find_spec(module) is None]:
        raise StudyError(f"this check needs {', '.join(missing)} as well: pip install them")
    # cuBLAS is deterministic with this only, and reads it when the GPU is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars would hide the rows
    from speed.gpu.run import Run

    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 32e9
    with tempfile.TemporaryDirectory(dir=args.tmp or (memory if roomy else None)) as folder:
        return Run(args, Path(folder)).all()
