"""The full ILSVRC2015-VID and the trainings of the profile ``paper``, from measured rates
(``docs/explanation/full_scale.md``).

Sizes of the set are those of its publication: 3,862 training and 555 validation videos with
1,122,397 and 176,126 frames, of at most 1280×720 for nearly all.
"""

import re
from collections import Counter
from pathlib import Path

from esiamfc_lib.chain.graph import graph
from esiamfc_lib.chain.profiles import load_profile
from speed import markdown
from speed.gpu import plan
from speed.gpu.plan import EPOCHS, PAIRS_AN_EPOCH

FRAMES = 1_122_397 + 176_126
CROPS = {"1.1 million crops": 1.1e6, "2.0 million crops": 2.0e6}
CORES = (1, 2, 8, 16, 32)
PAPER = Path(__file__).parents[1] / "notebooks/profiles/paper.yaml"


def trainings() -> str:
    """The trainings of the profile ``paper`` and of its control arms, as a table."""
    counts, pairs, speeds = Counter(), Counter(), plan.rates(plan.committed())
    for name, stage in graph(load_profile(str(PAPER))).items():
        if stage.kind in speeds:
            arm = re.sub(r"_s\d+$", "", name.partition("/")[0].partition("@")[2])
            counts[arm, stage.kind] += 1
            pairs[arm, stage.kind] += stage.parameters.epochs * stage.parameters.pairs_per_epoch
    lines = [
        "| arm | baseline | branches | fusion | million pairs "
        "| hours, steps as CUDA graphs | hours, the library's loop (estimate) |"
    ]
    lines += ["|---|---:|---:|---:|---:|---:|---:|"]
    for arm in dict.fromkeys([arm for arm, _ in pairs]) | {"all": None}:
        own = [key for key in pairs if arm in (key[0], "all")]
        trained = [sum(counts[key] for key in own if key[1] == kind) for kind in speeds]
        hours = (sum(pairs[key] / speeds[key[1]][way] for key in own) / 3600 for way in (0, 1))
        million = sum(pairs[key] for key in own) / 1e6
        cells = [arm or "the study", *trained, f"{million:.0f}", *(f"{one:.1f}" for one in hours)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def figures(rows: list[dict]) -> str:
    """The document's tables, from the rows of ``python -m speed data`` (as in its JSON file)."""
    by_name = {row["name"]: row for row in rows}

    def row(start: str) -> dict:
        return next(row for name, row in by_name.items() if name.startswith(start))

    frames = row("curation and store, one process, 1280×720")["ours"]
    crop_bytes = row("bytes of a stored crop")["ours"]
    loader = row("loader on one core")["ours"]
    lines = [markdown(rows)]
    lines += [
        "",
        f"Curation of all {FRAMES:,} frames at {frames:.3g} frames a second and core "
        "(1280×720, two objects a frame):",
        "",
        "| cores | " + " | ".join(map(str, CORES)) + " |",
        "|---|" + "---:|" * len(CORES),
        "| hours | " + " | ".join(f"{FRAMES / frames / n / 3600:.2g}" for n in CORES) + " |",
    ]
    lines += ["", "| store | GB |", "|---|---:|"]
    lines += [
        f"| {name} of {crop_bytes / 1e3:.1f} kB | {count * crop_bytes / 1e9:.0f} |"
        for name, count in CROPS.items()
    ]
    lines += [
        "",
        f"An epoch of {PAIRS_AN_EPOCH:,} pairs takes one loader core "
        f"{PAIRS_AN_EPOCH / loader / 60:.2g} minutes, all {EPOCHS} epochs "
        f"{PAIRS_AN_EPOCH * EPOCHS / loader / 3600:.2g} hours. A GPU that trains on n "
        f"pairs a second is kept busy by n / {loader:.0f} loader processes.",
        "",
        "Trainings of the profile `paper` and their arms, repetitions included; what arms share is "
        "counted once:",
        "",
        trainings(),
    ]
    return "\n".join(lines)
