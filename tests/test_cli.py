"""The command line: lazy, and every fault is one sentence and a status other than 0."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from esiamfc_lib import __version__, cli
from esiamfc_lib.errors import StudyError
from speed import row
from speed.__main__ import main as speed_main


def command(monkeypatch, name: str, main, arguments=lambda parser: None) -> None:
    """Put a command's module in place of the real one."""
    module = types.ModuleType(f"esiamfc_lib.commands.{name}", "What it does.")
    module.main, module.arguments = main, arguments
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"esiamfc {__version__}\n"


@pytest.mark.parametrize(
    "argv", [[], ["fly"], ["run", "--fast"], ["run", "--only", "a", "--until", "b"]]
)
def test_wrong_use_ends_with_status_2(argv, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(argv)
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_arguments_reach_the_command(monkeypatch):
    command(
        monkeypatch,
        "convert",
        lambda args: args.number,
        lambda parser: parser.add_argument("number", type=int),
    )
    assert cli.main(["convert", "7"]) == 7


def test_faults_become_one_sentence(monkeypatch, capsys):
    def fail(args):
        raise StudyError("the store is empty")

    command(monkeypatch, "store", fail)
    assert cli.main(["store"]) == 2
    assert capsys.readouterr().err == "esiamfc store: the store is empty\n"


def test_what_the_system_refuses_is_one_sentence(monkeypatch, capsys, tmp_path):
    command(monkeypatch, "store", lambda args: (tmp_path / "absent" / "file").write_text("x"))
    assert cli.main(["store"]) == 2
    said = capsys.readouterr().err
    assert said == f"esiamfc store: {tmp_path / 'absent' / 'file'}: No such file or directory\n"


def test_an_unexpected_error_is_one_sentence_and_leaves_its_traceback(monkeypatch, capsys):
    command(monkeypatch, "store", lambda args: {}["no such\nkey"])
    assert cli.main(["store"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("esiamfc store: an unexpected error, KeyError: ")
    assert said.count("\n") == 1
    log = Path(said.split()[-1])
    assert "Traceback" in log.read_text()
    log.unlink()


def test_interruption(monkeypatch, capsys):
    def stop(args):
        raise KeyboardInterrupt

    command(monkeypatch, "track", stop)
    assert cli.main(["track"]) == 130
    assert capsys.readouterr().err == "esiamfc track: interrupted\n"


def test_a_missing_module_leaves_the_other_commands_alone(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "esiamfc_lib.commands.convert", None)
    assert cli.main(["convert"]) == 2
    assert "esiamfc convert: cannot be loaded" in capsys.readouterr().err
    command(monkeypatch, "track", lambda args: 0)
    assert cli.main(["track"]) == 0


def test_run_needs_a_profile_that_exists(monkeypatch, root, capsys):
    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    assert cli.main(["run", "--profile", "maxi"]) == 2
    assert capsys.readouterr().err.startswith("esiamfc run: no profile 'maxi'")
    assert cli.main(["run", "--only", "09"]) == 2
    assert "no stage '09'; there are 01 dataset, 02 baseline" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        cli.main(["run", "-n", "0"])
    assert end.value.code == 2


def test_run_outside_a_project(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("ESIAMFC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run"]) == 2
    assert "no project folder" in capsys.readouterr().err


def test_bench_shows_and_writes_rows(monkeypatch, tmp_path, capsys):
    area = types.ModuleType("speed.data", "Data.")
    area.arguments = lambda parser: parser.add_argument("--crops", type=int, default=1)
    area.rows = lambda args: [row("curation", 800.0 * args.crops, 100.0, "crops/s", "> 7")]
    monkeypatch.setitem(sys.modules, "speed.data", area)
    file = tmp_path / "rows.json"
    assert speed_main(["data", "--json", str(file), "--crops", "2"]) == 0
    assert json.loads(file.read_text())[0]["ratio"] == 16.0
    assert "curation" in capsys.readouterr().out


def test_the_run_command_imports_nothing_heavy():
    heavy = "torch", "umap", "papermill", "pandas", "numpy", "sklearn", "cv2", "matplotlib"
    code = (
        "import sys, esiamfc_lib.commands.run; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
