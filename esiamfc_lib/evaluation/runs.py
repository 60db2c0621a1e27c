"""Run trackers over benchmarks: fanned out, resumable, cached; ``scores`` reads them.

Results lie on disk as soon as a sequence ends: ``boxes/<tracker>/<sequence>.txt`` in the
benchmark's own format, and the key that says of what they are the result: weights, parameters,
code, data. A result is taken from disk only when its key is right, whatever the tracker's name.
Times lie apart (``times/``), because nothing else differs between two runs."""

import functools
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.data import benchmarks, images
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.evaluation import supervised
from esiamfc_lib.networks import published
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import Progress
from esiamfc_lib.runtime.code import code_digest
from esiamfc_lib.runtime.parallel import spread, threads
from esiamfc_lib.tracking.base import SequenceTracker
from esiamfc_lib.tracking.lockstep import track_many
from esiamfc_lib.tracking.spec import TrackerSpec

TRACKING = threading.Lock()  # a Dask worker may have many threads, but it has each tracker once


def evaluate(
    trackers: Iterable[TrackerSpec],
    benchmark: str,
    root: str | Path,
    out: str | Path,
    workers: int = 1,
    scheduler: str = "",
    limit: int = 0,
    lockstep: bool | None = None,
) -> pd.DataFrame:
    """Run every tracker on every sequence that has no valid result yet, then score all.

    Args:
        benchmark, root, limit: as for ``benchmarks.read_benchmark``.
        out: folder of the results of one benchmark.
        workers: processes, one thread each, so that the boxes do not depend on their number.
        scheduler: address of a Dask scheduler whose workers do the tracking instead; they must see
            ``root`` and the model files under the same paths.
        lockstep: whether a tracker runs on all sequences at once (``lockstep``), in this process;
            None: where its network is on a GPU. VOT's supervised runs are always one by one.

    Gives ``scores.score_table`` under the ``benchmarks.title``, without times, so that two runs
    give the same bytes; ``scores.csv`` (with frames per second), ``scores.json`` and the summaries
    are written to ``out``. StudyError: two trackers of one name, a missing file, an unreadable
    sequence, no scheduler."""
    trackers, out = list(trackers), Path(out)
    sequences, missing = benchmarks.read_benchmark(benchmark, root, limit)
    for name in scoring.TABLES:
        files.writable_file(out / name)
    track_benchmark(trackers, sequences, benchmark, out, workers, scheduler, lockstep)
    title = benchmarks.title(benchmark, root)
    total = benchmarks.total(benchmark, len(sequences), missing, built_in=title != benchmark)
    scores = scoring.score_table(out, [spec.name for spec in trackers], sequences, benchmark)
    scores["benchmark"] = title
    scoring.write_scores(out, scores, total, missing)
    return scores


def track_benchmark(
    trackers: list[TrackerSpec],
    sequences: list[Sequence],
    benchmark: str,
    out: Path,
    workers: int = 1,
    scheduler: str = "",
    lockstep: bool | None = None,
) -> None:
    """Write the boxes of every tracker on every sequence, unless they are there and valid."""
    names = [spec.name for spec in trackers]
    if len(set(names)) < len(names):
        raise StudyError(f"two trackers have one name: {', '.join(sorted(names))}")
    doers = [spec for spec in trackers if spec.kind != "oracle"]
    chosen_from = {spec: _branches(spec, doers) for spec in trackers if spec.kind == "oracle"}
    data = {sequence.name: benchmarks.sequence_digest(sequence) for sequence in sequences}
    jobs, at_once = [], []
    for spec in doers:
        facts, together = _facts(spec, benchmark), _in_lockstep(spec, benchmark, lockstep)
        if together:  # rounding may depend on the batch: these are results of their own
            facts["lockstep"] = code_digest(track_many.__module__)
        key = _digest(facts)
        for sequence in sequences:
            proof = _digest(facts | {"data": data[sequence.name]})
            job = SequenceRun(spec, key, sequence, benchmark, out, proof)
            if not job.done():
                job.check()
                (at_once if together else jobs).append(job)
    jobs.sort(key=lambda job: -len(job.sequence))  # long ones first: the last worker ends early
    frames = len(doers) * sum(map(len, sequences))
    kept = frames - sum(len(job.sequence) for job in jobs + at_once)
    bar = Progress(total=frames, initial=kept, desc=f"track {benchmark}", unit="frame")
    tracked = spread(_track, jobs, workers, scheduler, _seen_here, ordered=False)
    with bar, closing(tracked) as apart:
        for job, record, seconds in chain(apart, _tracked_at_once(at_once)):
            job.write(record, seconds)
            bar.update(len(seconds))
    for oracle, names in chosen_from.items():
        for sequence in sequences:
            _choose(out, oracle, names, sequence, benchmark)


@dataclass(frozen=True)
class SequenceRun:
    """One tracker on one sequence, and the files of the result in folder ``out``. ``key`` is the
    digest of the tracker's facts (a model file may change while a process lives), ``proof`` that of
    everything that the boxes depend on, the data included."""

    spec: TrackerSpec
    key: str
    sequence: Sequence
    benchmark: str
    out: Path
    proof: str

    def file(self, kind: str) -> Path:
        """Of the ``boxes``, the ``times`` or the proof (``keys``)."""
        return scoring.result_file(self.out, kind, self.spec.name, self.sequence.name)

    def check(self) -> None:
        """A StudyError if one of the files cannot be written, or would lie outside of ``out``."""
        for file in map(self.file, ("boxes", "times", "keys")):
            if not file.resolve().is_relative_to(self.out.resolve()):
                raise StudyError(f"{file} leads out of the folder of the results")
            files.writable_file(file)

    def done(self) -> bool:
        """Whether the boxes on disk are the result of exactly this tracker on exactly this data."""
        boxes, key = self.file("boxes"), self.file("keys")
        there = boxes.is_file() and key.is_file()
        return there and images.read_bytes(key) == self._sealed(files.file_digest(boxes))

    def _sealed(self, boxes: str) -> bytes:
        return (json.dumps({"key": self.proof, "boxes": boxes}) + "\n").encode()

    def write(self, record: Iterable, seconds: np.ndarray) -> None:
        """Boxes, times, and last the proof, each file whole or not at all."""
        text = scoring.to_text(record)
        files.write_atomically(self.file("boxes"), text)
        files.write_atomically(self.file("times"), "".join(f"{s:.6f}\n" for s in seconds))
        files.write_atomically(self.file("keys"), self._sealed(files.text_digest(text)))


def _facts(spec: TrackerSpec, benchmark: str) -> dict:
    """What boxes depend on besides the data."""
    vot = {"supervised": code_digest(supervised.__name__)} if benchmark.startswith("vot") else {}
    return spec.facts() | vot


def _digest(facts: dict) -> str:
    return files.text_digest(json.dumps(facts, sort_keys=True))


def _in_lockstep(spec: TrackerSpec, benchmark: str, asked: bool | None) -> bool:
    if spec.kind == "identity" or benchmark.startswith("vot"):
        return False
    return spec.runs_on()[0] != "cpu" if asked is None else asked


def _seen_here(job: SequenceRun) -> dict:
    """What a job's boxes depend on, in this process, on this machine."""
    return _facts(job.spec, job.benchmark) | {"data": benchmarks.sequence_digest(job.sequence)}


def _track(job: SequenceRun) -> tuple[SequenceRun, Iterable, np.ndarray]:
    """The job, its record in the file's coordinates, and seconds: in a worker process, if that is
    what the job was on the machine that asks for it."""
    # One thread for the network: sums then have one order, whatever the machine is doing.
    with TRACKING, threads(1):
        tracker = _built(job.spec, job.key)
        if _digest(_seen_here(job)) != job.proof:
            which = f"{job.spec.name} on {job.sequence.name}: code, weights or data"
            raise StudyError(f"{which} differ between machines, or have just been changed")
        if isinstance(job.sequence, benchmarks.VOTSequence):
            return job, *supervised.track_supervised(tracker, job.sequence)
        boxes, seconds = tracker.track_sequence(job.sequence)
    return job, benchmarks.to_file(boxes, job.benchmark), seconds


def _tracked_at_once(jobs: list[SequenceRun]) -> Iterator[tuple]:
    """As ``_track``, by ``lockstep``: tracker after tracker, each on all its sequences."""
    for (spec, key), group in groupby(jobs, key=lambda job: (job.spec, job.key)):
        mine = list(group)
        for i, boxes, seconds in track_many(_built(spec, key), [job.sequence for job in mine]):
            yield mine[i], benchmarks.to_file(boxes, mine[i].benchmark), seconds


@functools.lru_cache(maxsize=4)  # built once for many sequences of one process
def _built(spec: TrackerSpec, key: str) -> SequenceTracker:
    return spec.build()


def _branches(oracle: TrackerSpec, doers: list[TrackerSpec]) -> list[str]:
    """Names of the ensemble's branches; those that nobody asked for join ``doers``."""
    names = []
    for i in range(published.load_esiamfc(oracle.weights).k):
        changes = {"name": f"{oracle.name} branch {i}", "kind": "branch", "branch": i}
        branch = oracle.model_copy(update=changes)
        asked = [spec for spec in doers if spec.kind == "branch" and spec.branch == i]
        same = next((spec for spec in asked if spec.facts() == branch.facts()), None)
        if same is None:
            doers.append(branch)
        names.append((same or branch).name)
    return names


def _choose(
    out: Path, oracle: TrackerSpec, names: list[str], sequence: Sequence, benchmark: str
) -> None:
    """The oracle's result: a copy of the best branch's; the first of equals."""
    scores = scoring.score_table(out, names, [sequence], benchmark)
    order = ["failures", "accuracy"] if benchmark.startswith("vot") else ["success"]
    ranked = scores.sort_values(order, ascending=[o == "failures" for o in order], kind="stable")
    best = scoring.result_file(out, "boxes", ranked["tracker"].iloc[0], sequence.name)
    own = scoring.result_file(out, "boxes", oracle.name, sequence.name)
    files.write_atomically(own, best.read_bytes())
