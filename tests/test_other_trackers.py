"""Other trackers on the same frames."""

import built_in
import cv2
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.networks import checkpoints
from esiamfc_lib.networks.siamfc import SiamFC
from tools import other_trackers


@pytest.fixture(scope="module")
def otb(tmp_path_factory):
    return built_in.make(tmp_path_factory.mktemp("others"), otb_sequences=2, test_frames=3).otb


def run(**options):
    arguments = ["--only", *options.pop("only", [])] if "only" in options else []
    for name, value in options.items():
        arguments += [f"--{name}", str(value)]
    parser = other_trackers.ArgumentParser()
    other_trackers.arguments(parser)
    return other_trackers.main(parser.parse_args(arguments))


def test_rows_are_replaced_and_those_of_others_stay(otb, tmp_path):
    out, weights = tmp_path / "others.csv", tmp_path / "siamfc.safetensors"
    checkpoints.save(weights, SiamFC(0.125, seed=1))
    before = {"tracker": ["NanoTrack", "MIL"], "sequence": ["all", "all"], "success": [0.6, -1]}
    pd.DataFrame(before).assign(source="quoted").to_csv(out, index=False)
    assert run(otb=otb, out=out, weights=weights, only=["MIL", "SiamFC fp32"]) == 0
    table = pd.read_csv(out)
    assert sorted(table["tracker"]) == ["MIL"] * 2 + ["NanoTrack"] + ["SiamFC fp32"] * 2
    quoted = table["tracker"] == "NanoTrack"
    assert set(table[quoted]["source"]) == {"quoted"}
    measured = table[~quoted]
    assert set(measured["source"]) == {other_trackers.MEASURED}
    assert measured["success"].between(0, 1).all() and (measured["frames"] == 3).all()
    assert (measured["frames_per_second"] > 0).all()
    assert set(measured["opencv"]) == {cv2.__version__}
    megabytes = measured.set_index("tracker")["weights_mb"]
    assert (megabytes["MIL"] == 0).all()
    assert (megabytes["SiamFC fp32"] == weights.stat().st_size / 1e6).all()


def test_a_tracker_that_is_not_there_is_named(otb, tmp_path):
    with pytest.raises(other_trackers.StudyError, match="Nano: not here; there are MIL"):
        run(otb=otb, out=tmp_path / "others.csv", only=["Nano"])


def test_a_lost_object_stays_where_it_was_seen_last():
    class Once:
        def init(self, image, box):
            self.told, self.given, self.image = (
                iter([(True, (5, 6, 7, 8)), (False, (0,) * 4)]),
                box,
                image,
            )

        def update(self, image):
            return next(self.told)

    fake = Once()
    tracker = other_trackers.OpenCVTracker(lambda: fake)
    frame = np.zeros((40, 40, 3), np.uint8)
    boxes, seconds = other_trackers.track(tracker, [frame] * 3, np.array([1.2, 2.7, 9, 9.0]))
    assert boxes.tolist() == [[1.2, 2.7, 9, 9], [5, 6, 7, 8], [5, 6, 7, 8]] and seconds >= 0
    assert fake.given == (1, 3, 9, 9)
