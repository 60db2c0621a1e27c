"""Outputs that cannot be written: one sentence, before any work."""

from faults import scene
from faults.campaign import Row, rows, tried


def a_file(folder):
    """A file where the output's folder should be."""
    scene.network(folder / "n.safetensors")
    scene.frames(folder / "f", 4)
    scene.otb(folder / "otb", count=4)
    (folder / "file").write_text("x\n")


OUTPUTS = [
    Row(
        "track into a file",
        a_file,
        "track f --box 60,80,36,30 --weights n.safetensors --out file",
        r"file: (Not a directory|File exists)",
    ),
]


@rows(OUTPUTS)
def test_outputs(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
