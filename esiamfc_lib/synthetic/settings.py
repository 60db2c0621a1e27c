"""What decides a built-in data set, in one value that passes from notebook 01 to the scenes."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Self

from esiamfc_lib.runtime.files import text_digest

VERSION = 1  # of the pictures: raise it when a change of the code changes them


@dataclass(frozen=True)
class BuiltIn:
    """One built-in data set; ``config.DatasetParameters`` states defaults and ranges. VID videos
    have ``video_frames``, sequences ``test_frames`` of ``width`` × ``height`` pixels.
    ``separation`` says how much families differ: 1 = well, 0 = the label says nothing; ``hues``
    which share of the colour circle the objects of one family use, 1 = all of it; ``conflict`` how
    many objects change their look: the colours in every other family, the pattern in the rest."""

    seed: int
    train_videos: int
    val_videos: int
    otb_sequences: int
    vot_sequences: int
    got10k_sequences: int
    video_frames: int
    test_frames: int
    width: int
    height: int
    families: int
    separation: float
    hues: float
    conflict: float

    @classmethod
    def of(cls, parameters) -> Self:
        """The data set that the parameters of notebook 01 ask for."""
        given = {**dict(parameters), "width": parameters.frame_width}
        given["height"] = parameters.frame_height
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    @property
    def folder(self) -> str:
        """Name of its folder: data sets with the same values share it."""
        facts = json.dumps(asdict(self) | {"version": VERSION}, sort_keys=True)
        return f"synthetic-{text_digest(facts)[:10]}"

    def manifest(self) -> dict:
        """What its folder says about itself."""
        values = asdict(self)
        seed = values.pop("seed")
        names = [name for name in values if name.endswith(("_videos", "_sequences"))]
        counts = {name.partition("_")[0]: values.pop(name) for name in names}
        return {"version": VERSION, "seed": seed, "counts": counts, **values}
