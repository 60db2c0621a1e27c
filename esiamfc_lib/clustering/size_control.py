"""The control of the cluster sizes, and the loop that moves centres and control in turn.

The control is added to the distances: a cluster that is too large moves away from every sample.
With ``e = (size - mean) / mean`` it is ``kp·e + ki·Σe`` (PI control). Its integral part is the
price, or Lagrange multiplier, of equal sizes; its proportional part damps the search. A gain is in
units of distance. The published 0.005 is small beside the gaps between distances of deep features
(0.05 and more): the control creeps, and the published rule stops at the first iteration without a
changed label, long before sizes are equal. Large gains overshoot: whole groups jump back and forth.
"""

from dataclasses import dataclass

import numpy as np

from esiamfc_lib.clustering.assignment import excess, prices, rebalance, size_bounds
from esiamfc_lib.clustering.centroids import Centroids

EASING = 20  # moves of the centres for which a balanced run eases in, at most
FLOOD = 0.05  # share of all samples by which the imbalance may grow in a step while easing in
CONTROL_STEPS = 60  # steps of the controller between two moves of the centres
DEAD_BAND = 0.5  # part of the tolerance that the controller aims at
LONGER, SHORTER = 1.3, 0.5  # how a step grows while the error keeps its sign, or shrinks
WORSE = 2  # a step is taken back when it leaves this many times the samples to move
FEW = 20  # samples that are sooner moved one by one than by steps of the controller
PATIENCE = 10  # iterations without a smaller loss after which a balanced run is held tighter


@dataclass(frozen=True)
class ClusteringRun:
    """One run from one initialisation: (n,) int64 ``labels``, the (k,) ``control`` term of that
    assignment, the sum of squared distances to its centres as ``loss``; the ``history`` and the end
    of the run as in ``PIKMeans``."""

    labels: np.ndarray
    control: np.ndarray
    loss: float
    history: dict[str, np.ndarray]
    converged: bool
    reason: str


class PublishedControl:
    """One step of the control for every move of the centres; gains 0: the published k-means."""

    stable = "no label changed"
    settled = True

    def __init__(self, k: int, kp: float, ki: float, seed: int | None = None):
        self.kp, self.ki, self.k, self.seed = kp, ki, k, seed  # the seed: where chance decides
        # Before the first assignment all sizes count as equal.
        self.error = self.integral = self.value = np.zeros(k)

    def assign(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, k) distances → (n,) clusters of the smallest distance + control, and (k,) sizes."""
        self.integral = self.integral + self.error
        self.value = self.kp * self.error + self.ki * self.integral
        labels, sizes = _fill_empty(table, *_nearest(table, self.value))
        self.error = sizes / sizes.mean() - 1
        return labels, sizes


class Lloyd(PublishedControl):
    """The usual k-means, in place of a control: the nearest centre by Euclidean distance. ``|x -
    c|² = 1 - 2 x·c + |c|²``: the published distance leaves the last term out, so that a centre of
    samples that are unlike, which is short, is too far from all. Starts at k samples."""

    squares, labels = 1.0, None

    def assign(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PublishedControl.assign`."""
        products = 2 * np.exp(-table) - 1
        if self.labels is not None:
            total = np.bincount(self.labels, _own(products, self.labels))
            self.squares = total / np.bincount(self.labels)
        self.labels, sizes = _fill_empty(table, *_nearest(self.squares - 2 * products, self.value))
        return self.labels, sizes


class Dealt(PublishedControl):
    """In place of a control: clusters of equal size, assigned at random."""

    def assign(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PublishedControl.assign`, whatever the distances."""
        labels = np.random.default_rng(self.seed).permutation(np.arange(len(table)) % self.k)
        return labels, np.bincount(labels, minlength=self.k)


class EqualSizes(PublishedControl):
    """In place of a control: the cheapest assignment with equal sizes, by moves alone."""

    def assign(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PublishedControl.assign`."""
        labels = rebalance(table, table.argmin(axis=1), *size_bounds(len(table), self.k, 0.0))
        return labels, np.bincount(labels, minlength=self.k)


class BalancedControl(PublishedControl):
    """A controller that ends with every size within ``tolerance``, the largest ``|size - mean| /
    mean``. It adapts its steps, so that ``kp`` and ``ki`` are only their first lengths.

    It eases in: for the first moves of the centres, at most ``easing``, it takes one step for each,
    as published, so that clusters find their places before they are made equal. The loss ends lower
    than under a hard constraint (docs/explanation/departures.md says by how much). Easing in ends
    early when sizes are within tolerance, or when a step was too long and a whole group of samples
    would change sides.

    From then on (``settled``) the controller runs on fixed distances until all sizes are within
    tolerance, and only then may the centres move: a step costs n × k additions, a move n × d × k.
    The last ``FEW`` samples, and what is left after ``CONTROL_STEPS`` (equal samples cannot be told
    apart by prices), are moved along cheapest paths. Every assignment is now within tolerance, and
    the cheapest one for its sizes.

    The controller acts when a size has left the tolerance, and then aims at the middle of it: as
    the labels settle, sizes stay inside, and the iterations are those of k-means with fixed
    offsets, which come to an end. Where sizes keep wandering within the tolerance, :meth:`tighten`
    takes that freedom away."""

    stable = "no label changed and every size within tolerance"

    def __init__(self, kp: float, ki: float, n: int, k: int, tolerance: float, easing: int = 0):
        super().__init__(k, kp, ki)
        self.bounds = size_bounds(n, k, tolerance)
        self.aim = size_bounds(n, k, tolerance * DEAD_BAND)
        self.equal = size_bounds(n, k, 0.0)
        self.easing, self.settled = easing, False
        self._last, self._to_move = None, n  # while easing in: the sizes that the next step answers
        self._length = np.ones(k)  # of a step, for each cluster

    def tighten(self) -> bool:
        """From now on allow only the whole numbers next to the mean; False if it is so already."""
        loose = self.bounds != self.equal
        self.bounds = self.aim = self.equal
        return loose

    def assign(self, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PublishedControl.assign`; once settled, every size is within tolerance."""
        if not self.settled and self._last is not None:
            self._step(self._last)
        labels, sizes = _nearest(table, self.value)
        to_move = excess(sizes, *self.bounds)
        flood = to_move > self._to_move + FLOOD * len(labels)
        self.settled = self.settled or to_move == 0 or self.easing == 0 or flood
        if to_move == 0:
            return labels, sizes
        if not self.settled:
            self.easing -= 1
            self._last, self._to_move = sizes, to_move
            return _fill_empty(table, labels, sizes)
        labels, sizes = self._search(table, labels, sizes)
        if excess(sizes, *self.bounds) == 0:
            return labels, sizes
        moved = rebalance(table, labels, *self.aim)
        self.value = prices(table, moved)
        return moved, np.bincount(moved, minlength=self.k)

    def _search(self, table, labels, sizes):
        """Labels and sizes of the controller's best step on fixed distances, taken until few
        samples are left to move; a step after which far more were left is taken back and halved."""
        self.error, self._length = np.zeros(self.k), np.ones(self.k)
        best = excess(sizes, *self.aim), self.value, labels, sizes
        for _ in range(CONTROL_STEPS):
            if best[0] <= FEW:
                break
            self._step(sizes)
            labels, sizes = _nearest(table, self.value)
            left = excess(sizes, *self.aim)
            if left < best[0]:
                best = left, self.value, labels, sizes
            elif left > WORSE * best[0]:
                _, self.value, _, sizes = best
                self.error = sizes / sizes.mean() - 1
                self._length = self._length * SHORTER
        _, self.value, labels, sizes = best
        return labels, sizes

    def _step(self, sizes: np.ndarray) -> None:
        """One step of ``kp·e + ki·Σe``, with its length adapted to each cluster."""
        before, self.error = self.error, sizes / sizes.mean() - 1
        trend = self.error * before
        self._length = self._length * np.where(trend > 0, LONGER, np.where(trend < 0, SHORTER, 1.0))
        change = self.ki * self.error + self.kp * (self.error - before)
        self.value = self.value + self._length * change


def iterate(samples: Centroids, control: PublishedControl, max_iter: int) -> ClusteringRun:
    """Assign the samples and move the centres in turn, from where ``samples`` was started. The run
    converges when no label changes. A balanced run whose loss stops falling while labels go on
    changing is tightened once, and ended the next time; if it ends without having converged, its
    iteration of smallest loss is the result."""
    balanced = isinstance(control, BalancedControl)
    steps, best, least, least_at, labels = [], None, np.inf, 0, None
    table = samples.distances()
    for iteration in range(max_iter):
        before = labels
        labels, sizes = control.assign(table)
        changes = len(labels) if before is None else int((labels != before).sum())
        if changes:
            samples.move(labels, sizes)
            table = samples.distances()
        loss = float((_own(table, labels) ** 2).sum())
        steps.append((loss, sizes, control.value, changes))
        if loss < least or changes == 0 or not (balanced and control.settled):
            best, least, least_at = (labels, control.value, loss), loss, iteration
        if not control.settled:
            least = np.inf
        elif changes == 0:
            reason = control.stable
            break
        elif iteration - least_at >= PATIENCE:
            if not control.tighten():
                reason = f"no smaller loss for {PATIENCE} iterations"
                break
            least, least_at = np.inf, iteration
    else:
        reason = f"max_iter={max_iter} reached while {changes} labels changed"
    names = ("loss", "sizes", "control", "changes")
    history = dict(zip(names, map(np.array, zip(*steps, strict=True)), strict=True))
    return ClusteringRun(*best, history, changes == 0, reason)


def _nearest(table: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clusters of the smallest distance + control (the first of equals), and their sizes; column by
    column, several times faster than argmin along such short rows."""
    nearest, labels = table[:, 0] + value[0], np.zeros(len(table), np.int16)
    for j in range(1, table.shape[1]):
        other = table[:, j] + value[j]
        np.maximum(labels, (other < nearest) * np.int16(j), out=labels)
        np.minimum(nearest, other, out=nearest)
    return labels.astype(np.int64), np.bincount(labels, minlength=table.shape[1])


def _fill_empty(table, labels, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Give every empty cluster the sample that is farthest from its own centre."""
    if sizes.all():
        return labels, sizes
    own, labels, sizes = _own(table, labels), labels.copy(), sizes.copy()
    for empty in np.flatnonzero(sizes == 0):
        farthest = int(np.where(sizes[labels] > 1, own, -np.inf).argmax())
        sizes[labels[farthest]] -= 1
        sizes[empty] += 1
        labels[farthest], own[farthest] = empty, 0.0
    return labels, sizes


def _own(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,) distance of every sample to the centre of its cluster."""
    return table[np.arange(len(table)), labels]
