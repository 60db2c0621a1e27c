"""Published numbers beside ours: one table, generated, and what is missing to fill it.

The published ones are in ``published.csv`` with their source. Ours come from the scores of notebook
07. An empty cell of ours has a note: which data set is missing, and the command that fills it. A
score on a part of a benchmark says on how many sequences; scores on data that only borrows a
benchmark's layout (the built-in data, videos of one's own) do not stand beside published ones.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.analysis.intervals import bootstrap_interval
from esiamfc_lib.errors import StudyError

FILE = Path(__file__).with_name("published.csv")
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
TITLES = {
    "otb2015": "OTB-2015",
    "got10k-test": "GOT-10k test",
    "tcolor128": "TColor128",
    "dtb70": "DTB70",
    "lasot": "LaSOT",
}


@dataclass(frozen=True)
class PaperTable:
    """Cells and notes.

    Attributes:
        cells: one row a number: ``tracker, implementation, benchmark, metric, value, low, high``
            (95 % interval of our gains), ``sequences, of`` (of ours), ``source``.
        wide: the table as text, one row a tracker and implementation.
        notes: (mark, what is missing, the command that fills it), one a mark in the table.
    """

    cells: pd.DataFrame
    wide: pd.DataFrame
    notes: list[tuple[str, str, str]]

    def markdown(self) -> str:
        """The table, its notes below."""
        rows = [list(self.wide.columns), ["---"] * len(self.wide.columns)]
        rows += self.wide.to_numpy().tolist()
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines += ["", *(f"- [{mark}] {what}: `{command}`" for mark, what, command in self.notes)]
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """The table, its notes below, for ``\\input``."""
        notes = "".join(
            f"[{mark}] {_tex(what)}: \\texttt{{{_tex(command)}}}\\\\\n"
            for mark, what, command in self.notes
        )
        table = self.wide.to_latex(index=False, escape=True)
        return table + (f"\\par\\footnotesize\\raggedright\n{notes}" if notes else "")

    def save(self, folder: str | Path, name: str = "07_paper") -> None:
        """Write ``<name>.csv`` (the numbers), ``.tex`` and ``.md`` (the table)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.cells.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
        (folder / f"{name}.tex").write_text(self.latex(), encoding="utf-8")
        (folder / f"{name}.md").write_text(self.markdown(), encoding="utf-8")


def published_table(
    scores: pd.DataFrame,
    totals: dict[str, int],
    own: Collection[str] = (),
    profile: str = "paper",
    run_dir: str = "data/paper",
    seed: int = 0,
) -> PaperTable:
    """Put our scores beside the published ones.

    Args:
        scores: of notebook 07, as ``score_table`` returns; any benchmarks.
        totals: sequences of the complete benchmarks, by name.
        own: benchmarks whose data is built-in or one's own; they do not stand in the table.
        profile, run_dir: of the study, for the commands of the notes.
        seed: of the intervals.
    """
    scores = scores[~scores["benchmark"].isin(list(own))]
    ours = _ours(scores, totals, seed)
    cells = pd.concat([published(), ours], ignore_index=True)
    notes: list[tuple[str, str, str]] = []
    missing = [name for name in TITLES if name not in set(ours["benchmark"])]
    for name in missing:
        what = f"no {TITLES[name]} data"
        if name in own:
            what += " (what is there is built-in, or one's own, in its layout)"
        if name == "got10k-test":
            what += ": only the benchmark's server scores it; the command writes the zip it takes"
        notes.append((chr(ord("a") + len(notes)), what, _command(name, profile, run_dir)))
    marks = {name: mark for name, (mark, _, _) in zip(missing, notes, strict=True)}
    return PaperTable(cells, _wide(cells, marks), notes)


def published(path: Path = FILE) -> pd.DataFrame:
    """The published numbers: ``tracker, implementation, benchmark, metric, value, source``.

    Raises:
        StudyError: no such file, a column is missing, a value that is no number, or a column that
            the table does not have.
    """
    names = ["tracker", "implementation", "benchmark", "metric", "value", "source"]
    try:
        table = pd.read_csv(path)[names].astype({"value": float})
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{path} holds no published numbers: {error}") from None
    unknown = set(zip(table["benchmark"], table["metric"], strict=True)) - set(COLUMNS)
    if unknown or table.isna().any(axis=None):
        raise StudyError(f"{path}: a field is empty, or no column for {sorted(unknown)}")
    return table


def relative_gain(
    scores: pd.DataFrame, tracker: str, reference: str, seed: int = 0
) -> tuple[float, float, float]:
    """``mean(tracker) / mean(reference) − 1`` in precision, and its 95 % bootstrap interval.

    Args:
        scores: of one benchmark, as ``score_table`` returns.

    Raises:
        StudyError: no sequence that both were run on, or a reference that scores 0.
    """
    wide = scores.pivot(index="sequence", columns="tracker", values="precision")
    if not {tracker, reference} <= set(wide):
        raise StudyError(f"a gain needs scores of {tracker!r} and of {reference!r}")
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
    columns = ["tracker", "implementation", "benchmark", "metric", "value"]
    columns += ["low", "high", "sequences", "of", "source"]
    return pd.DataFrame(rows, columns=columns)


def _wide(cells: pd.DataFrame, marks: dict[str, str]) -> pd.DataFrame:
    """The cells as text; a mark where ours is missing, a dash where nothing was published."""
    order = list(dict.fromkeys(zip(cells["tracker"], cells["implementation"], strict=True)))
    order = [row for row in order if row[1] != OURS] + [(name, OURS) for name in TRACKERS]
    order.sort(key=lambda row: TRACKERS.index(row[0]))
    by_place = cells.set_index(["tracker", "implementation", "benchmark", "metric"])
    rows = []
    for name, implementation in order:
        row = {"tracker": name, "from": implementation}
        for (benchmark, metric), title in COLUMNS.items():
            place = (name, implementation, benchmark, metric)
            if place in by_place.index:
                row[title] = _text(by_place.loc[place], metric)
            elif implementation == OURS and not (metric == "gain" and name == TRACKERS[0]):
                row[title] = f"[{marks[benchmark]}]" if benchmark in marks else "–"
            else:
                row[title] = "–"
        rows.append(row)
    return pd.DataFrame(rows)


def _text(cell: pd.Series, metric: str) -> str:
    percent = metric == "gain"
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


def _tex(text: str) -> str:
    for character in "_%&#{}":
        text = text.replace(character, f"\\{character}")
    return text
