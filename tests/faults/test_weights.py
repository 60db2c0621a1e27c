"""Model files of every kind, broken in every way: one sentence each, and no memory for promises."""

import resource

import pytest
from faults.broken_weights import BROKEN, broken_file

from esiamfc_lib import cli


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
