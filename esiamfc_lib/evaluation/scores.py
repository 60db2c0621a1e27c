"""From the boxes on disk to tables and curves.

One table for all benchmarks, a row for each tracker and sequence; a column that a benchmark's
protocol does not have is empty (NaN). Only frames per second look at times."""

import io
import json
import math
import zipfile
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.data import benchmarks, images
from esiamfc_lib.data.benchmark_files import numbers, per_frame
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.evaluation import metrics
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.latex import latex_table

# Columns of scores → attributes of ``metrics.Scores`` and ``SupervisedScores``.
SCORED = {
    "success": "success", "precision": "precision", "normalised_precision": "normalised_precision",
    "ao": "average_overlap", "sr50": "success_rate_50", "sr75": "success_rate_75",
    "accuracy": "accuracy", "failures": "failures", "counted": "frames",
}  # fmt: skip
COLUMNS = (
    "tracker", "benchmark", "sequence", "success", "precision", "normalised_precision", "frames",
    "ao", "sr50", "sr75", "accuracy", "failures", "counted", "attributes", "family",
)  # fmt: skip
MARKS = metrics.SKIPPED, metrics.INITIALISED, metrics.FAILED
TABLES = ("scores.csv", "summary.csv", "summary.tex", "scores.json")


def result_file(out: Path, kind: str, tracker: str, sequence: str) -> Path:
    """Of ``boxes``, ``times`` or ``keys``."""
    return Path(out) / kind / tracker / f"{sequence}.{'json' if kind == 'keys' else 'txt'}"


def to_text(record) -> str:
    """A result file: one line per frame, ``x,y,w,h`` or the VOT mark."""
    lines = [
        str(entry) if np.ndim(entry) == 0 else ",".join(f"{value:.3f}" for value in entry)
        for entry in record
    ]
    return "\n".join(lines) + "\n"


def read_supervised(path: Path) -> list[np.ndarray | int]:
    """For each frame of a result file a box (4,) as there, or a VOT mark; else a StudyError."""
    rows = numbers(path, (1, 4), mixed=True)
    return [int(row[0]) if np.isnan(row[1:]).all() and row[0] in MARKS else row for row in rows]


def read_boxes(out: Path, tracker: str, sequence: Sequence, benchmark: str) -> np.ndarray:
    """0-based boxes (n, 4), NaN where a VOT run has none; a StudyError if missing or of other
    length."""
    path = result_file(out, "boxes", tracker, sequence.name)
    record = read_supervised(path)
    if len(record) != len(sequence):
        raise StudyError(f"{path} has {len(record)} lines for {len(sequence)} frames")
    rows = [np.full(4, np.nan) if np.ndim(entry) == 0 else entry for entry in record]
    boxes = benchmarks.from_file(np.array(rows), benchmark)
    given = [np.ndim(entry) == 0 and entry == metrics.INITIALISED for entry in record]
    boxes[given] = sequence.boxes[given]
    return boxes


def score_sequence(
    out: Path, tracker: str, sequence: Sequence, benchmark: str
) -> metrics.Scores | metrics.SupervisedScores | None:
    """Scores of one result by the benchmark's protocol; None without truth (GOT-10k test)."""
    if isinstance(sequence, benchmarks.VOTSequence):
        record = read_supervised(result_file(out, "boxes", tracker, sequence.name))
        bound = images.read_size(sequence.frames[0])
        return metrics.supervised_score(record, sequence.regions, bound)
    if np.isnan(sequence.boxes[1:]).all():
        return None
    got10k = benchmark.startswith("got10k")
    bound = images.read_size(sequence.frames[0]) if got10k else None
    sides = read_boxes(out, tracker, sequence, benchmark), sequence.boxes
    boxes, truth = (benchmarks.to_file(side, benchmark) for side in sides)
    return metrics.score(boxes, truth, skip_first=got10k, bound=bound)


def score_table(
    out: Path, trackers: list[str], sequences: list[Sequence], benchmark: str
) -> pd.DataFrame:
    """One row for each tracker and sequence, with ``COLUMNS``. ``frames`` is the length of the
    sequence, ``counted`` the frames with an IoU that counts; ``attributes`` is one text, names
    separated by blanks."""
    rows = []
    for tracker, sequence in product(trackers, sequences):
        scores = score_sequence(out, tracker, sequence, benchmark)
        row = {column: getattr(scores, name, math.nan) for column, name in SCORED.items()}
        row |= {"tracker": tracker, "benchmark": benchmark, "sequence": sequence.name}
        row |= {"frames": len(sequence), "family": sequence.family}
        names = (name.replace(" ", "_") for name in sequence.attributes)
        rows.append(row | {"attributes": " ".join(names)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(scores: pd.DataFrame, total: int = 0) -> pd.DataFrame:
    """One row for each tracker and benchmark of a ``score_table``, best first. Success and
    precision are means over sequences. GOT-10k's ``ao`` and rates and VOT's ``accuracy`` are means
    over all frames that count; ``failures`` is their number for every 100 frames. ``sequences`` of
    ``of`` says how much of the benchmark was there: of ``total`` (0: as many as were scored)."""
    rows = []
    for (tracker, benchmark), part in scores.groupby(["tracker", "benchmark"], sort=False):
        row = {"tracker": tracker, "benchmark": benchmark}
        row |= {"sequences": len(part), "of": total or len(part)}
        for name in ("success", "precision", "normalised_precision"):
            row[name] = part[name].mean()
        for name in ("ao", "sr50", "sr75", "accuracy"):
            known = part[part[name].notna() & (part["counted"] > 0)]
            row[name] = np.average(known[name], weights=known["counted"]) if len(known) else np.nan
        row["failures"] = 100 * part["failures"].sum(skipna=False) / part["frames"].sum()
        rows.append(row)
    result = pd.DataFrame(rows)
    # GOT-10k's own score is the overlap over frames; VOT's the accuracy, the others' the success.
    got10k = result["benchmark"].str.contains("got10k")
    own = result["ao"].where(got10k, result["success"]).fillna(result["accuracy"])
    return result.loc[own.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def by_attribute(scores: pd.DataFrame, column: str = "success") -> pd.DataFrame:
    """Mean of ``column`` and number of ``sequences`` by ``attribute``; ``all`` comes first."""
    named = scores.assign(attribute=[["all", *names.split()] for names in scores["attributes"]])
    grouped = named.explode("attribute").groupby(["tracker", "attribute"], sort=False)[column]
    return grouped.agg(**{"sequences": "size", column: "mean"}).reset_index()


def curves(
    out: Path, trackers: list[str], sequences: list[Sequence], benchmark: str
) -> pd.DataFrame:
    """Success and precision curves, means over sequences (not for VOT and the GOT-10k test set):
    ``tracker, measure, threshold, share, sequences``, the share of frames above an IoU (21
    thresholds, ``success``) and within 0 … 50 px (``precision``)."""
    ends = {"success": metrics.IOU_THRESHOLDS, "precision": metrics.PIXEL_THRESHOLDS}
    tables = []
    for tracker in trackers:
        every = (score_sequence(out, tracker, sequence, benchmark) for sequence in sequences)
        scores = [one for one in every if isinstance(one, metrics.Scores)]
        if not scores:
            raise StudyError(f"{benchmark} has no success curves: its protocol has no such score")
        for name, thresholds in ends.items():
            share = np.mean([getattr(one, f"{name}_curve") for one in scores], axis=0)
            curve = {"tracker": tracker, "measure": name, "threshold": thresholds, "share": share}
            tables.append(pd.DataFrame(curve | {"sequences": len(scores)}))
    return pd.concat(tables, ignore_index=True)


def write_scores(out: Path, scores: pd.DataFrame, total: int, missing: list[str]) -> None:
    """Write the tables: all of them but the ``fps`` of ``scores.csv`` are the same in every run.
    ``scores.csv``: tracker, benchmark, sequence, success, precision, frames, fps, then the rest;
    ``summary.csv`` and ``.tex``; ``scores.json``: both without times, and the missing sequences."""
    first = ["tracker", "benchmark", "sequence", "success", "precision", "frames", "fps"]
    timed = scores.assign(fps=[_fps(out, run) for run in scores.itertuples()]).round({"fps": 2})
    timed = timed[first + [name for name in COLUMNS if name not in first]]
    short = summary(scores, total).dropna(axis=1, how="all")

    def records(table: pd.DataFrame) -> list[dict]:
        return json.loads(table.to_json(orient="records", double_precision=10))

    everything = {"scores": records(scores), "summary": records(short), "missing": missing}
    texts = (
        timed.to_csv(index=False, lineterminator="\n"),
        short.to_csv(index=False, lineterminator="\n"),
        latex_table(short, "Means over sequences.", "tab:summary"),
        json.dumps(everything, indent=1) + "\n",
    )
    for name, text in zip(TABLES, texts, strict=True):
        files.write_atomically(Path(out) / name, text)


def _fps(out: Path, run) -> float:
    """Frames per second without decoding, of a row of scores; NaN if not timed."""
    times = result_file(out, "times", run.tracker, run.sequence)
    seconds = per_frame(times, run.frames) if times.is_file() else np.zeros(0)
    seconds = seconds[seconds > 0]
    return len(seconds) / seconds.sum() if len(seconds) else math.nan


def submission(out: Path, tracker: str, sequences: list[Sequence], path: Path) -> Path:
    """The zip that GOT-10k's server takes, boxes and times of the test sequences and nothing
    else, written to ``path``; a StudyError if a sequence has no result."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as entries:
        for sequence in sequences:
            for kind, folder in (("001", "boxes"), ("time", "times")):
                # A fixed date, so that the same boxes make the same archive.
                name = f"{sequence.name}/{sequence.name}_{kind}.txt"
                data = images.read_bytes(result_file(out, folder, tracker, sequence.name))
                entries.writestr(zipfile.ZipInfo(name), data)
    files.write_atomically(path, archive.getvalue())
    return path


def beside_published(scores: pd.DataFrame, tracker: str, path: Path) -> pd.DataFrame:
    """Success and precision of a tracker beside those of a published run, on the same sequences,
    from a ``score_table`` and a JSON with ``seq_wise``: sequence → ``success_score``,
    ``precision_score``. Gives ``sequence, success, published_success, precision,
    published_precision``; the last row, ``mean``, is over the sequences that both have. A
    StudyError if there is no such file, it has another format, or no sequence in common."""
    ours = scores[scores["tracker"] == tracker]
    with refused(f"{path} holds no published scores"):
        theirs = json.loads(Path(path).read_text(encoding="utf-8"))["seq_wise"]
        ours = ours[ours["sequence"].isin(list(theirs))]
        result = ours[["sequence"]].reset_index(drop=True)
        for name in ("success", "precision"):
            result[name] = ours[name].to_numpy()
            result[f"published_{name}"] = [theirs[one][f"{name}_score"] for one in ours["sequence"]]
    if result.empty:
        raise StudyError(f"{path} has none of the sequences that {tracker} was run on")
    mean = {"sequence": "mean"} | result.drop(columns="sequence").mean().to_dict()
    return pd.concat([result, pd.DataFrame([mean])], ignore_index=True)
