"""Model files of every kind, broken in every way: one sentence each, and no memory for promises."""

import resource

import pytest
from faults import scene
from faults.broken_weights import BROKEN, broken_file
from faults.campaign import Row, rows, tried

from esiamfc_lib import cli
from esiamfc_lib.networks.published import load_any
from esiamfc_lib.runtime.files import exclusive


@pytest.mark.parametrize("fault", BROKEN, ids=[name.replace(" ", "-") for name in BROKEN])
def test_a_broken_model_file_is_refused_in_one_sentence(fault, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = broken_file(fault, tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    status = cli.main(["convert", str(path), "--out", "out.safetensors"])
    shown = capsys.readouterr()
    said = (shown.out + shown.err).splitlines()
    assert status == 2, said
    assert len(said) == 1 and said[0].startswith("esiamfc convert: ") and path.name in said[0]
    assert "weights_only" not in said[0] and "allow_pickle" not in said[0]
    assert len(said[0]) < 500
    assert not (tmp_path / "out.safetensors").exists() and not (tmp_path / "was-run").exists()
    # kilobytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


QUANTISE = "quantise n.safetensors --store nowhere"
CHOOSE = "choose --vid-root vid --out out --weights n.safetensors"


def network(folder):
    """A network, a file and a folder where outputs may be meant to go."""
    scene.network(folder / "n.safetensors")
    (folder / "file").write_text("x\n")
    (folder / "d.safetensors").mkdir()


def held(folder):
    """The lock of another call, which lasts as long as this process."""
    network(folder)
    LOCKS.append(exclusive(folder / "out", "never said"))


LOCKS = []
OUTPUTS = [
    Row("convert onto itself", network, "convert n.safetensors --out n.safetensors", "own source"),
    Row(
        "convert onto a link to itself",
        lambda f: (network(f), (f / "m.safetensors").symlink_to("n.safetensors")),
        "convert n.safetensors --out m.safetensors",
        "own source",
    ),
    Row("convert into a file", network, "convert n.safetensors --out file/n.safetensors", "file"),
    Row("convert onto a folder", network, "convert n.safetensors --out d.safetensors", "a folder"),
    Row("graphs into a file", network, "onnx_export n.safetensors --out file", "file"),
    Row("quantise onto the weights", network, f"{QUANTISE} --out n.safetensors", "own source"),
    Row("quantise into a file", network, f"{QUANTISE} --out file/i.safetensors", "file"),
    Row(
        "an ending in capitals",
        lambda f: (network(f), (f / "n.safetensors").rename(f / "N.SAFETENSORS")),
        "convert N.SAFETENSORS --out m.safetensors",
        check=lambda f: load_any(f / "m.safetensors"),
    ),
    Row("quantise without a store", network, QUANTISE, "nowhere is not a crop store"),
    Row("quantise no crops", network, f"{QUANTISE} --crops 0", "--crops.*'0'"),
    Row("quantise crops without end", network, f"{QUANTISE} --crops 1000000000", "--crops"),
    Row("quantise crops as text", network, f"{QUANTISE} --crops many", "--crops.*'many'"),
    Row("choose while another does", held, f"{CHOOSE} --trials 2", "another search or choice"),
    Row("choose into a file", network, CHOOSE.replace("--out out", "--out file"), "file"),
    Row("choose with an open list", network, f"{CHOOSE} --set scale_lr=[", "not valid YAML"),
    Row(
        "choose with an unknown parameter", network, f"{CHOOSE} --set x=3", "unknown parameter 'x'"
    ),
    Row("choose with an even scale_num", network, f"{CHOOSE} --set scale_num=4", "scale_num"),
    Row("choose without videos", network, f"{CHOOSE} --trials 2", "vid"),
    Row("choose trials below 0", network, f"{CHOOSE} --trials -1", "trials"),
]


@rows(OUTPUTS)
def test_outputs_and_options_are_checked_before_the_work(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
