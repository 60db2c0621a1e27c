"""What the scores of the scaling study say: its tables, its figures, its page."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from esiamfc_lib import reports
from esiamfc_lib.analysis import arm_comparison, intervals
from esiamfc_lib.artefacts import Artefacts
from esiamfc_lib.chain.arms import branch_pairs
from esiamfc_lib.chain.scaling import BUDGET, CLOSER, CONTROLS, SCORES, Grid, folder, profile
from esiamfc_lib.clustering import membership
from esiamfc_lib.clustering.comparison import family_agreement
from esiamfc_lib.config import StageParameters
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures.scaling import OWN, gain_curves

TITLES = {
    "ESiamFC": "cluster weights",
    "Nearest centroid": "nearest centroid",
    "Uniform": "uniform",
    "Oracle": "oracle",
}
"""Trackers whose gain is shown -> how the figures call their fusion."""

CAPTIONS = {
    "scaling": "Gain over the equal-budget SiamFC.",
    "scaling_controls": "ESiamFC minus each control.",
    "scaling_branches": "Loss of each branch at home.",
    "scaling_partitions": "How even the splits are, and how well they find the families.",
}
"""Tables of the report -> captions."""

WHEN = ("before", "after")


def collect(grid: Grid, out: Path, base: str) -> pd.DataFrame:
    """Gains over the equal-budget SiamFC of all points that are done.

    Returns:
        One row a point, k, split and fusion: ``videos, tracks`` (in the store), ``separation, k,
        split`` (``pikmeans`` or a control's name), ``fusion``, ``pairs``, and the columns of
        ``statistics.hierarchical_differences``; intervals that hold together hold within a point.

    Raises:
        StudyError: no point is done.
    """
    parts = []
    for videos, separation in _done(grid, out):
        chosen = profile(grid, videos, separation, out, base)
        scores = pd.read_csv(chosen.run / "scaling" / SCORES)
        gains = intervals.hierarchical_differences(scores, f"{BUDGET} SiamFC")
        manifest = json.loads((chosen.run / "dataset/store/manifest.json").read_text())
        places = {
            "videos": videos,
            "tracks": manifest["tracks"],
            "separation": separation,
            "pairs": branch_pairs(chosen.stages, chosen.arms),
        }
        kinds = [_kind(name, grid.clusters[0]) for name in gains["tracker"]]
        labels = pd.DataFrame(kinds, columns=["k", "split", "fusion"])
        parts.append(pd.concat([labels, gains], axis=1).assign(**places))
    if not parts:
        raise StudyError(f"scaling: nothing is done in {out}: run it first")
    table = pd.concat(parts, ignore_index=True)
    first = ["videos", "tracks", "separation", "k", "split", "fusion", "pairs"]
    rest = [name for name in table if name not in (*first, "tracker", "minus", "benchmark")]
    return table[[*first, "tracker", *rest]]


def _done(grid: Grid, out: Path) -> Iterator[tuple[int, float]]:
    """Points that have scores."""
    for point in grid.points():
        if (folder(out, *point) / "scaling" / SCORES).is_file():
            yield point


def _kind(tracker: str, first: int) -> tuple[int, str, str]:
    """k, split and fusion from a tracker's name, see ``controls.trackers``."""
    arm, _, title = tracker.partition(" ")
    if title == "SiamFC" or tracker == "SiamFC":
        return 1, "", "start" if title else "baseline"
    if arm in CONTROLS:
        return first, arm, TITLES[title]
    if arm.startswith("k") and title in TITLES:
        return int(arm[1:]), OWN, TITLES[title]
    return first, OWN, TITLES[tracker]


def against_controls(grid: Grid, out: Path) -> pd.DataFrame:
    """The ensemble minus every control, with the most videos that are done, from the closer look
    where there is one; and its oracle minus that over branches which all learned from all videos.

    Returns:
        ``videos, separation`` and the columns of ``controls.differences``; the intervals
        ``low_all, high_all`` hold for all controls of a separation together.
    """
    titles = (f"{BUDGET} SiamFC", *(f"{name} {arm_comparison.ENSEMBLE}" for name in CONTROLS))
    most = {separation: videos for videos, separation in _done(grid, out)}  # small ones come first
    parts = []
    for separation, videos in sorted(most.items()):
        place = folder(out, videos, separation) / "scaling"
        scores = pd.read_csv(place / SCORES)
        compared = pd.read_csv(place / CLOSER) if (place / CLOSER).is_file() else scores
        kept = compared[compared["tracker"].isin([arm_comparison.ENSEMBLE, *titles])]
        oracles = scores[scores["tracker"].isin(["Oracle", "seeds Oracle"])]
        gains = [arm_comparison.arm_differences(kept), arm_comparison.oracle_differences(oracles)]
        parts.append(pd.concat(gains).assign(videos=videos, separation=separation))
    table = pd.concat(parts, ignore_index=True)
    return table[["videos", "separation", *(c for c in table if c not in ("videos", "separation"))]]


def branch_losses(grid: Grid, out: Path) -> pd.DataFrame:
    """What learning in its cluster did to each branch of the study itself, at all points.

    Returns:
        ``videos, separation, cluster, tracks, validation_loss_before, validation_loss_after``: on
        the cluster's held-out videos.
    """
    rows = []
    for videos, separation in grid.points():
        files = folder(out, videos, separation).glob("branches/*/metrics.json")
        for file in sorted(files):
            found = json.loads(file.read_text(encoding="utf-8"))
            losses = {f"validation_loss_{at}": found[f"validation_loss_{at}"] for at in WHEN}
            place = {"videos": videos, "separation": separation}
            rows.append({**place, "cluster": found["cluster"], "tracks": found["tracks"], **losses})
    return pd.DataFrame(rows)


def partitions(grid: Grid, out: Path) -> pd.DataFrame:
    """How even each split is, and how well it finds the families, which it was never told.

    Returns:
        One row a point, split, k and seed: ``videos, separation, k, split, seed, spread`` (tracks
        of the largest cluster to those of the smallest), ``ari`` (adjusted Rand index to the
        families, 0 = chance).
    """
    rows = []
    for videos, separation in _done(grid, out):
        run = folder(out, videos, separation)
        tracks = CropStore(run / "dataset/store").tracks.set_index("track")["family"]
        for name, facts in Artefacts(run).arms().items():
            if facts["clusters"] == 1 or facts["membership"] == "all":  # no split
                continue
            place = Artefacts(run).arm(name).partition
            if not (place / membership.TABLE).is_file():  # of a larger grid, still to come
                continue
            own = membership.load_partition(place)
            families = tracks[own.table["track"]].to_numpy()
            found = family_agreement({own.method: own.labels[None]}, families)
            point = {"videos": videos, "separation": separation}
            split = {"k": own.k, "split": own.method, "seed": facts["seed"]}
            spread = own.sizes.max() / own.sizes.min()
            rows.append({**point, **split, "spread": spread, "ari": found["ari"].item()})
    return pd.DataFrame(rows)


def measure(grid: Grid, out: Path, base: str) -> dict[str, pd.DataFrame]:
    """All tables of the report, by name: of ``collect`` and the functions after it."""
    return {
        "scaling": collect(grid, out, base),
        "scaling_controls": against_controls(grid, out),
        "scaling_branches": branch_losses(grid, out),
        "scaling_partitions": partitions(grid, out),
    }


def write_report(
    grid: Grid,
    tables: Mapping[str, pd.DataFrame],
    folder: Path,
    base: str,
    plan: Mapping[str, int],
    device: str,
) -> list[str]:
    """Tables, figures and ``README.md`` in ``folder``.

    Args:
        grid: what was asked for; the page says which of it is there.
        tables: of ``measure``.
        folder: of the report.
        base: profile with the other parameters.
        plan: of the segments.
        device: what it ran on, in words.

    Returns:
        What was found, in sentences.
    """
    place = StageParameters(run_dir=str(folder), report_dir=str(folder))
    for name, table in tables.items():
        reports.save_table(table, place, name, caption=CAPTIONS[name])
    table = tables["scaling"]
    for fusion in dict.fromkeys(table["fusion"]):
        if fusion in TITLES.values():
            figure = gain_curves(table[table["fusion"] == fusion], fusion)
            reports.save_figure(figure, place, f"scaling_{fusion.replace(' ', '_')}")
    sentences = findings(table)
    beside = [
        f"{row['videos']} videos, separation {row['separation']:g}: {intervals.sentence(row)}"
        for _, row in tables["scaling_controls"].iterrows()
    ]
    splits = tables["scaling_partitions"].groupby(["videos", "separation", "k", "split"])
    splits = splits[["spread", "ari"]].mean().reset_index()
    lines = [
        "# When does specialisation pay?",
        "",
        "Written by `esiamfc scaling` from the tables beside it. The gain is a tracker's success "
        "AUC minus that of the equal-budget SiamFC, one network that has gone on learning from as "
        "many pairs as all branches of an ensemble together.",
        "",
        "## What was run",
        "",
        *_run(grid, table, base, plan, device),
        "",
        "## What was found",
        "",
        *(f"- {sentence}" for sentence in sentences),
        "",
        "With the most videos, beside all controls (`random`: clusters dealt out by chance; "
        "`seeds`: branches that all learn from all videos; `kmeans`: clusters of any size):",
        "",
        *(f"- {sentence}" for sentence in beside),
        "",
        "The oracle takes each run's best branch by the ground truth: an upper bound that grows "
        "with k by luck alone. What specialisation adds is its distance to the oracle over "
        "branches that all learned from all videos, the last line of a separation above.",
        "",
        *(f"![{p.stem}](figures/{p.name})\n" for p in sorted((folder / "figures").glob("*.png"))),
        "## The splits",
        "",
        "`spread`: tracks of the largest cluster to those of the smallest; `ari`: adjusted Rand "
        "index to the families, which no split was told (0: chance, 1: the same). Means over "
        "seeds.",
        "",
        *reports.markdown(splits),
        "",
        "All numbers: "
        + ", ".join(f"[tables/{name}.csv](tables/{name}.csv)" for name in tables)
        + ".",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
    return sentences + beside


def _run(grid: Grid, table: pd.DataFrame, base: str, plan: dict, device: str) -> list[str]:
    """What was run, as lines of a list."""
    done = len(table[["videos", "separation"]].drop_duplicates())
    segments = ", ".join(f"{name} {value}" for name, value in plan.items())
    return [
        f"- run: {done} of {len(list(grid.points()))} points of the grid videos "
        f"{_words(grid.videos)} × separation {_words(grid.separations)}",
        f"- numbers of clusters: {_words(grid.clusters)}; seeds: {_words(grid.seeds)}",
        f"- profile `{base}`; {table['pairs'].iloc[0]} pairs for each ensemble, its start included",
        f"- {table['sequences'].max()} test sequences of the same families × up to "
        f"{table['starts'].max()} starts (segments: {segments})",
        f"- on: {device}",
    ]


def findings(table: pd.DataFrame) -> list[str]:
    """For each k and separation from which number of videos on the ensemble gains for sure.

    "For sure": the interval that holds for all comparisons of its point lies above zero.
    """
    found = []
    own = table[(table["split"] == OWN) & table["fusion"].isin(TITLES.values())]
    for (separation, k, fusion), rows in own.groupby(["separation", "k", "fusion"], sort=True):
        rows = rows.sort_values("videos")
        last = rows.iloc[-1]
        place = f"separation {separation:g}, k = {k}, {fusion}"
        columns = ("difference", "low_all", "high_all")
        gain, low, high = (intervals.signed(last[column]) for column in columns)
        among = f"among {last['comparisons']} comparisons"
        at = f"at {last['tracks']} tracks {gain} [{low}, {high}] {among}"
        if fusion == TITLES["Oracle"]:
            found.append(f"{place}: {at}, an upper bound")
            continue
        sure = rows["low_all"] > 0
        tail = sure[::-1].cummin()[::-1]  # from here on at every larger number, too
        if tail.any():
            at += f"; the gain is shown from {rows.loc[tail.idxmax(), 'tracks']} tracks on"
        else:
            at += "; no gain is shown that lasts to the largest number of tracks"
        found.append(f"{place}: {at}")
    return found


def _words(values) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
