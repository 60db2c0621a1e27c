"""The chain: the graph of stages is walked in order, papermill runs their notebooks.

A stage counts as done only when this module says so, last of all: papermill's call has returned,
no cell failed, the kernel lived, and the declared files are there."""

import json
import os
import shutil
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TextIO

from esiamfc_lib.artefacts import STORE
from esiamfc_lib.chain.arms import link, write_manifest
from esiamfc_lib.chain.display import Display, duration
from esiamfc_lib.chain.fingerprint import check_notebook, code_cells
from esiamfc_lib.chain.graph import Stage, ancestry, faults, find_stages, graph, reasons, stale
from esiamfc_lib.chain.kernels import Kernels, end_leftover
from esiamfc_lib.chain.profiles import Profile, check_profile
from esiamfc_lib.chain.record import RECORD, Record, environment, read_record, report_files
from esiamfc_lib.errors import StudyError, in_words
from esiamfc_lib.runtime.bars import PROGRESS
from esiamfc_lib.runtime.files import apart, check_writable, exclusive, write_atomically
from esiamfc_lib.runtime.packages import PACKAGES, versions
from esiamfc_lib.runtime.paths import project_root

OWN = ("notebooks", "esiamfc_lib", "tests")  # of the project: nothing is written there
KERNEL_ENVIRONMENT = {
    # glibc maps and unmaps large activations at every step unless told to keep them.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
    "MALLOC_TOP_PAD_": "268435456",
    # Threads that wait give their core up after a while: as fast on idle cores as those that never
    # do, and faster where another process wants a core (``python -m speed threads``).
    "GOMP_SPINCOUNT": "10000",
}


@dataclass
class Chain:
    """One call of the chain."""

    profile: Profile
    stream: TextIO  # where to tell what happens
    only: str = ""  # this stage alone
    until: str = ""  # this stage and all before it
    force: tuple[str, ...] = ()  # stages to run from nothing even if they are up to date
    jobs: int = 1  # stages to run side by side

    def __post_init__(self):
        self.stages = graph(self.profile)
        wanted = self.only or self.until
        named = find_stages(self.stages, wanted) if wanted else list(self.stages)
        self.selected = named if self.only else ancestry(self.stages, named)
        self.forced = {name for wanted in self.force for name in find_stages(self.stages, wanted)}
        self.ran: list[str] = []
        self.failures: list[str] = []
        self.kernels = Kernels()
        self.arranging = threading.Lock()  # of links, which stages of one arm share
        self.display = Display(self.stream)

    def check(self) -> None:
        """A StudyError says what the stages count on that is missing, damaged or not writable."""
        data = self.profile.stages["dataset"]
        for folder in (data.run, data.reports):
            apart(folder, *(project_root() / own for own in OWN))
        check_profile(self.profile)
        if missing := {*PACKAGES} - {"esiamfc", *versions()}:
            raise StudyError(f"'pip install -e .' first: there is no {', '.join(sorted(missing))}")
        for stage in (self.stages[name] for name in self.selected):
            check_notebook(stage.notebook, type(stage.parameters).model_fields)
            for folder in (stage.folder, stage.executed.parent, stage.parameters.reports):
                check_writable(folder)

    def plan(self) -> list[tuple[str, str]]:
        """For every selected stage what would happen and why; runs nothing."""
        lines, running = [], set()
        for name in self.selected:
            stage = self.stages[name]
            awaited = ", ".join(need for need in stage.needs if need in running)
            why = ["--force"] if name in self.forced else []
            try:
                why += reasons(stage)
            except StudyError as error:
                why += [] if awaited else [f"cannot run: {error}"]
            if why or awaited:
                running.add(name)
            later = f"run if the outputs of {awaited} change" if awaited else "up to date"
            lines.append((name, f"run: {'; '.join(why)}" if why else later))
        return lines

    def run(self) -> int:
        """Run what has changed: 0 when everything selected is done, 1 when a stage failed. A
        StudyError says that the profile cannot work, or that another chain uses its folder."""
        self.check()
        begin, run = time.monotonic(), self.profile.run
        held = f"another chain is running in {run}: wait for it or end it"
        with exclusive(run, held), self.display, self.kernels.ending():
            write_manifest(run, self.profile.stages, self.profile.arms)
            self._walk()
        took, count = duration(time.monotonic() - begin), len(self.selected)
        said = f"{len(self.ran)} of {count} stage runs done in {took}"
        if not self.ran:
            said = f"nothing to do, all {count} stage runs are up to date ({took})"
        said += f"; reports in {self.profile.stages['dataset'].reports}"
        if self.failures:
            said = f"stopped after {took}"
        for line in (*self.failures, f"{self.profile.name}: {said}"):
            self.stream.write(f"{line}\n")
        return 1 if self.failures else 0

    def _walk(self) -> None:
        """Run every stage that is not up to date after those that it needs, ``jobs`` at a time.
        After a failure no further stage is started; those that run come to their end."""
        wanted = set(self.selected)
        order = TopologicalSorter({n: wanted & set(self.stages[n].needs) for n in self.selected})
        order.prepare()
        ready: list[str] = []
        running: dict[Future, str] = {}
        # threads, also for one job: the main thread stays free to take an interrupt
        with ThreadPoolExecutor(self.jobs) as pool:
            while order.is_active() and not self.failures:
                ready = sorted([*ready, *order.get_ready()], key=self.selected.index)
                while ready and len(running) < self.jobs:
                    name = ready.pop(0)
                    running[pool.submit(self._visit, name)] = name
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                    order.done(running.pop(future))

    def _visit(self, name: str) -> None:
        """Run a stage unless it is up to date. A fault is kept in ``failures``."""
        stage = self.stages[name]
        try:
            why = ["--force"] if name in self.forced else reasons(stage)
            if not why:
                return
            self.display.say(f"{name}: {'; '.join(why)}")
            took = self._run_stage(stage)
        except (StudyError, OSError) as error:  # of the system: a full disk, for example
            hint = f" (see {stage.executed})" if stage.executed.is_file() else ""
            self.failures.append(f"stage {name} failed: {in_words(error)}{hint}")
        else:
            self.display.say(f"{name}: done in {duration(took)}")
            self.ran.append(name)

    def _run_stage(self, stage: Stage) -> float:
        """One notebook from fingerprint to record; the record that says ``done`` comes last."""
        from esiamfc_lib.chain.notebook_run import NotebookFailed, run_notebook

        progress = self.profile.run.resolve() / ".progress" / stage.name.replace("/", "-")
        end_leftover(progress)
        record = self.begin(stage)
        # the notebook's last word must be a new one; other outputs may be kept and resumed
        for file in (stage.executed, stage.folder / "metrics.json"):
            file.unlink(missing_ok=True)
        run, parameters = stage.parameters.run, stage.parameters
        begin, reports = time.monotonic(), report_files(parameters.reports)
        write_atomically(progress, b"")
        self.display.start(stage.name, progress, cells=len(code_cells(stage.notebook)) + 2)
        try:
            run_notebook(
                stage.notebook,
                stage.executed,
                parameters.model_dump(),
                outputs=[run / name for name in stage.outputs],
                environment=self._environment(progress),
                kernels=self.kernels,
                on_cell=lambda number: self.display.cell(stage.name, number),
            )
        except NotebookFailed:
            record.status = "failed"
            if not self.kernels.stopped:
                with suppress(OSError):  # a full disk: the first fault is the one to tell
                    record.write(stage.folder)
            raise
        finally:
            self.display.end(stage.name)
        written = report_files(parameters.reports).items()
        record.status = "done"
        record.outputs = stage.made()
        record.reports = [name for name, when in written if reports.get(name) != when]
        record.seconds = round(time.monotonic() - begin, 3)
        record.environment = environment()
        record.write(stage.folder)
        return record.seconds

    def begin(self, stage: Stage) -> Record:
        """Bring a stage's folder into order, and write into it the record that it is running."""
        with self.arranging:
            if stage.folder.is_symlink():
                stage.folder.unlink()  # it was another stage's until their parameters differed
            link(stage.links())
        current = stage.fingerprint()
        self._check_clusters(stage)
        self._clear(stage, current)
        started = datetime.now(UTC).isoformat()
        record = Record(stage=stage.name, status="running", fingerprint=current, started=started)
        record.write(stage.folder)
        return record

    def _clear(self, stage: Stage, now: dict) -> None:
        """Take away what a run with the fingerprint ``now`` must not find in its folder."""
        last = read_record(stage.folder)
        # boxes of trackers know by themselves, file by file, which of them are still good
        old = last and stage.kind not in ("results", "controls") and stale(last.fingerprint, now)
        if (stage.name in self.forced or old) and stage.folder.is_dir():
            if not (stage.folder / RECORD).exists():
                raise StudyError(f"{stage.folder} has no {RECORD}, is not the chain's: move it")
            shutil.rmtree(stage.folder)
        for name in faults(stage, last) if last and not old else ():
            file = stage.parameters.run / name
            if file.resolve().is_relative_to(stage.folder.resolve()):  # not in a store taken over
                file.unlink(missing_ok=True)

    def _check_clusters(self, stage: Stage) -> None:
        """k against the number of tracks, as soon as that is known and before any training."""
        every = [self.profile.stages, *self.profile.arms.values()]
        k = max(stages["clustering"].n_clusters for stages in every)
        # of a damaged manifest the notebook speaks
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            manifest = json.loads((self.profile.run / STORE).read_text(encoding="utf-8"))
            if stage.kind != "dataset" and k > (tracks := manifest["tracks"]):
                fault = f"clustering.n_clusters = {k} is larger than the number of tracks, {tracks}"
                raise StudyError(fault)

    def _environment(self, progress_file: Path) -> dict[str, str]:
        own = {PROGRESS: str(progress_file), "ESIAMFC_ROOT": str(project_root())}
        if self.jobs > 1:
            own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.jobs))
        return KERNEL_ENVIRONMENT | own
