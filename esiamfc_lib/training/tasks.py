"""The trainings of the method: what learns, what is frozen, and the loss of a batch.

Each task owns a whole network and says which of its modules learn. The rest is frozen: always in
eval mode, without gradient, its parameters and buffers untouched."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks.esiamfc import ESiamFC, fuse
from esiamfc_lib.networks.loss import balanced_loss, response_labels
from esiamfc_lib.networks.siamfc import Branch, SiamFC
from esiamfc_lib.runtime import devices

COLLAPSED = 0.9  # mean weight of one branch above which the fusion counts as collapsed

Inputs = tuple[Tensor, ...]
"""What the frozen part of a task gives to the learning part, for a batch."""

Sums = dict[str, Tensor]
"""Sums over the pairs of a batch, or of all batches of an epoch, by name."""


class Task(nn.Module):
    """A network, the part of it that learns, and its loss.

    The two halves of a step are ``frozen(exemplar, search, tracks)``, the output of the frozen part
    for the images (``tracks`` as in ``forward``), without graph, and ``learned(*frozen)``, that of
    the learning part: (N, 17, 17) logits.

    Args:
        learners: those modules of ``model``, the whole network, that learn.
        radius: positives lie within this many pixels of the centre of the search image.
        frozen_norms: keep the BatchNorm statistics of the learners as they are; right for a
            network whose BatchNorm is the identity (converted from folded weights), whose
            activations batch statistics would rescale."""

    name = ""

    def __init__(
        self, model: nn.Module, learners: Sequence[nn.Module], *, radius: float, frozen_norms=False
    ):
        super().__init__()
        self.model, self.learners = model, nn.ModuleList(learners)
        self.radius, self.frozen_norms = radius, frozen_norms
        self.model.requires_grad_(False)
        self.learners.requires_grad_(True)
        self.train()

    def train(self, mode: bool = True) -> "Task":
        """Training mode for the learners only: what is frozen stays in eval mode."""
        super().train(False)
        self.learners.train(mode)
        if self.frozen_norms:
            for layer in self.learners.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.eval()
        return self

    @torch.no_grad()
    def frozen(self, exemplar: Tensor, search: Tensor, tracks: Tensor) -> Inputs:
        """Images, or the features that were kept of them → stem features (N, C, 12, 12) and
        (N, C, 28, 28)."""
        return _stem(self.model, exemplar), _stem(self.model, search)

    def forward(self, inputs: Inputs, tracks: Tensor, positive: Tensor) -> tuple[Tensor, Sums]:
        """The loss of a batch, and sums over it that ``report`` makes the figures of an epoch of.
        ``inputs`` are of ``frozen()``; ``tracks`` (N,) index the exemplar's track; ``positive``
        (N,) bool is False where the search image shows another object."""
        response = self.learned(*inputs)
        loss = balanced_loss(response, self.labels(response, positive))
        return loss, _sums(len(response), loss=loss)

    def labels(self, response: Tensor, positive: Tensor) -> Tensor:
        """(N, H, W) of 0 and 1: what the response should be; 0 throughout for another object."""
        labels = response_labels(response.shape[-1], radius=self.radius).to(response.device)
        return labels * positive[:, None, None]

    def report(self, sums: Sums) -> dict[str, Any]:
        """Figures of an epoch from the sums over its batches: means over its pairs."""
        return {
            name: float(total / sums["pairs"])
            for name, total in sums.items()
            if name != "pairs" and not total.ndim
        }

    def warning(self, figures: dict[str, Any]) -> str:
        """What is wrong with the figures of an epoch; empty if nothing."""
        return ""


def _sums(pairs: int, **means: Tensor) -> Sums:
    sums = {"pairs": torch.tensor(float(pairs), dtype=torch.float64)}
    return sums | {name: mean.detach().double().cpu() * pairs for name, mean in means.items()}


class BaselineTask(Task):
    """Notebook 02: the whole SiamFC learns. The options are those of ``Task``."""

    name = "baseline"

    def __init__(self, model: SiamFC, **options):
        super().__init__(model, [model], **options)

    def frozen(self, exemplar: Tensor, search: Tensor, tracks: Tensor) -> Inputs:
        """The images themselves: (N, 3, 127, 127) and (N, 3, 255, 255)."""
        return exemplar, search

    def learned(self, exemplar: Tensor, search: Tensor) -> Tensor:
        return self.model(exemplar, search)


class BranchTask(Task):
    """Notebook 05: conv3–5 of the baseline learn on one cluster, the stem is frozen.
    ``diversity_weight`` times the agreement with the start is added to the loss, so that branches
    of one start drift apart where it costs them nothing: see ``agreement``. The options are those
    of ``Task``."""

    name = "branch"

    def __init__(self, model: SiamFC, *, diversity_weight: float, **options):
        super().__init__(model, [model.branch], **options)
        self.diversity_weight = diversity_weight
        if diversity_weight:
            # in eval mode and without gradient, like all that is not a learner
            self.start = copy.deepcopy(model.branch).requires_grad_(False).eval()

    def learned(self, z: Tensor, x: Tensor) -> Tensor:
        branch = self.model.branch
        return branch.response(branch(z), branch(x))

    def forward(self, inputs: Inputs, tracks: Tensor, positive: Tensor) -> tuple[Tensor, Sums]:
        """As ``Task.forward``; with a ``diversity_weight`` the sums also hold the agreement."""
        if not self.diversity_weight:
            return super().forward(inputs, tracks, positive)
        response = self.learned(*inputs)
        labels = self.labels(response, positive)
        loss = balanced_loss(response, labels)
        with torch.no_grad():
            start = self.start.response(*(self.start(part) for part in inputs))
        alike = agreement(response, start, labels == 0)
        total = loss + self.diversity_weight * alike
        return total, _sums(len(response), loss=loss, agreement=alike)


def _stem(model: SiamFC | ESiamFC, inputs: Tensor) -> Tensor:
    """Stem features of images (three channels); of such features (at least eight), themselves."""
    return inputs if inputs.shape[1] == model.stem.channels else model.stem(inputs)


def agreement(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """Mean over samples of the correlation of two responses on some of their cells. What two
    trackers see away from the target are their distractors: where these differ, the mean of the
    responses is more certain than either. At the target both have to agree. All three are (N, H,
    W), ``where`` bool with at least two cells in each sample. The result is a scalar between -1 and
    1; a constant response counts 0."""
    count = where.sum((1, 2), keepdim=True)

    def standard(response: Tensor) -> Tensor:
        kept = response.float() * where
        kept = (kept - kept.sum((1, 2), keepdim=True) / count) * where
        return kept / kept.square().sum((1, 2), keepdim=True).sqrt().clamp(min=1e-12)

    return (standard(a) * standard(b)).sum((1, 2)).mean()


class FusionTask(Task):
    """Notebook 06: the cluster-weight module learns, stem and branches are frozen.

    Args:
        clusters: (number of tracks,) cluster of every track, for the report of which branch each
            cluster's objects get.
        temperature: divides the logits before the softmax.
        entropy_weight: times the mean entropy of the weights is subtracted from the loss: above 0
            it rewards weights that are spread, below 0 decided ones.
        left_out: for cross-fitting, of each fold the k branches that have not seen its videos;
            ``fold``: (number of tracks,) of ``held_out.track_folds``: whose branches respond.
        options: those of ``Task``."""

    name = "fusion"

    def __init__(
        self,
        model: ESiamFC,
        clusters: Sequence[int],
        *,
        temperature: float,
        entropy_weight: float,
        left_out: Sequence[Sequence[Branch]] = (),
        fold: Sequence[int] = (),
        learners: Sequence[nn.Module] = (),
        **options,
    ):
        super().__init__(model, [model.cluster_weights, *learners], **options)
        if model.cluster_weights.reads != "stem":
            model.cluster_weights.branch.requires_grad_(False)
        self.left_out = nn.ModuleList(map(nn.ModuleList, left_out)).requires_grad_(False).eval()
        self.fold = torch.as_tensor(list(fold), dtype=torch.int64)
        model.cluster_weights.temperature = temperature
        self.entropy_weight = entropy_weight
        self.clusters = torch.as_tensor(list(clusters), dtype=torch.int64)

    @torch.no_grad()
    def frozen(self, exemplar: Tensor, search: Tensor, tracks: Tensor) -> Inputs:
        """The exemplar's stem features (N, C, 12, 12) and all responses (N, k, 17, 17)."""
        z, x = super().frozen(exemplar, search, tracks)
        if not len(self.left_out):
            return z, self.model.responses(z, x)
        fold, parts, rows = self.fold[tracks.cpu()], [], []
        for one in fold.unique().tolist():
            rows.append((fold == one).nonzero()[:, 0].to(z.device))
            branches = self.model.branches if one < 0 else self.left_out[one]
            parts.append(self.model.responses(z[rows[-1]], x[rows[-1]], branches))
        return z, torch.cat(parts)[torch.cat(rows).argsort()]

    def forward(self, inputs: Inputs, tracks: Tensor, positive: Tensor) -> tuple[Tensor, Sums]:
        """As ``Task.forward``; the sums also hold the weights that each cluster's tracks got."""
        z, responses = inputs
        weights = self.model.cluster_weights(z)
        response = fuse(responses, weights)
        loss = balanced_loss(response, self.labels(response, positive))
        entropy = -(weights * weights.clamp(min=1e-12).log()).sum(1).mean()
        groups = int(self.clusters.max()) + 1
        member = nn.functional.one_hot(self.clusters[tracks.cpu()], groups).double().T
        sums = _sums(len(weights), loss=loss, entropy=entropy)
        sums["weights"] = member @ weights.detach().double().cpu()
        sums["members"] = member.sum(1)
        return loss - self.entropy_weight * entropy, sums

    def report(self, sums: Sums) -> dict[str, Any]:
        """Loss without the entropy term, entropy in nats; ``weights``: a row of k means for each
        cluster, None for one that no pair came from; ``mean_weights``: over all pairs."""
        rows = [
            (row / n).tolist() if n > 0 else None
            for row, n in zip(sums["weights"], sums["members"].tolist(), strict=True)
        ]
        mean = (sums["weights"].sum(0) / sums["pairs"]).tolist()
        return super().report(sums) | {"weights": rows, "mean_weights": mean}

    def warning(self, figures: dict[str, Any]) -> str:
        """Says so when nearly all weight goes to one branch, whatever the exemplar."""
        mean, most = figures["mean_weights"], max(figures["mean_weights"])
        if len(mean) == 1 or most <= COLLAPSED:
            return ""
        said = f"the fusion has collapsed: branch {mean.index(most)} gets {most:.0%} of the weight"
        return f"{said}; raise entropy_weight or temperature"


class JointTask(FusionTask):
    """Notebook 06 with ``learns: all``, a mixture of experts: branches and cluster weights learn
    together, the stem is frozen. ``balance`` is the gain of an integral control, as of PIk-means:
    each batch adds ``balance`` · (n_j - n) / n to the price of branch j, which is subtracted from
    its logit; n_j is its part of the batch's weight, n = 1/k. A StudyError where the cluster
    weights read the stem: these have no prices."""

    name = "joint"

    def __init__(self, model: ESiamFC, clusters: Sequence[int], *, balance: float, **options):
        if model.cluster_weights.reads == "stem":
            raise StudyError("fusion.learns: all needs fusion.reads: embedding or distances")
        super().__init__(model, clusters, learners=model.branches, **options)
        self.balance = balance

    frozen = Task.frozen

    def forward(self, inputs: Inputs, tracks: Tensor, positive: Tensor) -> tuple[Tensor, Sums]:
        """As ``FusionTask.forward``."""
        responses, weights = self.model.responses(*inputs), self.model.cluster_weights
        loss, sums = super().forward((inputs[0], responses), tracks, positive)
        if weights.training:
            share = devices.summed(sums["weights"].sum(0) / sums["pairs"], weights.prices.device)
            error = self.model.k * share / devices.rank_and_world()[1] - 1
            weights.prices += self.balance * error.to(weights.prices)
        return loss, sums
