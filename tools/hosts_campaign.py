"""Run the commands over three hosts (network namespaces), break what can break, compare bytes.

    python -m tools.hosts_campaign --only store evaluate training --table reports/bench/hosts.csv

For every command that works on a Dask cluster: nothing broken; a worker killed; a worker without
network for ten seconds. Each time the command must make what one machine makes. Then a worker with
another version of the library, and one that lacks the data: one sentence, and nothing is made. For
``tools.train``: its losses against those of one process, with one run folder and with one a host; a
process killed, a host unplugged: one sentence from the others within a minute; and it goes on.
Where SLURM is installed (Debian: slurmctld, slurmd, slurm-client, munge), the scripts for it on a
cluster: parts of a store, a Dask cluster, a training that is preempted.
It needs root's rights on Linux. Exit status 1 where something was not as it must be.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from esiamfc_lib.runtime.files import write_atomically
from tools.kill_campaign import ROOT, SMALL, command_line, digests, of_chain, untimed

sys.path[:0] = [str(ROOT / "tests")]

from hosts import Cluster, Hosts, refused, under_way  # noqa: E402 - of the tests
from processes import copy_of_library, end  # noqa: E402

EMBED = """
import sys, numpy
from pathlib import Path
from esiamfc_lib.clustering import embedding
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.networks.checkpoints import load
plan = {"frames_per_track": 8, "min_frames": 2, "keep_fraction": 1.0, "batch_size": 4}
plan |= {"keep_rounds": "up"}
class Told(embedding.Progress):
    def update(self, n=1):
        super().update(n)
        Path(sys.argv[3]).with_name("begun").write_text("a track is done")
embedding.Progress = Told
found = embedding.embed(CropStore(sys.argv[1]), load(sys.argv[2])[0], **plan, scheduler=sys.argv[4])
numpy.save(sys.argv[3], found.features)
"""
SLURM = """
ClusterName=hosts
SlurmctldHost=host0({address[0]})
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
NodeName=host1 NodeAddr={address[1]} CPUs=2
NodeName=host2 NodeAddr={address[2]} CPUs=2
PartitionName=usual Nodes=host[1-2] Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=host[1-2] MaxTime=INFINITE PriorityTier=9 PreemptMode=OFF
"""
CASES = ["nothing", "killed", "unplugged", "another version", "data missing"]
UNPLUGGED = 10  # seconds
BEGUN = ("manifest.json", "source.json")  # say of a store that it is not complete
PATIENCE = 900  # seconds that a command may take


@dataclass
class Work:
    """A command; its words for an output folder and a scheduler (empty: this machine)."""

    name: str
    words: Callable[[Path, str], list]
    data: Path  # what a worker may lack
    change: tuple[str, str, str]  # module, text and other text of another version of the library
    made: Callable[[Path], bool] = lambda path: True


def works(inputs: Path) -> list[Work]:
    weights, otb, vid = inputs / "n.safetensors", inputs / "otb", inputs / "vid"

    def store(out: Path, scheduler: str) -> list:
        where = ["--scheduler", scheduler] if scheduler else []
        return command_line("store", "build", vid, out / "store", "--workers", 1, *where)

    def evaluate(out: Path, scheduler: str, *more) -> list:
        given = ["--benchmark", "otb2015", "--root", otb, "--weights", weights, "--no-figures"]
        where = ["--scheduler", scheduler] if scheduler else ["--no-lockstep"]
        return command_line("evaluate", *given, "--out", out / "e", *where, *more)

    def starts(out: Path, scheduler: str) -> list:
        return evaluate(out, scheduler, "--starts", 3, "--segment", 12)

    def embed(out: Path, scheduler: str) -> list:
        out.mkdir(exist_ok=True)
        given = [inputs / "store", weights, out / "features.npy", scheduler]
        return [sys.executable, "-c", EMBED, *given]

    def sweep(out: Path, scheduler: str) -> list:
        values = [f"run_dir={out / 'data'}", f"report_dir={out / 'reports'}", *SMALL]
        values += [f"dataset.scheduler={scheduler}"] if scheduler else []
        sets = [word for value in values for word in ("--set", value)]
        points = ["--sweep", "dataset.jpeg_quality=80,90", "--until", "dataset"]
        return command_line("run", "--profile", "smoke", *points, *sets)

    cut = "curation/crops.py", "cut_frame(files, result, jpeg", "cut_frame(files, result, 1 + jpeg"
    loop = "tracking/siamfc.py", "self.center + cells", "self.center + 3 + cells"
    network = "networks/siamfc.py", "RESPONSE_SCALE = 1e-3", "RESPONSE_SCALE = 2e-3"
    return [
        Work("store", store, vid, cut),
        Work("evaluate", evaluate, otb, loop, untimed),
        Work("starts", starts, otb, loop, untimed),
        Work("embed", embed, inputs / "store", network, lambda path: path.suffix == ".npy"),
        Work("sweep", sweep, inputs / "nothing", cut, of_cluster),
    ]


def of_cluster(path: Path) -> bool:
    """What a sweep makes on the cluster: not the built-in data, nor when its files were made."""
    alone = {"raw", "source.json", "sweep.json"} & set(path.parts)
    return of_chain(path) and not alone


def make_inputs(folder: Path) -> None:
    from faults import scene
    from mini_vid import make_vid

    from esiamfc_lib.curation.pipeline import curate

    scene.otb(folder / "otb", [f"S{i}" for i in range(10)], count=30)
    scene.network(folder / "n.safetensors")
    make_vid(folder / "vid", videos=24, frames=20, val=2)
    curate(folder / "vid", folder / "store")
    (folder / "nothing").mkdir()


@dataclass
class Table:
    """Rows as they come, also in a CSV ``file`` if there is one, whose row of the same case is
    replaced; ``wrong`` of them were not as they must be."""

    file: Path | None = None
    wrong: int = 0

    def row(self, what: str, case: str, good: bool, seconds: float, said: str = "") -> None:
        self.wrong += not good
        verdict = "as it must be" if good else "WRONG"
        sys.stdout.write(f"{what:<12}{case:<34}{verdict:<15}{seconds:6.0f} s  {said}\n")
        sys.stdout.flush()
        if self.file:
            own = {"command": what, "case": case, "outcome": verdict, "seconds": round(seconds)}
            rows = pd.DataFrame([own | {"said": said.strip()}])
            if self.file.is_file():
                rows = pd.concat([pd.read_csv(self.file), rows])
            rows = rows.drop_duplicates(["command", "case"], keep="last")
            write_atomically(self.file, rows.to_csv(index=False, lineterminator="\n"))


def sentence(log: Path) -> str:
    """The last line that a command said of itself."""
    lines = log.read_text(errors="replace").replace("\r", "\n").splitlines()
    own = ("esiamfc ", "tools.train, process", "esiamfc_lib.errors", "stage dataset failed")
    return next((line for line in reversed(lines) if line.startswith(own)), "")


def until_said(log: Path, process: subprocess.Popen) -> float:
    """Seconds until a process has said why it ends; what torchrun does then is its own affair."""
    begun = time.monotonic()
    while process.poll() is None and not sentence(log) and time.monotonic() < begun + PATIENCE:
        time.sleep(0.2)
    return time.monotonic() - begun


def over_dask(work: Work, hosts: Hosts, folder: Path, table: Table, cases: list[str]) -> None:
    """One command in some cases."""
    alone = folder / "alone"
    alone.mkdir(parents=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [str(word) for word in work.words(alone, "")]
    subprocess.run(words, env=environment, cwd=ROOT, check=True, capture_output=True)
    whole = digests(alone, work.made)
    other = copy_of_library(ROOT, folder / "other", *work.change)
    for case in cases:
        if case == "data missing" and work.name == "sweep":
            continue  # it makes its data itself
        cluster = Cluster(folder / f"cluster-{case}".replace(" ", "-"), hosts)
        victim = cluster.worker_on(1, ROOT)
        library = other if case == "another version" else ROOT
        cluster.worker_on(2, library, work.data if case == "data missing" else None)
        out, log = folder / case.replace(" ", "-"), folder / f"{case}.txt".replace(" ", "-")
        out.mkdir()
        begun = time.monotonic()
        process = hosts.start(0, work.words(out, cluster.address), log, PYTHONPATH=str(ROOT))
        met = True
        if case in ("killed", "unplugged"):
            met = under_way(out, process, PATIENCE)
            if case == "killed":
                end(victim)
            else:
                with hosts.unplugged(1):
                    time.sleep(UNPLUGGED)
        status = process.wait(PATIENCE)
        took = time.monotonic() - begun
        found, said = digests(out, work.made), sentence(log)
        if case in ("another version", "data missing"):
            nothing = all(Path(name).name in BEGUN for name in set(found) & set(whole))
            good = bool(status) and "worker tcp://" in said and nothing
        else:
            good, said = not status and found == whole, said if status else f"{len(whole)} files"
        table.row(work.name, f"{case}{'' if met else ' (too late)'}", good, took, said)
        end(*cluster.workers.values(), cluster.scheduler)


def training(place: Path) -> list[str]:
    """Words for a small training in a folder."""
    own = [f"run_dir={place / 'data'}", f"report_dir={place / 'reports'}", *SMALL]
    own += ["baseline.pairs_per_epoch=160", "baseline.epochs=2", "baseline.threads=1"]
    own += ["baseline.precision=fp32", "baseline.checkpoint_seconds=0"]
    return ["--profile", "smoke", *(word for value in own for word in ("--set", value))]


def losses(place: Path) -> list[float]:
    lines = (place / "data/baseline/log.jsonl").read_text().splitlines()
    epochs = [line for line in map(json.loads, lines) if line["event"] == "epoch"]
    return [line[kind]["loss"] for line in epochs for kind in ("train", "validation")]


def over_ranks(hosts: Hosts, folder: Path, table: Table) -> None:
    """``tools.train`` on hosts 0 and 1, in all cases."""

    def run(place: Path, *words: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        done = [*command_line("run"), *training(place), *words]
        subprocess.run(done, env=environment, cwd=ROOT, check=True, capture_output=True)

    def train(places: list[Path], case: str) -> list[subprocess.Popen]:
        started = []
        for i, place in enumerate(places):
            master = ["--master-addr", hosts.address(0), "--master-port", "29500"]
            many = ["--nnodes", "2", "--node-rank", str(i), "--nproc-per-node", "1", *master]
            words = [sys.executable, "-m", "torch.distributed.run", *many, "-m", "tools.train"]
            log = folder / f"{case}-{i}.txt"
            own = {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "eth0"}
            started.append(hosts.start(i, [*words, "baseline", *training(place)], log, **own))
        return started

    def fresh(name: str) -> Path:
        return Path(shutil.copytree(folder / "data-only", folder / name, symlinks=True))

    run(folder / "data-only", "--until", "dataset")
    alone = fresh("alone")
    run(alone, "--only", "baseline")
    for case in ("one folder", "a folder each", "killed", "unplugged"):
        first = fresh(case.replace(" ", "-"))
        second = first if case == "one folder" else fresh(f"{case}-2".replace(" ", "-"))
        begun, processes = time.monotonic(), train([first, second], case)
        if case in ("killed", "unplugged"):
            state = first / "data/baseline/state.pt"
            while not state.is_file() and processes[0].poll() is None:
                time.sleep(0.1)
            if case == "killed":
                ranks = subprocess.run(["pgrep", "-P", str(processes[1].pid)], check=True,
                                       capture_output=True, text=True).stdout.split()  # fmt: skip
                os.kill(int(ranks[0]), 9)
                seconds = until_said(folder / f"{case}-0.txt", processes[0])
            else:
                with hosts.unplugged(1):
                    seconds = until_said(folder / f"{case}-0.txt", processes[0])
            status, said = processes[0].wait(PATIENCE), sentence(folder / f"{case}-0.txt")
            table.row("training", case, bool(status and said) and seconds < 60, seconds, said)
            end(*processes)
            case, begun = f"{case}, again", time.monotonic()
            processes = train([first, second], case)
        status = max(process.wait(PATIENCE) for process in processes)
        took = time.monotonic() - begun
        if status:
            table.row("training", case, False, took, sentence(folder / f"{case}-0.txt"))
            continue
        most = max(abs(a - b) for a, b in zip(losses(first), losses(alone), strict=True))
        same = case == "one folder" or losses(first) == losses(folder / "one-folder")
        said = f"largest difference of a loss from one process: {most:.1e}"
        table.row("training", case, same and most < 0.1, took, said)
        if case == "one folder":
            run(first, "--only", "baseline")
            record = json.loads((first / "data/baseline/provenance.json").read_text())
            table.row("training", "taken over by esiamfc run", record["status"] == "done", 0)


def over_slurm(hosts: Hosts, folder: Path, table: Table) -> None:
    """The scripts for ``sbatch`` on a cluster of hosts 1 and 2; host 0 controls it."""
    needed = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch")
    if missing := [name for name in needed if not shutil.which(name)]:
        sys.stdout.write(f"slurm: skipped, there is no {', '.join(missing)}\n")
        return
    (folder / "state").mkdir(parents=True)
    config, log = folder / "slurm.conf", folder / "daemons.txt"
    addresses = [hosts.address(i) for i in range(3)]
    config.write_text(SLURM.format(folder=folder, address=addresses))
    # None is used, but slurmd looks for control groups, and a network namespace shows none.
    config.with_name("cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    subprocess.run(["mungekey", "--create", "--keyfile", folder / "key"], check=True)
    munge = ["munged", "--foreground", "--force", "--key-file", folder / "key"]
    munge += [f"--{name}-file={folder / name}" for name in ("pid", "log", "seed")]
    hosts.start(0, [*munge, "--socket", folder / "munge.socket"], log)
    while not (folder / "munge.socket").exists():
        time.sleep(0.1)
    hosts.start(0, ["slurmctld", "-D", "-c", "-f", config], log)
    for i in (1, 2):
        hosts.start(i, ["slurmd", "-D", "-N", f"host{i}", "-f", config], log)
    environment = os.environ | {"SLURM_CONF": str(config), "PYTHONPATH": str(ROOT)}
    environment |= {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}

    def said(*words) -> str:
        command = [*hosts.on(0), *map(str, words)]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return done.stdout.decode().strip()

    def submit(*words) -> str:
        return said("sbatch", "--parsable", f"--output={folder}/%x-%A.txt", *words)

    def ended(number: str) -> str:
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            state = said("squeue", "--noheader", "--states", "all", "--format", "%T", "-j", number)
            if set(state.split()) <= {"COMPLETED"} or "FAILED" in state:
                return state
            time.sleep(1)
        return "it takes too long"

    scripts, inputs = ROOT / "tools/slurm", folder.parent / "inputs"
    whole = json.loads((inputs / "store/manifest.json").read_text())["digest"]

    def same(store: str) -> bool:
        manifest = folder / store / "manifest.json"
        return manifest.is_file() and json.loads(manifest.read_text()).get("digest") == whole

    begun = time.monotonic()
    parts = submit("--array", "1-3", scripts / "parts.sbatch", inputs / "vid", folder / "parts")
    command = f"{sys.executable} -m esiamfc_lib.cli store merge {folder}/merged {folder}/parts/*"
    state = ended(submit("--dependency", f"afterok:{parts}", "--wrap", command))
    table.row("slurm", "parts and merge", same("merged"), time.monotonic() - begun, state)
    begun, words = time.monotonic(), ("store", "build", inputs / "vid", folder / "dask")
    state = ended(submit("--ntasks", "2", scripts / "dask.sbatch", *words))
    table.row("slurm", "a Dask cluster", same("dask"), time.monotonic() - begun, state)
    trained = folder.parent / "training"
    if not (trained / "one-folder").is_dir():
        return  # nothing to compare with
    first = Path(shutil.copytree(trained / "data-only", folder / "run", symlinks=True))
    begun = time.monotonic()
    number = submit("--nodes", "2", scripts / "train.sbatch", "baseline", *training(first))
    begun_to_save = first / "data/baseline/state.pt"
    while not begun_to_save.is_file() and said("squeue", "--noheader", "-j", number):
        time.sleep(0.1)
    submit("--partition", "urgent", "--nodes", "2", "--exclusive", "--wrap", "sleep 5")
    waits = ("squeue", "--noheader", "--format", "%r", "-j", number)
    while (reason := said(*waits)) not in ("BeginTime", ""):  # empty: done before it was preempted
        time.sleep(0.2)
    if reason:
        said("scontrol", "update", f"jobid={number}", "StartTime=now+10")  # else two minutes
    case = f"a training, preempted once{'' if reason else ' (too late)'}"
    state, took = ended(number), time.monotonic() - begun
    good = losses(first) == losses(trained / "one-folder")
    table.row("slurm", case, good, took, state)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES, help="on Dask (all)")
    parser.add_argument("--table", type=Path, metavar="FILE.csv", help="add the rows to this file")
    parser.add_argument("--keep", type=Path, help="work in this folder, and keep it")
    args = parser.parse_args()
    if reason := refused():
        sys.stdout.write(f"skipped: {reason}\n")
        return 0
    table = Table(args.table)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the hosts are removed
    with tempfile.TemporaryDirectory(prefix="hosts-") as folder, Hosts(3) as hosts:
        place = args.keep or Path(folder)
        make_inputs(place / "inputs")
        for work in works(place / "inputs"):
            if not args.only or work.name in args.only:
                over_dask(work, hosts, place / work.name, table, args.cases)
        if not args.only or "training" in args.only:
            (place / "training").mkdir()
            over_ranks(hosts, place / "training", table)
        if not args.only or "slurm" in args.only:
            over_slurm(hosts, place / "slurm", table)
    return int(bool(table.wrong))


if __name__ == "__main__":
    sys.exit(main())
