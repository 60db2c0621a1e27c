"""The check of a GPU, run whole in its short form; and what it computes its own way, against the
library's way. No test measures a speed."""

import json
import os
import re
import subprocess
import sys
import time
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import built_in
import numpy as np
import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from esiamfc_lib.clustering.centroids import Centroids
from esiamfc_lib.clustering.size_control import BalancedControl, iterate
from esiamfc_lib.config import BaselineParameters
from esiamfc_lib.data import geometry, images
from esiamfc_lib.data.benchmarks import read_benchmark
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation.metrics import score
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from esiamfc_lib.training.loop import learning_rate
from speed import gpu
from speed.gpu import card, convolutions, correctness, data, document, learning, plan
from speed.gpu.clusters import TorchCentroids, starts
from speed.gpu.flops import Work
from speed.gpu.lockstep import Lockstep, LockstepTracker
from speed.gpu.run import OverTimeError, Run, _cut_off
from speed.gpu.steps import PLAIN, Learner, Sgd, noise, task_of

CPU = torch.device("cpu")


def needed() -> set[str]:
    """Distributions in ``NEEDS``, and what they need in turn."""
    found, waiting = set(), list(gpu.NEEDS.values())
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            for each in map(Requirement, metadata.requires(name) or ()):
                if each.marker is None or each.marker.evaluate({"extra": ""}):
                    waiting.append(each.name)
    return found


def only(folder, names: set[str]) -> None:
    """A folder of packages that holds those of some distributions."""
    folder.mkdir()
    for name in names:
        here = metadata.distribution(name)
        for top in {file.parts[0] for file in here.files} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(here.locate_file(top))


@pytest.fixture(scope="module")
def rows(root, tmp_path_factory):
    """Of the whole check, in its short form, where nothing is installed but what it needs."""
    folder = tmp_path_factory.mktemp("check")
    only(folder / "site", needed() - {"fire"})
    assert not {"distributed", "umap"} & {p.name for p in (folder / "site").iterdir()}
    command = [sys.executable, "-S", "-m", "speed", "gpu", "--device", "cpu"]
    command += ["--json", str(folder / "rows.json"), "--tmp", str(folder)]
    path = os.pathsep.join([str(folder / "site"), str(root)])
    options = {"env": {**os.environ, "PYTHONPATH": path}, "capture_output": True, "text": True}
    done = subprocess.run(command, cwd=root, check=False, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "rows.json").read_text())


def test_the_whole_check_in_short_form(rows):
    assert {row["part"] for row in rows} == {"run", *gpu.PARTS}
    assert not [row for row in rows if row["name"].endswith((": failed", ": cut off"))]
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    assert all(np.isfinite([row["ours"], row["reference"], row["ratio"]]).all() for row in rows)
    assert rows[0]["name"] == "cores beside no GPU" and "measures nothing" in rows[0]["note"]
    for said in (
        "baseline, batch 2, bf16;", "6 branches at once, batch 2 each,", "fusion, batch 2,",
        "1 loader processes, batch 2;", "crops that lie decoded on the device, batch 2;",
        "the library's loop (training.loop), batch 2;", "curation, 1 processes;",
        "SiamFC from scratch, 64 of 64 pairs,", "SiamFC, 16 pairs, batch 32, lr 0.04:",
        "one branch, 16 pairs", "PIk-means of", "SiamFC, 3 sequences, all on the device, fp32,",
        "ESiamFC, 3 sequences, the library's lock-step", "ESiamFC, a step of 2 sequences",
        "conv1, 2 images, bf16, forward, blocks of pixels;", "conv5, 2 images, bf16, forward and",
        "fusion, batch 2, the same, each convolution in its fastest form;",
        "seed 1: ESiamFC, 8 pairs a branch", "ESiamFC, 2 seeds, 2 sequences forward and backward",
    ):  # fmt: skip
        assert any(said in name for name in names), said


def test_on_the_cpu_everything_is_correct(rows):
    """There the device is the reference itself, but for what is computed another way."""
    exact = [row for row in rows if "fp32 on cpu" in row["name"] and "boxes within" in row["name"]]
    exact += [row for row in rows if "the same bits" in row["name"]]
    exact += [row for row in rows if "labels equal" in row["name"]]
    assert len(exact) == 2 + 8 + 2
    assert [row["name"] for row in exact if row["ours"] != 1] == []
    # Crops that differ by a grey level can move the peak of a network that has learned so little.
    near = [row["ours"] for row in rows if "all on the device, fp32, against" in row["name"]
            and "boxes within" in row["name"]]  # fmt: skip
    assert len(near) == 2 and min(near) > 0.5
    losses = [row for row in rows if ", fp32 on cpu; reference: fp32 on the CPU" in row["name"]]
    assert len(losses) == 6 and all(row["ours"] == row["reference"] for row in losses)


def test_the_rows_become_tables(rows):
    text = document.tables(rows)
    assert text.startswith("## no GPU\n") and "**Learning**" in text
    assert all(line.startswith(("|", "-", "*", "#")) or "cores;" in line
               for line in text.splitlines() if line)  # fmt: skip
    assert "\n| forward, ms | as it is |" in text and "\n| conv1, 2 images | " in text
    assert (
        "- ESiamFC, 2 seeds, 2 sequences forward and backward: AUC; reference: SiamFC: diff" in text
    )
    assert document.tables([]) == plan.plan([]) == document.NOTHING


def test_every_row_of_the_committed_runs_is_in_a_table_or_named():
    """Each figure, in four digits, stands in a line with the words that it is looked up by."""
    rows = plan.committed()
    text = document.tables(rows)
    assert text.count("## ") == len(plan.FILES)
    for row in rows:
        if row["name"].startswith("time of ") or row["part"] == "run":
            continue
        found = document.match(row["part"], row["name"])
        if row["unit"] == "done":
            assert row["ours"] or row["name"] in text
        elif found:
            assert re.search(rf"^\| {re.escape(found[1])} \|.* {row['ours']:.4g}", text, re.M), row
        else:
            assert f"| {row['name']} | {row['ours']:.4g} | {row['reference']:.4g} |" in text


def test_the_plan_follows_the_rows():
    """Twice the rate of a captured step is half the time, and nothing else changes."""
    rows = plan.committed()
    before = plan.rates(rows)
    twice = [
        row | {"ours": 2 * row["ours"]} if plan.CAPTURED in row["name"] else row for row in rows
    ]
    for kind, (captured, loop) in plan.rates(twice).items():
        assert (captured, loop) == (2 * before[kind][0], before[kind][1])
    with pytest.raises(StudyError, match="no row of the GPU is 'the library's loop"):
        plan.rates(rows[:3])
    minutes = 60 * before["fusion"][0]
    assert f"| fusion | {before['fusion'][0]:,.0f} |" in plan.plan(rows)
    assert f" | {53_200 * 50 / minutes:.0f} | " in plan.plan(rows)


def options(path, *parts):
    return Namespace(json=path, minutes=None, only=parts, width=None, k=2, device="cpu", tmp=None)


def test_a_part_that_fails_leaves_the_others_and_its_traceback(tmp_path, monkeypatch):
    def fails(run):
        run.add("something", 1, 2, "u")
        with run.attempt("one measurement"):
            raise ValueError("broken inside")
        raise ValueError("broken at all")

    monkeypatch.setattr(card, "measure", fails)
    monkeypatch.setattr(data, "measure", lambda run: run.add("afterwards", 1, 1, "u"))
    found = Run(options(tmp_path / "rows.json", "card", "data"), tmp_path).all()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in rows] == [row.name for row in found]
    by_name = {row["name"]: row for row in rows}
    assert "broken inside" in by_name["one measurement: failed"]["note"]
    assert "broken at all" in by_name["card: failed"]["note"]
    assert by_name["something"]["ratio"] == 0.5 and by_name["afterwards"]["part"] == "data"


def test_what_takes_too_long_is_cut_off_whatever_it_catches(tmp_path):
    run = Run(options(None, "card"), tmp_path)
    with run.attempt("part", whole=True), _cut_off(0.05), run.attempt("inside"):
        time.sleep(30)
    assert [row.name for row in run.rows] == ["part: cut off"]
    with pytest.raises(OverTimeError), run.attempt("inside"):
        raise OverTimeError


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 11, 2), nn.Conv2d(8, 12, 3, groups=2)])
def test_every_form_of_a_convolution_computes_the_same(layer):
    """Forward and backward: the gradients of weights, bias and input."""
    x = torch.randn(2, layer.in_channels, 63, 63, requires_grad=True)
    wanted = [layer.weight, layer.bias, x]
    expected = layer(x)
    gradient = torch.randn_like(expected)
    expected = [expected, *torch.autograd.grad(expected, wanted, gradient)]
    forms = convolutions.forms_of(layer)
    assert len(forms) == 3
    for form in forms:
        out = convolutions.FORMS[form](layer, x)
        found = [out, *torch.autograd.grad(out, wanted, gradient)]
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


def test_a_network_in_other_forms_is_the_same_network():
    model = SiamFC(0.125).eval()
    images = torch.rand(1, 3, 127, 127) * 255
    before, state = model.features(images), model.state_dict()
    forms = "blocks of pixels", "without groups", "as it is", "group by group", "without groups"
    convolutions.reform(model, forms)
    assert [layer.form for layer in convolutions.convs(model)] == list(forms)
    torch.testing.assert_close(model.features(images), before, rtol=1e-4, atol=1e-3)
    assert list(model.state_dict()) == list(state)


def test_gradients_are_clipped_module_by_module():
    """As torch's own clipping of each branch alone, whatever the others' gradients are."""
    model = ESiamFC(2, 0.0625)
    learner = Learner(task_of("six", 0.0625, 2, model), PLAIN, CPU, lr=1.0, clip=1e-3)
    before = [p.detach().clone() for p in learner.task.learners.parameters()]
    learner.sgd.momentum = 0.0
    learner.sgd.decay = 0.0
    learner.step(*noise(4, CPU))
    moved = [
        p.detach() - b for p, b in zip(learner.task.learners.parameters(), before, strict=True)
    ]
    half = len(moved) // 2
    for own in (moved[:half], moved[half:]):
        assert torch.cat([m.flatten() for m in own]).norm() == pytest.approx(1e-3, rel=1e-2)


def test_flops_are_those_that_pytorch_counts():
    """Forward, where PyTorch counts groups right. Its correlation is the product of all cells with
    all cells, of which the response takes 17² of 22² for each cell of the exemplar."""
    work, model = Work(0.25, 2), SiamFC(0.25).eval()
    pair = [torch.zeros(1, 3, side, side) for side in (127, 255)]
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model(*pair)
    assert work.forward("baseline") == counted.get_total_flops() - 2 * 36 * 64 * (22**2 - 17**2)


def test_flops_of_a_step_by_hand():
    """Outputs of exemplar and search region, filters, channels of a group, side of the kernel."""
    layers = [(59, 123, 96, 3, 11), (25, 57, 256, 48, 5), (10, 26, 384, 256, 3),
              (8, 24, 384, 192, 3), (6, 22, 256, 192, 3)]  # fmt: skip
    one, two, three, four, five = (
        2 * (z**2 + x**2) * filters * inputs * side**2 for z, x, filters, inputs, side in layers
    )
    response = 2 * 17**2 * 36 * 256
    work = Work(1.0, 6)
    assert work.step("baseline") == 2 * one + 3 * (two + three + four + five + response)
    assert work.step("branch") == one + two + 2 * three + 3 * (four + five + response)
    weights = 2 * (36 * 384 * 256 * 9 + 9 * 512 * 384 * 9 + 1024 * 512 * 9 + 6 * 1024)
    first = 2 * 36 * 384 * 256 * 9
    branches = 6 * (three + four + five + response)
    assert work.step("fusion") == one + two + branches + 3 * weights - first


def test_sgd_is_that_of_pytorch():
    torch.manual_seed(0)
    ours, theirs = (nn.Linear(5, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    mine = Sgd(ours.parameters(), 0.1)
    reference = torch.optim.SGD(theirs.parameters(), 0.1, 0.9, weight_decay=5e-4)
    for rate in (0.1, 0.1, 0.02):
        mine.lr.fill_(rate)
        reference.param_groups[0]["lr"] = rate
        x = torch.randn(4, 5)
        for model in (ours, theirs):
            model(x).square().sum().backward()
        mine.step()
        reference.step()
        reference.zero_grad()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["baseline", "branch", "fusion"])
def test_a_step_has_the_loss_of_the_library(kind):
    task, pixels = task_of(kind, 0.0625, 2), noise(3, CPU)
    learner = Learner(task, PLAIN, CPU)
    facts = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool)
    with torch.no_grad():
        theirs, _ = task(task.frozen(*(part.float() for part in pixels), facts[0]), *facts)
        torch.testing.assert_close(learner.loss(*pixels), theirs, rtol=1e-5, atol=0)


def test_branches_at_once_learn_what_each_learns_alone():
    model = SiamFC(0.0625, seed=3)
    together = Learner(task_of("six", 0.0625, 2, model), PLAIN, CPU, lr=0.1)
    pixels = noise(4, CPU)
    together.step(*pixels)
    for j, branch in enumerate(together.task.model.branches):
        own = SiamFC(0.0625)
        own.load_state_dict(model.state_dict())
        alone = Learner(task_of("branch", 0.0625, 2, own), PLAIN, CPU, lr=0.1)
        alone.step(*(part[2 * j : 2 * j + 2] for part in pixels))
        for name, value in alone.task.model.branch.state_dict().items():
            torch.testing.assert_close(branch.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_the_ordered_pool_is_max_pooling():
    x = torch.randn(2, 3, 13, 12).round_().requires_grad_()  # with equal values in a window
    other = x.detach().clone().requires_grad_()
    weights = torch.randn(2, 3, 6, 5)
    ours, theirs = correctness.OrderedPool(3, 2)(x), nn.MaxPool2d(3, 2)(other)
    assert torch.equal(ours, theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    made = built_in.make(folder, otb_sequences=3, test_frames=6)
    return read_benchmark("otb2015", made.otb)[0]


class CutByOpenCV(LockstepTracker):
    """With the crops of the library: a grey level of difference can move the peak of a network
    that has learned nothing."""

    def crops(self, frames, sides, size):
        cut = [
            geometry.crop_many(frame.numpy(), center, own, size)
            for frame, center, own in zip(frames, self.center.numpy(), sides.numpy(), strict=True)
        ]
        return torch.from_numpy(np.concatenate(cut)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("kind", ["siamfc", "esiamfc"])
def test_the_loop_on_the_device_has_the_library_s_boxes(sequences, kind):
    if kind == "siamfc":
        model = SiamFC(0.0625, seed=1).eval()
        tracker = SiamFCTracker(model)
    else:
        model = ESiamFC(3, 0.0625, seed=2).eval()
        for branch, bias in zip(model.branches, (-3.0, -1.0, 0.5), strict=True):
            branch.bias.data.fill_(bias)
        tracker = ESiamFCTracker(model)
    together = Lockstep(CutByOpenCV(model, CPU), sequences)
    with ThreadPoolExecutor(1) as pool:
        found = together.boxes(together.from_files(pool))
    for sequence, boxes in zip(sequences, found, strict=True):
        theirs, _ = tracker.track_sequence(sequence)
        assert np.abs(theirs - theirs[0]).max() > 1  # it has moved
        np.testing.assert_allclose(boxes, theirs, atol=1e-6)


def test_crops_on_the_device_are_opencv_s(sequences):
    frame = images.read_image(sequences[0].frames[0])
    tracker = LockstepTracker(SiamFC(0.0625).eval(), CPU)
    for x, y, side in ((80.3, 61.7, 70.0), (3.2, 110.4, 150.0)):  # the second leaves the frame
        tracker.center = torch.tensor([[x, y]], dtype=torch.float64)
        sides = np.array([side, 1.1 * side])
        found = tracker.crops(torch.from_numpy(frame)[None], torch.from_numpy(sides)[None], 255)
        theirs = geometry.crop_many(frame, np.array([x, y]), sides, 255)
        away = np.abs(found.permute(0, 2, 3, 1).numpy() - theirs)
        assert away.max() <= 1 and (away > 0).mean() < 1e-3


def test_auc_is_that_of_the_evaluation(sequences):
    boxes = [one.boxes + np.array([2.0, -1.0, 1.0, 0.0]) for one in sequences]
    theirs = [score(b, one.boxes).success for b, one in zip(boxes, sequences, strict=True)]
    assert data.success_auc(boxes, sequences) == pytest.approx(np.mean(theirs))


def test_clusters_on_the_device_are_numpy_s():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((150, 20)) + 3 * rng.standard_normal((5, 20)).repeat(30, axis=0)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    labels = []
    for samples in (Centroids(x), TorchCentroids(x, CPU)):
        samples.start_at(starts(150, 3, 0))
        labels.append(iterate(samples, BalancedControl(0.005, 0.005, 150, 3, 0.02, 20), 50).labels)
    assert np.array_equal(*labels) and len(set(labels[0])) == 3


def test_the_rate_falls_as_the_library_s():
    settings = BaselineParameters(epochs=10, lr=learning.LR, lr_last=learning.LR_LAST)
    for epoch in range(10):
        ours = learning.rate_at((epoch + 0.5) / 10, learning.PUBLISHED)
        assert ours == pytest.approx(learning_rate(epoch, settings))
    rising = learning.scaled(32, 1, warm_up=0.05)
    assert learning.rate_at(0.025, rising) == pytest.approx(0.5 * 4 * learning.LR)


def test_a_plan_is_of_one_card():
    """Rows of another card stand in between and are not looked at."""
    one = plan.committed()
    other = [row | {"ours": 1.0} for row in one]
    other[0] |= {"name": "cores beside another card"}
    assert plan.of_first_card(one + other[:1] + other[-1:]) == one
    assert plan.plan(
        [*one, other[0], *(r for r in other[1:] if r["unit"] != "cores")]
    ) == plan.plan(one)
