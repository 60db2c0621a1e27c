"""Score trackers on a benchmark: boxes, tables and figures; finished sequences are kept."""

import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from esiamfc_lib import reports
from esiamfc_lib.analysis import intervals
from esiamfc_lib.config import Fusion, TrackingParameters
from esiamfc_lib.data import benchmarks
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import runs, segments
from esiamfc_lib.evaluation import scores as scoring
from esiamfc_lib.figures import scores as drawn
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import ESiamFC
from esiamfc_lib.runtime.files import apart, writable_file
from esiamfc_lib.runtime.validation import read_yaml, within
from esiamfc_lib.tracking.engine import PRECISIONS
from esiamfc_lib.tracking.spec import TrackerSpec, name_of, tracker_specs

OF_ENSEMBLES = (*(fusion.value for fusion in Fusion), "branches", "oracle")
DRAWN = (
    "sequences", "curves", "attributes", "worst_1", "worst_2", "worst_3", "best_1", "best_2",
    "best_3",
)  # fmt: skip
"""Names of the figures."""
FORMS = ("png", "pdf", "csv", "json", "caption")


def arguments(parser: ArgumentParser) -> None:
    add = parser.add_argument
    names = [*benchmarks.READERS, segments.VALIDATION]
    known = f"one of {', '.join(names)}; the last, held-out tracks of a VID root, with --starts"
    add("--benchmark", required=True, metavar="NAME", choices=names, help=known)
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
    """Options that say which trackers; ``evaluate``, ``track`` and two tools share them."""
    add, again = parser.add_argument, {"action": "append", "default": []}
    models = "a SiamFC or an ESiamFC, in any format that 'convert' reads; can be repeated"
    add("--weights", **again, type=Path, metavar="FILE", help=models)
    kinds = {"choices": OF_ENSEMBLES, "default": [Fusion.CLUSTER_WEIGHT]}
    fusions = f"of an ensemble: {', '.join(OF_ENSEMBLES)} (default: cluster_weight)"
    add("--fusion", nargs="+", **kinds, metavar="NAME", help=fusions)
    add("--centroids", default="", metavar="FILE", help="cluster centres, for nearest_centroid")
    change = "a parameter of the tracking loop, for example scale_step=1.02; can be repeated"
    add("--set", **again, metavar="NAME=VALUE", help=change)
    floats = "of the networks; auto: bf16 where the processor computes in it (default: %(default)s)"
    add("--precision", default="fp32", choices=("auto", *PRECISIONS), help=floats)
    add("--top", type=within(0, 1000), default=0, metavar="M", help="heaviest branches run; 0: all")
    least = "least weight of a branch that runs"
    add("--threshold", type=within(0, 1, float), default=0.0, metavar="W", help=least)
    add("--device", default="cpu", metavar="NAME", help="auto, cpu, cuda … (default: %(default)s)")
    parser.set_defaults(kind_of_spec=TrackerSpec)


def multistart_arguments(parser: ArgumentParser, starts: int) -> None:
    """Options of the multi-start evaluation, also of ``tools.choose``; ``starts``: its default."""
    forward = "multi-start: N segments of each sequence forward and N backward"
    for name, default, least, most, does in (
        ("starts", starts, 0, 1000, forward if starts else f"{forward}; 0: the usual protocol"),
        ("segment", 100, 2, 10**6, "frames of a segment"),
        ("perturbations", 1, 0, 1000, "perturbed first boxes for each start; 0: the true box"),
        ("seed", 0, 0, 2**32 - 1, "of first boxes and a search"),
        ("workers", 1, 1, 1024, "processes, one thread each"),
        ("limit", 0, 0, 10**6, "the first N sequences only; 0: all"),
    ):
        kind = {"type": within(least, most), "default": default, "metavar": "N"}
        parser.add_argument(f"--{name}", **kind, help=f"{does} (default: {default})")


def plan(args: Namespace) -> dict:
    """The options of ``multistart_arguments`` as ``segments.segments`` takes them."""
    return {"starts": args.starts, "length": args.segment, "perturbations": args.perturbations}


def chosen(args: Namespace) -> list[TrackerSpec]:
    """The trackers that the options name: one a SiamFC file, one a fusion of an ESiamFC file."""
    options = _options(args)
    kinds = {path: type(published.load_any(path)[0]) for path in args.weights}
    singles, found = [path for path in args.weights if kinds[path] is not ESiamFC], []
    beside = {"siamfc": singles[0] if singles else "", "centroids": args.centroids}
    for path in args.weights:
        if path in singles:
            (spec,) = tracker_specs(["siamfc"], siamfc=path, **options)
            found.append(spec.model_copy(update={"name": name_of(path)}))
        else:
            own = {"esiamfc": path, "prefix": f"{name_of(path)} "}
            found += tracker_specs(args.fusion, **own, **beside, **options)
    for spec in found if args.precision == "auto" else []:
        device, precision, reason = spec.runs_on()
        sys.stderr.write(f"{spec.name}: {precision}, {device} ({reason})\n")
    return found


def main(args: Namespace) -> int:
    """Track what has no result yet, write the tables, show the summary."""
    apart(args.out, args.root)
    trackers = chosen(args) + (tracker_specs(["identity"]) if args.identity else [])
    if not trackers:
        raise StudyError("nothing to evaluate: give --weights FILE or --identity")
    if args.starts:
        return _multistart(args, trackers)
    if args.benchmark == segments.VALIDATION:
        raise StudyError(f"{segments.VALIDATION} has no protocol of its own: give --starts N")
    pictures = [args.out / f"figures/{name}.{kind}" for name in DRAWN for kind in FORMS]
    archives = [args.out / f"{spec.name}.zip" for spec in trackers]
    server = args.benchmark == "got10k-test"
    for path in archives if server else pictures if args.figures else ():
        writable_file(path)
    given = args.workers, args.scheduler, args.limit, args.lockstep
    scores = runs.evaluate(trackers, args.benchmark, args.root, args.out, *given)
    summary = reports.read_table(args.out / "summary.csv", ("tracker", "benchmark"))
    sys.stdout.write(summary.to_string(index=False, float_format="%.4f", na_rep="-") + "\n")
    sequences, missing = benchmarks.read_benchmark(args.benchmark, args.root, args.limit)
    if missing:
        names = ", ".join(missing[:5]) + (" ..." if len(missing) > 5 else "")
        sys.stdout.write(f"{len(missing)} sequences of {args.benchmark} are not there: {names}\n")
    for path in filter(Path.is_file, pictures):
        path.unlink()  # of an earlier call with other trackers or sequences
    if server:
        for spec, path in zip(trackers, archives, strict=True):
            scoring.submission(args.out, spec.name, sequences, path)
            sys.stdout.write(f"submission: {path}\n")
    elif args.figures:
        _draw(args, scores, summary, sequences)
    sys.stdout.write(f"results: {args.out}\n")
    return 0


def _multistart(args: Namespace, trackers: list[TrackerSpec]) -> int:
    """Run the segments; every tracker minus the first one."""
    sequences = segments.read_segments(args.benchmark, args.root, args.limit)
    differences = writable_file(args.out / "differences.csv")
    place = benchmarks.title(args.benchmark, args.root), args.out, args.workers, args.scheduler
    scores = segments.evaluate_segments(trackers, sequences, *place, seed=args.seed, **plan(args))
    sys.stdout.write(segments.mean_scores(scores).to_string(float_format="%.4f") + "\n")
    differences.unlink(missing_ok=True)  # of an earlier call with more trackers
    if len(trackers) > 1:
        table = intervals.differences(scores, trackers[0].name)
        table.to_csv(differences, index=False, lineterminator="\n")
        sys.stdout.writelines(intervals.sentence(row) + "\n" for _, row in table.iterrows())
    sys.stdout.write(f"results: {args.out}\n")
    return 0


def _draw(args: Namespace, scores: pd.DataFrame, summary: pd.DataFrame, sequences: list) -> None:
    out, benchmark, vot = args.out, args.benchmark, args.benchmark.startswith("vot")
    names = list(scores["tracker"].unique())
    column = "accuracy" if vot else "success"
    figures, title = {}, str(scores["benchmark"].iloc[0])
    if scores[column].notna().any():  # no accuracy where nobody held the target long enough
        shown = scores[["tracker", "sequence", column]]
        figures["sequences"] = drawn.sequence_heatmap(shown, title=title, column=column)
    if not vot:
        curves = scoring.curves(out, names, sequences, benchmark)
        total = int(summary.loc[0, "of"])
        figures["curves"] = drawn.success_precision(curves, title=title, total=total)
    if scores["attributes"].any():
        by = "failures" if vot else "success"
        shown = scoring.by_attribute(scores, by)
        figures["attributes"] = drawn.attribute_dots(shown, title=title, column=by)
    # The first tracker's three worst and best sequences, with everybody's boxes.
    known = {sequence.name: sequence for sequence in sequences}
    own = scores[scores["tracker"] == names[0]].dropna(subset=[column]).sort_values(column)
    picks = {"worst": own["sequence"].iloc[:3], "best": own["sequence"].iloc[::-1].iloc[:3]}
    for kind, found in picks.items():
        for rank, name in enumerate(found, 1):
            boxes = {t: scoring.read_boxes(out, t, known[name], benchmark) for t in names}
            heading = f"{kind} {rank}: {name}"
            figures[f"{kind}_{rank}"] = drawn.frame_strip(known[name], boxes, title=heading)
    for name, figure in figures.items():
        reports.write_figure(figure, out / "figures" / name)
        plt.close(figure)


def _options(args: Namespace) -> dict:
    """The options of all trackers, as ``tracker_specs`` takes them."""
    values = {}
    for change in args.set:
        name, equals, value = change.partition("=")
        if not equals:
            raise StudyError(f"--set {change}: NAME=VALUE is expected")
        values[name] = read_yaml(value, f"--set {change}: the value")
    tracking = TrackingParameters.validated(values, where="--set")
    given = {name: getattr(args, name) for name in ("precision", "top", "threshold", "device")}
    return {"tracking": tracking, "kind_of_spec": args.kind_of_spec, **given}
