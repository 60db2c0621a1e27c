"""Progress bars that are seen wherever the work runs: terminal, Jupyter, or a papermill batch.

A notebook that papermill executes has no terminal of its own. When the environment variable
``ESIAMFC_PROGRESS`` names a file, every bar also writes itself there, as a line of plain text; the
chain reads that file and shows the bar."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from tqdm.auto import tqdm

PROGRESS = "ESIAMFC_PROGRESS"
"""Variable that names the progress file of a stage, and so tells the stage's processes."""


class Progress(tqdm):
    """A tqdm bar that writes itself into the file named by ``ESIAMFC_PROGRESS``, too."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("dynamic_ncols", True)
        super().__init__(*args, **kwargs)

    def display(self, *args, **kwargs):
        """Show the bar, as tqdm does at every refresh, and write it."""
        plain = {"ascii": " #", "ncols": 70, "bar_format": None}
        if mirror := os.environ.get(PROGRESS):
            with suppress(OSError):  # on a full disk the work goes on without
                text = self.format_meter(**{**self.format_dict, **plain})
                Path(mirror).write_text(text, encoding="utf-8")
        return super().display(*args, **kwargs)


def progress(items: Iterable, desc: str, total: int | None = None, unit: str = "it") -> Iterator:
    """Iterate over ``items`` behind a progress bar."""
    return iter(Progress(items, desc=desc, total=total, unit=unit))
