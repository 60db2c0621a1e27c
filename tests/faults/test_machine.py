"""What a machine refuses: no space left, no place for caches. Needs the right to mount."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_study import code, write_notebook

TESTS = Path(__file__).parents[1]

FULL = """
import contextlib, io, json, os, shutil, subprocess, sys
from pathlib import Path
from fake_study import edit, make_project
from faults.test_run_folder import SHARDS, contents, run_here
from esiamfc_lib import cli
from esiamfc_lib.chain import notebook_run, runner

SIZE = 1 << 20
root = make_project(Path(sys.argv[1]) / "a project")
os.environ["ESIAMFC_ROOT"] = str(root)
edit(root, "01_dataset_prep", SHARDS)
notebook_run.run_notebook, runner.environment = run_here, dict
disk = root / "data"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk], check=True)

def run():
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = cli.main(["run", "--profile", "tiny"])
    return status, said.getvalue()

assert run()[0] == 0
expected = contents(disk / "tiny")
used = SIZE - shutil.disk_usage(disk).free
for share in range(12):
    shutil.rmtree(disk / "tiny")
    (disk / "filler").write_bytes(bytes(SIZE - used * share // 12))
    full, said = run()
    made = {path: path.read_bytes() for path in (disk / "tiny").glob("*/provenance.json")}
    done = [path for path, data in made.items() if b'"done"' in data]
    (disk / "filler").unlink()
    status, after = run()
    kept = all(made[path] == path.read_bytes() for path in done)
    same = contents(disk / "tiny") == expected
    print(json.dumps([full, said, status, len(done), kept, same]))
"""


def mounting(*command: str, **options) -> subprocess.CompletedProcess:
    """Run a command that may mount, which ends with it; skips where that is not permitted."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount (root)")
    options = {"capture_output": True, "text": True, "check": False} | options
    return subprocess.run(["unshare", "-m", *command], **options)


@pytest.fixture
def environment() -> dict[str, str]:
    """For a process that finds the library and the tests' helpers."""
    return os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def test_a_full_disk_is_one_sentence_and_nothing_made_is_lost(tmp_path, environment):
    done = mounting(sys.executable, "-c", FULL, str(tmp_path), env=environment)
    assert done.returncode == 0, done.stderr
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tried) == 12
    for full, said, status, _, kept, same in tried:
        assert full in (1, 2), said
        assert said.count("No space left on device") == 1, said
        assert re.search(r"(data/tiny\S*|code cell \d): No space left", said), said
        assert "Traceback" not in said and "unexpected" not in said
        assert (status, kept, same) == (0, True, True)
    assert len({many for *_, many, _, _ in tried}) > 3  # full at different stages


CACHED = """
import sys
from pathlib import Path
from esiamfc_lib.chain.notebook_run import run_notebook
run_notebook(Path(sys.argv[1]), Path(sys.argv[2]), {"output": sys.argv[3]})
"""


def test_notebooks_run_where_neither_home_nor_environment_can_be_written(tmp_path, environment):
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "like_umap.py").write_text(
        "import numba\n\n\n@numba.njit(cache=True)\ndef f():\n    return 1\n"
    )
    write_notebook(
        tmp_path / "n.ipynb",
        code('output = ""', 0, "parameters"),
        code(f"import sys; sys.path.insert(0, {str(installed)!r}); import like_umap", 1),
        code("import matplotlib; open(output, 'w').write(matplotlib.get_cachedir())", 2),
    )
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && "$@"'
    command = [sys.executable, "-c", CACHED, str(tmp_path / "n.ipynb")]
    places = [str(tmp_path / "run/notebooks/n.ipynb"), str(tmp_path / "output")]
    free = {name: value for name, value in environment.items() if not name.startswith("XDG_")}
    free["HOME"] = "/proc/none"
    done = mounting("bash", "-c", script, "_", str(installed), *command, *places, env=free)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "output").read_text() == str(tmp_path / "run/.cache/mplconfigdir")
    assert (tmp_path / "run/.cache/numba_cache_dir").is_dir()
