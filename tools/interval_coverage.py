"""How often the intervals of ``analysis.intervals`` hold the truth: simulated studies whose true
difference is known. The table of docs/explanation/statistics.md is of reports/bench/coverage.json.

``python -m tools.interval_coverage [--studies 4000] [--json FILE]`` prints a row for each world and
size of a study: the share of studies whose 95 % interval holds the true difference, and the median
half-width in AUC. A world says where luck lies:

- ``gauss``: sequences, starts, single runs, and a little of seeds; all normal
- ``seed luck``: a seed is lucky on all sequences
- ``seed × sequence``: a seed is lucky on some sequences
- ``flips``: in a few runs one of the trackers loses the target and the other does not
- ``skewed flips``: only one of the two ever gains so
- ``rare gains``: a gain in one sequence of ten, nothing in the others
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from esiamfc_lib.analysis.intervals import LEVEL, standard_error

SIZES = ((12, 1, 1), (12, 8, 3), (24, 1, 1), (24, 4, 3), (96, 6, 4))
"""Sequences, starts of each, seeds."""


def _normal(rng: np.random.Generator, s: int, j: int, k: int, *spreads: float) -> np.ndarray:
    """(s, j, k): luck of sequences, starts, seeds, seeds on sequences, single runs."""
    shapes = (s, 1, 1), (s, j, 1), (1, 1, k), (s, 1, k), (s, j, k)
    return sum(spread * rng.normal(size=n) for spread, n in zip(spreads, shapes, strict=False))


def _flips(rng: np.random.Generator, s: int, j: int, k: int, signs: tuple[int, ...]) -> np.ndarray:
    chance = rng.beta(1.0, 9.0, size=(s, 1, 1))  # sequences differ in how easily they are lost
    flips = sum(sign * (rng.random((s, j, k)) < chance) for sign in signs)
    return 0.5 * flips + _normal(rng, s, j, k, 0.01, 0.01, 0.0, 0.0, 0.01)


def _rare(rng: np.random.Generator, s: int, j: int, k: int) -> np.ndarray:
    gains = 0.1 * (rng.random((s, 1, 1)) < 0.1)
    return gains + _normal(rng, s, j, k, 0.0, 0.005, 0.002, 0.0, 0.005)


WORLDS: dict[str, tuple[Callable, float]] = {
    "gauss": (lambda *n: _normal(*n, 0.03, 0.03, 0.003, 0.0, 0.02), 0.0),
    "seed luck": (lambda *n: _normal(*n, 0.02, 0.02, 0.01, 0.0, 0.01), 0.0),
    "seed × sequence": (lambda *n: _normal(*n, 0.02, 0.02, 0.005, 0.02, 0.02), 0.0),
    "flips": (lambda *n: _flips(*n, (1, -1)), 0.0),
    "skewed flips": (lambda *n: _flips(*n, (1,)), 0.5 * 0.1),
    "rare gains": (_rare, 0.1 * 0.1),
}
"""Name -> (differences (sequences, starts, seeds) of one study, their true mean)."""


def coverage(world: str, size: tuple[int, int, int], studies: int) -> tuple[float, float]:
    """Share of the studies whose interval holds the truth, and the median half-width."""
    draw, truth = WORLDS[world]
    rng = np.random.default_rng([sum(map(ord, world)), *size])
    held, halves = 0, []
    for _ in range(studies):
        table = draw(rng, *size).mean(axis=1)
        error, free = standard_error(table)
        halves.append(stats.t.isf((1 - LEVEL) / 2, free) * error)
        held += abs(table.mean() - truth) <= halves[-1]
    return held / studies, float(np.median(halves))


def main() -> int:
    """Print the table; with ``--json`` write it, too."""
    parser = argparse.ArgumentParser(prog="python -m tools.interval_coverage")
    parser.add_argument("--studies", type=int, default=4000, metavar="N", help="default: 4000")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = []
    for world in WORLDS:
        for size in SIZES:
            share, half = coverage(world, size, args.studies)
            names = ("sequences", "starts", "seeds")
            row = {"world": world, "studies": args.studies, **dict(zip(names, size, strict=True))}
            rows.append(row | {"coverage": round(share, 3), "half_width": round(half, 4)})
            sizes = " × ".join(map(str, size))
            sys.stdout.write(f"{world:16} {sizes:>10}  {share:.3f}  ±{half:.4f}\n")
    if args.json:
        text = json.dumps(rows, indent=1, ensure_ascii=False)
        args.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
