"""The record beside every stage: how its files came about, and whether they are whole.

``provenance.json`` in the stage's folder says ``running`` while the stage runs and ``done`` only
after everything else has been written and checked. A stage without a ``done`` record has not
succeeded, whatever files it left.
"""

import json
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esiamfc_lib.runtime.files import write_atomically
from esiamfc_lib.runtime.packages import versions
from esiamfc_lib.runtime.paths import project_root


@dataclass
class Record:
    """What is known about the last run of a stage."""

    stage: str  # name, for example branches/2
    status: str  # running, failed or done
    fingerprint: dict[str, Any]
    outputs: dict[str, str] = field(default_factory=dict)  # artefact -> digest, when done
    reports: list[str] = field(default_factory=list)  # files written, from the project's folder
    kernel: dict[str, float] = field(default_factory=dict)  # process id, start time; while it runs
    started: str = ""  # UTC, ISO 8601
    seconds: float = 0.0  # wall-clock time
    environment: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write ``provenance.json`` into the stage's folder, whole or not at all."""
        write_atomically(folder / "provenance.json", json.dumps(vars(self), indent=2) + "\n")


def read_record(folder: Path) -> Record | None:
    """The record of the stage whose folder this is; None when there is none that can be read."""
    try:
        values = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        return Record(**values)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def report_files(reports: Path) -> dict[str, int]:
    """Files of the report folder, from the project's folder -> time of writing, nanoseconds."""
    root = project_root()
    files = sorted(path for path in reports.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root) if path.is_relative_to(root) else path): path.stat().st_mtime_ns
        for path in files
    }


def environment() -> dict[str, Any]:
    """What a run was made with: versions, the project's commit, processor and GPUs."""
    project = str(project_root())
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "versions": versions(),
        "commit": _output("git", "-C", project, "rev-parse", "HEAD"),
        "uncommitted_changes": bool(_output("git", "-C", project, "status", "--porcelain")),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpus": _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines(),
    }


def _output(*command: str) -> str:
    """What a command prints; empty when it is not installed or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    """The processor's name; Linux keeps it in a file of its own."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.*\S)", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()
