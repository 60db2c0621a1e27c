"""The VID reader, on the real layout made small."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from mini_vid import folders, make_vid, make_video, xml

from esiamfc_lib.data.vid import VID, box_fault, parse_annotation, validation_sequences
from esiamfc_lib.errors import StudyError


def test_tracks_gaps_and_flags(tmp_path):
    vid = VID(make_vid(tmp_path), "train")
    assert vid.videos == ["train_0", "train_1", "train_2"]  # of two groups
    assert [sorted(numbers) for numbers in vid.frames("train_0")] == [list(range(6))] * 2
    whole, gappy = vid.tracks("train_0")
    assert whole.frames.tolist() == [0, 1, 2, 3, 4, 5] and gappy.frames.tolist() == [0, 1, 3, 4, 5]
    assert (whole.track_id, gappy.track_id, gappy.name) == (0, 1, "class1")
    assert whole.boxes[1].tolist() == [13, 13, 20, 24]  # xmin 13, xmax 32: both belong to the box
    assert whole.occluded.tolist() == [False, True, False, False, False, False]
    assert gappy.generated.tolist() == [False, False, False, True, True]


def test_frames_without_objects_and_video_without_tracks(tmp_path):
    make_video(tmp_path, "some")
    _, annotations = make_video(tmp_path, "none", frames=2)
    for file in annotations.iterdir():
        file.write_text(xml([]))
    assert VID(tmp_path).tracks("none") == () and len(VID(tmp_path).frames("none")[0]) == 2


def test_broken_files_are_left_out(tmp_path):
    _, annotations = make_video(tmp_path, "v")
    (annotations / "000001.xml").write_text("")
    (annotations / "000002.xml").write_text("<annotation><size>")
    (annotations / "000003.xml").unlink()
    (annotations / "000004.xml").write_text(xml([(0, "a", 30, 30, 10, 40), (1, "b", 5, 5, 9, 9)]))
    tracks = VID(tmp_path).tracks("v")
    assert [track.frames.tolist() for track in tracks] == [[0, 5], [0, 4, 5]]


def test_box_faults():
    assert box_fault((0, 0, 1, 1), 10, 10) == ""
    assert box_fault((-5, -5, 6, 6), 10, 10) == ""  # one pixel of it is inside
    assert "outside" in box_fault((-5, 0, 5, 5), 10, 10)
    assert "outside" in box_fault((10, 0, 5, 5), 10, 10)
    assert "inverted" in box_fault((5, 5, 0, 3), 10, 10)


def test_field_missing_or_no_number():
    for text in ("<annotation/>", xml([("x", "a", 1, 1, 2, 2)]), xml([(0, "a", 1, 1, 2, "")])):
        with pytest.raises(StudyError, match="missing or not a number"):
            parse_annotation(text.encode())


def test_missing_parts_of_the_layout(tmp_path):
    with pytest.raises(StudyError, match="does not exist"):
        VID(tmp_path / "nowhere")
    (tmp_path / "Data" / "VID" / "train").mkdir(parents=True)
    with pytest.raises(StudyError, match=r"not a VID root.*Annotations"):
        VID(tmp_path)
    with pytest.raises(StudyError, match="'test'"):
        VID(tmp_path, "test")


def test_one_name_in_two_groups(tmp_path):
    make_video(tmp_path, "same", frames=1)
    make_video(tmp_path, "same", frames=1, group="ILSVRC2015_VID_train_0001")
    with pytest.raises(StudyError, match="same is there twice"):
        VID(tmp_path)


def test_spaces_letters_and_symlinks(tmp_path):
    root = tmp_path / "Größe mit Leerzeichen"
    make_video(root, "видео один")
    link = tmp_path / "link"
    link.symlink_to(root)
    assert len(VID(link).tracks("видео один")) == 2
    assert VID(link).frame_path("видео один", 3).is_file()


def test_directory_without_read_permission():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        images, _ = make_video(root, "locked")
        root.chmod(0o755)
        images.chmod(0)
        user = os.geteuid()
        if user == 0:  # root may read everything: become somebody else
            os.seteuid(65534)
        try:
            with pytest.raises(StudyError, match=r"cannot list .*locked: Permission denied"):
                VID(root).tracks("locked")
        finally:
            if user == 0:
                os.seteuid(0)
            images.chmod(0o755)


def test_validation_sequences(tmp_path):
    make_vid(tmp_path, videos=1, val=3)
    all_of_them = validation_sequences(tmp_path)
    # Every video's longest track before any second one; the gap at frame 2 leaves frames 3 to 5.
    assert [s.name for s in all_of_them] == [
        "val_0/0",
        "val_1/0",
        "val_2/0",
        "val_0/1",
        "val_1/1",
        "val_2/1",
    ]
    assert [len(s) for s in all_of_them] == [6, 6, 6, 3, 3, 3]
    assert all_of_them[3].frames[0].endswith("val_0/000003.JPEG")
    assert np.array_equal(all_of_them[3].boxes[0], [39, 15, 20, 24])
    few = validation_sequences(tmp_path, limit=2, max_frames=4)
    assert [s.name for s in few] == ["val_0/0", "val_2/0"] and [len(s) for s in few] == [4, 4]
    assert all(Path(f).is_absolute() for s in few for f in s.frames)


def test_empty_folder_has_no_tracks(tmp_path):
    make_video(tmp_path, "full", frames=1)
    folders(tmp_path, "empty")
    assert VID(tmp_path).tracks("empty") == ()


def test_real_videos(shared):
    vid = VID(shared / "real" / "ILSVRC2015", "val")
    assert len(vid.videos) == 6 and sum(len(vid.frames(name)[0]) for name in vid.videos) == 319
    assert all(vid.tracks(name) for name in vid.videos)
