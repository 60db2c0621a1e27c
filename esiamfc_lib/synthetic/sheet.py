"""Contact sheets: pictures to look at a data set with."""

from collections.abc import Sequence as Ordered

import cv2
import numpy as np

from esiamfc_lib.data.images import read_image
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.synthetic.objects import CANVAS, FAMILIES, Instance, Kind
from esiamfc_lib.synthetic.textures import BACKGROUNDS, mix

GREEN, PAPER, INK = (60, 255, 60), 244, (20, 20, 20)


def _label(picture: np.ndarray, text: str, at: tuple[int, int], colour=INK) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)


def family_sheet(
    seed: int = 0,
    families: int = len(FAMILIES),
    separation: float = 1.0,
    hues: float = 1.0,
    individuals: int = 9,
) -> np.ndarray:
    """Individuals of each family in successive poses: uint8 (H, W, 3) RGB, one row a family."""
    margin = 72
    sheet = np.full((families * CANVAS, margin + individuals * CANVAS, 3), PAPER, np.uint8)
    for row in range(families):
        y = row * CANVAS
        _label(sheet, FAMILIES[row].name, (6, y + CANVAS // 2 + 4))
        for column in range(individuals):
            rng = np.random.default_rng([seed, row, column])
            kind = Kind.draw(rng, row, families, separation, hues)
            sprite = Instance(rng, kind).sprite(2 * np.pi * column / individuals)
            x = margin + column * CANVAS
            under = sheet[y : y + CANVAS, x : x + CANVAS]
            under[:] = sprite[..., :3] + mix(under, 0, sprite[..., 3])
    return sheet


def background_sheet(
    seed: int = 0, columns: int = 3, width: int = 240, height: int = 120
) -> np.ndarray:
    """Samples of each kind of background: uint8 (H, W, 3) RGB, one row a kind."""
    rows = [
        np.hstack(
            [
                make(np.random.default_rng([seed, row, column]), width, height)
                for column in range(columns)
            ]
        )
        for row, make in enumerate(BACKGROUNDS.values())
    ]
    return np.vstack(rows)


def contact_sheet(sequences: Ordered[Sequence], columns: int = 6, width: int = 200) -> np.ndarray:
    """Sequences over time: evenly spaced frames with the target's box, one row a sequence.

    Args:
        sequences: at least one, see ``benchmarks.read_benchmark`` and ``vid.validation_sequences``.
        columns: frames of each.
        width: of a tile, pixels; its height follows from the frames.

    Returns:
        uint8 (H, W, 3) RGB; tiles that differ in height are padded.
    """
    rows = []
    for sequence in sequences:
        picked = np.linspace(0, len(sequence) - 1, columns).round().astype(int)
        tiles = [_tile(sequence, int(i), width) for i in picked]
        text = " ".join([sequence.name, sequence.family, *sequence.attributes])
        strip = np.full((16, columns * width, 3), PAPER, np.uint8)
        _label(strip, text, (4, 12))
        rows += [strip, np.hstack(tiles)]
    return np.vstack(rows)


def _tile(sequence: Sequence, index: int, width: int) -> np.ndarray:
    frame = read_image(sequence.frames[index])
    scale = width / frame.shape[1]
    tile = cv2.resize(frame, (width, round(frame.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    box = sequence.boxes[index]
    if np.isfinite(box).all():
        left, top = np.rint(box[:2] * scale).astype(int).tolist()
        right, bottom = np.rint((box[:2] + box[2:]) * scale).astype(int).tolist()
        cv2.rectangle(tile, (left, top), (right, bottom), GREEN, 1)
    _label(tile, str(index), (4, 12), GREEN)
    return tile
