"""A tracker as a server of the TraX protocol, which the official VOT toolkit speaks.

Čehovin, "TraX: The visual Tracking eXchange protocol and library", Neurocomputing 2017. The
toolkit starts ``python -m esiamfc_lib.deploy.trax SPEC.json``, sends the path of each frame on the
standard input, and reads the box from the standard output; nothing of it has to be installed here.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote, urlparse

import numpy as np
import torch

from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.benchmarks import from_file, to_file
from esiamfc_lib.deploy.spec import FastTrackerSpec
from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking.base import SequenceTracker

PREFIX = "@@TRAX:"
HELLO = ("trax.version=3", "trax.image=path;", "trax.region=polygon;rectangle;",
         "trax.channels=color;")  # fmt: skip


def serve(tracker: SequenceTracker, requests: TextIO, replies: TextIO) -> None:
    """Answer requests until ``quit`` or the end of the input.

    To the lines ``@@TRAX:initialize "file:///frame" "region"`` and ``@@TRAX:frame "file…"`` the
    answer is ``@@TRAX:state "x,y,w,h"``, in the 1-based coordinates of VOT. Lines outside of the
    protocol are passed over; an unknown request is a ``StudyError``.
    """
    _reply(replies, "hello", *HELLO)
    for kind, arguments in _requests(requests):
        if kind == "quit":
            return
        if kind == "initialize":
            region = np.array([float(number) for number in arguments[1].split(",")])
            box = from_file(geometry.polygon_to_box(region), "vot")
            tracker.init(images.read_image(_path(arguments[0])), box)
        elif kind == "frame":
            box = tracker.update(images.read_image(_path(arguments[0])))
        else:
            raise StudyError(f"unknown TraX request {kind!r}")
        _reply(replies, "state", ",".join(f"{value:.4f}" for value in to_file(box, "vot")))


def _requests(lines: TextIO) -> Iterator[tuple[str, list[str]]]:
    for line in iter(lines.readline, ""):
        match = re.match(rf"{PREFIX}(\w+)(.*)", line)
        if match:
            yield match[1], shlex.split(match[2])


def _path(uri: str) -> Path:
    parts = urlparse(uri)
    if parts.scheme != "file":
        raise StudyError(f"a frame is the path of a file, not {uri!r}")
    return Path(unquote(parts.path))


def _reply(replies: TextIO, kind: str, *arguments: str) -> None:
    quoted = " ".join(f'"{argument}"' for argument in arguments)
    replies.write(f"{PREFIX}{kind} {quoted}\n")
    replies.flush()


def main(arguments: list[str]) -> int:
    """Serve the tracker that a JSON file describes; faults go to the standard error."""
    torch.set_num_threads(1)  # the same boxes however many runs are side by side
    try:
        spec = FastTrackerSpec.model_validate_json(images.read_bytes(arguments[0]))
        serve(spec.build(), sys.stdin, sys.stdout)
    except StudyError as error:
        sys.stderr.write(f"esiamfc_lib.deploy.trax: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
