"""A tracker as a server of the TraX protocol, which the official VOT toolkit speaks.

Čehovin, "TraX: The visual Tracking eXchange protocol and library", Neurocomputing 2017. The
toolkit starts ``python tools/trax.py SPEC.json``, sends the path of each frame on the
standard input, and reads the box from the standard output; nothing of it has to be installed here.
"""

import re
import shlex
import sys
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote

import torch

from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.benchmarks import from_file, to_file
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime import files
from esiamfc_lib.tracking.base import SequenceTracker

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from tools.int8 import FastTrackerSpec  # noqa: E402 - this file is run by its path

PREFIX = "@@TRAX:"
HELLO = ("trax.version=3", "trax.image=path;", "trax.region=polygon;rectangle;",
         "trax.channels=color;")  # fmt: skip


def serve(tracker: SequenceTracker, requests: TextIO, replies: TextIO) -> None:
    """Answer requests until ``quit`` or the end of the input. To the lines ``@@TRAX:initialize
    "file:///frame" "region"`` and ``@@TRAX:frame "file…"`` the answer is ``@@TRAX:state
    "x,y,w,h"``, in the 1-based coordinates of VOT. Lines outside of the protocol are passed over; a
    request that is unknown, malformed or out of order is a ``StudyError``."""
    _reply(replies, "hello", *HELLO)
    begun = False
    for line in iter(requests.readline, ""):
        if not (request := re.match(rf"{PREFIX}(\w+)(.*)", line)):
            continue
        if (kind := request[1]) == "quit":
            return
        if kind != "initialize" and (kind != "frame" or not begun):
            raise StudyError(f"the request {kind!r} is unknown or comes before 'initialize'")
        malformed = f"malformed request {line.strip()[:200]!r}"
        with refused(malformed, (IndexError, ValueError)):
            arguments = shlex.split(request[2])
            image = images.read_image(_path(arguments[0]))
            if kind == "initialize":
                box = geometry.polygon_to_box([float(value) for value in arguments[1].split(",")])
        if kind == "initialize":
            box, begun = from_file(box, "vot"), True
            tracker.init(image, box)
        else:
            box = tracker.update(image)
        _reply(replies, "state", ",".join(f"{value:.4f}" for value in to_file(box, "vot")))


def _path(uri: str) -> Path:
    """The toolkit sends paths as they are, other clients in the encoding of an URI."""
    if not uri.startswith("file://"):
        raise StudyError(f"a frame is the path of a file, file://..., not {uri[:200]!r}")
    path = uri.removeprefix("file://")
    return files.existing(path if Path(path).exists() else unquote(path))


def _reply(replies: TextIO, kind: str, *arguments: str) -> None:
    quoted = " ".join(f'"{argument}"' for argument in arguments)
    replies.write(f"{PREFIX}{kind} {quoted}\n")
    replies.flush()


def main(arguments: list[str]) -> int:
    """Serve the tracker that a JSON file describes; faults go to the standard error."""
    torch.set_num_threads(1)  # the same boxes however many runs are side by side
    sys.stdin.reconfigure(errors="surrogateescape")  # for paths
    try:
        if len(arguments) != 1:
            raise StudyError("one argument is expected, the JSON file of a tracker")
        text = images.read_bytes(files.existing(arguments[0]))
        spec = FastTrackerSpec.validated(text, where=arguments[0])
        serve(spec.build(), sys.stdin, sys.stdout)
    except (StudyError, OSError) as error:
        sys.stderr.write(f"tools/trax.py: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
