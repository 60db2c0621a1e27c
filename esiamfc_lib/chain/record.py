"""The record beside every stage: how its files came about, and whether they are whole.

``provenance.json`` in the stage's folder says ``running`` while the stage runs and ``done`` only
after everything else has been written and checked. A stage without a ``done`` record has not
succeeded, whatever files it left."""

import json
import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.packages import versions
from esiamfc_lib.runtime.paths import project_root

RECORD = "provenance.json"


class Record(BaseModel):
    """What is known about the last run of a stage."""

    stage: str  # name, for example branches/2
    status: Literal["running", "failed", "done"]
    fingerprint: dict[str, Any]
    outputs: dict[str, str | int] = {}  # what it made, see ``Stage.made``; when done
    reports: list[str] = []  # files written, from the project's folder
    started: str = ""  # UTC, ISO 8601
    seconds: float = 0.0  # wall-clock time
    environment: dict[str, Any] = {}

    def write(self, folder: Path) -> None:
        """Write ``provenance.json`` into the stage's folder, whole or not at all."""
        write_atomically(folder / RECORD, json.dumps(self.model_dump(), indent=2) + "\n")


def read_record(folder: Path) -> Record | None:
    """The record of the stage whose folder this is; None when there is none that can be read."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def report_files(reports: Path) -> dict[str, int]:
    """Files of the report folder, from the project's folder -> time of writing, nanoseconds."""
    root, found = project_root(), {}
    for path in sorted(reports.rglob("[!.]*")):  # a hidden one is being written
        with suppress(FileNotFoundError):  # by now: another stage replaces its own
            if path.is_file():
                name = path.relative_to(root) if path.is_relative_to(root) else path
                found[str(name)] = path.stat().st_mtime_ns
    return found


def environment() -> dict[str, Any]:
    """What a run was made with: versions, the project's commit, processor and GPUs."""
    project, model = str(project_root()), _output("grep", "-m1", "model name", "/proc/cpuinfo")
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions(),
        "commit": _output("git", "-C", project, "rev-parse", "HEAD"),
        "uncommitted_changes": bool(_output("git", "-C", project, "status", "--porcelain")),
        "processor": model.partition(": ")[2] or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines(),
    }


def _output(*command: str) -> str:
    """What a command prints; empty when it is not installed, fails or takes more than a minute."""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout.strip()
    return ""
