"""PIk-means, its shared Gram matrix and screening, each against a baseline of the same run."""

import multiprocessing
import threading
import time
import warnings
from argparse import ArgumentParser, Namespace
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from esiamfc_lib.clustering.assignment import size_bounds
from esiamfc_lib.clustering.centroids import Centroids, gram
from esiamfc_lib.clustering.embedding import screen
from esiamfc_lib.clustering.pikmeans import PIKMeans
from esiamfc_lib.clustering.size_control import PublishedControl, iterate
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.bars import progress
from speed import Row, row, seconds

lower = partial(row, less_is_better=True)
K = 6
ITERATIONS = 10  # over which the time of one is averaged
TOLERANCE = 0.02
STATUS = Path("/proc/self/status")


def arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    for name, default, text in (
        ("samples", 9000, "samples; the default is the size of ILSVRC2015-VID"),
        ("dimensions", 9216, "of a sample"),
        ("large", 1_000_000, "samples of 256 dimensions; 0 = leave out"),
        ("runs", 20, "initialisations for each of k = 2 ... 12 on one Gram matrix"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)


def rows(args: Namespace) -> list[Row]:
    """All measurements."""
    found = screening_rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # runs are cut short on purpose
        found += loss_rows()
        found += memory_rows(args.samples, args.dimensions)
        x = draw(args.samples, args.dimensions)
        found += iteration_rows(x)
        found += balanced_rows(x)
        found += gram_rows(x, args.runs)
        if args.large:
            found += large_rows(args.large)
    return found


def draw(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Unit rows of six overlapping groups of unequal sizes that vary along 64 common directions, as
    deep features do."""
    rng = np.random.default_rng(seed)
    x = np.empty((n, d), np.float32)
    centres = rng.standard_normal((K, d), dtype=np.float32)
    directions = rng.standard_normal((64, d), dtype=np.float32) / 8
    weights = np.array([0.30, 0.24, 0.18, 0.13, 0.09, 0.06])
    for start in range(0, n, 1000):
        part = x[start : start + 1000]
        m = len(part)
        part[:] = centres[rng.choice(K, m, p=weights)] * 0.6
        part += rng.standard_normal((m, 64), dtype=np.float32) @ directions
        part += 0.5 * rng.standard_normal((m, d), dtype=np.float32)
        part += 0.5  # all features share a direction
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return x


def per_iteration(fit) -> float:
    """Seconds of one iteration: of ``fit(most)`` → iterations done, less its fixed costs."""
    taken, done = [], []
    for most in (2, 2 + ITERATIONS):
        start = time.perf_counter()
        done.append(fit(most))
        taken.append(time.perf_counter() - start)
    return (taken[1] - taken[0]) / (done[1] - done[0])


def median_per_iteration(fit, repeats: int = 3) -> float:
    """The median of several :func:`per_iteration`."""
    fit(2)  # the first call of a library takes longer
    return float(np.median([per_iteration(fit) for _ in range(repeats)]))


def ours_iterations(x: np.ndarray):
    """A function for :func:`per_iteration`: PIk-means by the published rule."""
    return lambda most: PIKMeans(K, init=x[:K], stop="published", max_iter=most).fit(x).n_iter_


def sklearn_iterations(x: np.ndarray):
    """The same for scikit-learn's k-means."""
    return lambda most: KMeans(K, init=x[:K], n_init=1, max_iter=most, tol=0).fit(x).n_iter_


def iteration_rows(x: np.ndarray) -> list[Row]:
    """One iteration against scikit-learn's."""
    n, d = x.shape
    ours = median_per_iteration(ours_iterations(x))
    reference = median_per_iteration(sklearn_iterations(x))
    return [
        lower(
            f"one iteration, {n} × {d}, vs scikit-learn k-means",
            1e3 * ours,
            1e3 * reference,
            "ms",
            "ratio >= 0.83",
        )
    ]


def constrained(x: np.ndarray, init: np.ndarray, n_init: int = 1):
    """Size-constrained k-means by min-cost flow, with the sizes ours may have."""
    try:
        from k_means_constrained import KMeansConstrained
    except ImportError:
        raise StudyError(
            "the clustering benchmark needs k-means-constrained: pip install k-means-constrained"
        ) from None
    low, high = size_bounds(len(x), K, TOLERANCE)
    return KMeansConstrained(
        K, size_min=low, size_max=high, init=init, n_init=n_init, random_state=0
    ).fit(x)


def loss_of(x: np.ndarray, labels: np.ndarray) -> float:
    """Our loss of anybody's labels."""
    centres = np.stack([x[labels == j].mean(axis=0, dtype=np.float64) for j in range(K)])
    return float((Centroids(x).start(centres).distances()[np.arange(len(x)), labels] ** 2).sum())


def balanced_rows(x: np.ndarray) -> list[Row]:
    """One balanced fit against size-constrained k-means from the same start."""
    n, d = x.shape
    first = x[np.linspace(0, n - 1, K).astype(int)]
    start = time.perf_counter()
    ours = PIKMeans(K, init=first, tol_balance=TOLERANCE).fit(x)
    middle = time.perf_counter()
    reference = constrained(x, first)
    end = time.perf_counter()
    published = PIKMeans(K, init=first, stop="published", max_iter=100).fit(x)
    return [
        lower(
            f"balanced fit, {n} × {d}, vs min-cost flow ({ours.n_iter_} and {reference.n_iter_} "
            "iterations)",
            middle - start,
            end - middle,
            "s",
            "ratio >= 5",
        ),
        lower(
            "its largest / smallest size, vs the published rule's",
            _spread(ours),
            _spread(published),
            "",
            "ours <= 1.05",
        ),
        lower(
            "its loss, vs min-cost flow",
            ours.loss_,
            loss_of(x, reference.labels_),
            "",
            "ratio >= 0.98",
        ),
    ]


def loss_rows(n: int = 2000, d: int = 256, starts: int = 10) -> list[Row]:
    """The best of ten balanced runs against the best of ten exact ones."""
    x = draw(n, d, seed=1)
    ours = PIKMeans(K, n_init=starts, tol_balance=TOLERANCE, random_state=0).fit(x)
    reference = constrained(x.astype(np.float64), "k-means++", starts)
    return [
        lower(
            f"best loss of {starts} runs, {n} × {d}, vs exact assignment",
            ours.loss_,
            loss_of(x, reference.labels_),
            "",
            "ratio >= 0.98",
        )
    ]


def _spread(fitted: PIKMeans) -> float:
    return fitted.sizes_.max() / fitted.sizes_.min()


def gram_rows(x: np.ndarray, n_runs: int) -> list[Row]:
    """Many runs that share one Gram matrix, against runs that each read the data."""
    start = time.perf_counter()
    matrix = gram(x)
    once = time.perf_counter() - start
    start = time.perf_counter()
    ks = range(2, 13)
    for k in progress(ks, "runs on one Gram matrix", unit="k"):
        PIKMeans(k, n_init=n_runs, random_state=0).fit(x, gram_matrix=matrix)
    taken = time.perf_counter() - start
    start = time.perf_counter()
    for k in (2, 6, 12):
        PIKMeans(k, n_init=1, random_state=0).fit(x)
    direct = (time.perf_counter() - start) / 3 * n_runs * len(ks)
    return [
        lower(
            f"{n_runs} balanced runs × k = 2 ... 12, Gram matrix ({once:.1f} s) included, vs "
            "without (extrapolated from 3 runs)",
            once + taken,
            direct,
            "s",
            "ours <= 120",
        ),
        gram_iteration(x, matrix),
    ]


def gram_iteration(x: np.ndarray, matrix: np.ndarray) -> Row:
    """One iteration of a run on the Gram matrix, the first one, which sums all rows, included."""
    samples, taken = Centroids(x, matrix), []
    for _ in range(5):
        samples.start_at(np.arange(K))
        start = time.perf_counter()
        done = iterate(samples, PublishedControl(K, 0.005, 0.005), 2 * ITERATIONS)
        taken.append((time.perf_counter() - start) / len(done.history["loss"]))
    return lower(
        f"one iteration on the Gram matrix, {len(x)} samples, vs scikit-learn k-means",
        1e3 * float(np.median(taken)),
        1e3 * median_per_iteration(sklearn_iterations(x)),
        "ms",
    )


def screening_rows(frames: int = 40, d: int = 9216) -> list[Row]:
    """Screening of one track against a loop over its pairs of frames."""
    x = np.random.default_rng(0).standard_normal((frames, d), dtype=np.float32) + 1
    x /= np.linalg.norm(x, axis=1, keepdims=True)

    def loop():
        total = np.zeros(frames)
        for i in range(frames):
            for j in range(frames):
                if i != j:
                    total[i] += np.dot(x[i], x[j])
        return np.sort(np.argsort(-total)[: round(0.95 * frames)])

    if not np.array_equal(np.flatnonzero(screen(x, 0.95, "up")[0]), loop()):
        raise StudyError("screening does not keep the frames that the loop over pairs keeps")
    return [
        lower(
            f"screening, {frames} frames, vs a loop over pairs (same frames kept)",
            1e6 * seconds(lambda: screen(x, 0.95, "up"), 50),
            1e6 * seconds(loop),
            "µs",
            "ratio >= 20",
        )
    ]


def memory_rows(n: int, d: int) -> list[Row]:
    """Peak memory, the data included, in units of the data."""
    if not STATUS.is_file():
        return []  # only Linux tells
    peak = {runs: _in_process(_peak_of_fit, runs, n, d) for runs in (0, 1, 10)}
    return [
        lower(
            f"peak memory, {n} × {d}, {name}, vs scikit-learn k-means",
            peak[runs],
            peak[0],
            "× data",
            "ours < 2.5",
        )
        for runs, name in ((1, "one run"), (10, "ten runs on a Gram matrix"))
    ]


def _peak_of_fit(runs: int, n: int, d: int) -> float:
    with _Traced() as traced:
        x = draw(n, d)
        if runs:
            PIKMeans(K, n_init=runs, max_iter=40, random_state=0).fit(x)
        else:
            KMeans(K, init=x[:K], n_init=1, max_iter=5).fit(x)
    return traced.peak / x.nbytes


def _in_process(work, *arguments):
    """``work(*arguments)`` in a new process: memory once freed would be taken again unseen."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


class _Traced:
    """The peak of the memory taken in a ``with`` block, bytes."""

    def __enter__(self):
        self.peak, self._before, self._done = 0, _anonymous_memory(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.peak = max(self.peak, _anonymous_memory() - self._before)

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def _anonymous_memory() -> int:
    """Bytes of this process in memory that belong to no file (Linux)."""
    status = STATUS.read_text(encoding="ascii")
    return 1024 * int(status.split("RssAnon:")[1].split()[0])


def large_rows(n: int) -> list[Row]:
    """Time of an iteration and of a balanced fit against n."""
    found = []
    for size in (n // 100, n // 10, n):
        x = draw(size, 256)
        ours = median_per_iteration(ours_iterations(x))
        reference = median_per_iteration(sklearn_iterations(x))
        name = f"one iteration, {size} × 256, vs scikit-learn k-means"
        found.append(lower(name, 1e3 * ours, 1e3 * reference, "ms"))
        start = time.perf_counter()
        fitted = PIKMeans(K, n_init=1, random_state=0).fit(x)
        taken = time.perf_counter() - start
        name = (
            f"balanced fit, {size} × 256, spread {_spread(fitted):.3f}, {fitted.n_iter_} "
            "iterations, vs scikit-learn's time for as many"
        )
        found.append(lower(name, taken, fitted.n_iter_ * reference, "s"))
    return found
