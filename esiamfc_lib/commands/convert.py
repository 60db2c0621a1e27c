"""Read network weights of any known kind, and write ours.

Known kinds: .safetensors (ours), .npz with BatchNorm folded, MatConvNet's .mat, PyTorch state dicts
(.pth) of public SiamFCs in three namings and of the reference ESiamFC."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from esiamfc_lib.errors import StudyError
from esiamfc_lib.networks import checkpoints, published
from esiamfc_lib.runtime import files


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="file of the network")
    ours = {"metavar": "FILE.safetensors", "help": "our model file, to be written"}
    parser.add_argument("--out", type=Path, required=True, **ours)


def main(args: Namespace) -> int:
    if args.out.suffix != ".safetensors":
        raise StudyError(f"--out {args.out}: a model file ends in .safetensors")
    files.writable_file(args.out, args.source)
    model, about = published.load_any(args.source)
    kind, count = type(model).__name__, sum(p.numel() for p in model.parameters())
    info = {"source": args.source.name, "source_digest": files.file_digest(args.source)}
    info |= {name: about[name] for name in ("training", "result") if name in about}
    digest = checkpoints.save(args.out, model, **info)
    sys.stdout.write(f"{args.source}: {kind}, width {model.width:g}, {count:,} parameters\n")
    sys.stdout.write(f"{args.out}: digest {digest}\n")
    return 0
