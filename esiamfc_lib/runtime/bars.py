"""Progress bars that are seen wherever the work runs: terminal, Jupyter, or a papermill batch.

A notebook that papermill executes has no terminal of its own. When the environment variable
``ESIAMFC_PROGRESS`` names a file, every bar also writes its state there as one JSON line, at most
five times a second; the chain reads that file and shows the bar.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm.auto import tqdm


class Progress(tqdm):
    """A tqdm bar that mirrors its state into the file named by ``ESIAMFC_PROGRESS``."""

    def __init__(self, *args, **kwargs):
        self._mirror = os.environ.get("ESIAMFC_PROGRESS", "")
        self._mirrored_at = 0.0
        kwargs.setdefault("dynamic_ncols", True)
        super().__init__(*args, **kwargs)
        self._write()

    def update(self, n=1):
        shown = super().update(n)
        self._write()
        return shown

    def close(self):
        if not getattr(self, "disable", True):  # which tqdm sets when it closes
            self._write(last=True)
        super().close()

    def _write(self, last: bool = False) -> None:
        now = time.monotonic()
        if not self._mirror or (not last and now - self._mirrored_at < 0.2):
            return
        self._mirrored_at = now
        state = {"desc": self.desc or "", "n": self.n, "total": self.total, "unit": self.unit}
        with Path(self._mirror).open("a", encoding="utf-8") as file:
            file.write(json.dumps(state | {"done": last}, default=str) + "\n")


def progress(items: Iterable, desc: str, total: int | None = None, unit: str = "it") -> Iterator:
    """Iterate over ``items`` behind a progress bar."""
    return iter(Progress(items, desc=desc, total=total, unit=unit))
