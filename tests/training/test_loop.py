"""The training loop: learning, freezing, resuming to the bit, selection, several processes."""

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from esiamfc_lib.config import BaselineParameters, FusionParameters, TransferParameters
from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.loss import balanced_loss, response_labels
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.runtime.devices import choose_device, choose_precision
from esiamfc_lib.training.augmentation import augment
from esiamfc_lib.training.loop import fit, learning_rate
from esiamfc_lib.training.measure import evaluate_loss, pair_losses
from esiamfc_lib.training.pairs import PairBatch
from esiamfc_lib.training.tasks import BaselineTask, BranchTask, FusionTask, agreement

WIDTH = 0.05  # 8 channels everywhere


class Blobs:
    """Pairs of a coloured square before noise: pure function of (seed, epoch, index)."""

    def __init__(self, batches=3, size=2, seed=0, tracks=6, rank=0, world=1, delay=0.0):
        self.number, self.size, self.seed, self.tracks = batches, size, seed, tracks
        self.rank, self.world, self.delay = rank, world, delay

    def __len__(self):
        return self.number

    def epoch(self, epoch, start=0):
        for step in range(start, self.number):
            time.sleep(self.delay)
            pairs = [
                self._pair(epoch, step * self.size + i)
                for i in range(self.rank, self.size, self.world)
            ]
            z, x, tracks = zip(*pairs, strict=True)
            yield PairBatch(
                torch.stack(z),
                torch.stack(x),
                torch.tensor(tracks),
                torch.ones(len(pairs), dtype=torch.bool),
                epoch * 1000
                + torch.arange(step * self.size + self.rank, (step + 1) * self.size, self.world),
            )

    def _pair(self, epoch, index):
        rng = np.random.default_rng([self.seed, epoch, index])
        track = int(rng.integers(self.tracks))
        colour = np.random.default_rng([7, track]).integers(0, 256, (1, 1, 3))
        images = []
        for size in (127, 255):
            image = rng.integers(0, 256, (size // 8 + 1,) * 2 + (3,)).repeat(8, 0).repeat(8, 1)
            image = image[:size, :size]
            middle = slice(size // 2 - 30, size // 2 + 30)
            image[middle, middle] = colour
            # Without noise, maxima of pooling tie, and rounding decides where gradients go.
            image = np.clip(image + rng.integers(-20, 21, image.shape), 0, 255)
            images.append(torch.from_numpy(image.astype(np.uint8).transpose(2, 0, 1).copy()))
        return *images, track


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    torch.set_num_threads(1)


def parameters(kind=BaselineParameters, **values):
    values = {"epochs": 2, "precision": "fp32", "device": "cpu", "threads": 1} | values
    return kind(**values)


def small(seed=0):
    return SiamFC(WIDTH, seed)


def warm(model):
    """A network whose BatchNorm statistics fit the pairs, as those of any trained one do."""
    model.train()
    with torch.no_grad():
        for batch in Blobs(20, 2, seed=1).epoch(0):
            model(*augment(batch, augmentation="none"))
    return model


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def baseline_task(model, **options):
    return BaselineTask(model, radius=16.0, **options)


def branch_task(model, **options):
    return BranchTask(model, radius=16.0, **({"diversity_weight": 0.0} | options))


def fusion_task(model, clusters=(0,) * 6, **options):
    options = {"temperature": 1.0, "entropy_weight": 0.0} | options
    return FusionTask(model, clusters, radius=16.0, **options)


def read_log(folder, event="epoch"):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def copy_of(module):
    return {name: t.detach().clone() for name, t in module.state_dict().items()}


def test_learns_and_logs(tmp_path):
    result = fit(
        baseline_task(small()),
        parameters(epochs=5),
        Blobs(10, 4),
        tmp_path,
        validation=Blobs(2, 4, seed=9),
        info={"data": "abc"},
    )
    losses = [entry["validation"]["loss"] for entry in result.history]
    assert losses[-1] < 0.95 * losses[0]
    assert result.best["epoch"] == 1 + int(np.argmin(losses))
    header = checkpoints.load(result.path)[1]
    assert header["result"]["epoch"] == result.best["epoch"]
    assert header["training"]["data"] == "abc" and "run_dir" not in header["training"]
    epochs, steps = read_log(tmp_path), read_log(tmp_path, "step")
    assert [e["train"]["loss"] for e in epochs] == [e["train"]["loss"] for e in result.history]
    assert [(s["epoch"], s["step"]) for s in steps] == [(e, 10) for e in range(1, 6)]
    assert list((tmp_path / "tensorboard").iterdir())
    assert len(list(tmp_path.glob("epoch-*.safetensors"))) == 2


def test_learning_rates_by_hand():
    p = parameters(epochs=4, lr=1e-2, lr_last=1e-5)
    assert [learning_rate(e, p) for e in range(4)] == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5])
    p = parameters(epochs=6, lr=1e-2, lr_last=1e-4, schedule="step")
    rates = [learning_rate(e, p) for e in range(6)]
    assert rates == pytest.approx([1e-2, 1e-2, 1e-2, 1e-4, 1e-4, 1e-4])
    p = parameters(epochs=50, lr=1e-2, lr_last=1e-3, schedule="step")  # the published code's
    assert [learning_rate(e, p) for e in (24, 25)] == pytest.approx([1e-2, 1e-3])
    assert learning_rate(0, parameters(epochs=1)) == pytest.approx(1e-2)


def test_the_schedule_is_a_parameter(tmp_path):
    p = parameters(epochs=3, lr=1e-2, lr_last=1e-4, schedule="step")
    result = fit(branch_task(small()), p, Blobs(1), tmp_path)
    assert [entry["lr"] for entry in result.history] == pytest.approx([1e-2, 1e-2, 1e-4])


def test_one_step_is_sgd_by_hand(tmp_path):
    model, twin = small(), small()
    p = parameters(epochs=1, lr=0.1, weight_decay=0.01)
    fit(baseline_task(model), p, Blobs(1), tmp_path)
    batch = next(Blobs(1).epoch(0))
    task = baseline_task(twin.to(memory_format=torch.channels_last))
    loss, _ = task(augment(batch, augmentation="none"), batch.track, batch.positive)
    loss.backward()
    for ours, reference in zip(model.parameters(), twin.parameters(), strict=True):
        expected = reference.detach() - 0.1 * (reference.grad + 0.01 * reference.detach())
        torch.testing.assert_close(ours.detach(), expected, rtol=1e-5, atol=1e-7)


def test_gradient_clipping_bounds_the_step(tmp_path):
    model, start = small(), copy_of(small())
    fit(
        baseline_task(model),
        parameters(epochs=1, lr=1.0, weight_decay=0.0, clip_norm=1e-3),
        Blobs(1),
        tmp_path,
    )
    moved = torch.cat([(p.detach() - start[n]).flatten() for n, p in model.named_parameters()])
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_frozen_means_frozen(tmp_path):
    baseline = small()
    stem, branch = copy_of(baseline.stem), copy_of(baseline.branch)
    fit(branch_task(baseline), parameters(TransferParameters), Blobs(), tmp_path / "branch")
    assert same(stem, copy_of(baseline.stem))
    assert not same(branch, copy_of(baseline.branch))
    assert all(p.grad is None for p in baseline.stem.parameters())

    ensemble = ESiamFC(3, WIDTH)
    before = copy_of(ensemble)
    fit(fusion_task(ensemble), parameters(FusionParameters), Blobs(), tmp_path / "fusion")
    changed = {n for n, t in ensemble.state_dict().items() if not torch.equal(t, before[n])}
    assert changed and all(name.startswith("cluster_weights.") for name in changed)


def test_frozen_part_has_no_graph_and_stays_in_eval_mode():
    task = branch_task(small()).train()
    z, x = task.frozen(torch.zeros(1, 3, 127, 127), torch.zeros(1, 3, 255, 255), torch.zeros(1))
    assert not z.requires_grad and not x.requires_grad
    assert not task.model.stem.training and task.model.branch.training
    fusion = fusion_task(ESiamFC(2, WIDTH)).train()
    assert not any(m.training for m in fusion.model.branches.modules())
    assert fusion.model.cluster_weights.training


def test_identity_norms_can_stay_as_they_are(tmp_path):
    model = warm(small())
    before = copy_of(model.branch)
    fit(branch_task(model, frozen_norms=True), parameters(TransferParameters), Blobs(), tmp_path)
    after = copy_of(model.branch)
    assert torch.equal(before["layers.1.running_mean"], after["layers.1.running_mean"])
    assert not torch.equal(before["layers.0.weight"], after["layers.0.weight"])


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from test_loop import *
torch.set_num_threads(1)
fit(baseline_task(small()), parameters(epochs=3, checkpoint_seconds=0.0), Blobs(5, delay=0.02),
    {folder!r}, validation=Blobs(1, seed=9))
"""


def run_script(folder):
    script = SCRIPT.format(tests=str(Path(__file__).parent), folder=str(folder))
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def results_of(folder):
    state = checkpoints.load_state(folder / "state.pt")
    lines = [
        {k: v for k, v in line.items() if k != "seconds"}
        for event in ("step", "epoch")
        for line in read_log(folder, event)
    ]
    return (
        (folder / "best.safetensors").read_bytes(),
        lines,
        state["history"],
        checkpoints.digest(state["learners"]),
    )


def test_killed_in_the_middle_of_an_epoch_ends_in_the_same_bytes(tmp_path):
    whole = run_script(tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read().decode()
    killed = run_script(tmp_path / "killed")
    state = tmp_path / "killed/state.pt"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if state.is_file():
            # Written atomically: whenever it is there, it can be read.
            at = checkpoints.load_state(state)
            if at["epoch"] == 1 and at["step"] >= 2:
                break
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    at = checkpoints.load_state(state)
    assert at["epoch"] >= 1 and (at["epoch"], at["step"]) < (3, 0), "killed too late"
    again = run_script(tmp_path / "killed")
    assert again.wait() == 0, again.stderr.read().decode()
    assert results_of(tmp_path / "whole") == results_of(tmp_path / "killed")


def test_finished_training_is_not_repeated(tmp_path):
    first = fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    again = fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    assert again.resumed and not first.resumed
    assert first.history == again.history
    assert same(copy_of(first.model), copy_of(again.model))
    assert len(read_log(tmp_path)) == 2


def test_checkpoint_of_other_parameters_is_refused_with_what_differs(tmp_path):
    fit(baseline_task(small()), parameters(), Blobs(), tmp_path, info={"data": "abc"})
    with pytest.raises(StudyError, match=r"data was 'abc' and is 'xyz'; lr was 0\.01 and is 0\.02"):
        fit(baseline_task(small()), parameters(lr=0.02), Blobs(), tmp_path, info={"data": "xyz"})
    moved = parameters(run_dir="elsewhere", workers=3)
    assert fit(baseline_task(small()), moved, Blobs(), tmp_path, info={"data": "abc"}).resumed


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: [1, 2],
        lambda state: torch.zeros(3),
        lambda state: state | {"settings": 3},
        lambda state: state | {"settings": "{"},
        lambda state: state | {"settings": "[]"},
        lambda state: {name: value for name, value in state.items() if name != "learners"},
        lambda state: state | {"learners": {}},
        lambda state: state | {"learners": [1]},
        lambda state: state | {"optimizer": {}},
        lambda state: state | {"optimizer": "x"},
        lambda state: state | {"history": "["},
        lambda state: state | {"best": 1},
        lambda state: state | {"mood": 1},
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    file = tmp_path / "state.pt"
    checkpoints.save_state(file, damage(checkpoints.load_state(file)))
    with pytest.raises(StudyError, match=rf"^{file} (is damaged, remove {tmp_path}|does not fit)"):
        fit(baseline_task(small()), parameters(), Blobs(), tmp_path)


def test_a_log_that_was_shortened_gets_no_bytes_that_nobody_wrote(tmp_path):
    fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    (tmp_path / "log.jsonl").write_bytes(b"")
    fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    assert (tmp_path / "log.jsonl").read_bytes() == b""


def test_agreement_is_the_correlation_on_the_chosen_cells():
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(size=(3, 5, 5))) for _ in range(2))
    where = torch.ones(3, 5, 5, dtype=torch.bool)
    where[:, 2, 1:4] = False
    expected = np.mean(
        [
            np.corrcoef(x[m], y[m])[0, 1]
            for x, y, m in zip(a.numpy(), b.numpy(), where.numpy(), strict=True)
        ]
    )
    assert agreement(a, b, where).item() == pytest.approx(expected, abs=1e-6)
    assert agreement(a, 3 * a + 1, where).item() == pytest.approx(1, abs=1e-6)
    assert agreement(a, -a, where).item() == pytest.approx(-1, abs=1e-6)
    assert agreement(a, torch.ones_like(a), where).item() == 0
    a[:, 2, 2] += 100  # what is left out does not matter
    assert agreement(a, b, where).item() == pytest.approx(expected, abs=1e-6)


def test_diversity_weight_moves_a_branch_away_from_its_start(tmp_path):
    alike = {}
    for weight in (0.0, 5.0):
        start = warm(small())
        task = branch_task(start, frozen_norms=True, diversity_weight=weight)
        fit(
            task,
            parameters(TransferParameters, epochs=4, lr=1e-3),
            Blobs(10, 4),
            tmp_path / str(weight),
        )
        judge = branch_task(warm(small()), frozen_norms=True, diversity_weight=1.0).eval()
        judge.model.branch.load_state_dict(task.model.branch.state_dict())
        batch = next(Blobs(1, 8, seed=9).epoch(0))
        with torch.no_grad():
            loss, sums = judge(
                judge.frozen(*augment(batch, augmentation="none"), batch.track),
                batch.track,
                batch.positive,
            )
        figures = judge.report(sums)
        assert loss.item() == pytest.approx(figures["loss"] + figures["agreement"], rel=1e-5)
        alike[weight] = figures["agreement"]
    assert alike[5.0] < alike[0.0] - 0.01


def test_start_of_a_diverse_branch_stays_as_it_was(tmp_path):
    task = branch_task(warm(small()), diversity_weight=0.5)
    before = copy_of(task.start)
    fit(task, parameters(TransferParameters), Blobs(), tmp_path)
    assert same(before, copy_of(task.start)) and not task.start.training
    assert not same(before, copy_of(task.model.branch))


def test_branch_of_another_stem_is_not_continued(tmp_path):
    fit(branch_task(small(0)), parameters(TransferParameters), Blobs(), tmp_path)
    with pytest.raises(StudyError, match="frozen part was"):
        fit(branch_task(small(1)), parameters(TransferParameters), Blobs(), tmp_path)


def test_best_is_chosen_by_tracking_and_never_pruned(tmp_path):
    scores = iter([0.1, 0.5, 0.3, 0.2])
    modes = []

    def validate(model, epoch):
        modes.append(model.training)
        return {"auc": next(scores), "epoch": epoch}

    result = fit(
        baseline_task(small()),
        parameters(epochs=4, validate_every=1),
        Blobs(2),
        tmp_path,
        validation=Blobs(1, seed=9),
        validate=validate,
    )
    assert result.best["epoch"] == 2 and result.best["score"] == 0.5
    assert not any(modes)
    kept = sorted(p.name for p in tmp_path.glob("*.safetensors"))
    assert kept == ["best.safetensors", "epoch-003.safetensors", "epoch-004.safetensors"]
    assert checkpoints.load(tmp_path / "best.safetensors")[1]["result"]["epoch"] == 2


def test_validation_by_tracking_every_nth_epoch_and_the_last(tmp_path):
    called = []

    def validate(model, epoch):
        called.append(epoch)
        return {"auc": 0.0}

    result = fit(
        baseline_task(small()),
        parameters(epochs=5, validate_every=2),
        Blobs(1),
        tmp_path,
        validate=validate,
    )
    assert called == [2, 4, 5]
    assert result.best["epoch"] == 2


def test_no_epochs_keep_the_starting_weights(tmp_path):
    model = small()
    result = fit(baseline_task(model), parameters(epochs=0), Blobs(), tmp_path)
    assert same(copy_of(result.model), copy_of(small()))
    assert result.history == []


def test_nonfinite_loss_stops_and_keeps_the_batch(tmp_path):
    model = small()
    with torch.no_grad():
        model.branch.bias.fill_(float("nan"))
    before = copy_of(model.stem.layers[0])
    with pytest.raises(StudyError, match=r"loss is nan in epoch 1, step 1; its batch is in .*nonf"):
        fit(baseline_task(model), parameters(), Blobs(), tmp_path)
    kept = checkpoints.load_state(tmp_path / "nonfinite.pt")
    assert torch.equal(kept["search"], next(Blobs().epoch(0)).search)
    assert same(before, copy_of(model.stem.layers[0]))


def test_fusion_reports_weights_per_cluster_and_warns_of_collapse(tmp_path):
    ensemble = warm(ESiamFC(3, WIDTH))
    task = fusion_task(ensemble, clusters=[0, 0, 1, 1, 1, 3], temperature=0.5)
    result = fit(
        task,
        parameters(FusionParameters, epochs=1, lr=1e-6),
        Blobs(4),
        tmp_path / "a",
        validation=Blobs(4, seed=9),
    )
    figures = result.history[0]["validation"]
    assert len(figures["weights"]) == 4 and figures["weights"][2] is None
    assert all(sum(row) == pytest.approx(1) for row in figures["weights"] if row)
    assert figures["entropy"] == pytest.approx(np.log(3), abs=0.05)
    assert "warning" not in result.history[0]
    assert result.model.cluster_weights.temperature == 0.5

    with torch.no_grad():
        ensemble.cluster_weights.layers[6].bias.fill_(1.0)
        ensemble.cluster_weights.linear.weight.fill_(0.0)
        ensemble.cluster_weights.linear.weight[2].fill_(10.0)
    with pytest.warns(UserWarning, match="fusion has collapsed: branch 2 gets 100%"):
        result = fit(task, parameters(FusionParameters, epochs=1, lr=1e-9), Blobs(), tmp_path / "b")
    assert "collapsed" in result.history[0]["warning"]


def test_losses_of_pairs_are_those_of_the_fusion_its_average_and_its_branches():
    ensemble, pairs = warm(ESiamFC(3, WIDTH)).eval(), Blobs(2)
    p = parameters(FusionParameters, temperature=0.5, precision="fp32")
    task = fusion_task(ensemble, clusters=[0] * 6, temperature=0.5)
    expected = evaluate_loss(task, pairs, p)
    losses = pair_losses(ensemble, pairs, p)
    names = ["average", "fusion", "soup", "branch 0", "branch 1", "branch 2"]
    assert list(losses) == ["track", *names]
    batches = list(pairs.epoch(0))
    assert losses["track"].tolist() == torch.cat([b.track for b in batches]).tolist()
    assert losses["fusion"].mean() == pytest.approx(expected, rel=1e-5)
    z, x = (batches[0].exemplar.float(), batches[0].search.float())
    with torch.no_grad():
        response = ensemble.eval().base_tracker(1)(z, x)
        labels = response_labels(17, radius=p.radius)
    alone = [float(balanced_loss(one[None], labels)) for one in response]
    np.testing.assert_allclose(losses["branch 1"][: len(alone)], alone, rtol=1e-4)


def test_entropy_term_by_hand():
    track, positive = torch.zeros(1, dtype=torch.int64), torch.tensor([True])
    losses = {}
    for entropy_weight in (0.0, 2.0):
        task = fusion_task(ESiamFC(2, WIDTH), entropy_weight=entropy_weight).eval()
        with torch.no_grad():  # logits ln 3 and 0: weights 3/4 and 1/4
            task.model.cluster_weights.layers[6].weight.zero_()
            task.model.cluster_weights.layers[6].bias.fill_(1.0)
            task.model.cluster_weights.linear.weight.zero_()
            channels = task.model.cluster_weights.linear.in_features
            task.model.cluster_weights.linear.weight[0].fill_(np.log(3) / channels)
        given = (torch.zeros(1, 16, 12, 12), torch.zeros(1, 2, 17, 17))
        losses[entropy_weight], sums = task(given, track, positive)
        figures = task.report(sums)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert figures["mean_weights"] == pytest.approx([0.75, 0.25])
    assert figures["entropy"] == pytest.approx(entropy)
    assert figures["loss"] == pytest.approx(np.log(2))
    assert losses[0.0].item() == pytest.approx(np.log(2))
    # A positive weight rewards spread weights: more entropy, less loss.
    assert losses[2.0].item() == pytest.approx(np.log(2) - 2 * entropy)


def test_negative_pairs_push_the_response_down():
    task = fusion_task(ESiamFC(2, WIDTH))
    given = (torch.zeros(1, 16, 12, 12), torch.full((1, 2, 17, 17), 3.0))
    track = torch.zeros(1, dtype=torch.int64)
    task.eval()
    negative, _ = task(given, track, torch.tensor([False]))
    assert negative.item() == pytest.approx(np.log1p(np.exp(3.0)), rel=1e-4)


def test_bf16_ends_near_fp32(tmp_path):
    losses = {}
    for precision in ("fp32", "bf16"):
        result = fit(
            baseline_task(small()),
            parameters(epochs=3, precision=precision),
            Blobs(6, 4),
            tmp_path / precision,
            validation=Blobs(2, 4, seed=9),
        )
        losses[precision] = result.history[-1]["validation"]["loss"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_device_and_precision_are_resolved():
    assert choose_precision("bf16", "cpu") == ("bf16", "as the parameter says")
    precision, reason = choose_precision("auto", "cpu")
    assert precision in ("fp32", "bf16") and "processor" in reason
    assert choose_device("cpu").type == "cpu"
    for name in ("cuda:99", "banana"):
        with pytest.raises(StudyError, match=f"'device' = '{name}'"):
            choose_device(name)


def test_augmentation_changes_training_pairs_only(tmp_path):
    losses = {}
    for name, augmentation in (("none", "none"), ("paper", "paper"), ("again", "paper")):
        task = branch_task(warm(small()), frozen_norms=True)
        p = parameters(TransferParameters, epochs=1, lr=1e-9, augmentation=augmentation)
        result = fit(task, p, Blobs(2), tmp_path / name, validation=Blobs(2, seed=9))
        losses[name] = [result.history[0][kind]["loss"] for kind in ("train", "validation")]
    assert losses["none"][0] != losses["paper"][0]
    assert losses["none"][1] == pytest.approx(losses["paper"][1], rel=1e-4)
    assert losses["again"] == losses["paper"]


def test_log_line_of_a_killed_run_is_cut_off(tmp_path):
    fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write(json.dumps({"event": "epoch", "epoch": 99}) + "\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(baseline_task(small()), parameters(), Blobs(), tmp_path)
    assert [line["epoch"] for line in read_log(tmp_path)] == [1, 2]
