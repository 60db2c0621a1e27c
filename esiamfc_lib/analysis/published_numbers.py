"""Published numbers beside ours: one table, generated, and what is missing to fill it.

The published ones are in ``published.csv`` with their source, ours come from the scores of
notebook 07. An empty cell of ours has a note: which data set is missing, and the command that
fills it. Scores on data that only borrows a benchmark's layout (built-in, one's own) do not stand
beside published ones."""

import math
import string
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from esiamfc_lib.analysis.intervals import bootstrap_interval
from esiamfc_lib.errors import StudyError

FILE = Path(__file__).with_name("published.csv")
CELL = ("tracker", "implementation", "benchmark", "metric", "value", "source")
OURS = "this study"
TRACKERS = ("SiamFC", "ESiamFC")
# What stands in the columns; a gain is that of ESiamFC over SiamFC in precision, relative.
COLUMNS = {
    ("otb2015", "success"): "OTB-2015 AUC",
    ("otb2015", "precision"): "OTB-2015 precision",
    ("got10k-test", "ao"): "GOT-10k AO",
    ("got10k-test", "sr50"): "GOT-10k SR.5",
    ("got10k-test", "sr75"): "GOT-10k SR.75",
    ("tcolor128", "gain"): "TColor128 gain",
    ("dtb70", "gain"): "DTB70 gain",
    ("lasot", "gain"): "LaSOT gain",
}
TITLES = {name: title.rpartition(" ")[0] for (name, _), title in COLUMNS.items()}


class PaperTable(NamedTuple):
    """``cells``, one row per number: ``tracker, implementation, benchmark, metric, value, low,
    high`` (95 % interval of our gains), ``sequences, of`` (of ours), ``source``; ``wide``, the
    table as text, one row per tracker and implementation; ``notes``, one row per mark: ``mark``,
    ``missing``, ``command`` that fills it."""

    cells: pd.DataFrame
    wide: pd.DataFrame
    notes: pd.DataFrame


def published_table(
    scores: pd.DataFrame,
    totals: dict[str, int],
    profile: str = "paper",
    run_dir: str = "data/paper",
    seed: int = 0,
) -> PaperTable:
    """Put our scores (of any benchmarks, as ``evaluate`` returns) beside the published ones.
    ``totals`` has the sequences of the complete benchmarks by name: a score on a part says on how
    many. Built-in data and one's own, which ``benchmarks.title`` gives another name, do not stand
    in the table: a note says so. The commands of the notes need ``profile`` and ``run_dir``, the
    intervals ``seed``."""
    ours = _ours(scores, totals, seed)
    cells = pd.concat([pd.read_csv(FILE), ours], ignore_index=True)
    missing = [name for name in TITLES if name not in set(ours["benchmark"])]
    marks, notes = dict(zip(missing, string.ascii_lowercase, strict=False)), []
    for name, mark in marks.items():
        what = f"no {TITLES[name]} data"
        if scores["benchmark"].str.endswith(f", {name} layout").any():
            what += " (what is there is built-in, or one's own, in its layout)"
        if name == "got10k-test":
            what += ": only the benchmark's server scores it; the command writes the zip it takes"
        notes.append((f"[{mark}]", what, _command(name, profile, run_dir)))
    columns = ("mark", "missing", "command")
    return PaperTable(cells, _wide(cells, marks), pd.DataFrame(notes, columns=columns))


def relative_gain(
    scores: pd.DataFrame, tracker: str, reference: str, seed: int = 0
) -> tuple[float, float, float]:
    """``mean(tracker) / mean(reference) − 1`` in precision, and its 95 % bootstrap interval, of
    scores of both on one benchmark; a StudyError if the reference scores 0."""
    wide = scores.pivot(index="sequence", columns="tracker", values="precision")
    ours, theirs = wide[[tracker, reference]].dropna().to_numpy().T
    if not theirs.sum():
        raise StudyError(f"{reference!r} has no precision that a gain could be relative to")
    low, high = bootstrap_interval(_ratio, ours, theirs, seed=seed)
    return float(_ratio(ours, theirs)), low, high


def _ratio(ours: np.ndarray, theirs: np.ndarray, axis: int = -1) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):  # draws of zeros alone
        return ours.sum(axis) / theirs.sum(axis) - 1


def _ours(scores: pd.DataFrame, totals: dict[str, int], seed: int) -> pd.DataFrame:
    scores, rows = scores[scores["tracker"].isin(TRACKERS)], []
    for benchmark, metric in COLUMNS:
        score = "precision" if metric == "gain" else metric
        # GOT-10k's test set has no ground truth here: its rows are empty.
        part = scores[scores["benchmark"] == benchmark].dropna(subset=[score])
        place = {"implementation": OURS, "source": OURS, "benchmark": benchmark, "metric": metric}
        place |= {"sequences": part["sequence"].nunique(), "of": totals.get(benchmark, math.nan)}
        if metric != "gain":
            means = part.groupby("tracker", sort=False)[score].mean()
            rows += [{"tracker": name, "value": mean} | place for name, mean in means.items()]
        elif part["tracker"].nunique() == 2:
            value, low, high = relative_gain(part, *reversed(TRACKERS), seed=seed)
            rows.append({"tracker": TRACKERS[1], "value": value, "low": low, "high": high} | place)
    return pd.DataFrame(rows, columns=[*CELL, "low", "high", "sequences", "of"])


def _wide(cells: pd.DataFrame, marks: dict[str, str]) -> pd.DataFrame:
    """The cells as text: a mark where ours is missing, a dash where nothing was published."""
    texts = {tuple(cell[list(CELL[:4])]): _text(cell) for _, cell in cells.iterrows()}
    rows = []
    for name in TRACKERS:
        theirs = cells.loc[cells["tracker"] == name, "implementation"]
        for implementation in dict.fromkeys([*theirs, OURS]):
            row = {"tracker": name, "from": implementation}
            for (benchmark, metric), title in COLUMNS.items():
                ours = implementation == OURS and (name, metric) != (TRACKERS[0], "gain")
                empty = f"[{marks[benchmark]}]" if ours and benchmark in marks else "–"
                row[title] = texts.get((name, implementation, benchmark, metric), empty)
            rows.append(row)
    return pd.DataFrame(rows)


def _text(cell: pd.Series) -> str:
    percent = cell["metric"] == "gain"
    text = f"{cell['value']:+.1%}" if percent else f"{cell['value']:.3f}"
    if percent and not math.isnan(cell["low"]):
        text += f" [{cell['low']:+.1%}, {cell['high']:+.1%}]"
    if cell["sequences"] < cell["of"]:
        text += f" ({cell['sequences']:.0f} of {cell['of']:.0f})"
    return text


def _command(benchmark: str, profile: str, run_dir: str) -> str:
    if benchmark == "got10k-test":
        files = f"--weights {run_dir}/baseline/siamfc.safetensors"
        files += f" --weights {run_dir}/fusion/esiamfc.safetensors"
        return f"esiamfc evaluate --benchmark got10k-test --root DIR --out {run_dir}/got10k {files}"
    root = f'"dataset.more_roots={{{benchmark}: DIR}}"'
    if benchmark == "otb2015":
        root = "dataset.otb_root=DIR"
    return f"esiamfc run --profile {profile} --set {root} --set results.benchmarks=[{benchmark}]"
