"""Write a workspace in which the official VOT toolkit runs our trackers.

    python -m tools.vot_workspace DIR --root VOT_SEQUENCES [--weights FILE ...] [--identity]

The toolkit has an environment of its own (it wants another OpenCV, and is under the GPL). What
works together on Python 3.11, in this order: 'pip install vot-toolkit==0.7.2 attributee==0.1.9',
then 'pip install phx-class-registry==4.1.0' in spite of pip's complaint.
"""

import configparser
import re
import shlex
import shutil
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import yaml

from esiamfc_lib import cli
from esiamfc_lib.commands.evaluate import chosen, tracker_arguments
from esiamfc_lib.data import images
from esiamfc_lib.data.benchmarks import VOTSequence, read_benchmark
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import apart, writable_folder, write_atomically
from esiamfc_lib.tracking.spec import TrackerSpec, tracker_specs
from tools.int8 import with_int8

STACKS = {
    "vot2013": "vot2013", "vot2014": "vot2014", "vot2015/rgb": "vot2015",
    "vot2016/rgb": "vot2016", "vot2017": "vot2017", "vot2018/shortterm": "vot2018",
    "vot2022/shorttermbox": "vot2018",
}  # fmt: skip
"""Stack of the toolkit → layout of its sequences; the last one is the anchor-based protocol."""
PATHS = {"weights", "baseline", "centroids"}  # of a spec
ANCHOR_DISTANCE = 50  # frames
SERVER = Path(__file__).resolve().parent / "trax.py"
START_SECONDS = 180  # a busy machine takes long to import the libraries


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("workspace", type=Path, metavar="DIR", help="made; must not exist yet")
    root = "VOT sequences with a list.txt"
    parser.add_argument("--root", required=True, type=Path, metavar="DIR", help=root)
    stack = {"default": "vot2018/shortterm", "choices": STACKS, "metavar": "NAME"}
    known = f"of the toolkit: {', '.join(STACKS)} (default: vot2018/shortterm)"
    parser.add_argument("--stack", **stack, help=known)
    parser.add_argument("--identity", action="store_true", help="add the tracker that never moves")
    tracker_arguments(parser)
    with_int8(parser)


def main(args: Namespace) -> int:
    """Write the workspace and say how to run it."""
    trackers = chosen(args) + (tracker_specs(["identity"]) if args.identity else [])
    if not trackers:
        raise StudyError("a workspace without a tracker: give --weights FILE or --identity")
    if any(spec.kind == "oracle" for spec in trackers):
        raise StudyError("the oracle needs the ground truth; the toolkit does not give it")
    apart(args.workspace, args.root)
    if args.workspace.exists():
        raise StudyError(f"{args.workspace} is already there")
    sequences, missing = read_benchmark(STACKS[args.stack], args.root)
    try:
        names = write(writable_folder(args.workspace).resolve(), args.stack, sequences, trackers)
    except BaseException:
        shutil.rmtree(args.workspace, ignore_errors=True)
        raise
    sys.stdout.write(
        f"{len(sequences)} sequences ({len(missing)} listed ones are missing), trackers: "
        f"{', '.join(names)}. In the toolkit's environment:\n"
        f"  vot evaluate --workspace {shlex.quote(str(args.workspace))} {' '.join(names)}\n"
        f"  vot report --workspace {shlex.quote(str(args.workspace))} {' '.join(names)}\n"
    )
    return 0


def write(
    workspace: Path, stack: str, sequences: list[VOTSequence], trackers: list[TrackerSpec]
) -> list[str]:
    """The workspace's files: ``config.yaml``, ``trackers.ini``, and links to the sequences. Returns
    the trackers' names in the toolkit, which allows ASCII letters, digits and ``_`` only; a
    ``StudyError`` if two become one."""
    (workspace / "results").mkdir(parents=True)
    config = {"registry": ["./trackers.ini"], "stack": stack, "sequences": "sequences"}
    write_atomically(workspace / "config.yaml", yaml.safe_dump(config))
    registry = configparser.ConfigParser()
    for spec in trackers:
        spec.build()  # faults of its files show here and not in the toolkit
        name = re.sub(r"\W", "_", spec.name, flags=re.ASCII)
        if name in registry:
            raise StudyError(f"{spec.name!r} is {name} in the toolkit, where that name is taken")
        file = workspace / "specs" / f"{name}.json"
        given = spec.model_dump(include=PATHS)
        paths = {field: str(Path(path).resolve()) for field, path in given.items() if path}
        write_atomically(file, spec.model_copy(update=paths).model_dump_json(indent=1) + "\n")
        command = shlex.join([sys.executable, str(SERVER), str(file)])
        entry = {"label": spec.name, "protocol": "trax", "timeout": str(START_SECONDS)}
        registry[name] = entry | {"command": command.replace("%", "%%")}
    with (workspace / "trackers.ini").open("w", encoding="utf-8") as file:
        registry.write(file)
    for sequence in sequences:
        _link(workspace / "sequences" / sequence.name, sequence)
    listed = "".join(f"{sequence.name}\n" for sequence in sequences)
    write_atomically(workspace / "sequences" / "list.txt", listed)
    return registry.sections()


def anchors(length: int) -> list[int]:
    """Starts of the anchor-based protocol (Kristan et al., VOT2020), every 50 frames. 1 where a run
    starts forwards, -1 where backwards, whichever way is longer; 0 elsewhere."""
    starts = range(0, length, ANCHOR_DISTANCE)
    return [(1 if 2 * i < length else -1) if i in starts else 0 for i in range(length)]


def _link(folder: Path, sequence: VOTSequence) -> None:
    """The toolkit's own layout, whichever year's layout the frames are in: it counts from 1."""
    colour = folder / "color"
    colour.mkdir(parents=True)
    frames = [Path(frame) for frame in sequence.frames]
    for i, frame in enumerate(frames, 1):
        (colour / f"{i:08d}{frames[0].suffix}").symlink_to(frame)
    home = frames[0].parent.parent if frames[0].parent.name == "color" else frames[0].parent
    found = [file for kind in ("label", "tag", "value") for file in home.glob(f"[!.]*.{kind}")]
    for file in [home / "groundtruth.txt", *found]:
        (folder / file.name).symlink_to(file)
    if not (folder / "anchor.value").exists():
        starts = "".join(f"{value}\n" for value in anchors(len(sequence)))
        write_atomically(folder / "anchor.value", starts)
    width, height = images.read_size(frames[0])
    facts = {"channels.color": f"color/%08d{frames[0].suffix}", "format": "default", "fps": 30,
             "width": width, "height": height, "length": len(sequence)}  # fmt: skip
    lines = "".join(f"{name}={value}\n" for name, value in facts.items())
    write_atomically(folder / "sequence", lines)


if __name__ == "__main__":
    sys.exit(cli.run("python -m tools.vot_workspace", lambda: sys.modules[__name__], sys.argv[1:]))
