"""What the specialists learned: measures with known answers, and their figures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from esiamfc_lib.analysis import specialists
from esiamfc_lib.data import benchmarks
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.figures import specialists as figures_specialists
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.training.pairs import PairBatch

K, WIDTH = 3, 0.125


@pytest.fixture(scope="module")
def model() -> ESiamFC:
    made = ESiamFC(K, WIDTH, seed=3).eval()
    maps = specialists.response_maps(made, *tensors(noise()))["responses"]
    for i, branch in enumerate(made.branches):  # logits of a size at which the loss is curved
        shrink = 1.0 / maps[:, i].std()
        branch.scale *= float(shrink)
        branch.bias.data.copy_(-maps[:, i].mean() * shrink)
    return made


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    return noise()


def tensors(images) -> tuple[torch.Tensor, ...]:
    """uint8 (n, s, s, 3) as the networks take them."""
    return tuple(torch.from_numpy(image).permute(0, 3, 1, 2).float() for image in images)


def noise() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 24, (4, s, s, 3), dtype=np.uint8) for s in (127, 255))


class Pairs:
    """Two batches of pairs, as a ``PairLoader`` gives them."""

    def __init__(self, exemplar: np.ndarray, search: np.ndarray):
        self.tensors = [torch.from_numpy(x).permute(0, 3, 1, 2) for x in (exemplar, search)]

    def epoch(self, epoch: int, start: int = 0):
        for part in (slice(0, 3), slice(3, 4)):
            z, x = (tensor[part] for tensor in self.tensors)
            n = len(z)
            yes = torch.ones(n, dtype=torch.bool)
            yield PairBatch(z, x, torch.zeros(n, dtype=torch.int64), yes, torch.arange(n))


def test_response_maps_are_the_ensembles_own(model, images):
    found = specialists.response_maps(model, *tensors(images))
    assert found["responses"].shape == (4, K, 17, 17) and found["weights"].shape == (4, K)
    with torch.inference_mode():
        z, x = tensors(images)
        torch.testing.assert_close(found["fused"], model(z, x))
        branch, z, x = model.branches[1], model.stem(z), model.stem(x)
        alone = branch.response(branch(z), branch(x))
    torch.testing.assert_close(found["responses"][:, 1], alone)


def test_diversity_agrees_with_a_plain_computation(model, images):
    figures, matrix = specialists.diversity(model, Pairs(*images))
    found = specialists.response_maps(model, *tensors(images))
    responses = found["responses"]
    flat = responses.flatten(2).numpy()
    expected = np.mean([np.corrcoef(own) for own in flat], axis=0)
    np.testing.assert_allclose(matrix, expected, atol=1e-5)
    assert figures["correlation"] == pytest.approx(expected[np.triu_indices(K, 1)].mean(), abs=1e-5)
    peaks = [[np.unravel_index(r.argmax(), r.shape) for r in own] for own in responses.numpy()]
    apart = [
        8 * np.hypot(*np.subtract(own[i], own[j])) > 16
        for own in peaks
        for i in range(K)
        for j in range(i)
    ]
    assert figures["disagreement"] == pytest.approx(np.mean(apart))


def test_equal_branches_have_no_diversity(images):
    same = ESiamFC.assembled([SiamFC(WIDTH, seed=1).eval()] * K).eval()
    figures, matrix = specialists.diversity(same, Pairs(*images))
    np.testing.assert_allclose(matrix, 1, atol=1e-6)
    assert figures["disagreement"] == 0


def scores(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["tracker", "sequence", "family", "success"])


def test_kind_matrix_counts_every_sequence_once():
    rows = [("Branch 10", s, "ball", v) for s, v in (("a", 0.2), ("a", 0.4), ("b", 0.9))]
    rows += [("Branch 2", "a", "ball", 0.5), ("Branch 2", "c", "", 0.7), ("SiamFC", "a", "x", 1.0)]
    table = specialists.kind_matrix(scores(rows))
    assert list(table.index) == ["Branch 2", "Branch 10"] and list(table.columns) == ["ball"]
    assert table.loc["Branch 10", "ball"] == pytest.approx((0.3 + 0.9) / 2)
    by_cluster = specialists.kind_matrix(scores(rows), {"a": 0, "b": 1})
    assert by_cluster.loc["Branch 10"].tolist() == pytest.approx([0.3, 0.9])
    with pytest.raises(StudyError, match="no sequence has a kind"):
        specialists.kind_matrix(scores(rows[4:5]))


def test_own_kind_takes_easy_kinds_and_good_branches_away():
    names = ["Branch 0", "Branch 1"]
    matrix = pd.DataFrame([[0.9, 0.5], [0.7, 0.5]], names, ["ball", "stick"])
    shares = pd.DataFrame([[2 / 3, 1 / 3], [0.0, 1.0]], names, ["ball", "stick"])
    own = specialists.own_kind(matrix, shares)
    assert own["kind"].tolist() == ["ball", "stick"] and own["rank"].tolist() == [1, 1]
    # 0.9 is foreseen as 0.7 (branch) + 0.8 (kind) - 0.65 = 0.85
    np.testing.assert_allclose(own["interaction"], [0.05, 0.05])
    assert specialists.own_kind(matrix[["stick"]], shares)["branch"].tolist() == names
    assert specialists.own_kind(matrix[["ball"]], shares)["branch"].tolist() == names[:1]
    none = pd.DataFrame([[0.9, 0.5], [0.8, 0.4]], names, ["ball", "stick"])  # no interaction
    np.testing.assert_allclose(specialists.own_kind(none, shares)["interaction"], 0, atol=1e-12)


def test_routing_tells_a_router_from_an_average_and_from_a_favourite():
    clusters = np.array([0, 1, 2] * 4)
    router = specialists.routing(np.eye(3)[clusters], clusters)
    assert router["entropy"] == pytest.approx(0) and router["information"] == pytest.approx(1)
    assert router["own_weight"] == router["own_first"] == 1
    average = specialists.routing(np.full((12, 3), 1 / 3), clusters)
    assert average["entropy"] == pytest.approx(1)
    assert average["information"] == pytest.approx(0, abs=1e-12)
    assert average["own_weight"] == pytest.approx(average["uniform"]) == pytest.approx(1 / 3)
    favourite = specialists.routing(np.eye(3)[np.zeros(12, int)], clusters)
    assert favourite["entropy"] == favourite["information"] == pytest.approx(0)
    assert favourite["own_first"] == pytest.approx(1 / 3)


@pytest.fixture
def tracked(tmp_path):
    """Three sequences; on sequence i the two branches lie i * 5 px apart, boxes are 10 px wide."""
    found = []
    for i in range(3):
        boxes = np.tile([20.0, 20.0, 10.0, 10.0], (4, 1))
        found.append(Sequence(f"s{i}", ("none",) * 4, boxes))
        for name, shift in (("Branch 0", 0.0), ("Branch 1", 5.0 * i)):
            file = scoring.result_file(tmp_path, "boxes", name, f"s{i}")
            file.parent.mkdir(parents=True, exist_ok=True)
            moved = boxes.copy()
            moved[1:, 0] += shift
            file.write_text(scoring.to_text(benchmarks.to_file(moved, "otb2015")))
    return tmp_path, found


def test_disagreement_of_boxes(tracked):
    folder, sequences = tracked
    names = ["Branch 0", "Branch 1"]
    apart = specialists.disagreement(folder, names, sequences, "otb2015")
    np.testing.assert_allclose(apart, [0, 1 - 50 / 150, 1], atol=0.01)


def test_relation_of_gain_and_disagreement():
    apart = pd.Series({f"s{i}": i / 10 for i in range(8)}, name="disagreement")
    rows = [("SiamFC", f"s{i}", "", 0.5) for i in range(8)]
    rows += [("ESiamFC", f"s{i}", "", 0.5 + 0.01 * i**2) for i in range(8)]
    table, found = specialists.relation(scores(rows), apart, "ESiamFC", "SiamFC")
    assert found["rank_correlation"] == pytest.approx(1) and found["sequences"] == 8
    assert table["gain"].iloc[-1] == pytest.approx(0.49)
    assert found == specialists.relation(scores(rows), apart, "ESiamFC", "SiamFC")[1]
    noise = np.random.default_rng(1).normal(size=8)
    rows = rows[:8] + [("ESiamFC", f"s{i}", "", 0.5 + noise[i]) for i in range(8)]
    found = specialists.relation(scores(rows), apart, "ESiamFC", "SiamFC")[1]
    assert found["low"] < 0 < found["high"]
    few = specialists.relation(scores(rows), apart[:3], "ESiamFC", "SiamFC")[1]
    assert np.isnan(few["rank_correlation"]) and few["sequences"] == 3


def test_figures(model, images):
    before = dict(plt.rcParams)
    found = {n: v.numpy() for n, v in specialists.response_maps(model, *tensors(images)).items()}
    figure = figures_specialists.branch_responses(
        images[1], found["responses"], found["weights"], found["fused"]
    )
    assert len(figure.axes) == 4 * (K + 2)
    table = pd.DataFrame(
        {"branch": ["B 0", "B 0", "B 1", "B 1"], "kind": ["ball", "stick"] * 2,
         "score": [0.9, 0.5, 0.7, 0.5], "own": [True, False, False, True]}
    )  # fmt: skip
    figure = figures_specialists.kinds(table, title="built-in")
    assert [patch.get_xy() for patch in figure.axes[0].patches] == [(0, 0), (1, 1)]
    rows = pd.DataFrame(
        {"benchmark": "built-in", "tracker": ["E", "E"], "minus": ["S", "R"],
         "difference": [0.1, 0.0], "low": [0.0, -0.1],
         "high": [0.2, 0.1], "low_all": [-0.1, -0.2], "high_all": [0.3, 0.2],
         "comparisons": 2, "sequences": [3, 5], "starts": 1, "seeds": 1}
    )  # fmt: skip
    figure = figures_specialists.forest(rows)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["S", "R"]
    caption = figure.shown.caption
    assert "E minus each, on built-in: means over 3 to 5 sequences × 1 start × 1 seed" in caption
    assert "for all comparisons of a family together, of 2." in caption
    figure = figures_specialists.forest(rows.drop(columns=["low_all", "high_all"]), groups="minus")
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["S", "S", "R", "R"]
    assert "together" not in figure.shown.caption
    assert "success AUC" in figure.axes[0].get_xlabel() and "success AUC" in figure.shown.caption
    figure = figures_specialists.forest(rows, metric="precision")
    assert "precision" in figure.axes[0].get_xlabel() and "AUC" not in figure.shown.caption
    assert figure.shown.options == {"metric": "precision"}
    plt.close("all")
    assert dict(plt.rcParams) == before
