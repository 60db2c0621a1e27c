"""The comparison study of notebook 04: how the ways to split the tracks differ.

Methods start from the same first centres and share one Gram matrix: ``k-means`` (Lloyd's), k-means
as the published code has it, both stopping rules of PIk-means, and ``constrained``,
size-constrained k-means, where every assignment is the cheapest one with equal sizes, found without
any control by moving samples along cheapest paths. All tables are tidy: one observation a row."""

import time
import warnings
from collections.abc import Iterable
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
from scipy.spatial.distance import pdist, squareform
from sklearn import metrics
from sklearn.exceptions import ConvergenceWarning

from esiamfc_lib.clustering.centroids import check_unit_rows, gram
from esiamfc_lib.clustering.pikmeans import PIKMeans
from esiamfc_lib.clustering.size_control import Dealt, EqualSizes, Lloyd
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import Progress

PUBLISHED, BALANCED = "PIk-means, published", "PIk-means, balanced"
METHODS = {
    "k-means": {"control": Lloyd},
    "k-means, published": {"kp": 0.0, "ki": 0.0, "stop": "published", "max_iter": 70},
    PUBLISHED: {"stop": "published", "max_iter": 100},
    BALANCED: {"stop": "balanced"},
    "constrained": {"control": EqualSizes},
    "random": {"control": Dealt},
}


class Comparison:
    """Video features, (n, d) rows of unit length, with their Gram matrix for many clusterings. The
    settings are ``kp``, ``ki`` and ``tol_balance`` of the PIk-means methods, and ``max_iter`` of
    the balanced and the constrained one. Other rows are a ``StudyError``."""

    def __init__(self, features: np.ndarray, **settings: float):
        check_unit_rows(features)
        self.features, self.gram, self.settings = features, gram(features), settings

    def fit(self, method: str, k: int, seed: int, **changes) -> PIKMeans:
        """One run of a method; equal ``seed`` and ``k`` mean equal first centres. An unknown method
        or more clusters than tracks are a ``StudyError``."""
        if method not in METHODS:
            raise StudyError(f"method {method!r}: must be one of {', '.join(METHODS)}")
        settings = self.settings | METHODS[method] | changes
        control = settings.pop("control", None)
        estimator = PIKMeans(k, n_init=1, random_state=seed, **settings)
        # The tables say which converged.
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            return estimator.fit(self.features, None, self.gram, control)

    def runs(
        self, k: int, n_runs: int, methods: Iterable[str] = tuple(METHODS), **grid: Iterable[float]
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Every method from ``n_runs`` initialisations: a table with ``method``, ``run``, ``loss``,
        ``smallest``, ``largest``, ``spread`` (largest / smallest), ``iterations``, ``converged``,
        ``reason``, ``seconds``, ``agreement``, the mean Fowlkes–Mallows score of a run with the
        method's others; and per method the labels (runs, n). With a ``grid``, setting → values,
        under each combination of them, which are columns in place of the agreement."""
        rows, labels = [], {}
        cases = list(product(methods, range(n_runs), *grid.values()))
        with Progress(cases, desc=f"clustering, k = {k}", unit="run") as bar:
            for method, seed, *values in bar:
                changes, start = dict(zip(grid, values, strict=True)), time.perf_counter()
                fitted = self.fit(method, k, seed, **changes)
                low, high = int(fitted.sizes_.min()), int(fitted.sizes_.max())
                row = {"method": method, "run": seed, **changes, "loss": fitted.loss_}
                row |= {"smallest": low, "largest": high, "spread": high / low}
                row |= {"iterations": fitted.n_iter_, "converged": fitted.converged_}
                row |= {"reason": fitted.stop_reason_, "seconds": time.perf_counter() - start}
                rows.append(row)
                labels.setdefault(method, []).append(fitted.labels_)
        table, found = pd.DataFrame(rows), {name: np.stack(own) for name, own in labels.items()}
        if n_runs > 1 and not grid:
            sums = np.concatenate([agreement_matrix(own).sum(axis=0) for own in found.values()])
            table["agreement"] = (sums - 1) / (n_runs - 1)
        return table, found

    def histories(self, k: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
        """How one run of each method went: a table ``method, iteration, loss, changes, spread``;
        and, a row for each cluster, ``method, iteration, cluster, size, control``."""
        whole, single = [], []
        for method in METHODS:
            history = self.fit(method, k, seed).history_
            sizes, control = history.pop("sizes"), history.pop("control")
            run = pd.DataFrame({"method": method} | history)
            run["iteration"] = np.arange(1, len(run) + 1)
            run["spread"] = sizes.max(axis=1) / np.maximum(sizes.min(axis=1), 1)
            clusters = run[["method", "iteration"]].loc[run.index.repeat(k)]
            columns = {"cluster": np.tile(np.arange(k), len(run)), "size": sizes.ravel()}
            single.append(clusters.assign(**columns, control=control.ravel()))
            whole.append(run)
        return pd.concat(whole, ignore_index=True), pd.concat(single, ignore_index=True)

    def elbow(self, ks: Iterable[int], n_runs: int) -> pd.DataFrame:
        """Loss, spread and stability of k-means and of ours against k: the tables of :meth:`runs`
        with ``k`` and ``silhouette``, the mean over tracks under the cosine distance."""
        apart, tables = np.maximum(1 - self.gram, 0), []
        np.fill_diagonal(apart, 0)
        score = partial(metrics.silhouette_score, apart, metric="precomputed")
        for k in ks:
            table, labels = self.runs(k, n_runs, ("k-means", BALANCED))
            silhouettes = [score(own) for own in np.concatenate(list(labels.values()))]
            tables.append(table.assign(k=k, silhouette=silhouettes))
        return pd.concat(tables, ignore_index=True)


def agreement_matrix(labels: np.ndarray) -> np.ndarray:
    """(runs, runs) Fowlkes–Mallows scores of labels (runs, n), over pairs of tracks; 1 = equal."""
    return squareform(pdist(labels, metrics.fowlkes_mallows_score)) + np.eye(len(labels))


def family_agreement(labels: dict[str, np.ndarray], families: np.ndarray) -> pd.DataFrame:
    """How well the labels (runs, n) of each method find the families (n,): ``method, run, ari``
    (adjusted Rand index, 0 = chance) and ``nmi``."""
    rows = []
    for method, found in labels.items():
        for run, own in enumerate(found):
            ari = metrics.adjusted_rand_score(families, own)
            rows.append((method, run, ari, metrics.normalized_mutual_info_score(families, own)))
    return pd.DataFrame(rows, columns=["method", "run", "ari", "nmi"])
