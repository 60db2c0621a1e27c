"""The cheapest assignment of samples to clusters whose sizes must lie within bounds.

If every sample takes the cluster with the smallest ``cost + price``, the result is the cheapest of
all assignments *with the same sizes*: whoever swaps places gains on the prices what he loses on the
costs, never more. That is why PIk-means works: the integral part of its control is such a price.
Prices alone cannot always reach given sizes (equal samples always go together), so the last few
samples are moved one by one along cheapest paths between clusters (successive shortest paths, the
classical solution of the transportation problem), which stays the cheapest for its sizes."""

import itertools
import math

import numpy as np

ROUNDING = 1e-12  # a path must be shorter by this much to count as shorter


def size_bounds(n: int, k: int, tolerance: float) -> tuple[int, int]:
    """The smallest and largest cluster size within ``tolerance`` of the mean ``n / k``; the whole
    numbers next to the mean are always allowed."""
    mean = n / k
    low = min(math.floor(mean), math.ceil(mean * (1 - tolerance) - 1e-9))
    high = max(math.ceil(mean), math.floor(mean * (1 + tolerance) + 1e-9))
    return max(low, 1), high


def excess(sizes: np.ndarray, low: int, high: int) -> int:
    """How many samples have to move before every size lies in ``[low, high]``."""
    return int(max(np.maximum(sizes - high, 0).sum(), np.maximum(low - sizes, 0).sum()))


def rebalance(cost: np.ndarray, labels: np.ndarray, low: int, high: int) -> np.ndarray:
    """Move as few samples, as cheaply, as brings every cluster size into ``[low, high]``. ``cost``
    (n, k) is finite and ``low * k <= n <= high * k``. The given ``labels`` (n,) must be the
    cheapest for their sizes, such as ``argmin(cost + prices)``; so are those returned."""
    k = cost.shape[1]
    labels, sizes = labels.copy(), np.bincount(labels, minlength=k)
    step = np.full((k, k), np.inf)  # step[a, b]: the smallest cost of moving a sample from a to b
    sample = np.zeros((k, k), int)  # the one that moves
    touched = range(k)
    for _ in range(excess(sizes, low, high)):
        for a in touched:
            step[a], sample[a] = _cheapest_moves(cost, labels, a)
        path = _cheapest_path(step, sizes, low, high)
        for a, b in itertools.pairwise(path):
            labels[sample[a, b]] = b
        sizes[path[0]] -= 1
        sizes[path[-1]] += 1
        touched = path
    return labels


def _cheapest_moves(cost: np.ndarray, labels: np.ndarray, a: int) -> tuple:
    """For every other cluster, what it costs to move one sample of ``a`` there, and which: (k,)
    each; infinite for ``a`` itself, and where it is empty."""
    members, k = np.flatnonzero(labels == a), cost.shape[1]
    if not len(members):
        return np.full(k, np.inf), np.zeros(k, int)
    margins = np.take(cost.T, members, axis=1)
    margins -= margins[a].copy()
    margins[a] = np.inf
    cheapest = margins.argmin(axis=1)
    return margins[np.arange(k), cheapest], members[cheapest]


def _cheapest_path(step: np.ndarray, sizes: np.ndarray, low: int, high: int) -> list[int]:
    """Clusters along the cheapest path from one that must give to one that may take, or, when none
    must give any more, from one that may give to one that must take (Bellman–Ford)."""
    k = len(sizes)
    give, take = sizes > high, sizes < low
    if not give.any():
        give = sizes > low
    elif not take.any():
        take = sizes < high
    length = np.where(give, 0.0, np.inf)
    before = np.full(k, -1)
    for _ in range(k - 1):
        through = length[:, None] + step
        shortest = through.min(axis=0)
        shorter = shortest < length - ROUNDING
        if not shorter.any():
            break
        before[shorter] = through.argmin(axis=0)[shorter]
        length[shorter] = shortest[shorter]
    path = [int(np.where(take, length, np.inf).argmin())]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def prices(cost: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(k,) prices, with mean zero, under which ``argmin(cost + prices)`` gives ``labels``, which
    must be the cheapest for their sizes and leave no cluster empty. Of all such prices it takes
    those in the middle, so that rounding does not flip a sample."""
    k = cost.shape[1]
    step = np.stack([_cheapest_moves(cost, labels, a)[0] for a in range(k)])
    np.fill_diagonal(step, 0.0)
    # price[a] - price[b] <= step[a, b] for all a, b: shortest paths to b, and from a, solve it.
    for c in range(k):
        step = np.minimum(step, step[:, [c]] + step[[c], :])
    middle = (step.mean(axis=1) - step.mean(axis=0)) / 2
    return middle - middle.mean()
