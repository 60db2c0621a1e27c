"""Make the int8 form of a network, on crops that it was trained on; written beside its weights."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from esiamfc_lib.data.store import CropStore
from esiamfc_lib.deploy import quantisation
from esiamfc_lib.networks import published
from esiamfc_lib.networks.esiamfc import branches_of
from esiamfc_lib.runtime import files
from esiamfc_lib.runtime.bars import progress
from esiamfc_lib.runtime.validation import within


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="a SiamFC or an ESiamFC, any known format")
    store = "crop store of the training"
    parser.add_argument("--store", required=True, type=Path, metavar="DIR", help=store)
    parser.add_argument("--crops", type=within(1, 999), default=24, metavar="N", help="default: 24")
    beside = "default: beside the weights, *.int8.safetensors"
    parser.add_argument("--out", type=Path, metavar="FILE", help=beside)


def main(args: Namespace) -> int:
    out = args.out or quantisation.beside(args.weights)
    path = files.writable_file(out, args.weights, args.store)
    model, _ = published.load_any(args.weights)
    crops = quantisation.training_crops(CropStore(args.store), args.crops)
    steps = quantisation.quantise(model, crops)
    total = 2 + len(branches_of(model))  # the stem, the branches, the whole
    *_, result = progress(steps, "int8", total=total, unit="part")
    result.save(path)
    few = f" ({args.crops} asked for: it has no more)" if len(crops) < args.crops else ""
    sys.stdout.write(f"{path}: digest {result.digest}, {len(crops)} crops of {args.store}{few}\n")
    return 0
