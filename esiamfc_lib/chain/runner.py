"""The chain: the graph of stages is walked in order, papermill runs their notebooks.

A stage counts as done only when this module says so, last of all: papermill's call has returned,
no cell failed, the kernel lived, and the declared files are there.
"""

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TextIO

from esiamfc_lib.artefacts import STORE
from esiamfc_lib.chain.arms import link, write_manifest
from esiamfc_lib.chain.display import Display, duration
from esiamfc_lib.chain.fingerprint import code_cells, file_digest
from esiamfc_lib.chain.graph import Stage, ancestry, find_stages, graph, reasons, stale
from esiamfc_lib.chain.kernels import Kernels, end_leftover, ending
from esiamfc_lib.chain.profiles import Profile, check_profile
from esiamfc_lib.chain.record import Record, environment, read_record, report_files
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.paths import project_root

KERNEL_ENVIRONMENT = {
    # glibc maps and unmaps large activations at every step unless told to keep them.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "10000000000",
    "MALLOC_TOP_PAD_": "268435456",
}


@dataclass
class Chain:
    """One call of the chain.

    Attributes:
        profile: parameters of all stages.
        stream: where to tell what happens.
        only, until: limit the run to one stage, or to one and all before it.
        force: stages to run from nothing even if they are up to date.
        jobs: stages to run side by side.
    """

    profile: Profile
    stream: TextIO
    only: str = ""
    until: str = ""
    force: tuple[str, ...] = ()
    jobs: int = 1

    def __post_init__(self):
        self.stages = graph(self.profile)
        self.selected = self._select()
        self.forced = {name for wanted in self.force for name in find_stages(self.stages, wanted)}
        self.ran: list[str] = []
        self.failures: list[str] = []
        self.kernels = Kernels()
        self.arranging = threading.Lock()  # of links, which stages of one arm share
        self.display = Display(self.stream)

    def _select(self) -> list[str]:
        if self.only:
            return find_stages(self.stages, self.only)
        if self.until:
            return ancestry(self.stages, find_stages(self.stages, self.until))
        return list(self.stages)

    def leave_out(self, names: Iterable[str]) -> None:
        """Do not run these stages: what they make is there already."""
        self.selected = [name for name in self.selected if name not in set(names)]

    def plan(self) -> list[tuple[str, str]]:
        """For every selected stage what would happen and why; runs nothing."""
        lines: list[tuple[str, str]] = []
        running: set[str] = set()
        for name in self.selected:
            stage = self.stages[name]
            awaited = [need for need in stage.needs if need in running]
            why = ["--force"] if name in self.forced else []
            try:
                why += reasons(stage)
            except StudyError as error:
                if not awaited:
                    why.append(f"cannot run: {error}")
            if why:
                lines.append((name, f"run: {'; '.join(why)}"))
            elif awaited:
                lines.append((name, f"run if the outputs of {', '.join(awaited)} change"))
            else:
                lines.append((name, "up to date"))
            if why or awaited:
                running.add(name)
        return lines

    def run(self) -> int:
        """Run what has changed.

        Returns:
            0 when everything selected is done, 1 when a stage failed.

        Raises:
            StudyError: the profile cannot work, or another chain uses its folder.
        """
        check_profile(self.profile)
        begin = time.monotonic()
        with exclusive(self.profile.run), self.display, ending(self.kernels):
            write_manifest(self.profile.run, self.profile.stages, self.profile.arms)
            self._walk()
        for failure in self.failures:
            self.stream.write(f"{failure}\n")
        took = duration(time.monotonic() - begin)
        if self.failures:
            self.stream.write(f"{self.profile.name}: stopped after {took}\n")
            return 1
        if self.ran:
            done = f"{len(self.ran)} of {len(self.selected)} stage runs done in {took}"
        else:
            done = f"nothing to do, all {len(self.selected)} stage runs are up to date ({took})"
        self.stream.write(f"{self.profile.name}: {done}; reports in {self.profile.reports}\n")
        return 0

    def _walk(self) -> None:
        """Run every stage that is not up to date after those that it needs, ``jobs`` at a time.

        After a failure no further stage is started; those that run come to their end.
        """
        order = TopologicalSorter({name: self.selected_needs(name) for name in self.selected})
        order.prepare()
        ready: list[str] = []
        running: dict[Future[bool], str] = {}
        # threads, also for one job: the main thread stays free to take an interrupt
        with ThreadPoolExecutor(self.jobs) as pool:
            while order.is_active() and not self.failures:
                ready = sorted([*ready, *order.get_ready()], key=self.selected.index)
                while ready and len(running) < self.jobs:
                    name = ready.pop(0)
                    running[pool.submit(self._visit, name)] = name
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    name = running.pop(future)
                    if future.result():
                        order.done(name)

    def selected_needs(self, name: str) -> list[str]:
        """The stages of this call that must be done before stage ``name``."""
        return [need for need in self.stages[name].needs if need in self.selected]

    def _visit(self, name: str) -> bool:
        """Run a stage unless it is up to date; whether it is done. A fault is kept."""
        stage = self.stages[name]
        try:
            why = ["--force"] if name in self.forced else reasons(stage)
            if not why:
                return True
            self.display.say(f"{name}: {'; '.join(why)}")
            took = self._run_stage(stage)
        except StudyError as error:
            executed = f" (see {stage.executed})" if stage.executed.is_file() else ""
            self.failures.append(f"stage {name} failed: {error}{executed}")
            return False
        except OSError as error:  # a full disk, a folder that is not writable
            self.failures.append(f"stage {name} failed: {error.filename}: {error.strerror}")
            return False
        self.display.say(f"{name}: done in {duration(took)}")
        self.ran.append(name)
        return True

    def _run_stage(self, stage: Stage) -> float:
        """One notebook from fingerprint to record; the record that says ``done`` comes last."""
        from esiamfc_lib.chain.notebook_run import NotebookFailed, run_notebook

        with self.arranging:
            link(stage.links(), own=[stage.folder])
        last = read_record(stage.folder)
        if last and last.status == "running" and last.kernel:
            end_leftover(last.kernel)
        current = stage.fingerprint()
        self._check_clusters(stage)
        # the results know by themselves, file by file, which of them are still good
        old = last and stage.kind != "results" and stale(last.fingerprint, current)
        if stage.name in self.forced or old:
            shutil.rmtree(stage.folder, ignore_errors=True)
        record = Record(stage.name, "running", current, started=datetime.now(UTC).isoformat())
        record.write(stage.folder)
        # the notebook's last word must be a new one; other outputs may be kept and resumed
        for file in (stage.executed, stage.folder / "metrics.json"):
            file.unlink(missing_ok=True)
        begin, reports = time.monotonic(), report_files(stage.parameters.reports)
        progress = self._progress_file(stage)
        self.display.start(stage.name, progress, cells=len(code_cells(stage.notebook)) + 2)
        try:
            run_notebook(
                stage.notebook,
                stage.executed,
                stage.parameters.model_dump(),
                outputs=[stage.parameters.run / name for name in stage.outputs],
                environment=self._environment(progress),
                kernels=self.kernels,
                on_start=lambda kernel: replace(record, kernel=kernel).write(stage.folder),
                on_cell=lambda number: self.display.cell(stage.name, number),
            )
        except NotebookFailed:
            if not self.kernels.stopped:
                replace(record, status="failed").write(stage.folder)
            raise
        finally:
            self.display.end(stage.name)
        run = stage.parameters.run
        done = replace(
            record,
            status="done",
            outputs={name: file_digest(run / name) for name in stage.outputs},
            reports=[
                name
                for name, written in report_files(stage.parameters.reports).items()
                if reports.get(name) != written
            ],
            seconds=round(time.monotonic() - begin, 3),
            environment=environment(project_root()),
        )
        done.write(stage.folder)
        return done.seconds

    def _check_clusters(self, stage: Stage) -> None:
        """k against the number of tracks, as soon as that is known and before any training."""
        file = self.profile.run / STORE
        if stage.kind == "dataset" or not file.is_file():
            return
        every = [self.profile.stages, *self.profile.arms.values()]
        k = max(stages["clustering"].n_clusters for stages in every)
        tracks = json.loads(file.read_text(encoding="utf-8"))["tracks"]
        if k > tracks:
            raise StudyError(
                f"clustering.n_clusters = {k} is larger than the number of tracks, {tracks}"
            )

    def _progress_file(self, stage: Stage) -> Path:
        """An empty file for the bars of the stage's notebook."""
        file = self.profile.run / ".progress" / f"{stage.name.replace('/', '-')}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
        return file

    def _environment(self, progress_file: Path) -> dict[str, str]:
        """Variables of the kernel."""
        variables = {
            "ESIAMFC_PROGRESS": str(progress_file),
            "ESIAMFC_ROOT": str(project_root()),
            **KERNEL_ENVIRONMENT,
        }
        if self.jobs > 1:
            variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.jobs))
        return variables


@contextmanager
def exclusive(run: Path) -> Iterator[None]:
    """Keep other chains off the folder ``run``, made if missing.

    Raises:
        StudyError: another chain works there.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(f"another chain is running in {run}: wait for it or end it") from None
        yield
