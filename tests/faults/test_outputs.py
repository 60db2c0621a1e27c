"""Outputs that cannot be written: one sentence, before any work."""

import shutil

from faults import scene
from faults.campaign import Row, rows, tried
from mini_vid import make_video

from esiamfc_lib import cli
from esiamfc_lib.curation.pipeline import curate


def a_file(folder):
    """A file where the output's folder should be."""
    scene.network(folder / "n.safetensors")
    scene.frames(folder / "f", 4)
    scene.otb(folder / "otb", count=4)
    (folder / "file").write_text("x\n")


def a_store(folder):
    """A network, the store ``st``, the validation videos ``v``."""
    a_file(folder)
    make_video(folder / "w", "other", 3)
    curate(folder / "w", folder / "st")
    make_video(folder / "v", "a", 4, split="val")
    scene.vot(folder / "vot", count=4)
    (folder / "L").symlink_to("L")


def folder_at(path: str):
    """A folder where a file is to be written."""
    return lambda folder: a_store(folder) or (folder / path).mkdir(parents=True)


CHOOSE = "choose --weights n.safetensors --weights n.safetensors --vid-root v --out "
EVALUATE = "evaluate --benchmark otb2015 --root otb --identity --out "
OUTPUTS = [
    Row(
        "track into a file",
        a_file,
        "track f --box 60,80,36,30 --weights n.safetensors --out file",
        r"file: (Not a directory|File exists)",
    ),
    Row(
        "quantise over the store's manifest",
        a_store,
        "quantise n.safetensors --store st --out st/manifest.json",
        "st/manifest.json lies in its own source st",
    ),
    Row("choose into the videos", a_store, f"{CHOOSE}v/x", "v/x lies in its own source v"),
    Row("choose over a folder", folder_at("o/selection.json"), f"{CHOOSE}o", "it is a folder"),
    Row(
        "a workspace in the sequences",
        a_store,
        "vot-workspace vot/ws --root vot --identity",
        "vot/ws lies in its own source vot",
    ),
    Row("results about the data", a_store, f"{EVALUATE}.", "holds its own source otb"),
    Row("results in a circle of links", a_store, f"{EVALUATE}L", "cannot use L: Symlink loop"),
    Row("a root of links", a_store, f"{EVALUATE}o --root L", "cannot use L: Symlink loop"),
    Row(
        "a folder for differences",
        folder_at("o/differences.csv"),
        f"{EVALUATE}o --starts 1 --segment 2 --perturbations 0",
        "differences.csv: it is a folder",
    ),
    Row(
        "a folder for a figure",
        folder_at("o/figures/best_1.png"),
        f"{EVALUATE}o",
        "best_1.png: it is a folder",
    ),
    Row(
        "a fusion that is unknown",
        a_store,
        f"{EVALUATE}o --fusion mean",
        "choose from 'uniform', 'max', 'nearest_centroid', ",
    ),
]


def a_test_set(folder):
    """GOT-10k's test set of one sequence, and a folder where its archive is to be written."""
    a_store(folder)
    shutil.move(
        scene.got10k(folder / "got", ["GOT-10k_Test_000001"], 4) / "val", folder / "got/test"
    )
    (folder / "o/Identity.zip").mkdir(parents=True)


OUTPUTS.append(
    Row(
        "a folder for the archive",
        a_test_set,
        "evaluate --benchmark got10k-test --root got --identity --out o",
        "Identity.zip: it is a folder",
    )
)


def test_names_of_all_kinds_are_drawn_and_shown_and_nothing_of_an_earlier_call_stays(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    scene.otb(tmp_path / "otb", ["A$^$", "B"], 4)
    scene.network(tmp_path / "NA.safetensors")
    scene.network(tmp_path / "0050.safetensors")
    words = ["evaluate", "--benchmark", "otb2015", "--root", "otb", "--out", "o"]
    weights = ["--weights=NA.safetensors", "--weights=0050.safetensors"]
    assert cli.main([*words, *weights]) == 0
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert shown[1:3] == ["NA", "0050"]
    assert (tmp_path / "o/figures/worst_2.png").is_file()
    assert cli.main([*words, "--identity", "--limit", "1"]) == 0
    assert not (tmp_path / "o/figures/worst_2.png").exists()
    assert (tmp_path / "o/figures/worst_1.png").is_file()
    starts = ["--out=s", "--identity", "--starts=1", "--segment=2", "--perturbations=0"]
    assert cli.main([*words, *starts, weights[0]]) == 0
    assert (tmp_path / "s/differences.csv").is_file()
    assert cli.main([*words, *starts]) == 0
    assert not (tmp_path / "s/differences.csv").exists()


@rows(OUTPUTS)
def test_outputs(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
