"""The study's question at full width: SiamFC, its common start, k branches on k clusters and the
fusion, against one network that learns from as many pairs, with other seeds as long as there is
time. The recipe is that of ``notebooks/profiles/confirmation.yaml``, with fewer pairs.
"""

import time

import numpy as np

from esiamfc_lib.analysis.intervals import mean_interval, signed
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from speed.gpu.card import tf32_set
from speed.gpu.data import success_aucs
from speed.gpu.learning import LR, LR_LAST, Schedule, clustered, trained, video_features
from speed.gpu.lockstep import track_all
from speed.gpu.run import Run

BATCH = 16
FROM_BASELINE = 1e-2, 5e-4  # learning rates of the first and the last tenth
FUSION = 0.2, 0.01
COMPARED = "equal budget", "plain average", "SiamFC", "common start"  # with ESiamFC
BRANCH = {"kind": "branch", "clip": 1.0, "frozen_norms": True}


def measure(run: Run) -> None:
    """Train what all seeds share, then as many seeds as there is time for; AUC of each."""
    first, common, _, _, seeds = run.sizes.ensemble
    siamfc = trained(run, Schedule(8, LR, LR_LAST), first, model=None)
    run.weights = run.weights or siamfc
    start = trained(run, Schedule(BATCH, *FROM_BASELINE), common, siamfc, draw=1, **BRANCH)
    train, _ = run.data.split
    features = video_features(run, siamfc)[train]
    found = {"SiamFC": [aucs(run, siamfc)], "common start": [aucs(run, start)]}
    name = f"SiamFC, {first:,} pairs, then conv3–5 on {common:,} pairs of all tracks"
    run.add(f"{name}: AUC; reference: SiamFC", *(np.mean(found[n]) for n in ("common start", "SiamFC")), "AUC")  # fmt: skip # noqa: E501
    try:
        for seed in range(seeds):
            began = time.perf_counter()
            with run.attempt(f"seed {seed}"):
                one_seed(run, start, features, seed, found)
            need = 1.1 * (time.perf_counter() - began)
            if seed + 1 < seeds and not run.time_for(f"seed {seed + 1}", need):
                break
    finally:  # also when time is up
        for arm in COMPARED:
            if "ESiamFC" in found:
                compare(run, found, arm)


def one_seed(
    run: Run,
    start: SiamFC,
    features: np.ndarray,
    seed: int,
    found: dict[str, list[np.ndarray]],
) -> None:
    """Clusters, branches, fusion and the equal budget of a seed; their AUC goes to ``found``."""
    _, _, branch, fusion, _ = run.sizes.ensemble
    equal, train = run.k * branch + fusion, run.data.split[0]
    _, clusters = clustered(run, features, seed)
    tracks = [train[clusters.labels == j] for j in range(run.k)]
    schedule, six = Schedule(BATCH, *FROM_BASELINE, seed=seed), BRANCH | {"kind": "six"}
    branches = ESiamFC.assembled([start] * run.k, seed)
    branches = trained(run, schedule, branch, branches, tracks=tracks, draw=2, **six)
    routing = Schedule(BATCH, *FUSION, seed=seed)
    fused = trained(run, routing, fusion, branches, "fusion", draw=3)
    one = trained(run, schedule, equal, start, draw=4, **BRANCH)
    arms = {"ESiamFC": aucs(run, fused), "equal budget": aucs(run, one)}
    arms["plain average"] = aucs(run, branches, uniform=True)
    for arm, of_sequences in arms.items():
        found.setdefault(arm, []).append(of_sequences)
    said = f"seed {seed}: ESiamFC, {branch:,} pairs a branch and {fusion:,} of the fusion"
    note = ", ".join(f"{arm} {values.mean():.4f}" for arm, values in arms.items())
    run.add(f"{said}: AUC; reference: one network, {equal:,} pairs more",
            arms["ESiamFC"].mean(), arms["equal budget"].mean(), "AUC", note=note)  # fmt: skip


def compare(run: Run, found: dict[str, list[np.ndarray]], arm: str) -> None:
    """A row for ESiamFC against an arm, whose note has the difference and its interval."""
    ours, theirs = (np.stack(found[name], 1) for name in ("ESiamFC", arm))
    mean, *ends = map(signed, mean_interval(ours - theirs, len(COMPARED)))
    said = f"ESiamFC, {ours.shape[1]} seeds, {len(ours)} sequences forward and backward"
    run.add(f"{said}: AUC; reference: {arm}", ours.mean(), theirs.mean(), "AUC",
            note="difference {} [{}, {}], of all these together [{}, {}]".format(mean, *ends))  # fmt: skip # noqa: E501


def aucs(run: Run, model: SiamFC | ESiamFC, uniform: bool = False) -> np.ndarray:
    """Success AUC of each held-out sequence, the mean of running forward and backward."""
    forward, precision = run.data.sequences, "bf16" if run.gpu else "fp32"
    backward = [Sequence(s.name, s.frames[::-1], s.boxes[::-1]) for s in forward]
    found = []
    for sequences, frames in ((forward, run.lying), (backward, run.lying[::-1])):
        with tf32_set(False):
            boxes = track_all(model, sequences, run.device, precision, run.cores, frames,
                              uniform=uniform, forms=run.forms_to_track)  # fmt: skip
        found.append(success_aucs(boxes, sequences))
    return np.mean(found, axis=0)
