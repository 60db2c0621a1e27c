"""Fusion: cross-fitting on folds of the videos, joint training, what stays frozen."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from esiamfc_lib.config import FusionParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.training.held_out import fold_files, split_tracks, track_folds, without_fold
from esiamfc_lib.training.loop import fit
from esiamfc_lib.training.measure import pair_losses
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.tasks import FusionTask, JointTask

WIDTH = 0.03
OPTIONS = {"radius": 16.0, "temperature": 1.0, "entropy_weight": 0.0}


class Noise:
    """Batches of images of noise, of tracks 0 to 5."""

    def __init__(self, batches, size=4):
        self.batches, self.size = batches, size

    def __len__(self):
        return self.batches

    def epoch(self, epoch, start=0):
        for step in range(start, self.batches):
            rng = np.random.default_rng([epoch, step])
            pixels = (
                torch.from_numpy(rng.integers(0, 256, (self.size, 3, side, side), np.uint8))
                for side in (127, 255)
            )
            tracks = torch.from_numpy(rng.integers(0, 6, self.size))
            number = torch.arange(self.size) + step * self.size
            yield PairBatch(*pixels, tracks, torch.ones(self.size, dtype=torch.bool), number)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    torch.set_num_threads(1)


def parameters(**values):
    usual = {"epochs": 1, "precision": "fp32", "device": "cpu", "threads": 1}
    return FusionParameters(**usual | values)


def ensemble(kind="embedding", k=3):
    baseline = SiamFC(WIDTH, seed=5).eval()
    centres = np.random.default_rng(0).normal(size=(k, 288)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    frozen = {"baseline": baseline, "centres": centres}
    return ESiamFC.assembled([baseline] * k, 0, kind, **frozen).eval()


def moved(before, model):
    return {n for n, t in model.state_dict().items() if not torch.equal(t, before[n])}


def copy_of(model):
    return {n: t.detach().clone() for n, t in model.state_dict().items()}


def marked(value, k=2):
    """Branches whose response is a constant: the bias alone says which they are."""
    branches = SiamFC(WIDTH).branch, SiamFC(WIDTH).branch
    for branch in branches[:k]:
        for parameter in branch.parameters():
            parameter.data.zero_()
        branch.bias.data.fill_(value)
    return branches


def test_cross_fitting_takes_no_response_of_a_branch_that_has_seen_the_video():
    """Each fold's branches respond with their fold's number, the model's own with -1: a pair's
    response has to be the number of its own track's fold."""
    model = ESiamFC(2, WIDTH).eval()
    for branch, own in zip(model.branches, marked(-1.0), strict=True):
        branch.load_state_dict(own.state_dict())
    fold = [2, 0, 1, 1, -1, 0]
    left_out = [marked(float(f)) for f in range(3)]
    task = FusionTask(model, [0] * 6, left_out=left_out, fold=fold, **OPTIONS).train()
    tracks = torch.tensor([3, 0, 4, 1, 0, 2, 5])
    batch = torch.rand(7, 3, 127, 127), torch.rand(7, 3, 255, 255)
    _, responses = task.frozen(*batch, tracks)
    expected = torch.tensor([fold[t] for t in tracks.tolist()], dtype=torch.float32)
    assert torch.equal(responses, expected[:, None, None, None].expand(7, 2, 17, 17))
    assert not task.left_out.training and not any(
        p.requires_grad for p in task.left_out.parameters()
    )


def test_cross_fitting_keeps_the_order_of_the_pairs():
    """With folds whose branches are the model's own, nothing changes but who computes it."""
    model = ensemble("stem", k=2)
    for j, branch in enumerate(model.branches):
        branch.bias.data.fill_(float(j))
    plain = FusionTask(model, [0] * 6, **OPTIONS)
    folds = FusionTask(
        model, [0] * 6, left_out=[model.branches, model.branches], fold=[0, 1, -1] * 2, **OPTIONS
    )
    batch = next(Noise(1, 6).epoch(0))
    images = batch.exemplar.float(), batch.search.float()
    for ours, theirs in zip(
        folds.frozen(*images, batch.track), plain.frozen(*images, batch.track), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_folds_are_of_videos_and_leave_the_held_out_ones_alone():
    videos = [f"v{i}" for i in range(40) for _ in range(2)] + ["w0"]
    tracks = pd.DataFrame({"video": videos, "split": ["train"] * 80 + ["val"]})
    fold = track_folds(SimpleNamespace(tracks=tracks), 0.2, 4)
    learned, held_out = split_tracks(SimpleNamespace(tracks=tracks), 0.2)
    assert (fold[held_out] == -1).all() and set(fold[learned]) == {0, 1, 2, 3}
    assert (pd.Series(fold).groupby(tracks["video"]).nunique() == 1).all()
    # a pure function of the video's name: others, in another order, change nothing
    fewer = tracks.iloc[[*range(79, 20, -1), 80]].reset_index(drop=True)
    again = dict(
        zip(fewer["video"], track_folds(SimpleNamespace(tracks=fewer), 0.0, 4), strict=True)
    )
    names = tracks["video"][learned]
    assert {v: f for v, f in again.items() if v in set(names)} == {
        v: f for v, f in zip(names, fold[learned], strict=True) if v in again
    }
    rest = without_fold(learned, fold, 2)
    assert set(fold[rest]) == {0, 1, 3} and set(rest) < set(learned)
    alone = learned[fold[learned] == 1]
    with pytest.raises(StudyError, match=r"all tracks of the cluster are in fold 1"):
        without_fold(alone, fold, 1)


def test_files_of_the_folds_must_be_there(tmp_path):
    files = [tmp_path / str(i) / "branch.safetensors" for i in range(2)]
    for file in files:
        checkpoints.save(file, SiamFC(WIDTH), training={"folds": 2})
        for fold in range(2):
            checkpoints.save(file.with_name(f"fold_{fold}.safetensors"), SiamFC(WIDTH))
    rows = fold_files(files)
    names = [[f"{file.parent.name}/{file.name}" for file in row] for row in rows]
    assert names == [[f"{i}/fold_{f}.safetensors" for i in range(2)] for f in range(2)]
    checkpoints.save(files[0], SiamFC(WIDTH), training={})
    with pytest.raises(StudyError, match=r"no fold was left out: set branches\.folds"):
        fold_files(files)


@pytest.mark.parametrize(("kind", "name"), [("embedding", "linear.weight"), ("distances", "log_t")])
def test_only_the_small_module_learns(tmp_path, kind, name):
    model = ensemble(kind)
    for j, branch in enumerate(model.branches):
        branch.bias.data.fill_(float(j))  # else all weights are as good
    before = copy_of(model)
    fit(FusionTask(model, [0] * 6, **OPTIONS), parameters(), Noise(3), tmp_path)
    assert moved(before, model) == {f"cluster_weights.{name}"}


@pytest.mark.parametrize("norms", [True, False])
def test_joint_training_keeps_the_stem_and_the_baselines_branch(tmp_path, norms):
    model = ensemble("embedding")
    before = copy_of(model)
    task = JointTask(model, [0] * 6, balance=0.1, frozen_norms=not norms, **OPTIONS)
    fit(task, parameters(lr=1e-3, clip_norm=0.01), Noise(3), tmp_path)
    changed = moved(before, model)
    assert not any(n.startswith(("stem.", "cluster_weights.branch.")) for n in changed)
    assert {"cluster_weights.linear.weight", "cluster_weights.prices"} < changed
    assert all(f"branches.{j}.layers.0.weight" in changed for j in range(3))
    assert any("running_mean" in n for n in changed) == norms
    saved = checkpoints.load(tmp_path / "best.safetensors")[0]
    assert torch.equal(saved.cluster_weights.prices, model.cluster_weights.prices)


def test_balance_pulls_the_load_to_even_shares():
    """A module that gives nearly all weight to branch 0, whatever the exemplar, and cannot learn
    otherwise: only the prices can even it out."""
    shares = {}
    for balance in (0.0, 0.2):
        model = ensemble("embedding")
        model.cluster_weights.linear.weight.data.zero_()
        model.cluster_weights.prices.copy_(torch.tensor([-3.0, 0.0, 0.0]))
        task = JointTask(model, [0] * 6, balance=balance, **OPTIONS).train()
        given = torch.rand(4, 8, 12, 12), torch.rand(4, 8, 28, 28)
        facts = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool)
        with torch.no_grad():
            first = task.report(task(given, *facts)[1])["mean_weights"]
            expected = -3.0 + balance * (3 * first[0] - 1)
            assert model.cluster_weights.prices[0].item() == pytest.approx(expected, rel=1e-5)
            for _ in range(60):
                task(given, *facts)
            shares[balance] = task.eval().report(task(given, *facts)[1])["mean_weights"]
            prices = model.cluster_weights.prices.clone()
            task(given, *facts)
            assert torch.equal(prices, model.cluster_weights.prices)  # judging changes nothing
    assert max(shares[0.0]) > 0.9
    assert shares[0.2] == pytest.approx([1 / 3] * 3, abs=0.01)


def test_joint_training_needs_prices():
    with pytest.raises(StudyError, match=r"needs fusion\.reads"):
        JointTask(ensemble("stem"), [0] * 6, balance=0.0, **OPTIONS)


@pytest.mark.parametrize("kind", ["stem", "embedding", "distances"])
@pytest.mark.parametrize("k", [1, 2])
def test_losses_of_pairs_for_any_module_and_k(kind, k):
    model = ensemble(kind, k)
    losses = pair_losses(model, Noise(1, 3), parameters())
    names = ["average", "fusion", "soup", *(f"branch {i}" for i in range(k))]
    assert list(losses) == ["track", *names]
    # all branches are copies of one: so is their mean, in weights and in responses
    for name in names:
        np.testing.assert_allclose(losses[name], losses["branch 0"], rtol=1e-4)
