"""Make what `esiamfc demo` and the README show: the ensemble, the clip, the moving picture.

`make demo-assets` calls this after `make study`. The ensemble is the mini profile's, its numbers
stored in half precision; the clip is one more video of the built-in data, of a seed that no profile
trains with. The same seed gives the same bytes on one machine; `demo.json` says what was made
from what, with the digests of the files.
"""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from esiamfc_lib.artefacts import FUSION
from esiamfc_lib.chain.record import RECORD
from esiamfc_lib.commands.demo import ABOUT, CLIP, DEMO, WEIGHTS
from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.runtime.files import file_digest, replacing, write_atomically
from esiamfc_lib.synthetic.scenes import Scene
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.tracking.esiamfc import ESiamFCTracker
from esiamfc_lib.tracking.video import open_video

ROOT = Path(__file__).parents[1]
GIF = ROOT / "docs" / "pictures" / "demo.gif"
SEED, SCENE = 2026, 9  # the scene, of the seed's first twelve, was chosen for its looks
FRAMES, FPS, OBJECTS = 100, 25, 3
ENCODING = {"crf": "32", "b": "0", "deadline": "good", "cpu-used": "2"}
EVERY, COLOURS = 2, 64  # of the clip's frames; of the palette
DRAWN = ((255, 176, 0), (100, 143, 255), (220, 38, 127))  # RGB, one an object
TRUTH = (255, 255, 255)
PANEL, BAR = 130, 11  # pixels: the width of the bars' panel, the height of a bar


def scene() -> Scene:
    """The clip's scene, in pictures of the mini profile's size and families."""
    data = replace(BuiltIn.of(DatasetParameters()), seed=SEED)
    seed = np.random.default_rng([SEED, SCENE])
    family = SCENE % data.families
    return Scene(seed, data, frames=FRAMES, family=family, tracks=OBJECTS, may_vanish=False)


def write_clip(path: Path) -> dict:
    """Draw and encode the clip; what is known about it."""
    made, truth = scene(), []
    with replacing(path, path.suffix) as temporary:
        file = av.open(str(temporary), "w", options={"fflags": "+bitexact"})
        stream = file.add_stream("libvpx-vp9", rate=Fraction(FPS), options=ENCODING)
        stream.width, stream.height, stream.pix_fmt = made.width, made.height, "yuv420p"
        stream.thread_count = 1  # the bytes must not depend on the number of cores
        for frame, seen in made.render():
            truth.append([[int(value) for value in each.box] for each in seen])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
        file.close()
    families = [made.facts(i)["family"] for i in range(OBJECTS)]
    return {"seed": SEED, "scene": SCENE, "objects": families, "truth": truth}


def write_weights(source: Path, path: Path) -> dict:
    """The ensemble in half precision; what is known about it."""
    model, about = checkpoints.load(source)
    record = json.loads((source.parent / RECORD).read_text(encoding="utf-8"))
    checkpoints.save(path, model.half(), licence="MIT", source=about["digest"])
    return {
        "command": "esiamfc run --profile mini",
        "commit": record["environment"]["commit"],
        "seed": 0,
        "source": about["digest"],
    }


def drawn() -> Iterator[Image.Image]:
    """The clip's frames with truth, boxes, and the weights of the branches for each object."""
    about = json.loads((DEMO / ABOUT).read_text(encoding="utf-8"))["clip"]
    model, _ = checkpoints.load(DEMO / WEIGHTS)
    trackers = [ESiamFCTracker(model) for _ in about["objects"]]
    for i, image in enumerate(open_video(str(DEMO / CLIP)).frames):
        for tracker, box in zip(trackers, about["truth"][0], strict=True):
            tracker.update(image) if i else tracker.init(image, box)
        if i % EVERY:
            continue
        picture = cv2.copyMakeBorder(image, 0, 0, 0, PANEL, cv2.BORDER_CONSTANT, value=(24,) * 3)
        for j, (tracker, colour) in enumerate(zip(trackers, DRAWN, strict=True)):
            _rectangle(picture[:, :-PANEL], about["truth"][i][j], TRUTH, 1)
            _rectangle(picture[:, :-PANEL], tracker.box, colour, 2)
            _bars(picture[:, -PANEL:], tracker.fusion_weights, colour, 8 + 78 * j)
        yield Image.fromarray(picture)


def _rectangle(image: np.ndarray, box: np.ndarray, colour: tuple, width: int) -> None:
    x, y, w, h = box
    corners = (round(x), round(y)), (round(x + w - 1), round(y + h - 1))
    view = np.ascontiguousarray(image)
    image[:] = cv2.rectangle(view, *corners, colour, width)


def _bars(panel: np.ndarray, weights: np.ndarray, colour: tuple, top: int) -> None:
    for j, weight in enumerate(weights):
        y, full = top + BAR * j, PANEL - 16
        panel[y : y + BAR - 2, 8 : 8 + full] = 56
        panel[y : y + BAR - 2, 8 : 8 + max(1, round(full * weight))] = colour


def write_gif(path: Path) -> None:
    """The frames with one palette of ``COLOURS``, without dithering: it would not compress."""
    pictures = list(drawn())
    sheet = Image.fromarray(np.vstack([np.asarray(picture) for picture in pictures[::10]]))
    palette = sheet.quantize(COLOURS, Image.Quantize.MEDIANCUT)
    first, *rest = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures]
    options = {"duration": 1000 * EVERY // FPS, "loop": 0, "optimize": False, "disposal": 1}
    write_atomically(
        path, lambda file: first.save(file, "GIF", save_all=True, append_images=rest, **options)
    )


def main() -> None:
    """Make all of it, or the picture alone."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, default=ROOT / "data/mini", help="of the mini profile")
    parser.add_argument("--gif", action="store_true", help="the moving picture alone")
    args = parser.parse_args()
    if not args.gif:
        weights = write_weights(args.run / FUSION, DEMO / WEIGHTS)
        clip = write_clip(DEMO / CLIP)
        about = {"command": "make demo-assets", "licence": "MIT", "weights": weights, "clip": clip}
        for name, file in (("weights", WEIGHTS), ("clip", CLIP)):
            about[name] = {"file": file, "sha256": file_digest(DEMO / file), **about[name]}
        write_atomically(DEMO / ABOUT, json.dumps(about) + "\n")
    write_gif(GIF)
    for path in (DEMO / WEIGHTS, DEMO / CLIP, DEMO / ABOUT, GIF):
        sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
