"""How long the trainings of the profile ``paper`` take on the card that was measured, and what its
rows say in short; for ``docs/explanation``."""

import json
from datetime import datetime
from pathlib import Path

from esiamfc_lib.errors import StudyError
from speed.gpu.document import NOTHING

BENCH = Path(__file__).parents[2] / "reports/bench"
FILES = sorted(BENCH.glob("gpu-*.json"))
CHAINS = sorted(BENCH.glob("smoke-*.json"))  # provenance of a chain on a machine with a GPU
BATCH = 8  # as published
PAIRS_AN_EPOCH, EPOCHS = 53_200, 50  # of each training of the profile
KINDS = {"baseline": "baseline", "branches": "one branch", "fusion": "fusion"}
"""Kind of stage -> its name in the rows."""
CAPTURED = "bf16, channels_last, CUDA graph; reference: plain fp32"
BRANCHES = 6


def committed() -> list[dict]:
    """The rows of all committed files of one card, that of the first."""
    return of_first_card([row for file in FILES for row in json.loads(file.read_text("utf-8"))])


def of_first_card(rows: list[dict]) -> list[dict]:
    """The rows of those runs that were on the card of the first."""
    kept, card = [], ""
    for row in rows:
        card = row["name"] if row["unit"] == "cores" else card  # a run begins
        if card == rows[0]["name"]:
            kept.append(row)
    return kept


def named(rows: list[dict], *parts: str) -> dict:
    """The last row whose name begins with the first part and holds the others. A StudyError where
    there is none."""
    first, *others = parts
    for row in reversed(rows):
        if row["name"].startswith(first) and all(other in row["name"] for other in others):
            return row
    raise StudyError(f"no row of the GPU is '{' … '.join(parts)}': measure the part that has it")


def rates(rows: list[dict]) -> dict[str, tuple[float, float]]:
    """Kind of stage -> pairs a second at batch 8: of a step captured as a CUDA graph, and of the
    library's loop. The latter was measured for the baseline; for the others it is as much slower
    than their plain step in fp32 as the baseline's is."""
    loop = named(rows, f"the library's loop (training.loop), batch {BATCH};")["ours"]
    plain = named(rows, f"baseline, batch {BATCH}, {CAPTURED}")["reference"]
    found = {}
    for kind, name in KINDS.items():
        row = named(rows, f"{name}, batch {BATCH}, {CAPTURED}")
        found[kind] = row["ours"], row["reference"] * loop / plain
    return found


def plan(rows: list[dict]) -> str:
    """Rates and times of the trainings of the profile, as a table; the accuracy and the speed of
    tracking, as sentences."""
    if not rows:
        return NOTHING
    rows = of_first_card(rows)
    lines = [
        "| training | a step as a CUDA graph, pairs/s | the library's loop, pairs/s "
        "| 50 epochs, minutes | by the library's loop |",
        "|---|---:|---:|---:|---:|",
    ]
    for kind, (captured, loop) in rates(rows).items():
        count = BRANCHES if kind == "branches" else 1
        times = [f"{count * PAIRS_AN_EPOCH * EPOCHS / rate / 60:.0f}" for rate in (captured, loop)]
        name = f"{BRANCHES} branches, one after the other" if count > 1 else kind
        about = "" if kind == "baseline" else " (estimate)"
        lines.append(f"| {name} | {captured:,.0f} | {loop:,.0f}{about} | {' | '.join(times)} |")
    return "\n".join([*lines, "", *(f"- {line}" for line in [*said(rows), *chains()])])


def chains() -> list[str]:
    """Which profiles ran whole beside which card, and how long their stages took together."""
    lines = []
    for file in CHAINS:
        found = json.loads(file.read_text("utf-8"))
        began = [datetime.fromisoformat(stage["started"]).timestamp() for stage in found["stages"]]
        ended = [t + s["seconds"] for t, s in zip(began, found["stages"], strict=True)]
        seconds = max(ended) - min(began)
        environment = found["environment"]
        lines.append(
            f"The profile `{found['profile']}`, all notebooks from the data to the controls, on "
            f"{', '.join(environment['gpus'])} and {environment['cores']} cores: "
            f"{len(found['stages'])} stages in {seconds:.0f} s."
        )
    return lines


def said(rows: list[dict]) -> list[str]:
    """What a reader wants to know first, each from rows of its own."""
    within = {
        name: named(rows, name, "fp32 on cuda against fp32 on the CPU: boxes within")["ours"]
        for name in ("SiamFC,", f"ESiamFC k = {BRANCHES},")
    }
    losses = [r for r in rows if ", fp32 on cuda; reference: fp32 on the CPU" in r["name"]]
    away = max(abs(r["ours"] - r["reference"]) for r in losses)
    bits = [r["ours"] for r in rows if "as it is: the same bits as without" in r["name"]]
    labels = [r["ours"] for r in rows if "labels equal" in r["name"]]
    together, share = ", 100 sequences, all on the device, ", "boxes within"
    fast = "bf16, each convolution in its fastest form, "
    lines = [
        "Boxes of four sequences in fp32 with TF32 off that are the CPU's to 0.001 px: "
        + ", ".join(f"{name.strip(',')} {value:.0%}" for name, value in within.items())
        + f"; losses of a batch and after a step: at most {away:.1g} away.",
        f"Trainings that were killed and resumed, with deterministic algorithms: {sum(bits):.0f} "
        f"of {len(bits)} end in the same bits as one that was not. PIk-means on the GPU: the "
        f"labels are NumPy's in {sum(v == 1 for v in labels)} of {len(labels)} cases.",
    ]
    for name in ("SiamFC", "ESiamFC"):
        own = [named(rows, name + together, fast + how) for how in ("frames lie there", "JPEG")]
        library = named(rows, f"{name}, 100 sequences, the library's lock-step")
        exact = named(rows, name + together, "fp32, frames lie there")
        lines.append(
            f"{name}, 100 sequences in lock-step, frames/s: {own[0]['ours']:,.0f} all on the "
            f"device in bf16, each convolution in its fastest form ({own[1]['ours']:,.0f} from "
            f"JPEG files), {exact['ours']:,.0f} in fp32; {library['ours']:,.0f} by the library's "
            f"`track_many` in fp32; {library['reference']:,.0f} by one process a core of the same "
            "machine."
        )
    auc = named(rows, "SiamFC, all on the device, bf16, each conv", ": AUC")
    lines.append(
        f"What bf16 and other forms of the convolutions change: success AUC {auc['ours']:.4f} "
        f"against {auc['reference']:.4f} of the library on the CPU in fp32, "
        f"{named(rows, 'SiamFC, all on the device, bf16, each conv', share)['ours']:.0%} of the "
        "boxes within 0.05 px (SiamFC)."
    )
    done = [r for r in rows if r["part"] == "learning" and "AUC; reference: never" in r["name"]]
    pairs = done[-1]["name"].split()[3]
    lines.append(
        f"SiamFC at width 1 from scratch, batch {BATCH}: success AUC {done[-1]['ours']:.3f} on "
        f"held-out built-in sequences after {pairs} pairs (never moving: "
        f"{done[-1]['reference']:.3f})."
    )
    return lines
