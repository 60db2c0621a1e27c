"""Measured figures in the documentation: ``python -m speed.documents`` rewrites them.

Numbers in prose come from files: between its two marks a document holds what a benchmark's JSON or
a report's CSV says, and a test compares the two.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from esiamfc_lib.analysis.intervals import differences as compared
from esiamfc_lib.analysis.intervals import signed
from esiamfc_lib.errors import StudyError
from speed import full_scale, markdown
from speed.gpu import document as gpu
from speed.gpu import plan
from tools import known, readme
from tools.other_trackers import MEASURED


def differences(rows: list[dict]) -> str:
    """Rows of ``08_controls_differences.csv`` as a table."""
    lines = [
        "| ESiamFC minus | seeds | AUC | 95 % | for all at once | precision | 95 % "
        "| won, tied, lost | flips |",
        "|---|---|---:|---|---|---:|---|---|---|",
    ]
    columns = ("difference", "low", "high", "low_all", "high_all")
    columns += ("precision", "precision_low", "precision_high")
    for r in rows:
        gain, low, high, low_all, high_all, precise, below, above = (signed(r[c]) for c in columns)
        of = "" if r["seeds_of"] == "both" else f" of {r['seeds_of']}"
        lines.append(
            f"| {r['minus']} | {r['seeds']}{of} | {gain} | [{low}, {high}] | [{low_all}, "
            f"{high_all}] | {precise} | [{below}, {above}] "
            f"| {r['wins']}, {r['ties']}, {r['losses']} | +{r['flips_won']} −{r['flips_lost']} |"
        )
    return "\n".join(lines)


def confirmed(rows: list[dict]) -> str:
    """Whether the comparison that ``confirmation.yaml`` names came out as it says there."""
    (row,) = (r for r in rows if r["minus"] == "equal_budget SiamFC")
    verdict = "it is confirmed" if row["low"] > 0 else "it is not confirmed"
    interval = f"[{signed(row['low'])}, {signed(row['high'])}]"
    return f"The comparison that was fixed: {signed(row['difference'])} AUC {interval}: {verdict}."


TEN_ROWS = (
    "SiamFC, torch fp32, 1 thread",
    "SiamFC, torch bf16, 1 thread",
    "SiamFC, torch int8, 1 thread",
    "ESiamFC k = 6, 6 run, torch fp32, 1 thread",
    "ESiamFC k = 6, 6 run, torch bf16, 1 thread",
    "ESiamFC k = 6, 6 run, torch int8, 1 thread",
    "ESiamFC k = 6, 2 run, torch int8, 1 thread",
    "track_many, SiamFC int8, 2 cores; reference: one process a core",
    "success AUC, siamfc int8 on 12 OTB sequences; reference: fp32",
    "success AUC, k3 int8 on 12 OTB sequences; reference: fp32",
)


def chosen(rows: list[dict]) -> str:
    """The rows of ``python -m speed tracking`` that a user's choice depends on, as a table."""
    by_name = {row["name"]: row for row in rows}
    return markdown([by_name[name] for name in TEN_ROWS])


def coverage(rows: list[dict]) -> str:
    """The rows of ``python -m tools.interval_coverage``: a line a world, a column a size."""
    sizes = list(dict.fromkeys((r["sequences"], r["starts"], r["seeds"]) for r in rows))
    names = [" × ".join(map(str, size)) for size in sizes]
    found = {(r["world"], r["sequences"], r["starts"], r["seeds"]): r for r in rows}
    lines = [
        f"Share of {rows[0]['studies']} studies, half-width in AUC; sequences × starts × seeds:",
        "",
        "| world | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for world in dict.fromkeys(r["world"] for r in rows):
        cells = [found[world, *size] for size in sizes]
        shown = [f"{r['coverage']:.3f} (±{r['half_width']:.3f})" for r in cells]
        lines.append(f"| {world} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


PUBLISHED, BALANCED = "PIk-means, published", "PIk-means, balanced"
COMPARED = {"mini": "built-in data", "real": "real videos"}
"""Committed runs that compare ways to split the tracks, and what of."""


def published_rule(root: Path) -> str:
    """How uneven the published stopping rule leaves the clusters, and at what loss, from the runs
    in ``COMPARED``: the ways to split, then the published rule with other integral gains."""
    lines = ["| tracks | way to split | largest / smallest | of single runs | loss | iterations |"]
    lines += ["|---|---|---:|---|---:|---:|"]
    gains, lower = {}, []
    for profile, data in COMPARED.items():
        tables = root / f"reports/{profile}/tables"
        ways = pd.read_csv(tables / "04_runs.csv").groupby("method", sort=False)
        for way, own in ways:
            low, high = own["spread"].min(), own["spread"].max()
            spread, loss, steps = own[["spread", "loss", "iterations"]].mean()
            lines.append(
                f"| {data} | {way} | {spread:.1f} | {low:.1f} to {high:.1f} | {loss:.2f} "
                f"| {steps:.0f} |"
            )
        loss = ways["loss"].mean()
        lower.append(f"{1 - loss[BALANCED] / loss['constrained']:.1%} on {data}")
        tried = pd.read_csv(tables / "04_sensitivity.csv").query("method == @PUBLISHED")
        gains[data] = tried[tried["kp"] == 0.005].groupby("ki")["spread"].mean()
    table = pd.DataFrame(gains)
    lines += [
        "",
        "The loss of the balanced rule is below that of size-constrained k-means, `constrained`, "
        f"by {' and '.join(lower)}.",
        "",
        "Largest / smallest with the published rule, `kp` = 0.005, by its integral gain:",
        "",
        "| `ki` | " + " | ".join(table) + " |",
        "|---|" + "---:|" * table.shape[1],
    ]
    for ki, spreads in table.iterrows():
        lines.append(f"| {ki:g} | " + " | ".join(f"{spread:.1f}" for spread in spreads) + " |")
    return "\n".join(lines)


def batch_statistics(root: Path) -> str:
    """What the experiment ``norms`` says of branches that learn with the statistics of each batch,
    and what follows for the built-in profiles."""
    table = pd.read_csv(root / "reports/experiments/norms/tables/10_verdicts.csv")
    lines = ["## What batch statistics of the branches do here", ""]
    lines += ["Loss on held-out videos with batch statistics minus that with the start's:", ""]
    lines += ["| experiment `norms` | difference | 95 %, for all at once | |", "|---|---:|---|---|"]
    for row in table.itertuples():
        what = row.prediction.removesuffix(" above 0")
        value, low, high = (signed(number) for number in (row.value, row.low_all, row.high_all))
        shown = "worse" if row.low_all > 0 else "better" if row.high_all < 0 else "not decided"
        lines.append(f"| {what} | {value} | [{low}, {high}] | {shown} |")
    slow = table[table["prediction"].str.startswith("slow_batch fusion")].iloc[0]
    shown = slow["low_all"] > 0
    lines += [
        "",
        "`slow` learns at the rate of `smoke`, `mini` and `paper`, where batch statistics are "
        f"{'' if shown else 'not '}shown to be worse: these profiles "
        f"{'no longer learn' if shown else 'learn'} as published.",
    ]
    return "\n".join(lines)


def course(root: Path) -> str:
    """How long the run of a report took, from the first stage's start to the last one's end."""
    stages = json.loads((root / "provenance.json").read_text(encoding="utf-8"))["stages"]
    begins = pd.to_datetime([stage["started"] for stage in stages])
    ends = (begins + pd.to_timedelta([stage["seconds"] for stage in stages], "s")).sort_values()
    begins = begins.sort_values()
    hours = (ends[-1] - begins[0]).total_seconds() / 3600
    # Between two stages none ran where all that had begun had ended.
    pause = max([0.0, *(begins[1:] - ends[:-1]).total_seconds()])
    return (
        f"From the first of {len(stages)} stage runs to the last it took {hours:.2f} hours; the "
        f"longest time in which none ran was {pause:.0f} s."
    )


def waiting(rows: list[dict]) -> str:
    """Which way for two threads to wait is best at its worse, idle or busy (``speed.threads``)."""
    table = pd.DataFrame(rows)
    table[["load", "setting"]] = table["name"].str.split(": ", n=1, expand=True)
    table = table[table["load"].isin(["idle", "busy"]) & table["setting"].str.startswith("two")]
    rates = table.pivot(index="setting", columns="load", values="ours")
    shares = rates / rates.max()
    best = shares.min(axis=1).idxmax()
    return (
        f"Of the ways for two threads to wait, the best in the worse of the two cases is *{best}*: "
        f"{shares.loc[best, 'idle']:.2f} of the fastest on idle cores, "
        f"{shares.loc[best, 'busy']:.2f} on busy ones."
    )


CASES = {
    "nothing": ("nothing broken", "same bytes"),
    "killed": ("a worker killed", "same bytes"),
    "unplugged": ("a worker without network for 10 s", "same bytes"),
    "another version": ("another version of the library", "refused"),
    "data missing": ("data missing", "refused"),
}
"""Case of ``tools.hosts_campaign`` on a Dask cluster -> its words, and what must come of it."""


def hosts(rows: list[dict]) -> str:
    """What came of breaking three hosts: the commands on a Dask cluster by case, then the rest."""
    table = pd.DataFrame(rows)
    fine = table["outcome"] == "as it must be"
    on_dask = table[table["case"].isin(CASES) & ~table["command"].isin(["training", "slurm"])]
    cells = on_dask.assign(
        cell=[
            f"{CASES[row.case][1] if fine[row.Index] else row.outcome}, {row.seconds} s"
            for row in on_dask.itertuples()
        ]
    ).pivot(index="command", columns="case", values="cell")
    cells = (
        cells.reindex(index=on_dask["command"].unique(), columns=[*CASES])
        .astype(object)
        .fillna("–")
    )
    lines = ["| command | " + " | ".join(name for name, _ in CASES.values()) + " |"]
    lines += ["|---" * (len(CASES) + 1) + "|"]
    lines += [f"| `{name}` | {' | '.join(own)} |" for name, own in cells.iterrows()]
    lines += ["", "| command | case | outcome | seconds | |", "|---|---|---|---:|---|"]
    for row in table.drop(on_dask.index).itertuples():
        said = "" if pd.isna(row.said) else row.said.partition(": [")[0]
        lines.append(f"| {row.command} | {row.case} | {row.outcome} | {row.seconds} | {said} |")
    return "\n".join([*lines, "", f"{fine.sum()} of {len(table)} cases ended as they must."])


OTHERS = {
    "NanoTrack": ("OpenCV's `TrackerNano`; ONNX files of its authors", "following an object, fast"),
    "Nano": ("OpenCV's `TrackerNano`; ONNX files of its authors", "following an object, fast"),
    "Vit": ("OpenCV's `TrackerVit`; ONNX of OpenCV's zoo, Apache-2.0", "knowing when it is lost"),
    "DaSiamRPN": ("OpenCV's `TrackerDaSiamRPN`; ONNX files, MIT", "comparisons"),
    "CSRT": ("`opencv-contrib-python`, Apache-2.0", "following an object without any weights"),
    "KCF": ("`opencv-contrib-python`, Apache-2.0", "speed alone"),
    "MIL": ("`opencv-python`, Apache-2.0", "where nothing else can be installed"),
    "SiamFC": ("this project, MIT; weights apart", "understanding and extending the method"),
}
"""Tracker -> where it is, under which licence; what it is good for."""


def trackers(rows: list[dict]) -> str:
    """The rows of ``python -m tools.other_trackers``, a line a tracker, the most precise first."""
    table = pd.DataFrame(rows)
    run = table[table["source"] == MEASURED]
    reference = next((n for n in run["tracker"].unique() if n.startswith("SiamFC")), "")
    gains = compared(run, reference).set_index("tracker") if reference else pd.DataFrame()
    lines = [
        f"| tracker | success AUC | precision | precision minus that of {reference or 'SiamFC'} "
        "| frames/s | weights | where, licence | good for |",
        "|---|---:|---:|---|---:|---:|---|---|",
    ]
    means = table.groupby("tracker")[["success", "precision"]].mean()
    for name, mean in means.sort_values("precision", ascending=False).iterrows():
        own = table[table["tracker"] == name]
        frames = own["frames"].fillna(1)  # of one row for all sequences
        speed = frames.sum() / (frames / own["frames_per_second"]).sum()
        gain, size = "–", own["weights_mb"].iloc[0]
        if name in gains.index:
            ends = ("precision", "precision_low", "precision_high")
            gain = "{} [{}, {}]".format(*(signed(gains.loc[name, end]) for end in ends))
        quoted = "" if own["source"].iloc[0] == MEASURED else " ¹"
        lines.append(
            f"| {name}{quoted} | {mean['success']:.3f} | {mean['precision']:.3f} | {gain} "
            f"| {speed:.0f} | {f'{size:.1f} MB' if size else '–'} "
            f"| {' | '.join(OTHERS[name.split()[0]])} |"
        )
    lines.append("")
    for (processor, opencv, torch), own in run.groupby(["processor", "opencv", "torch"]):
        number = f"{own['sequence'].nunique()} sequences, {processor}"
        lines.append(f"{number}, OpenCV {opencv}, PyTorch {torch}.")
    for name, own in table[table["source"] != MEASURED].groupby("tracker"):
        lines.append(f"¹ {name}: {own['source'].iloc[0]}.")
    return "\n".join(lines)


BEGIN, END = "<!-- figures: made by python -m speed -->", "<!-- end of figures -->"
GPU = "<!-- figures: made by python -m speed gpu -->"
ROOT = Path(__file__).parents[1]
DOCUMENTS: dict[str, tuple[list[str], Callable[[list[dict]], str]]] = {
    "README.md": ([], lambda rows: readme.results()),  # of many files, each with a shape of its own
    "docs/explanation/departures.md": (
        [],
        lambda rows: f"{published_rule(ROOT)}\n\n{batch_statistics(ROOT)}",
    ),
    "docs/explanation/what_we_know.md": ([], lambda rows: known.known()),
    "docs/howto/cluster.md": (["reports/bench/hosts.csv"], hosts),
    "docs/howto/which_tracker.md": (["reports/bench/other_trackers.csv"], trackers),
    "docs/explanation/full_scale.md": (["reports/bench/data.json"], full_scale.figures),
    "docs/explanation/training.md": (
        ["reports/bench/training.json", "reports/bench/threads.json"],
        lambda rows: f"{markdown(rows)}\n\n{waiting(rows)}",
    ),
    "docs/explanation/speed.md": (["reports/bench/tracking.json"], chosen),
    "docs/explanation/speed_rows.md": (["reports/bench/tracking.json"], markdown),
    "docs/explanation/statistics.md": (["reports/bench/coverage.json"], coverage),
    "reports/scaling/INTERPRETATION.md": (
        [],
        lambda rows: "\n".join(f"- {line[0].upper()}{line[1:]}" for line in readme.limits()),
    ),
    "reports/confirmation/INTERPRETATION.md": (
        ["reports/confirmation/tables/08_closer.csv"],
        lambda rows: f"{differences(rows)}\n\n{confirmed(rows)}",
    ),
    "reports/real/INTERPRETATION.md": (
        ["reports/real/tables/08_controls_differences.csv"],
        lambda rows: f"{differences(rows)}\n\n{course(ROOT / 'reports/real')}",
    ),
}
"""Document -> (files of the rows it shows, how)."""
CARDS = [f"reports/bench/{file.name}" for file in plan.FILES]
GPU_DOCUMENTS = {
    "docs/explanation/training.md": (CARDS, plan.plan),
    "docs/explanation/gpu_rows.md": (CARDS, gpu.tables),
}
"""The same of what was measured on GPUs, in that document's place for it."""


def read(results: list[Path]) -> list[dict]:
    """The rows of JSON or CSV files."""
    rows = []
    for file in results:
        if file.suffix == ".csv":
            rows += pd.read_csv(file).to_dict("records")
        else:
            rows += json.loads(file.read_text("utf-8"))
    return rows


def rewrite(
    document: Path, results: list[Path], figures: Callable[[list[dict]], str], mark: str = BEGIN
) -> None:
    """Put the figures of some files between ``mark`` and ``END``.

    Raises:
        StudyError: a file is missing, or the document lacks the marks.
    """
    try:
        text, rows = document.read_text(encoding="utf-8"), read(results)
    except (OSError, ValueError) as error:
        raise StudyError(f"cannot read {document} or what it shows: {error}") from error
    before, begin, rest = text.partition(mark)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise StudyError(f"{document} lacks the lines {mark} and {END}")
    document.write_text(f"{before}{mark}\n\n{figures(rows)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    for mark, documents in ((BEGIN, DOCUMENTS), (GPU, GPU_DOCUMENTS)):
        for name, (files, figures) in documents.items():
            rewrite(Path(name), [Path(file) for file in files], figures, mark)
