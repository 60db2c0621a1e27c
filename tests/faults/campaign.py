"""Awkward inputs and what the commands must say of them: one row is one input in one command.

``tests/faults/test_<area>.py`` hold the rows and run each with ``tried``. A row names its input, a
function that makes it in an empty folder, the command, and what must come out. Of every row two
things are tested besides: there is no traceback, and no file of the input has changed.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from esiamfc_lib import cli
from tools import choose, onnx_export, quantise, vot_workspace

TOOLS = {"choose": choose, "quantise": quantise, "vot-workspace": vot_workspace}
TOOLS |= {"onnx_export": onnx_export}


@dataclass(frozen=True)
class Row:
    """One input in one command.

    Attributes:
        name: what is awkward about the input, in a few words.
        make: writes the input below the folder that it is given.
        command: arguments of ``esiamfc``, in that folder.
        says: pattern of the sentence that refuses the input; empty where it is to be accepted.
        status: what the command must return.
        check: of an accepted input, what must be true of the folder afterwards.
    """

    name: str
    make: Callable[[Path], object]
    command: str | list[str]
    says: str = ""
    status: int = -1
    check: Callable[[Path], object] = lambda folder: None

    @property
    def expected(self) -> int:
        return self.status if self.status >= 0 else 2 if self.says else 0


def rows(table: list[Row]):
    """Decorator of the test that tries a table, a test a row."""
    return pytest.mark.parametrize("row", table, ids=[row.name.replace(" ", "-") for row in table])


def tried(row: Row, folder: Path, monkeypatch, capsys) -> str:
    """Make the input, run the command, test what it says and leaves; gives what it printed."""
    monkeypatch.chdir(folder)
    row.make(folder)
    before = digests(folder)
    words = row.command.split() if isinstance(row.command, str) else row.command
    try:
        tool = TOOLS.get(words[0])
        status = (
            cli.run(f"esiamfc {words[0]}", lambda: tool, words[1:]) if tool else cli.main(words)
        )
    except SystemExit as end:  # of argparse
        status = end.code
    shown = capsys.readouterr()
    said = (shown.out + shown.err).replace("\r", "\n")
    assert "Traceback" not in said, said
    assert "unexpected error" not in said, said
    assert status == row.expected, said
    if row.says:
        name = words[0]
        sentences = [line for line in said.splitlines() if line.startswith(f"esiamfc {name}")]
        assert len(sentences) == 1, said
        assert re.search(row.says, sentences[0]), sentences[0]
    after = digests(folder)
    changed = [path for path, digest in before.items() if after.get(path) != digest]
    assert not changed, f"the command changed its input: {changed}"
    row.check(folder)
    return said


def digests(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
