"""What the person who started the chain sees: one live line per running stage.

On a terminal the lines are redrawn in place; elsewhere (a log file, CI) plain lines are written,
a few a minute."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

REDRAW = 0.25  # seconds between two looks at the progress files on a terminal
PLAIN = 30.0  # seconds between two lines about a running stage elsewhere


@dataclass
class Line:
    """A running stage."""

    stage: str
    progress_file: Path  # the bar that the notebook shows, see ``runtime.bars``
    cells: int
    drawn: tqdm
    cell: int = 0
    bar: str = ""
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def text(self) -> str:
        """Stage, time, cell, and the bar that the notebook shows."""
        took = duration(time.monotonic() - self.started)
        with suppress(OSError, UnicodeError):  # else the bar as it was
            self.bar = self.progress_file.read_text(encoding="utf-8") or self.bar
        return f"{self.stage:<12} {took:>8}  cell {self.cell}/{self.cells}  {self.bar}".rstrip()


def duration(seconds: float) -> str:
    """``8 s``, ``2 min 05 s``, ``3 h 07 min``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Display:
    """Live lines of the running stages below the ordinary output; a context manager."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.live = stream.isatty()
        self._lines: dict[str, Line] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Display":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        for stage in tuple(self._lines):
            self.end(stage)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def start(self, stage: str, progress_file: Path, cells: int) -> None:
        """Show a stage whose notebook has ``cells`` code cells."""
        look = {"bar_format": "{desc}", "leave": False, "dynamic_ncols": True}
        drawn = tqdm(file=self.stream, disable=not self.live, **look)
        self._lines[stage] = Line(stage, progress_file, cells, drawn)

    def cell(self, stage: str, number: int) -> None:
        """The stage has come to its code cell ``number``, counted from 1."""
        self._lines[stage].cell = number

    def end(self, stage: str) -> None:
        """The stage runs no more."""
        with tqdm.get_lock():
            self._lines.pop(stage).drawn.close()

    def _watch(self) -> None:
        while not self._stop.wait(REDRAW):
            # the main thread, too, meets a pipe that was closed and a full disk
            with tqdm.get_lock(), suppress(OSError):
                for line in self._lines.values():
                    line.drawn.set_description_str(line.text())
                    if not self.live and time.monotonic() - line.told >= PLAIN:
                        line.told = time.monotonic()
                        self.say(line.text())
