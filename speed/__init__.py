"""Benchmarks: every speed this project claims, as a ratio against a baseline of the same run."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Row:
    """One line of a benchmark.

    Attributes:
        name: what was measured.
        ours, reference: the two figures, in ``unit``.
        unit: for example ``crops/s`` (more is better) or ``ms`` (less is better).
        ratio: how many times better ours is; above 1 is better whatever the unit.
        target: the ratio (or, where the name says so, the figure) that was set out to be reached.
    """

    name: str
    ours: float
    reference: float
    unit: str
    ratio: float
    target: str


def row(
    name: str,
    ours: float,
    reference: float,
    unit: str,
    target: str = "",
    less_is_better: bool = False,
) -> Row:
    """A row with its ratio worked out."""
    top, bottom = (reference, ours) if less_is_better else (ours, reference)
    return Row(name, ours, reference, unit, top / bottom if bottom else float("nan"), target)


def seconds(work: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> float:
    """Median wall-clock seconds of ``work()``."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return median(taken)


def show(rows: list[Row]) -> str:
    """The rows as a text table."""
    lines = [f"{'name':<58} {'ours':>12} {'reference':>12} {'unit':<10} {'ratio':>7}  target"]
    lines += [
        f"{r.name:<58} {r.ours:>12.4g} {r.reference:>12.4g} {r.unit:<10} {r.ratio:>7.2f}  "
        f"{r.target}"
        for r in rows
    ]
    return "\n".join(lines)


def markdown(rows: list[dict]) -> str:
    """The rows, as of the JSON file, as a table for a document."""
    lines = ["| measured | ours | reference | unit | ratio | target |"]
    lines += ["|---|---:|---:|---|---:|---|"]
    lines += [
        f"| {r['name']} | {r['ours']:.4g} | {r['reference']:.4g} | {r['unit']} "
        f"| {r['ratio']:.2f} | {r['target']} |"
        for r in rows
    ]
    return "\n".join(lines)


def write_json(rows: list[Row], path: Path) -> None:
    """Write the rows as a JSON list."""
    path.write_text(json.dumps([asdict(r) for r in rows], indent=1) + "\n", encoding="utf-8")
