"""When does specialisation pay? The ensemble's gain against the amount and the variety of its data.

On the built-in data both can be set: how many videos there are to learn from, and how much the
families of objects differ (``dataset.separation``). For every pair of them the chain runs once, in
a folder of its own, with the numbers of clusters as arms; then all trackers of all arms run on the
same segments of that data's test sequences (see ``controls``).

The gain is taken from the **equal-budget** SiamFC, which has learned from as many pairs as all
branches of an ensemble together: the number of pairs is the same everywhere, so that along a curve
only the data change. Branches and equal-budget SiamFC start alike, from the arm that the base
profile names: where one network has not yet learned what it can, more pairs beat any division.
With the most videos, all controls run beside it.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pandas as pd

from esiamfc_lib import controls, dataset, reports, statistics
from esiamfc_lib.arms import branch_pairs
from esiamfc_lib.config import StageParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.figures_scaling import OWN, gain_curves
from esiamfc_lib.profiles import Profile, load_profile
from esiamfc_lib.study import Study

BUDGET = "equal_budget"
"""The arm that the gain is taken from."""

CONTROLS = {
    "random": {"clustering": {"method": "random"}},
    "seeds": {"branches": {"membership": "all"}},
    "kmeans": {"clustering": {"method": "kmeans"}},
}
"""Further controls at the first k: clusters dealt out by chance; branches that all learn from all
tracks; clusters of any size. The first runs everywhere, the others with the most videos; there all
are repeated with all seeds, for an interval that knows of one side's luck alone is too narrow."""

TITLES = {
    "ESiamFC": "cluster weights",
    "Nearest centroid": "nearest centroid",
    "Uniform": "uniform",
    "Oracle": "oracle",
}
"""Trackers whose gain is shown -> how the figures call their fusion."""

FUSIONS = ("cluster_weight", "nearest_centroid", "uniform", "oracle")
SHARED = ("clustering", "branches")  # stages of the arm that all others start from
OF_ARMS = ("cluster_weight",)
WHEN = ("before", "after")
BENCHMARK = "otb2015"
CLOSER = "closer.csv"


@dataclass(frozen=True)
class Grid:
    """What is varied.

    Attributes:
        videos: training videos, several numbers.
        separations: of the families, 0 (none) to 1.
        clusters: numbers of clusters k; controls have the first.
        seeds: of notebooks 04 to 06.
    """

    videos: tuple[int, ...] = (50, 200, 800, 3200)
    separations: tuple[float, ...] = (0.0, 0.5, 1.0)
    clusters: tuple[int, ...] = (6, 3)
    seeds: tuple[int, ...] = (0, 1)

    def __post_init__(self):
        for name, values in vars(self).items():
            if not values or len(set(values)) < len(values):
                raise StudyError(f"scaling: {name} must be one number or several different ones")
        if min(self.clusters) < 2 or min(self.videos) < 2:
            raise StudyError("scaling: clusters and videos must be 2 or more")

    def points(self) -> Iterator[tuple[int, float]]:
        """Runs of the chain: (videos, separation), the small ones first."""
        for videos in sorted(self.videos):
            for separation in sorted(self.separations):
                yield videos, separation


def folder(out: Path, videos: int, separation: float) -> Path:
    """Where the run of one point works."""
    return out / f"videos{videos:05d}-separation{separation:.2f}"


def profile(grid: Grid, videos: int, separation: float, out: Path, base: str) -> Profile:
    """The chain's parameters for one point of the grid.

    The base profile says how many pairs the branches of the first k learn from together; this
    number, rounded down so that every k can share it evenly, is the budget of all arms.

    Args:
        grid: what is varied.
        videos, separation: the point.
        out: folder of the study.
        base: profile with all other parameters. Of its arms only the one counts that its branches
            start from.

    Raises:
        StudyError: the base is not on built-in data; the budget is too small to be shared.
    """
    first = grid.clusters[0]
    given = load_profile(base, [f"clustering.n_clusters={first}"])
    if given.stages["dataset"].source != "synthetic":
        raise StudyError(f"scaling: profile {base} is not on the built-in data")
    branches = given.stages["branches"]
    step = math.lcm(*grid.clusters) * branches.batch_size
    budget = first * branches.pairs_per_epoch // step * step
    if not budget:
        raise StudyError(
            f"scaling: {first} × {branches.pairs_per_epoch} pairs an epoch cannot be shared by "
            f"{', '.join(map(str, grid.clusters))} branches in batches of {branches.batch_size}"
        )
    start, arms = branches.start, {}
    if start in given.arms:
        fixed = {"run_dir", "report_dir", "seed", "cluster_id"}
        arms[start] = {
            stage: given.arms[start][stage].model_dump(exclude=fixed) for stage in SHARED
        }
    seeds = {"seeds": list(grid.seeds)}
    most = videos == max(grid.videos)
    arms[BUDGET] = {**seeds, **_shares(1, budget)}
    for name, changes in CONTROLS.items():
        if name == "random" or most:
            shares = _shares(first, budget)
            arms[name] = {key: shares[key] | changes.get(key, {}) for key in shares}
            arms[name] |= seeds if most else {}
    for k in grid.clusters[1:]:
        arms[f"k{k}"] = {**seeds, **_shares(k, budget)}
    if len(grid.seeds) > 1:
        arms["again"] = {"seeds": list(grid.seeds[1:])}
    run = folder(out, videos, separation)
    return load_profile(
        base,
        [
            f"run_dir={json.dumps(str(run))}",
            f"report_dir={json.dumps(str(run / 'reports'))}",
            f"seed={grid.seeds[0]}",
            f"dataset.train_videos={videos}",
            f"dataset.separation={separation}",
            f"clustering.n_clusters={first}",
            "clustering.study_inits=0",
            f"branches.pairs_per_epoch={budget // first}",
            f"arms={json.dumps(arms)}",
        ],
    )


def _shares(k: int, budget: int) -> dict[str, dict]:
    """Changes that make k branches out of the budget."""
    return {"clustering": {"n_clusters": k}, "branches": {"pairs_per_epoch": budget // k}}


def run(
    grid: Grid,
    out: Path,
    base: str,
    stream: TextIO,
    jobs: int = 1,
    workers: int = 1,
    closer: int = 0,
    **plan,
) -> bool:
    """Train and track what is not there yet; a study that was interrupted goes on.

    Args:
        grid, out, base: as for ``profile``.
        stream: where to tell what happens.
        jobs: notebooks side by side.
        workers: processes that track.
        closer: starts from which the ensemble and all controls run with the most videos, in place
            of the plan's; 0: no closer look.
        plan: of the segments, see ``multistart.segments``.

    Returns:
        whether every point is done; a point that failed is told and the others go on.

    Raises:
        StudyError: the grid or the base profile cannot work.
    """
    done = True
    for videos, separation in grid.points():
        chosen = profile(grid, videos, separation, out, base)
        stream.write(f"{chosen.run.name}\n")
        # notebook 07 would run every tracker once over the whole benchmarks
        if Study(chosen, stream, jobs=jobs, without=("results",)).run():
            done = False
            continue
        (chosen.run / "scaling" / CLOSER).unlink(missing_ok=True)  # of networks that may be gone
        _track(chosen, "scores.csv", plan, workers, fusions=FUSIONS, of_arms=OF_ARMS)
        if closer and videos == max(grid.videos):
            looked = {"fusions": OF_ARMS, "arms": (BUDGET, *CONTROLS)}
            _track(chosen, CLOSER, plan | {"starts": closer}, workers, **looked)
    return done


def _track(chosen: Profile, file: str, plan: dict, workers: int, **trackers) -> None:
    """Scores of a point's trackers, in ``file`` of its folder ``scaling``."""
    folder, results = chosen.run / "scaling", chosen.stages["results"]
    root = dataset.load_roots(chosen.run).benchmark(BENCHMARK)
    scores = controls.evaluate(
        chosen.run,
        BENCHMARK,
        root,
        folder,
        workers=workers,
        plan=plan,
        device=results.device,
        precision=results.precision,
        **trackers,
    )
    scores.to_csv(folder / file, index=False, lineterminator="\n")


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
    for videos, separation in grid.points():
        file = folder(out, videos, separation) / "scaling" / "scores.csv"
        if not file.is_file():
            continue
        chosen = profile(grid, videos, separation, out, base)
        scores = pd.read_csv(file)
        gains = statistics.hierarchical_differences(scores, f"{BUDGET} SiamFC")
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
    parts = []
    for separation in sorted(grid.separations):
        for videos in sorted(grid.videos, reverse=True):
            place = folder(out, videos, separation) / "scaling"
            if (place / "scores.csv").is_file():
                scores = pd.read_csv(place / "scores.csv")
                closer = place / CLOSER
                compared = pd.read_csv(closer) if closer.is_file() else scores
                titles = (f"{BUDGET} SiamFC", *(f"{name} {controls.ENSEMBLE}" for name in CONTROLS))
                kept = compared[compared["tracker"].isin([controls.ENSEMBLE, *titles])]
                oracles = scores[scores["tracker"].isin(["Oracle", "seeds Oracle"])]
                gains = [controls.differences(kept), controls.oracle_differences(oracles)]
                parts.append(pd.concat(gains).assign(videos=videos, separation=separation))
                break
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


def write_report(
    grid: Grid,
    table: pd.DataFrame,
    against: pd.DataFrame,
    learned: pd.DataFrame,
    folder: Path,
    base: str,
    plan: dict,
    device: str,
) -> list[str]:
    """Tables, figures and ``README.md`` in ``folder``.

    Args:
        grid: what was asked for; the page says which of it is there.
        table: of ``collect``.
        against: of ``against_controls``.
        learned: of ``branch_losses``.
        folder: of the report.
        base: profile with the other parameters.
        plan: of the segments.
        device: what it ran on, in words.

    Returns:
        What was found, in sentences.
    """
    place = StageParameters(run_dir=str(folder), report_dir=str(folder))
    reports.save_table(table, place, "scaling", caption="Gain over the equal-budget SiamFC.")
    for fusion in dict.fromkeys(table["fusion"]):
        if fusion in TITLES.values():
            figure = gain_curves(table[table["fusion"] == fusion], fusion)
            reports.save_figure(figure, place, f"scaling_{fusion.replace(' ', '_')}")
    reports.save_table(against, place, "scaling_controls", caption="ESiamFC minus each control.")
    reports.save_table(learned, place, "scaling_branches", caption="Loss of each branch at home.")
    sentences = findings(table)
    beside = [
        f"{row['videos']} videos, separation {row['separation']:g}: {statistics.sentence(row)}"
        for _, row in against.iterrows()
    ]
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
        "branches that all learned from all videos, the last line above.",
        "",
        *(f"![{p.stem}](figures/{p.name})\n" for p in sorted((folder / "figures").glob("*.png"))),
        "All numbers: [tables/scaling.csv](tables/scaling.csv), "
        "[tables/scaling_controls.csv](tables/scaling_controls.csv); what learning did to each "
        "branch: [tables/scaling_branches.csv](tables/scaling_branches.csv).",
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
        gain, low, high = (statistics.signed(last[c]) for c in ("difference", "low", "high"))
        at = f"at {last['tracks']} tracks {gain} [{low}, {high}]"
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
