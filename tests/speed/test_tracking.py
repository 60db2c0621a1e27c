"""The benchmark of the trackers: what is compared is comparable. No test measures a speed."""

import json

import built_in
import numpy as np
import pytest

from esiamfc_lib import cli
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.networks.siamfc import SiamFC
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.siamfc import SiamFCTracker
from speed import tracking as bench
from speed.__main__ import main as speed_main
from tools import quantise
from tools.int8 import beside

WIDTH = 0.0625


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return built_in.make(
        tmp_path_factory.mktemp("bench") / "built-in",
        train_videos=2,
        otb_sequences=2,
        test_frames=6,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Biases differ, so that a loop that counts from a wrong floor would choose other scales."""
    folder = tmp_path_factory.mktemp("weights")
    ensemble = ESiamFC(3, WIDTH, seed=2)
    for branch, bias in zip(ensemble.branches, (-3.0, -1.0, 0.5), strict=True):
        branch.bias.data.fill_(bias)
    checkpoints.save(folder / "siamfc.safetensors", SiamFC(WIDTH, seed=1))
    checkpoints.save(folder / "esiamfc.safetensors", ensemble)
    return folder


def test_quantise_writes_the_int8_form_beside_the_weights(data, weights, capsys):
    curate(data.vid, weights / "store")
    for name in ("siamfc", "esiamfc"):
        file = weights / f"{name}.safetensors"
        arguments = [str(file), "--store", str(weights / "store"), "--crops", "3"]
        assert cli.run("quantise", lambda: quantise, arguments) == 0
        assert beside(file).is_file()
        assert f"{beside(file)}: digest" in capsys.readouterr().out


def test_rows_of_a_whole_run(data, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)
    file = tmp_path / "rows.json"
    files = [str(weights / f"{name}.safetensors") for name in ("siamfc", "esiamfc")]
    arguments = [
        *["tracking", "--width", str(WIDTH), "--branches", "2", "--frames", "4"],
        *["--on", str(data.otb), *files, "--exact", "6", "--out", str(tmp_path / "boxes")],
        *["--json", str(file)],
    ]
    assert speed_main(arguments) == 0
    rows = json.loads(file.read_text())
    assert all(row["ours"] > 0 and np.isfinite(row["ratio"]) for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert len(by_name) == len(rows)
    for precision in bench.PRECISIONS:
        assert f"SiamFC, torch {precision}, 1 thread" in by_name
        assert f"ESiamFC k = 2, 2 run, torch {precision}, 1 thread" in by_name
    exact = [row for row in rows if row["name"].startswith("boxes within 0.01 px")]
    assert [row["ours"] for row in exact] == [1, 1]
    assert (
        by_name["success AUC, siamfc fp32 on 2 built-in sequences; reference: fp32"]["ratio"] == 1
    )
    assert by_name["IoU with the fp32 boxes, esiamfc fp32 on 2 built-in sequences"]["ours"] == 1


@pytest.mark.parametrize("name", ["siamfc", "esiamfc"])
def test_the_plain_loop_has_our_responses(weights, name):
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    if name == "siamfc":
        model = published.load_siamfc(weights / "siamfc.safetensors")
        plain, ours = bench.PlainTracker(model), SiamFCTracker(model)
    else:
        model = published.load_esiamfc(weights / "esiamfc.safetensors")
        plain, ours = bench.PlainEnsembleTracker(model), ESiamFCTracker(model, "uniform")
    for tracker in (plain, ours):
        tracker.init(image, np.array([60.0, 40, 30, 24]))
    crops = ours.search_crops(image)
    a, b = plain.respond(crops), ours.respond(crops)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())
    np.testing.assert_allclose(plain._floor(), ours._floor(), rtol=1e-6)
