"""PIk-means: against reference runs, against solvers, by hand, and on bad input."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from esiamfc_lib.clustering.assignment import excess, prices, rebalance, size_bounds
from esiamfc_lib.clustering.centroids import Centroids, distances, gram
from esiamfc_lib.clustering.pikmeans import PIKMeans, stratified
from esiamfc_lib.clustering.size_control import BalancedControl, EqualSizes, Lloyd
from esiamfc_lib.errors import StudyError

HERE = Path(__file__).parent
SETS = ("tiny", "tinysoft", "small", "soft")
GOLDEN = [
    (s, *run)
    for s in SETS
    for run in (
        ("kmeans_s11", 0.0, 0.0, 70),
        ("pikmeans_s11", 0.005, 0.005, 100),
        ("pikmeans_s11_kp0.05_ki0.01", 0.05, 0.01, 100),
    )
]


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def groups(sizes, d=8, noise=0.1, seed=0):
    """Tight groups of unit vectors around different axes."""
    rng = np.random.default_rng(seed)
    centres = np.eye(d)[: len(sizes)]
    x = np.repeat(centres, sizes, axis=0)
    return unit(x + noise * rng.standard_normal(x.shape))


def spread(sizes):
    return sizes.max() / sizes.min()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([PIKMeans(), PIKMeans(stop="published", max_iter=20, n_init=2)])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def golden(name, request):
    """A file of the reference runs; the larger ones lie beside the repository."""
    own = HERE / "golden" / f"{name}.npz"
    path = own if own.is_file() else request.getfixturevalue("shared") / "golden" / own.name
    with np.load(path) as file:
        return dict(file)


def fit_step_by_step(x, first, shares_gram, **settings):
    """The estimator by the published rule, and (n, t) labels of its iterations."""
    steps = []

    class Recording(PIKMeans):
        def _control(self, n):
            control = super()._control(n)
            assign = control.assign

            def recorded(table):
                labels, sizes = assign(table)
                steps.append(labels.copy())
                return labels, sizes

            control.assign = recorded
            return control

    fitted = Recording(len(first), stop="published", init=x[first], **settings)
    fitted.fit(x, gram_matrix=gram(x) if shares_gram else None)
    return fitted, np.stack(steps, axis=1)


def published(x, first, kp, ki, max_iter):
    """PIk-means as published: per iteration labels, loss and control."""
    x, k = x.astype(np.float64), len(first)
    centres, mean = x[first], len(x) / k
    error, integral, labels, steps = np.zeros(k), np.zeros(k), None, []
    for _ in range(max_iter):
        distance = -np.log((x @ centres.T + 1) / 2)
        integral = integral + error
        control = kp * error + ki * integral
        before, labels = labels, np.argmin(distance + control, axis=1)
        centres = np.stack([x[labels == j].mean(axis=0) for j in range(k)])
        error = (np.bincount(labels, minlength=k) - mean) / mean
        loss = (np.log((np.einsum("nd,nd->n", x, centres[labels]) + 1) / 2) ** 2).sum()
        steps.append((labels, loss, control))
        if np.array_equal(labels, before):
            break
    return steps


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("shares_gram", [False, True])
@pytest.mark.parametrize("gains", [(0.0, 0.0), (0.005, 0.005), (0.05, 0.01)])
@pytest.mark.parametrize("noise", [0.3, 0.8])
def test_published_rule_is_the_published_loop(noise, gains, shares_gram):
    """Labels, losses and control of every iteration."""
    x = groups([90, 50, 30, 20, 10], d=12, noise=noise, seed=3).astype(np.float32)
    first = np.array([5, 60, 110, 150, 195])
    steps = published(x, first, *gains, 60)
    assert len(steps) > 3
    kp, ki = gains
    fitted, labels = fit_step_by_step(x, first, shares_gram, kp=kp, ki=ki, max_iter=60)
    assert fitted.n_iter_ == len(steps)
    assert np.array_equal(labels, np.stack([step[0] for step in steps], axis=1))
    np.testing.assert_allclose(fitted.history_["loss"], [step[1] for step in steps], rtol=1e-11)
    controls = np.stack([step[2] for step in steps])
    np.testing.assert_allclose(fitted.history_["control"], controls, rtol=1e-12, atol=1e-15)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("shares_gram", [False, True])
@pytest.mark.parametrize(("name", "run", "kp", "ki", "most"), GOLDEN)
def test_reference_runs(request, name, run, kp, ki, most, shares_gram):
    """Runs of the authors' MATLAB procedure (golden/README.md)."""
    x = golden(f"data_{name}", request)["x"]
    expected = golden(f"{name}_{run}", request)
    fitted, labels = fit_step_by_step(
        x, expected["init_idx0"], shares_gram, kp=kp, ki=ki, max_iter=most
    )
    assert np.array_equal(labels, expected["labels_hist0"])
    assert np.array_equal(fitted.labels_, expected["labels0"])
    assert np.array_equal(fitted.sizes_, expected["sizes"])
    losses = expected["accu_err"]
    np.testing.assert_allclose(fitted.history_["loss"][: len(losses)], losses, rtol=1e-9)
    np.testing.assert_allclose(fitted.cluster_centers_, expected["final_centres"], atol=1e-12)
    assert fitted.converged_ == (fitted.n_iter_ < most)


@pytest.mark.parametrize("name", SETS)
def test_balanced_stop_on_reference_data(request, name):
    """Balanced, and within 2 % of size-constrained k-means by an exact solver from 10 starts."""
    constrained = pytest.importorskip("k_means_constrained").KMeansConstrained
    x = golden(f"data_{name}", request)["x"]
    fitted = PIKMeans(6, random_state=0).fit(x)
    assert spread(fitted.sizes_) <= 1.05
    assert fitted.converged_
    assert "every size within tolerance" in fitted.stop_reason_
    assert np.array_equal(fitted.predict(x), fitted.labels_)
    low, high = size_bounds(len(x), 6, 0.02)
    exact = (
        constrained(
            6, size_min=low, size_max=high, n_init=10 if len(x) < 1000 else 2, random_state=0
        )
        .fit(x.astype(np.float64))
        .labels_
    )
    centres = np.stack([x[exact == j].mean(axis=0) for j in range(6)])
    table = -np.log((x @ centres.T + 1) / 2)
    assert fitted.loss_ <= 1.02 * (table[np.arange(len(x)), exact] ** 2).sum()


def test_every_assignment_is_the_cheapest_of_its_sizes():
    """Against all assignments of six samples to three clusters."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        cost = rng.random((6, 3)).round(1 if rng.random() < 0.5 else 6)  # half with ties
        labels = rebalance(cost, cost.argmin(axis=1), 2, 2)
        best = min(
            cost[np.arange(6), np.array(a)].sum()
            for a in itertools.product(range(3), repeat=6)
            if np.array_equal(np.bincount(a, minlength=3), [2, 2, 2])
        )
        assert np.bincount(labels, minlength=3).tolist() == [2, 2, 2]
        assert cost[np.arange(6), labels].sum() == pytest.approx(best, abs=1e-12)
        priced = cost + prices(cost, labels)
        assert (priced[np.arange(6), labels] <= priced.min(axis=1) + 1e-12).all()


def test_rebalance_takes_a_detour():
    """Moving 0→1 directly costs 10; 0→2 and 2→1 together cost 2."""
    cost = np.array([[0.0, 10.0, 1.0], [0.0, 10.0, 9.0], [9.0, 1.0, 0.0]])
    assert rebalance(cost, np.array([0, 0, 2]), 1, 1).tolist() == [2, 0, 1]


def test_size_bounds():
    assert size_bounds(120, 6, 0.02) == (20, 20)
    assert size_bounds(2000, 6, 0.02) == (327, 340)
    assert size_bounds(10, 3, 0.0) == (3, 4)  # whole numbers next to the mean
    assert size_bounds(3, 3, 5.0) == (1, 6)  # never empty
    assert excess(np.array([25, 20, 15]), 20, 20) == 5


def test_published_rule_stops_unbalanced_where_ours_goes_on():
    x = groups([60, 30, 20, 10])
    first = x[[0, 60, 90, 110]]
    published = PIKMeans(4, stop="published", init=first, max_iter=100).fit(x)
    ours = PIKMeans(4, init=first).fit(x)
    assert published.sizes_.tolist() == [60, 30, 20, 10]
    assert published.stop_reason_ == "no label changed"
    assert ours.sizes_.tolist() == [30, 30, 30, 30]
    assert ours.converged_
    assert ours.loss_ > published.loss_  # balance has its price, and it is reported


def test_control_of_the_published_rule_by_hand():
    """Sizes 3 and 1, so e = ±0.5: control kp·e + ki·Σe in the second iteration."""
    x = groups([3, 1], d=2, noise=0.01)
    fitted = PIKMeans(2, stop="published", init=x[[0, 3]], kp=0.01, ki=0.002).fit(x)
    np.testing.assert_array_equal(fitted.history_["control"][0], [0, 0])
    np.testing.assert_allclose(fitted.history_["control"][1], [0.006, -0.006])
    assert fitted.history_["sizes"].tolist() == [[3, 1], [3, 1]]
    assert fitted.history_["changes"].tolist() == [4, 0]
    assert fitted.n_iter_ == 2


def test_loss_and_distances_by_hand():
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    fitted = PIKMeans(2, kp=0, ki=0, init=x[[0, 2]], n_init=1, stop="published").fit(x[:3])
    assert fitted.labels_.tolist() == [0, 0, 1]
    assert fitted.loss_ == pytest.approx(0.0)
    np.testing.assert_allclose(fitted.transform(x[:3])[0], [0, np.log(2)], atol=1e-12)
    # The last sample is opposite to the second centre: far, but finite.
    assert 27 < fitted.transform(x)[3, 1] < 28


@pytest.mark.parametrize("gains", [(0.005, 0.005), (1e-6, 1e-6), (10.0, 10.0), (0.1, 0.0)])
def test_always_balanced_whatever_the_gains(gains):
    x = groups([80, 25, 10, 5], noise=0.3)
    fitted = PIKMeans(4, kp=gains[0], ki=gains[1], random_state=1, n_init=2).fit(x)
    assert fitted.sizes_.tolist() == [30, 30, 30, 30]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_balanced_wherever_it_is_cut_off(most):
    x = groups([80, 25, 10, 5], noise=0.3)
    fitted = PIKMeans(4, max_iter=most, random_state=0, n_init=1).fit(x)
    assert fitted.sizes_.tolist() == [30, 30, 30, 30]
    assert fitted.n_iter_ <= most


def test_says_when_it_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="max_iter=1 reached while 120 labels"):
        fitted = PIKMeans(4, max_iter=1, n_init=1).fit(groups([80, 25, 10, 5], noise=0.3))
    assert not fitted.converged_


def test_equal_samples_are_dealt_out():
    """Prices cannot tell equal samples apart; the balanced stop still ends balanced."""
    x = np.repeat(np.eye(3), [50, 2, 2], axis=0)
    fitted = PIKMeans(3, random_state=0).fit(x)
    assert fitted.sizes_.tolist() == [18, 18, 18]
    fewer = PIKMeans(3, random_state=0).fit(np.repeat(np.eye(2), 6, axis=0))
    assert fewer.sizes_.tolist() == [4, 4, 4]


def test_empty_cluster_is_filled():
    x = groups([10, 10, 10], d=3)
    far = np.array([x[0], x[10], -x[:3].mean(axis=0)])  # the third start attracts nobody
    fitted = PIKMeans(3, kp=0, ki=0, init=far, stop="published").fit(x)
    assert (fitted.sizes_ > 0).all()
    assert np.isfinite(fitted.cluster_centers_).all()


def test_plain_k_means_when_gains_are_zero():
    x = groups([60, 30, 10])
    fitted = PIKMeans(3, kp=0, ki=0, random_state=0).fit(x)
    assert sorted(fitted.sizes_.tolist()) == [10, 30, 60]
    assert not fitted.control_.any()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shares_gram", [False, True])
def test_lloyds_k_means_is_scikit_learns_and_the_published_one_is_not(seed, shares_gram):
    x = groups([60, 30, 20, 10], noise=0.4, seed=seed)
    first = x[stratified(len(x), 4, np.random.default_rng(seed))]
    matrix = gram(x) if shares_gram else None
    ours = PIKMeans(4, init=first).fit(x, gram_matrix=matrix, control=Lloyd)
    theirs = KMeans(4, init=first, n_init=1, tol=0, max_iter=500).fit(x)
    assert np.array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-12)
    published = PIKMeans(4, kp=0, ki=0, init=first, stop="published").fit(x)
    assert not np.array_equal(published.labels_, theirs.labels_)


@pytest.mark.parametrize("shares_gram", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_follow_the_labels(shares_gram, dtype, monkeypatch):
    """Adding and taking away the changed rows gives the same centres as summing afresh."""
    monkeypatch.setattr("esiamfc_lib.clustering.centroids.DOUBLE_BYTES", 0)  # nothing is small
    rng = np.random.default_rng(0)
    x = unit(rng.standard_normal((50, 60))).astype(dtype)
    matrix = gram(x)
    assert matrix.dtype == dtype
    close = {"rtol": 0, "atol": 1e-12 if dtype == np.float64 else 1e-6}
    samples = Centroids(x, matrix if shares_gram else None)
    rows = np.array([3, 20, 41])
    samples.start_at(rows)
    np.testing.assert_allclose(samples.distances(), distances(x @ x[rows].T), **close)
    labels = np.arange(50) % 3
    for changed in (50, 5, 0, 40):
        labels = labels.copy()
        labels[:changed] = rng.integers(0, 3, changed)
        labels[-3:] = [0, 1, 2]
        samples.move(labels, np.bincount(labels, minlength=3))
        means = np.stack([x[labels == j].mean(axis=0) for j in range(3)])
        np.testing.assert_allclose(samples.distances(), distances(x @ means.T), **close)


def test_control_never_ends_with_more_to_move_than_it_began_with():
    rng = np.random.default_rng(0)
    for _ in range(20):
        table = distances(unit(rng.standard_normal((600, 8))) @ unit(rng.standard_normal((8, 8))))
        labels = table.argmin(axis=1)
        control = BalancedControl(0.5, 0.5, 600, 8, 0.02)  # gains that overshoot
        before = excess(np.bincount(labels, minlength=8), *control.aim)
        found, sizes = control._search(table, labels, np.bincount(labels, minlength=8))
        assert np.array_equal(np.bincount(found, minlength=8), sizes)
        assert excess(sizes, *control.aim) < before
        assert np.array_equal(found, (table + control.value).argmin(axis=1))


def test_same_seed_same_result_and_runs_are_independent():
    x = groups([40, 40, 40], noise=0.6, seed=2)
    a, b = (PIKMeans(3, random_state=4, n_init=5).fit(x) for _ in range(2))
    assert np.array_equal(a.labels_, b.labels_)
    assert len(a.runs_) == 5
    assert a.loss_ == min(a.runs_)
    assert PIKMeans(3, random_state=4, n_init=2).fit(x).runs_ == a.runs_[:2]


def test_stratified_start_takes_one_sample_from_each_stretch():
    x = groups([10] * 6)
    rows = stratified(60, 6, np.random.default_rng(0))
    assert np.array_equal(rows // 10, np.arange(6))
    assert PIKMeans(6, random_state=0).fit(x).sizes_.tolist() == [10] * 6


def test_constrained_k_means_is_balanced_and_stops():
    x = groups([80, 25, 10, 5], noise=0.3)
    fitted = PIKMeans(4, random_state=0).fit(x, control=EqualSizes)
    assert fitted.sizes_.tolist() == [30, 30, 30, 30]
    assert fitted.converged_


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 0}, "n_clusters=0"),
        ({"n_clusters": 7}, "n_samples=6"),
        ({"kp": -1.0}, "kp=-1.0"),
        ({"stop": "never"}, "stop='never'"),
        ({"init": "best"}, "init="),
        ({"init": np.eye(4)}, r"init has shape \(4, 4\)"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"init": np.full((2, 3), np.nan)}, "init holds NaN"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises(StudyError, match=message):
        PIKMeans(**{"n_clusters": 2, **change}).fit(groups([3, 3], d=3))


def test_bad_features():
    x = groups([5, 5])
    with pytest.raises(ValueError, match="NaN"):
        PIKMeans(2).fit(np.where(x == x[0, 0], np.nan, x))
    scaled = PIKMeans(2, random_state=0).fit(3 * x)
    assert np.array_equal(scaled.labels_, PIKMeans(2, random_state=0).fit(x).labels_)
    with pytest.raises(StudyError, match="made from other data"):
        PIKMeans(2).fit(x, gram_matrix=gram(x[:4]))


def test_distance_of_equal_orthogonal_and_opposite():
    found = distances(np.array([1.0, 0.0, -1.0]))
    assert found[0] == 0
    assert found[1] == pytest.approx(np.log(2))
    assert np.isfinite(found[2])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_cut_off_at_every_iteration(monkeypatch):
    """Also just after the tolerance was taken away, which patience 1 makes happen early."""
    monkeypatch.setattr("esiamfc_lib.clustering.size_control.PATIENCE", 1)
    x = groups([200, 60, 25, 15], noise=0.6)
    for most in range(1, 45):
        fitted = PIKMeans(4, max_iter=most, random_state=0, n_init=1, tol_balance=0.1).fit(x)
        assert 67 <= fitted.sizes_.min() <= fitted.sizes_.max() <= 83
        assert np.isfinite(fitted.loss_)
