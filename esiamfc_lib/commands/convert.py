"""Read network weights of any known kind, write ours, and on request ONNX.

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
    parser.add_argument("--out", type=Path, metavar="FILE.safetensors", help="write our model file")
    onnx = "write exemplar.onnx and search.onnx, compared with the network"
    parser.add_argument("--onnx", type=Path, metavar="FOLDER", help=onnx)


def main(args: Namespace) -> int:
    if args.out is None and args.onnx is None:
        raise StudyError("nothing to write: give --out FILE.safetensors or --onnx FOLDER")
    if args.out is not None and args.out.suffix != ".safetensors":
        raise StudyError(f"--out {args.out}: a model file ends in .safetensors")
    if args.out is not None:
        files.writable_file(args.out, args.source)
    if args.onnx is not None:
        files.writable_folder(args.onnx)
    model, about = published.load_any(args.source)
    kind, count = type(model).__name__, sum(p.numel() for p in model.parameters())
    lines = [f"{args.source}: {kind}, width {model.width:g}, {count:,} parameters"]
    if args.out is not None:
        info = {"source": args.source.name, "source_digest": files.file_digest(args.source)}
        info |= {name: about[name] for name in ("training", "result") if name in about}
        lines.append(f"{args.out}: digest {checkpoints.save(args.out, model, **info)}")
    if args.onnx is not None:
        try:
            from esiamfc_lib.deploy.onnx_export import to_onnx
        except ModuleNotFoundError as error:
            needed = f"--onnx needs the package {error.name}: pip install 'esiamfc[onnx]'"
            raise StudyError(needed) from None
        exemplar, search, error = to_onnx(model, args.onnx)
        lines.append(f"{exemplar}, {search}: equal to {error:.1e} of the range")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0
