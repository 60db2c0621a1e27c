"""A test sequence that is a training video is found, whatever its name."""

import numpy as np
import pytest
from built_in import make
from mini_vid import make_video

from esiamfc_lib.data.benchmarks import read_benchmark
from esiamfc_lib.data.images import read_image, write_image
from esiamfc_lib.data.overlap import SAME, frame_thumbnails, refuse_training_videos
from esiamfc_lib.data.sequence import Sequence
from esiamfc_lib.data.vid import VID
from esiamfc_lib.errors import StudyError

SIZES = {"train_videos": 6, "val_videos": 2, "otb_sequences": 4, "vot_sequences": 2}


def test_built_in_test_sequences_are_none_of_its_videos(tmp_path):
    made = make(tmp_path / "data", **SIZES)
    tests = [*read_benchmark("otb2015", made.otb)[0], *read_benchmark("vot2018", made.vot)[0]]
    videos = [VID(made.vid, "train"), VID(made.vid, "val")]
    assert len(tests) == 6 and 0 < refuse_training_videos(tests, videos) < SAME


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_video_under_another_name_is_refused(tmp_path, split):
    # another file format and size, other compression, and every second frame
    made = make(tmp_path / "data", **SIZES, video_frames=8)
    vid = VID(made.vid, split)
    video, frames = vid.videos[1], []
    for i, file in enumerate(list(vid.frames(vid.videos[1])[0].values())[::2]):
        frames.append(str(tmp_path / f"{i}.jpg"))
        write_image(frames[-1], np.ascontiguousarray(read_image(file)[::2, ::2]), quality=40)
    copied = Sequence("Renamed", tuple(frames), np.full((len(frames), 4), 9.0))
    others = read_benchmark("otb2015", made.otb)[0]
    with pytest.raises(StudyError, match=f"Renamed shows the same .* {split} video {video} in"):
        refuse_training_videos([*others, copied], [VID(made.vid, "train"), VID(made.vid, "val")])


def test_frames_of_one_colour_and_damaged_ones_are_like_nothing(tmp_path):
    images, _ = make_video(tmp_path / "vid", "some", frames=3)
    flat, broken = tmp_path / "flat.jpg", tmp_path / "broken.jpg"
    write_image(flat, np.full((60, 80, 3), 77, np.uint8))
    broken.write_bytes(b"none")
    found = frame_thumbnails((str(flat), str(broken), *map(str, sorted(images.iterdir()))))
    lengths = np.linalg.norm(found, axis=1)
    assert len(found) == 1 + 1 + 3 and not lengths[:2].any()
    assert np.allclose(lengths[2:], 1, atol=1e-5) and np.allclose(found.sum(axis=1), 0, atol=1e-4)
