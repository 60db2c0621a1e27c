"""What the person who started the chain sees: one live line per running stage.

On a terminal the lines are redrawn in place; elsewhere (a log file, CI) plain lines are written,
a few a minute.
"""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

REDRAW = 0.25
"""Seconds between two looks at the progress files on a terminal."""
PLAIN = 30.0
"""Seconds between two lines about a running stage elsewhere."""


class Tail:
    """Follows a file of JSON lines that another process writes (see ``runtime.bars``)."""

    def __init__(self, path: Path):
        self.path = path
        self.state: dict[str, Any] = {}
        self._offset = 0
        self._seen = ("", 0.0, 0.0)  # description, count and time when the bar was first seen

    def read(self) -> dict[str, Any]:
        """Newest state of the bar and its ``rate`` (units a second); empty before the first."""
        if not self.path.is_file():
            return self.state
        with self.path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        if newline:
            self._offset += len(whole) + 1
            state, now = json.loads(whole.rpartition(b"\n")[2]), time.monotonic()
            desc, count, since = self._seen
            if state["desc"] != desc or state["n"] < count:
                desc, count, since = self._seen = (state["desc"], state["n"], now)
            rate = (state["n"] - count) / (now - since) if now - since > 1 else 0.0
            self.state = state | {"rate": rate}
        return self.state


@dataclass
class Line:
    """A running stage."""

    stage: str
    tail: Tail
    cells: int
    cell: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def text(self) -> str:
        """Stage, time, cell, and the bar that the notebook shows."""
        took = duration(time.monotonic() - self.started)
        state = self.tail.read()
        shown = f"  {bar(state)}" if state else ""
        return f"{self.stage:<12} {took:>8}  cell {self.cell}/{self.cells}{shown}"


def duration(seconds: float) -> str:
    """``8 s``, ``2 min 05 s``, ``3 h 07 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def bar(state: dict[str, Any], width: int = 20) -> str:
    """A progress bar as text."""
    count, total = state["n"], state["total"]
    rate = f" {state['rate']:.3g} {state['unit']}/s" if state.get("rate") else ""
    if not total:
        return f"{state['desc']} {count:g}{rate}"
    share = min(1.0, count / total)
    drawn = "#" * round(share * width)
    return f"{state['desc']} [{drawn:<{width}}] {share:4.0%} {count:g}/{total:g}{rate}"


class Display:
    """Live lines of the running stages below the ordinary output; a context manager."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.live = stream.isatty()
        self._lines: dict[str, Line] = {}
        self._drawn = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Display":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        with self._changing():
            self._lines.clear()

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with self._changing():
            self.stream.write(text + "\n")

    def start(self, stage: str, progress_file: Path, cells: int) -> None:
        """Show a stage whose notebook has ``cells`` code cells."""
        with self._lock:
            self._lines[stage] = Line(stage, Tail(progress_file), cells)

    def cell(self, stage: str, number: int) -> None:
        """The stage has come to its code cell ``number``, counted from 1."""
        self._lines[stage].cell = number

    def end(self, stage: str) -> None:
        """The stage runs no more."""
        with self._changing():
            self._lines.pop(stage, None)

    def _watch(self) -> None:
        while not self._stop.wait(REDRAW):
            with self._changing():
                for line in () if self.live else self._lines.values():
                    if time.monotonic() - line.told >= PLAIN:
                        line.told = time.monotonic()
                        self.stream.write(line.text() + "\n")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Clear the live lines, let what stands above them be written, and draw them anew."""
        with self._lock:
            if self._drawn:
                up = f"\x1b[{self._drawn - 1}A" if self._drawn > 1 else ""
                self.stream.write(f"\r{up}\x1b[J")
            yield
            self._drawn = len(self._lines) if self.live else 0
            if self._drawn:
                width = shutil.get_terminal_size().columns - 1
                self.stream.write("\n".join(line.text()[:width] for line in self._lines.values()))
            self.stream.flush()
