"""Kill the commands at random moments, run them to their end, and compare what they made.

    python -m tools.kill_campaign --minutes 10 --seed 0 --only store evaluate
    python -m tools.kill_campaign --disk-full

Every command is run once without interruption; then it is killed (SIGKILL, to its process alone, at
a time drawn from the seed) some times in a row and run to the end. What it leaves must be, byte for
byte, what the uninterrupted run left, but for figures of speed and times of files. Three seconds
after each kill the processes that it had started are counted that still live. ``--disk-full`` puts
the outputs on a small file system in memory that gets full instead of killing, where it may be
mounted: each attempt must end in one sentence, and once there is space in the same bytes.
"""

import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
SMALL = (
    *("dataset.train_videos=4", "dataset.val_videos=2", "dataset.video_frames=6"),
    *("baseline.epochs=1", "baseline.pairs_per_epoch=16", "comparison.runs=0"),
)
VIDEOS = {"train_videos": 6, "val_videos": 3, "video_frames": 10}


@dataclass
class Command:
    """One command of the campaign: its words (in a folder), what of it is compared, and counts."""

    name: str
    words: Callable[[Path], list[str]]
    made: Callable[[Path], bool] = lambda path: True
    kills: int = 0
    compared: int = 0
    different: list[str] = field(default_factory=list)
    orphans: int = 0
    tracebacks: int = 0
    seconds: float = 0.0


def command_line(*words) -> list[str]:
    return [sys.executable, "-m", "esiamfc_lib.cli", *map(str, words)]


def commands(inputs: Path) -> list[Command]:
    """The commands, quick ones first, on inputs that ``make_inputs`` made."""
    network = inputs / "n.safetensors"

    def evaluate(out: Path) -> list[str]:
        given = ["--benchmark", "otb2015", "--root", inputs / "otb", "--weights", network]
        return command_line("evaluate", *given, "--no-figures", "--workers", 2, "--out", out / "e")

    def select(out: Path) -> list[str]:
        given = ["--vid-root", inputs / "vid", "--weights", network, "--out", out / "s"]
        short = ["--starts", 2, "--segment", 8, "--trials", 3]
        return [sys.executable, "-m", "tools.choose", *map(str, (*given, *short))]

    def synthetic(out: Path) -> list[str]:
        code = f"import built_in; built_in.make({str(out / 'b')!r}, workers=2, **{VIDEOS})"
        return [sys.executable, "-c", code]

    def quantise(out: Path) -> list[str]:
        given = ["--store", inputs / "store", "--crops", 4, "--out", out / "q.safetensors"]
        return [sys.executable, "-m", "tools.quantise", *map(str, (network, *given))]

    def chain(out: Path) -> list[str]:
        places = [f"run_dir={out / 'data'}", f"report_dir={out / 'reports'}", *SMALL]
        sets = [word for change in places for word in ("--set", change)]
        return command_line("run", "--profile", "smoke", "-n", 2, *sets)

    def convert(out: Path) -> list[str]:
        return command_line("convert", network, "--out", out / "c.safetensors")

    def store(out: Path) -> list[str]:
        return command_line("store", "build", inputs / "vid", out / "store", "--workers", 2)

    return [
        Command("convert", convert),
        Command("quantise", quantise),
        Command("store build", store),
        Command("synthetic data", synthetic),
        Command("evaluate", evaluate, untimed),
        Command("select", select, untimed),
        Command("chain", chain, of_chain),
    ]


def untimed(path: Path) -> bool:
    """Results of an evaluation that hold no times; a search's record of its trials has them."""
    return (
        path.name != "scores.csv"
        and path.suffix not in (".db", ".journal")
        and "times" not in path.parts
    )


def of_chain(path: Path) -> bool:
    """Artefacts of a run that hold no times, speeds or paths, and no drawing of them."""
    free = ("provenance.json", "scores.csv", "dataset.json", "environment.json")
    kinds = (".json", ".csv", ".npz", ".npy", ".safetensors", ".txt")
    timed = {"times", "speed", "reports"} & set(path.parts)
    return path.suffix in kinds and path.name not in free and not timed


def make_inputs(folder: Path) -> None:
    """Sequences, a VID root with its store, a network; small ones."""
    from faults import scene
    from mini_vid import make_vid

    from esiamfc_lib.curation.pipeline import curate

    scene.otb(folder / "otb", [f"S{i}" for i in range(4)], count=16)
    scene.network(folder / "n.safetensors")
    make_vid(folder / "vid", videos=6, frames=20, val=2)
    curate(folder / "vid", folder / "store")


def digests(folder: Path, made: Callable[[Path], bool]) -> dict[str, str]:
    """SHA-256 of the artefacts below a folder; hidden files and caches are none."""
    found = {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_file() and not hidden and path.suffix != ".log" and made(place):
            found[str(place)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def start(words: list[str], log: Path) -> subprocess.Popen:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    with log.open("ab") as file:
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=file, stderr=file)


def finish(command: Command, out: Path) -> str:
    """Run to the end; what it said."""
    log = Path(tempfile.gettempdir()) / f"kills-{os.getpid()}.out"  # not on a disk that is full
    log.unlink(missing_ok=True)
    begun = time.monotonic()
    status = start(command.words(out), log).wait()
    command.seconds = time.monotonic() - begun
    said = log.read_text(errors="replace").replace("\r", "\n")
    command.tracebacks += "Traceback" in said
    lines = said.strip().splitlines() or [f"status {status}"]
    sentences = [line for line in lines if line.startswith("esiamfc ")]
    return "" if status == 0 else [*lines, *sentences][-1]


def killed(command: Command, out: Path, moment: float) -> None:
    """Start, kill at that moment, and count who lives on three seconds later."""
    process = start(command.words(out), Path(os.devnull))
    limit = time.monotonic() + moment
    family: dict[int, psutil.Process] = {}
    while time.monotonic() < limit and process.poll() is None:
        try:
            family |= {p.pid: p for p in psutil.Process(process.pid).children(recursive=True)}
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.poll() is not None:
        return
    process.kill()
    process.wait()
    command.kills += 1
    time.sleep(3)
    for child in family.values():
        command.orphans += child.is_running() and child.status() != psutil.STATUS_ZOMBIE


def tried(command: Command, whole: dict[str, str], out: Path, rng: random.Random) -> None:
    """One round: up to three kills in a row, then to the end, then compared."""
    out.mkdir()
    usual = command.seconds
    for _ in range(rng.randint(1, 3)):
        killed(command, out, rng.uniform(0.1, 1) * usual)
    fault = finish(command, out)
    command.seconds = usual
    compare(command, whole, out, fault)


def compare(command: Command, whole: dict[str, str], out: Path, fault: str) -> None:
    found = digests(out, command.made)
    command.compared += len(whole)
    sys.stdout.write(f"{out.name}: {command.kills} kills of {command.name} so far. {fault}\n")
    sys.stdout.flush()
    wrong = [name for name in {*whole, *found} if whole.get(name) != found.get(name)]
    command.different += [*wrong, *([fault] if fault else [])]
    if not (wrong or fault):
        shutil.rmtree(out)


def campaign(minutes: float, seed: int, only: list[str], folder: Path) -> list[Command]:
    """Rounds over all commands until the time is over; the commands with their counts."""
    make_inputs(folder / "inputs")
    chosen = [c for c in commands(folder / "inputs") if not only or c.name.split()[0] in only]
    end, rng, wholes = time.monotonic() + 60 * minutes, random.Random(seed), {}
    for number in range(10_000):
        for command in chosen:
            if time.monotonic() > end and number:
                return chosen
            if command.name not in wholes:
                out = folder / f"{command.name} whole".replace(" ", "-")
                out.mkdir()
                if fault := finish(command, out):
                    raise SystemExit(f"{command.name} does not run: {fault}")
                wholes[command.name] = digests(out, command.made)
            name = f"{command.name} {number}".replace(" ", "-")
            tried(command, wholes[command.name], folder / name, rng)
    return chosen


def disk_full(seed: int, only: list[str], folder: Path) -> list[Command]:
    """Outputs on a file system of a few sizes that are too small; ``kills`` counts full disks."""
    make_inputs(folder / "inputs")
    chosen = [c for c in commands(folder / "inputs") if not only or c.name.split()[0] in only]
    rng, disk = random.Random(seed), folder / "disk"
    disk.mkdir()
    for command in chosen:
        out = folder / "whole"
        out.mkdir()
        finish(command, out)
        whole = digests(out, command.made)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        shutil.rmtree(out)
        for share in (0.0, rng.uniform(0.1, 0.5), rng.uniform(0.5, 0.95)):
            space = max(int(share * size), 16384)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={space}", "tmpfs", disk],
                              capture_output=True, check=False).returncode:  # fmt: skip
                sys.stdout.write("disk full: skipped, no tmpfs may be mounted here\n")
                return []
            try:
                place = disk / "out"
                place.mkdir()
                said = finish(command, place)
                command.kills += bool(said)
                said or command.different.append(f"{space} bytes were enough for {size}")
                if said and not said.startswith(("esiamfc ", "OSError", "esiamfc_lib.errors")):
                    command.different.append(f"no sentence: {said}")
                subprocess.run(["mount", "-o", "remount,size=2g", disk], check=True)
                compare(command, whole, place, finish(command, place))
            finally:
                subprocess.run(["umount", disk], check=False)
    return chosen


def table(done: list[Command]) -> str:
    """What the campaign found, a row a command."""
    head = ("command", "kills", "compared", "different", "orphans", "tracebacks")
    rows = [(c.name, c.kills, c.compared, len(c.different), c.orphans, c.tracebacks) for c in done]
    total = ("all", *(sum(row[i] for row in rows) for i in range(1, len(head))))
    lines = ["".join(f"{value!s:>14}" for value in row) for row in (head, *rows, total)]
    faults = [f"{c.name}: {fault}" for c in done for fault in c.different]
    return "\n".join([*lines, *faults]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="time of the campaign")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these commands")
    parser.add_argument("--disk-full", action="store_true", help="fill the disk, do not kill")
    parser.add_argument("--keep", type=Path, help="work here, and keep what differs")
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT / "tests")]
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        place = args.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        if args.disk_full:
            done = disk_full(args.seed, args.only, place)
        else:
            done = campaign(args.minutes, args.seed, args.only, place)
    sys.stdout.write(table(done))
    return int(any(command.different or command.orphans for command in done))


if __name__ == "__main__":
    sys.exit(main())
