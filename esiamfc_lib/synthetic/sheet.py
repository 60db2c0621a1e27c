"""A picture of the families."""

import cv2
import numpy as np

from esiamfc_lib.synthetic.objects import CANVAS, FAMILIES, Instance, Kind
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.synthetic.textures import mix

MARGIN, INDIVIDUALS = 72, 9  # pixels on the left for the name, pictures a family
PAPER, INK = 244, (20, 20, 20)


def family_sheet(data: BuiltIn) -> np.ndarray:
    """Individuals of each family in successive poses: uint8 (H, W, 3) RGB, one row a family."""
    size = (data.families * CANVAS, MARGIN + INDIVIDUALS * CANVAS, 3)
    sheet = np.full(size, PAPER, np.uint8)
    for row, family in enumerate(FAMILIES[: data.families]):
        y, font = row * CANVAS, cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(sheet, family.name, (6, y + CANVAS // 2 + 4), font, 0.38, INK, 1, cv2.LINE_AA)
        for column in range(INDIVIDUALS):
            rng = np.random.default_rng([data.seed, row, column])
            sprite = Instance(rng, Kind.draw(rng, row, data)).sprite(
                2 * np.pi * column / INDIVIDUALS
            )
            x = MARGIN + column * CANVAS
            under = sheet[y : y + CANVAS, x : x + CANVAS]
            under[:] = sprite[..., :3] + mix(under, 0, sprite[..., 3])
    return sheet
