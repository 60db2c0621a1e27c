"""When does specialisation pay? The ensemble's gain against the amount and the variety of its data.

On the built-in data both can be set: how many videos there are to learn from, and how much the
families of objects differ (``dataset.separation``). For every pair of them the chain runs once, in
a folder of its own, with the numbers of clusters as arms; then all trackers of all arms run on the
same segments of that data's test sequences (see ``controls``).

The gain is taken from the **equal-budget** SiamFC, which has learned from as many pairs as all
branches of an ensemble together: the number of pairs is the same everywhere, so that along a curve
only the data change. Branches and equal-budget SiamFC start alike, from the arm that the base
profile names: where one network has not yet learned what it can, more pairs beat any division.
With the most videos, all controls run beside it. What is made of the scores is in
``scaling_report``.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from esiamfc_lib.analysis import arm_comparison
from esiamfc_lib.chain.profiles import Profile, load_profile
from esiamfc_lib.chain.runner import Chain
from esiamfc_lib.data import roots
from esiamfc_lib.errors import StudyError

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

FUSIONS = ("cluster_weight", "nearest_centroid", "uniform", "oracle")
SHARED = ("clustering", "branches")  # stages of the arm that all others start from
OF_ARMS = ("cluster_weight",)
BENCHMARK = "otb2015"
SCORES, CLOSER = "scores.csv", "closer.csv"


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
        if Chain(chosen, stream, jobs=jobs, without=("results",)).run():
            done = False
            continue
        (chosen.run / "scaling" / CLOSER).unlink(missing_ok=True)  # of networks that may be gone
        _track(chosen, SCORES, plan, workers, fusions=FUSIONS, of_arms=OF_ARMS)
        if closer and videos == max(grid.videos):
            looked = {"fusions": OF_ARMS, "arms": (BUDGET, *CONTROLS)}
            _track(chosen, CLOSER, plan | {"starts": closer}, workers, **looked)
    return done


def _track(chosen: Profile, file: str, plan: dict, workers: int, **trackers) -> None:
    """Scores of a point's trackers, in ``file`` of its folder ``scaling``."""
    folder, results = chosen.run / "scaling", chosen.stages["results"]
    root = roots.load_roots(chosen.run).benchmark(BENCHMARK)
    scores = arm_comparison.compare_arms(
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
