"""The full ILSVRC2015-VID, from measured rates (``docs/explanation/full_scale.md``).

Sizes of the set are those of its publication: 3,862 training and 555 validation videos with
1,122,397 and 176,126 frames, of at most 1280×720 for nearly all.
"""

from speed import markdown

FRAMES = 1_122_397 + 176_126
CROPS = {"1.1 million crops": 1.1e6, "2.0 million crops": 2.0e6}
CORES = (1, 2, 8, 16, 32)
PAIRS_AN_EPOCH, EPOCHS = 53_200, 50


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
    ]
    return "\n".join(lines)
