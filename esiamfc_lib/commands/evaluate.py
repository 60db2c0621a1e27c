"""Score trackers on a benchmark: boxes, tables and figures; finished sequences are kept."""

import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import yaml

from esiamfc_lib.analysis import intervals
from esiamfc_lib.config import Fusion, TrackingParameters
from esiamfc_lib.data import benchmarks
from esiamfc_lib.deploy.spec import FastTrackerSpec
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import runs, segments
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.figures import scores as drawn
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.tracking.engine import PRECISIONS
from esiamfc_lib.tracking.spec import TrackerSpec, name_of, tracker_specs

OF_ENSEMBLES = (*Fusion, "branches", "oracle")


def arguments(parser: ArgumentParser) -> None:
    """Add the options of ``esiamfc evaluate``."""
    add = parser.add_argument
    add(
        "--benchmark", required=True, metavar="NAME",
        choices=[*benchmarks.READERS, segments.VALIDATION],
        help=f"one of {', '.join(benchmarks.READERS)}; with --starts also {segments.VALIDATION}, "
        "the held-out tracks of a VID root",
    )  # fmt: skip
    add("--root", required=True, type=Path, metavar="DIR", help="folder of the benchmark")
    add("--out", required=True, type=Path, metavar="DIR", help="folder of the results")
    tracker_arguments(parser)
    add("--identity", action="store_true", help="add the tracker that never moves")
    multistart_arguments(parser, starts=0)
    add("--scheduler", default="", metavar="tcp://…", help="a Dask scheduler: many machines")
    switch = {"action": BooleanOptionalAction}
    add("--lockstep", **switch, help="all sequences at once, in one process (default: on a GPU)")
    add("--figures", **switch, default=True, help="draw the plots (--no-figures: tables only)")


def tracker_arguments(parser: ArgumentParser) -> None:
    """Options that say which trackers; ``evaluate``, ``track`` and ``vot-workspace`` share them."""
    add = parser.add_argument
    add(
        "--weights", action="append", default=[], type=Path, metavar="FILE",
        help="a SiamFC or an ESiamFC, in any format that 'convert' reads; can be repeated",
    )  # fmt: skip
    add(
        "--fusion", nargs="+", metavar="NAME",
        default=[Fusion.CLUSTER_WEIGHT], choices=OF_ENSEMBLES,
        help=f"of an ensemble: {', '.join(OF_ENSEMBLES)} (default: cluster_weight)",
    )  # fmt: skip
    add("--centroids", default="", metavar="FILE", help="cluster centres, for nearest_centroid")
    add(
        "--set", action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of the tracking loop, for example scale_step=1.02; can be repeated",
    )  # fmt: skip
    add(
        "--precision", default="fp32", choices=("auto", *PRECISIONS, "int8"),
        help="of the networks; int8 needs the file that 'quantise' writes",
    )  # fmt: skip
    add("--top", type=int, default=0, metavar="M", help="run the M heaviest branches; 0: all")
    add("--threshold", type=float, default=0.0, metavar="W", help="run branches of this weight")
    add("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda ... (default: cpu)")


def multistart_arguments(parser: ArgumentParser, starts: int) -> None:
    """Options of the multi-start evaluation, also of ``select``; ``starts`` is the default
    number.
    """
    add = parser.add_argument
    add(
        "--starts", type=int, default=starts, metavar="N",
        help="multi-start: N segments of each sequence forward and N backward "
        + (f"(default: {starts})" if starts else "instead of the benchmark's protocol"),
    )  # fmt: skip
    add("--segment", type=int, default=100, metavar="N", help="frames of a segment, default 100")
    add(
        "--perturbations", type=int, default=1, metavar="N",
        help="perturbed first boxes for each start, default 1; 0: the true box",
    )  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="of first boxes, intervals and a search")
    add("--workers", type=int, default=1, metavar="N", help="processes, one thread each")
    add("--limit", type=int, default=0, metavar="N", help="the first N sequences only")


def plan(args: Namespace) -> dict:
    """The options of ``multistart_arguments`` as ``segments.segments`` takes them."""
    return {"starts": args.starts, "length": args.segment, "perturbations": args.perturbations}


def chosen(args: Namespace) -> list[TrackerSpec]:
    """The trackers that the options name: one a SiamFC file, one a fusion of an ESiamFC file."""
    options = _options(args)
    singles, found = [path for path in args.weights if not _is_ensemble(path)], []
    for path in args.weights:
        if path in singles:
            (spec,) = tracker_specs(["siamfc"], siamfc=path, **options)
            found.append(spec.model_copy(update={"name": name_of(path)}))
        else:
            found += tracker_specs(
                args.fusion, siamfc=singles[0] if singles else "", esiamfc=path,
                centroids=args.centroids, prefix=f"{name_of(path)} ", **options,
            )  # fmt: skip
    for spec in found if args.precision == "auto" else []:
        device, precision, reason = spec.runs_on()
        sys.stderr.write(f"{spec.name}: {precision}, {device} ({reason})\n")
    return found


def main(args: Namespace) -> int:
    """Track what has no result yet, write the tables, show the summary."""
    if args.workers < 1:
        raise StudyError(f"--workers {args.workers}: at least one process is needed")
    trackers = chosen(args)
    trackers += tracker_specs(["identity"]) if args.identity else []
    if not trackers:
        raise StudyError("nothing to evaluate: give --weights FILE or --identity")
    if args.starts:
        return _multistart(args, trackers)
    if args.benchmark == segments.VALIDATION:
        raise StudyError(f"{segments.VALIDATION} has no protocol of its own: give --starts N")
    given = args.workers, args.scheduler, args.limit, args.lockstep
    scores = runs.evaluate(trackers, args.benchmark, args.root, args.out, *given)
    summary = pd.read_csv(args.out / "summary.csv")
    sys.stdout.write(summary.to_string(index=False, float_format="%.4f", na_rep="-") + "\n")
    sequences, missing = benchmarks.read_benchmark(args.benchmark, args.root, args.limit)
    if missing:
        names = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        sys.stdout.write(f"{len(missing)} sequences of {args.benchmark} are not there: {names}\n")
    if args.benchmark == "got10k-test":
        for spec in trackers:
            path = scoring.submission(args.out, spec.name, sequences, args.out / f"{spec.name}.zip")
            sys.stdout.write(f"submission: {path}\n")
    elif args.figures:
        _draw(args, scores, summary, sequences)
    sys.stdout.write(f"results: {args.out}\n")
    return 0


def _multistart(args: Namespace, trackers: list[TrackerSpec]) -> int:
    """Run the segments; every tracker minus the first one."""
    sequences = segments.read_segments(args.benchmark, args.root, args.limit)
    place = benchmarks.title(args.benchmark, args.root), args.out, args.workers, args.scheduler
    scores = segments.evaluate_segments(trackers, sequences, *place, seed=args.seed, **plan(args))
    sys.stdout.write(segments.mean_scores(scores).to_string(float_format="%.4f") + "\n")
    if len(trackers) > 1:
        table = intervals.hierarchical_differences(scores, trackers[0].name, seed=args.seed)
        table.to_csv(args.out / "differences.csv", index=False, lineterminator="\n")
        sys.stdout.writelines(intervals.sentence(row) + "\n" for _, row in table.iterrows())
    sys.stdout.write(f"results: {args.out}\n")
    return 0


def _is_ensemble(path: Path) -> bool:
    return isinstance(published.load_any(path)[0], ESiamFC)


def _draw(args: Namespace, scores: pd.DataFrame, summary: pd.DataFrame, sequences: list) -> None:
    out, benchmark, vot = args.out, args.benchmark, args.benchmark.startswith("vot")
    names = list(scores["tracker"].unique())
    column = "accuracy" if vot else "success"
    figures = {}
    if scores[column].notna().any():  # no accuracy where nobody held the target long enough
        figures["sequences"] = drawn.sequence_heatmap(scores, column)
    if vot:
        figures["accuracy_robustness"] = drawn.accuracy_robustness(summary)
    else:
        curves = scoring.curves(out, names, sequences, benchmark)
        figures["curves"] = drawn.success_precision(curves, *summary.loc[0, ["benchmark", "of"]])
    if scores["attributes"].any():
        figures["attributes"] = drawn.attribute_bars(scores, "failures" if vot else "success")
    # The first tracker's three worst and best sequences, with everybody's boxes.
    known = {sequence.name: sequence for sequence in sequences}
    own = scores[scores["tracker"] == names[0]].dropna(subset=[column]).sort_values(column)
    picks = {"worst": own["sequence"].iloc[:3], "best": own["sequence"].iloc[::-1].iloc[:3]}
    for kind, found in picks.items():
        for rank, name in enumerate(found, 1):
            boxes = {t: scoring.read_boxes(out, t, known[name], benchmark) for t in names}
            strip = drawn.frame_strip(known[name], boxes, title=f"{kind} {rank}: {name}")
            figures[f"{kind}_{rank}"] = strip
    folder = out / "figures"
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
        figure.savefig(folder / f"{name}.pdf", bbox_inches="tight")
        plt.close(figure)


def _options(args: Namespace) -> dict:
    """The options of all trackers, as ``tracker_specs`` takes them."""
    values = {}
    for change in args.set:
        name, equals, value = change.partition("=")
        if not equals:
            raise StudyError(f"--set {change}: NAME=VALUE is expected")
        values[name] = yaml.safe_load(value)
    tracking = TrackingParameters.validated(values, where="--set")
    given = {name: getattr(args, name) for name in ("precision", "top", "threshold", "device")}
    return {"tracking": tracking, "kind_of_spec": FastTrackerSpec, **given}
