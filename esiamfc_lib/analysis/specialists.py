"""What the specialists learned: who is good at what, how they differ, and whether it pays.

An ensemble can be better than its members only where these differ. Does branch i win on its own
kind of object (``kind_matrix``, ``own_kind``)? Does the fusion give different objects to
different branches (``routing``)? How far apart are their responses (``diversity``)? Does the
ensemble gain most where they disagree most (``disagreement``, ``relation``)?"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from esiamfc_lib.analysis.intervals import bootstrap_interval
from esiamfc_lib.data import geometry
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.networks.esiamfc import ESiamFC, fuse
from esiamfc_lib.networks.siamfc import STRIDE
from esiamfc_lib.training.augmentation import augment
from esiamfc_lib.training.loading import PairLoader

RADIUS = 16.0  # of positives around the centre, in pixels


@torch.inference_mode()
def response_maps(model: ESiamFC, exemplar: Tensor, search: Tensor) -> dict[str, Tensor]:
    """Responses of all branches, and of the ensemble, to exemplars, float32 (n, 3, 127, 127) RGB in
    0..255, and search images (n, 3, S, S); the model is on the CPU, in eval mode. Gives
    ``responses`` (n, k, r, r) logits, r = 17 for S = 255; ``weights`` (n, k) of the cluster-weight
    module; ``fused`` (n, r, r)."""
    z = model.stem(exemplar)
    responses, weights = model.responses(z, model.stem(search)), model.cluster_weights(z)
    return {"responses": responses, "weights": weights, "fused": fuse(responses, weights)}


def kind_matrix(scores: pd.DataFrame, kinds: Mapping[str, object] | None = None) -> pd.DataFrame:
    """Mean success of every branch on every kind of object: a row per branch, a column per kind,
    sorted. Scores have one row per tracker and sequence (or run of one); branches are called
    ``Branch 0`` ...; ``kinds`` is sequence -> kind, None the column ``family``. A StudyError if no
    sequence of a branch has a kind."""
    rows = scores[scores["tracker"].str.fullmatch(r"Branch \d+")]
    kind = rows["family"] if kinds is None else rows["sequence"].map(kinds)
    rows = rows.assign(kind=kind.where(kind != "")).dropna(subset=["kind", "success"])
    if not len(rows):
        raise StudyError("no sequence has a kind to compare the branches by")
    # runs of a sequence first: every sequence counts once, however many starts it has
    means = rows.groupby(["tracker", "kind", "sequence"])["success"].mean()
    table = means.groupby(level=[0, 1]).mean().unstack()
    order = sorted(table.index, key=lambda name: int(name.split()[1]))
    return table.loc[order].rename_axis(index=None, columns=None)


def own_kind(matrix: pd.DataFrame, shares: pd.DataFrame) -> pd.DataFrame:
    """Does a branch win on what it learned from, by ``kind_matrix`` and the share of each kind (a
    column) in every cluster (a row, called as its branch)? Some kinds are easier and some branches
    better in general; what is left when both means are taken away (the interaction of a two-way
    table) is specialisation. Gives one row per branch, but for those of whose kinds no sequence is:
    ``kind`` (the largest share of its tracks), ``share``, ``score`` on it, ``mean`` of all branches
    on it, ``interaction`` (score minus what the branch's and the kind's means predict), ``rank`` of
    the branch on this kind, 1 = best."""
    known = shares.reindex(index=matrix.index, columns=matrix.columns).fillna(0.0).to_numpy()
    table = matrix.to_numpy()
    expected = table.mean(1, keepdims=True) + table.mean(0, keepdims=True) - table.mean()
    i, j = np.arange(len(known)), known.argmax(axis=1)
    score, rank = table[i, j], (table[:, j] > table[i, j]).sum(axis=0) + 1
    rows = {
        "branch": matrix.index, "kind": matrix.columns[j], "share": known[i, j], "score": score,
        "mean": [table[:, kind].mean() for kind in j],
        "interaction": score - expected[i, j], "rank": rank,
    }  # fmt: skip
    return pd.DataFrame(rows)[known[i, j] > 0].reset_index(drop=True)


def routing(weights: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """How the fusion, by its weights (n, k), shares n objects out among the branches; (n,) are the
    clusters of the objects. Gives ``entropy``: mean over objects, as a share of log k;
    ``information``: entropy of the mean weights minus ``entropy``, the mutual information of object
    and branch as a share of log k: 0 when all objects get the same weights, whatever they are;
    ``own_weight``: mean weight of an object's own branch; ``own_first``: share of objects whose own
    branch weighs most; ``uniform``: 1 / k, what chance gives for the last two."""
    weights = np.asarray(weights, np.float64)
    mean = float(_entropy(weights).mean())
    return {
        "entropy": mean,
        "information": max(0.0, float(_entropy(weights.mean(0))) - mean),
        "own_weight": float(weights[np.arange(len(weights)), clusters].mean()),
        "own_first": float((weights.argmax(1) == clusters).mean()),
        "uniform": 1 / weights.shape[1],
    }


def _entropy(weights: np.ndarray) -> np.ndarray:
    """Entropy of weights (..., k) that sum to 1, as a share of log k: 0 one branch, 1 uniform."""
    nats = -(weights * np.log(np.clip(weights, 1e-300, None))).sum(-1)
    return nats / np.log(weights.shape[-1])


@torch.inference_mode()
def diversity(model: ESiamFC, pairs: PairLoader) -> tuple[dict[str, float], np.ndarray]:
    """How much the branches differ on one epoch of held-out pairs of images; the model is on the
    CPU, in eval mode. Gives ``correlation`` (mean over pairs of branches and images),
    ``disagreement`` (share of images and pairs of branches whose peaks lie more than 16 px apart);
    and the (k, k) matrix of correlations."""
    correlations, apart, count = np.zeros((model.k, model.k)), 0.0, 0
    i, j = torch.triu_indices(model.k, model.k, offset=1)  # pairs of branches
    for batch in pairs.epoch(0):
        responses = response_maps(model, *augment(batch, augmentation="none"))["responses"]
        flat = responses.double().flatten(2)
        flat = torch.nn.functional.normalize(flat - flat.mean(2, keepdim=True), dim=2)
        correlations += (flat @ flat.transpose(1, 2)).sum(0).numpy()
        peaks = responses.flatten(2).argmax(2)
        cells = torch.stack([peaks // responses.shape[-1], peaks % responses.shape[-1]], dim=2)
        places = STRIDE * cells.float()
        distances = torch.cdist(places, places)[:, i, j]
        apart += float((distances > RADIUS).float().mean()) * len(responses)
        count += len(responses)
    correlations /= count
    mean = float(correlations[~np.eye(model.k, dtype=bool)].mean())
    return {"correlation": mean, "disagreement": apart / count}, correlations


def disagreement(
    out: Path, branches: Iterable[str], sequences: Iterable[Sequence], benchmark: str
) -> pd.Series:
    """How far apart the branches' boxes are: per sequence the mean of 1 − IoU over their pairs,
    by the results in ``out`` of a benchmark (see ``scoring.read_boxes``). A StudyError if a result
    is missing."""
    names, found = list(branches), {}
    for sequence in sequences:
        boxes = [scoring.read_boxes(out, name, sequence, benchmark)[1:] for name in names]
        overlaps = [geometry.iou(boxes[i], boxes[j]) for i in range(len(names)) for j in range(i)]
        found[sequence.name] = 1 - np.nanmean(overlaps)
    return pd.Series(found, name="disagreement")


def relation(
    scores: pd.DataFrame, apart: pd.Series, tracker: str, reference: str, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Whether ``tracker`` gains most over ``reference``, in success, where the branches disagree
    most. Of scores with one row per tracker and sequence and of ``disagreement``: the table
    ``sequence, disagreement, gain``; and ``rank_correlation`` (Spearman) with its 95 % bootstrap
    interval ``low, high`` and ``sequences``; NaN where fewer than four sequences or no spread leave
    nothing to correlate. Both trackers have run."""
    table = scores.pivot_table(index="sequence", columns="tracker", values="success")
    gain = (table[tracker] - table[reference]).rename("gain")
    both = pd.concat([apart, gain], axis=1, join="inner").dropna()
    values = both.to_numpy().T
    found = {"rank_correlation": np.nan, "low": np.nan, "high": np.nan, "sequences": len(both)}
    if len(both) >= 4 and (np.ptp(values, axis=1) > 0).all():
        low, high = bootstrap_interval(_rank_correlation, *values, draws=2000, seed=seed)
        found |= {"rank_correlation": _rank_correlation(*values), "low": low, "high": high}
    return both.rename_axis("sequence").reset_index(), found


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    with warnings.catch_warnings():  # NaN where a draw is constant
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return float(stats.spearmanr(x, y).statistic)
