"""The built-in data set: real readers read it, a seed fixes it, and it is worth tracking in."""

import hashlib
import json
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import built_in
import cv2
import numpy as np
import pandas as pd
import pytest
from got10k.datasets import VOT, GOT10k

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.data import geometry, images, vid
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import exclusive
from esiamfc_lib.synthetic.backgrounds import BACKGROUNDS
from esiamfc_lib.synthetic.dataset import scene_of
from esiamfc_lib.synthetic.layouts import SPLITS, Folders, Job
from esiamfc_lib.synthetic.motion import fold
from esiamfc_lib.synthetic.objects import CANVAS, FAMILIES, Instance, Kind, family_sheet
from esiamfc_lib.synthetic.painting import paste, warp
from esiamfc_lib.synthetic.scenes import Truth
from esiamfc_lib.synthetic.settings import BuiltIn
from esiamfc_lib.synthetic.textures import TEXTURES, palette

TINY = {
    **{"seed": 3, "train_videos": 3, "val_videos": 2, "video_frames": 6, "test_frames": 8},
    **{"otb_sequences": 2, "vot_sequences": 2, "got10k_sequences": 2},
}
NORMAL = built_in.settings(video_frames=40, test_frames=60, width=320, height=240)

PIXELS, BOXES = "88c8219c48c8608a", "97d7f5f2e44ddc68"  # digests of the set TINY


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Folders:
    return built_in.make(tmp_path_factory.mktemp("built in"), **TINY)


def content(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def pixel_digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".jpg", ".JPEG")):
        digest.update(images.read_image(path).tobytes())
    return digest.hexdigest()[:16]


def box_digest(root: Path) -> str:
    """Of all annotations that hold whole numbers: they do not depend on how floats are printed."""
    digest = hashlib.sha256()
    for path in sorted(
        [
            *root.rglob("*.xml"),
            *root.rglob("groundtruth_rect.txt"),
            *root.rglob("*.tag"),
            *root.rglob("*.label"),
        ]
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def test_a_seed_gives_the_same_pixels_and_boxes_on_every_machine(tiny):
    """Fixed digests: a change of either means other data, so raise ``settings.VERSION``."""
    assert (pixel_digest(tiny.root), box_digest(tiny.root)) == (PIXELS, BOXES)


def test_the_first_videos_do_not_depend_on_how_many_follow_nor_on_the_workers(tiny, tmp_path):
    more = built_in.make(tmp_path / "more", 2, **{**TINY, "train_videos": 5, "otb_sequences": 3})
    few, many = content(tiny.root), content(more.root)
    shared = {name for name in few if name not in ("manifest.json", "families.csv")}
    assert all(few[name] == many[name] for name in shared)
    assert len(many) > len(few)


def test_splits_share_nothing_and_seeds_differ(tiny):
    firsts = [
        next(scene_of(Job(split, 0), built_in.settings(seed=seed)).render())[0].tobytes()
        for split in SPLITS
        for seed in (0, 1)
    ]
    assert len(set(firsts)) == len(firsts)


def test_a_complete_set_is_left_alone_and_an_interrupted_one_finished(tiny, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(tiny.root, root)
    before = content(root)
    times = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    built_in.make(root, **TINY)
    assert times == {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    # Killed in the middle: one video without its row, one half-written folder, no summary.
    (root / "rows" / "train_000001.json").unlink()
    shutil.rmtree(root / "OTB" / "Otb001")
    half = root / "OTB" / ".Otb001.part"
    half.mkdir()
    (half / "stray.jpg").write_bytes(b"half")
    (root / "families.csv").unlink()
    built_in.make(root, **TINY)
    assert content(root) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [({"seed": 4}, "seed"), ({"separation": 0.5}, "separation"), ({"train_videos": 9}, "counts")],
)
def test_another_data_set_in_the_folder_is_refused(tiny, change, words):
    with pytest.raises(StudyError, match=f"other values of {words}"):
        built_in.make(tiny.root, **{**TINY, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"families": 1},
        {"families": len(FAMILIES) + 1},
        {"separation": 1.5},
        {"hues": -0.1},
        {"conflict": 2.0},
        {"frame_width": 10},
        {"val_videos": -1},
        {"video_frames": 1},
    ],
)
def test_values_out_of_range_are_refused_by_name(change):
    (name,) = change
    with pytest.raises(StudyError, match=f"dataset: parameter '{name}' = "):
        DatasetParameters.validated(change, "dataset")


def test_a_data_set_has_the_values_of_the_parameters_and_a_folder_of_its_own():
    parameters = DatasetParameters(families=len(FAMILIES), frame_width=100, test_frames=7)
    data = BuiltIn.of(parameters)
    assert (data.families, data.width, data.height, data.test_frames) == (6, 100, 240, 7)
    assert BuiltIn.of(DatasetParameters()).folder == "synthetic-59ec335eeb"
    assert data.folder != BuiltIn.of(DatasetParameters()).folder


def test_another_process_that_makes_it_is_waited_for(tiny, tmp_path, capfd):
    root = tmp_path / "set"
    begun = threading.Event()

    def other():
        with exclusive(root, "taken"):
            begun.set()
            time.sleep(0.2)
            shutil.copytree(tiny.root, root, dirs_exist_ok=True)
            (root / "OTB" / "Otb001" / "img" / "0001.jpg").write_bytes(b"the other's")

    thread = threading.Thread(target=other)
    thread.start()
    begun.wait()
    built_in.make(root, **TINY)
    thread.join()
    assert "waiting for it" in capfd.readouterr().err
    assert (root / "OTB" / "Otb001" / "img" / "0001.jpg").read_bytes() == b"the other's"


def test_a_root_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StudyError, match="cannot write to"):
        built_in.make(tmp_path / "file" / "set")


def test_a_broken_manifest_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(StudyError, match=r"manifest\.json"):
        built_in.make(tmp_path)


def test_vid_layout_is_read_by_the_vid_reader(tiny):
    data = vid.VID(tiny.vid, "train")
    assert list(data.videos) == [f"ILSVRC2015_train_{i:08d}" for i in range(3)]
    table = pd.read_csv(tiny.families_csv, keep_default_na=False)
    for name in data.videos:
        rows = table[table.video == name]
        assert [len(numbers) for numbers in data.frames(name)] == [6, 6]
        assert 1 <= len(rows) <= 3
        for track in data.tracks(name):
            row = rows[rows.track_id == track.track_id].iloc[0]
            assert track.name == row.family
            assert (track.boxes[:, :2] >= 0).all()
            assert (track.boxes[:, :2] + track.boxes[:, 2:] <= (160, 120)).all()


def test_vid_xml_has_the_original_form(tiny):
    path = (
        tiny.vid
        / "Annotations/VID/train/ILSVRC2015_VID_train_0000"
        / "ILSVRC2015_train_00000000/000002.xml"
    )
    root = ElementTree.parse(path).getroot()
    assert root.findtext("folder") == "ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"
    assert root.findtext("filename") == "000002"
    assert root.findtext("source/database") == "ILSVRC_2015"
    assert (root.findtext("size/width"), root.findtext("size/height")) == ("160", "120")
    thing = root.find("object")
    assert [child.tag for child in thing] == ["trackid", "name", "bndbox", "occluded", "generated"]
    assert {child.tag for child in thing.find("bndbox")} == {"xmin", "ymin", "xmax", "ymax"}
    assert (
        path.with_suffix("").parts[-3:]
        == (
            tiny.vid / "Data/VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000/000002"
        ).parts[-3:]
    )


def test_otb_layout(tiny):
    scene = scene_of(Job("otb", 0), built_in.settings(**TINY))
    truth = [truths[0].box for _, truths in scene.render()]
    written = np.loadtxt(tiny.otb / "Otb000" / "groundtruth_rect.txt", delimiter=",")
    assert np.array_equal(geometry.from_one_based(written), np.array(truth))
    assert sorted(p.name for p in (tiny.otb / "Otb000" / "img").iterdir())[0] == "0001.jpg"


def test_vot_layout_is_read_by_the_got10k_toolkit(tiny):
    data = VOT(str(tiny.vot), version=2018, anno_type="default", download=False, return_meta=True)
    assert len(data) == 2
    for files, polygons, meta in data:
        assert len(files) == 8 and polygons.shape == (8, 8)
        assert set(meta) == {
            "camera_motion",
            "illum_change",
            "motion_change",
            "occlusion",
            "size_change",
        }
        boxes = np.array([geometry.polygon_to_box(p) for p in polygons])
        assert (boxes[:, 2:] > 5).all()


def test_got10k_layout_is_read_by_the_got10k_toolkit(tiny):
    data = GOT10k(str(tiny.got10k), subset="val", return_meta=True)
    assert len(data) == 2
    for files, boxes, meta in data:
        assert len(files) == 8 and boxes.shape == (8, 4)
        assert meta["resolution"] == "(160, 120)"
        assert meta["object_class"] in {family.family for family in FAMILIES}
        assert ((meta["absence"] == 1) == (boxes[:, 2] == 0)).all()
        assert (meta["cover"] <= 8).all() and (meta["cover"][0] == 8)


def test_boxes_are_tight_around_a_lone_object():
    scene = scene_of(Job("otb", 3), replace(NORMAL, test_frames=5))
    frames = list(scene.render())
    alone = [np.array(frame, int) for frame, _ in frames]
    scene.targets[0].instance._surface[:] = 255 - scene.targets[0].instance._surface
    scene.targets[0].instance._rigid = None
    for (_, truths), before, (after, _) in zip(frames, alone, scene.render(), strict=True):
        changed = np.abs(after - before).sum(2) > 60
        x, y, w, h = truths[0].box
        ys, xs = np.nonzero(changed)
        assert x - 1 <= xs.min() and xs.max() <= x + w and y - 1 <= ys.min() and ys.max() <= y + h
        assert np.ptp(xs) > 0.7 * w and np.ptp(ys) > 0.7 * h


def test_test_sequences_start_in_full_view_and_never_lose_their_object():
    for index in range(6):
        scene = scene_of(Job("otb", index), replace(NORMAL, test_frames=20))
        truths = [truths[0] for _, truths in scene.render()]
        assert truths[0].visible > 0.8
        assert all(truth.box is not None for truth in truths)


def test_an_object_that_moves_is_lost_by_a_tracker_that_does_not():
    scores = []
    for index in range(12):
        scene = scene_of(Job("otb", index), NORMAL)
        boxes = np.array([scene.frame(t)[1][0].box for t in range(0, 60, 5)], float)
        overlap = geometry.iou(boxes[:1], boxes)
        scores.append(np.mean([(overlap > t).mean() for t in np.linspace(0, 1, 21)]))
    assert 0.08 < np.mean(scores) < 0.25


def test_speed_is_mostly_within_the_search_region():
    steps = []
    for index in range(6):
        scene = scene_of(Job("train", index), NORMAL)
        for actor in scene.targets:
            moved = np.hypot(np.diff(actor.path.x), np.diff(actor.path.y))
            steps += list(moved / (actor.size * actor.path.scale[1:]))
    # The response reaches about one object side from the centre.
    assert np.quantile(steps, 0.98) < 0.7
    assert np.median(steps) > 0.03


def test_attributes_are_what_was_seen():
    seen = {name for index in range(12) for name in scene_of(Job("otb", index), NORMAL).challenges}
    assert {"occlusion", "blur", "scale", "illumination", "distractors", "fast_motion"} <= seen
    scene = scene_of(Job("otb", 0), NORMAL)
    box, polygon = np.array([10, 10, 20, 20]), np.zeros((4, 2))
    calm = [Truth(box, polygon, 1.0, 1.0, 0.0, 400)] * 10
    covered = [*calm[:5], Truth(box, polygon, 1.0, 0.3, 0.0, 400), *calm[:4]]
    cut = [*calm[:5], Truth(box, polygon, 0.5, 0.5, 0.0, 400), *calm[:4]]
    grown = [*calm[:5], Truth(box, polygon, 1.0, 1.0, 9.0, 1600), *calm[:4]]
    assert not {"occlusion", "blur", "scale", "out_of_view", "fast_motion"} & set(
        scene.attributes(calm)
    )
    assert "occlusion" in scene.attributes(covered) and covered[5].occluded
    assert "out_of_view" in scene.attributes(cut) and not cut[5].occluded
    assert {"scale", "blur"} <= set(scene.attributes(grown))


def test_separation_decides_how_much_the_label_says():
    def purity(separation):
        rng = np.random.default_rng(0)
        data = built_in.settings(separation=separation)
        kinds = [Kind.draw(rng, i % 6, data) for i in range(1200)]
        return np.mean([kind.shape == kind.family for kind in kinds])

    assert purity(1.0) == 1
    assert purity(0.0) == pytest.approx(1 / 6, abs=0.04)
    assert purity(0.5) == pytest.approx(0.5 + 0.5 / 6, abs=0.05)


@pytest.mark.parametrize("hues", [0.1, 0.25])
def test_families_have_arcs_of_the_colour_circle(hues):
    for family in range(6):
        rng = np.random.default_rng(family)
        kind = Kind.draw(rng, family, built_in.settings(hues=hues))
        colours = np.concatenate([palette(rng, 3, (0.8, 1), (0.8, 1), kind.arc) for _ in range(50)])
        hue = cv2.cvtColor(colours[None], cv2.COLOR_RGB2HSV)[0, :, 0] / 180.0
        ahead = (hue - family / 6 + 0.02) % 1  # rounded to 8 bits
        assert ahead.max() < hues + 0.04


def hues_of(instance, t) -> np.ndarray:
    sprite = instance.sprite(0.0, t)
    seen = sprite[sprite[..., 3] == 255][:, :3]
    return cv2.cvtColor(seen[None], cv2.COLOR_RGB2HSV)[0, :, 0] * 2.0  # degrees


@pytest.mark.parametrize("family", range(4), ids=[f.family for f in FAMILIES[:4]])
def test_what_stays_stays_and_the_rest_changes(family):
    rng = np.random.default_rng(family)
    kind = Kind.draw(rng, family, built_in.settings(hues=0.3))
    still = Instance(np.random.default_rng(1), kind)
    moving = Instance(np.random.default_rng(1), kind, np.random.default_rng(2))
    assert moving.changes and not still.changes
    assert np.array_equal(still.sprite(0, 0), still.sprite(0, 9))
    first, later = moving.sprite(0, 0), moving.sprite(0, 12)
    assert np.array_equal(first[..., 3], later[..., 3]) and not np.array_equal(first, later)
    assert np.all(later[..., :3] <= later[..., 3:])  # still times alpha
    if kind.stays == "pattern":  # one turn for the whole object, light and dark stay
        means = [moving.sprite(0, t)[..., :3].sum(2).astype(float).ravel() for t in (0, 12)]
        assert np.corrcoef(*means)[0, 1] > 0.9
    else:  # the palette stays: hues of all times lie around those of the first frame
        palette_hues = cv2.cvtColor(moving.colours[None], cv2.COLOR_RGB2HSV)[0, :, 0] * 2.0
        apart = np.abs(hues_of(moving, 12)[:, None] - palette_hues)
        assert np.median(np.minimum(apart, 360 - apart).min(1)) < 30


def test_distractors_have_in_common_what_changes():
    changing = replace(NORMAL, conflict=1.0, hues=0.3)
    scenes = [scene_of(Job("otb", i), changing) for i in range(24)]
    seen = set()
    for scene in scenes:
        target = scene.targets[0].instance
        assert target.changes
        for actor in scene._actors[len(scene.targets) :]:
            assert actor.instance.changes
            alike = np.array_equal(actor.instance.colours, target.colours)
            same_pattern = actor.instance.kind.texture == target.kind.texture
            assert (alike, same_pattern) == (
                (True, False) if target.kind.stays == "pattern" else (False, True)
            )
            seen.add(target.kind.stays)
    assert seen == {"pattern", "colours"}


def test_distractors_are_of_the_same_kind_but_look_different():
    scene = next(
        s
        for s in (scene_of(Job("otb", i), replace(NORMAL, separation=0.3)) for i in range(20))
        if "distractors" in s.challenges
    )
    target = scene.targets[0].instance
    for actor in scene._actors[len(scene.targets) :]:
        assert actor.instance.kind == target.kind
        assert not np.array_equal(actor.instance.sprite(0), target.sprite(0))


@pytest.mark.parametrize("family", range(len(FAMILIES)), ids=[f.family for f in FAMILIES])
def test_sprites_fill_their_canvas_without_being_cut(family):
    kind = Kind.draw(np.random.default_rng(family), family, built_in.settings())
    instance = Instance(np.random.default_rng(family), kind)
    poses = [instance.sprite(phase) for phase in np.linspace(0, 6, 5)]
    alpha = np.max([pose[..., 3] for pose in poses], axis=0)
    assert alpha[0].max() < 128 and alpha[-1].max() < 128
    assert alpha[:, 0].max() < 128 and alpha[:, -1].max() < 128
    assert 0.08 < (alpha >= 128).mean() < 0.9
    assert all((pose[..., :3] <= pose[..., 3:]).all() for pose in poses)  # multiplied by alpha
    moves = not np.array_equal(poses[0], poses[1])
    assert moves == (instance.deforms or kind.shape == "face")


@pytest.mark.parametrize(
    "make", [*TEXTURES.values(), *BACKGROUNDS.values()], ids=lambda make: make.__name__
)
def test_textures_and_backgrounds_are_pictures_with_structure(make):
    rng = np.random.default_rng(5)
    is_texture = make in TEXTURES.values()
    picture = make(rng, palette(rng, 3), 64) if is_texture else make(rng, 90, 70)
    assert picture.dtype == np.uint8
    assert picture.shape == ((64, 64, 3) if is_texture else (70, 90, 3))
    assert picture.std(axis=(0, 1)).max() > 5


def test_fold_reflects_at_both_ends():
    assert fold(np.array([-3.0, 0.0, 4.0, 12.0, 23.0]), 0, 10) == pytest.approx([3, 0, 4, 8, 3])


def test_warp_samples_half_way_and_is_empty_outside():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[1, 1] = 100
    same = warp(picture, [[1, 0, 0], [0, 1, 0]], 4, 4)
    half = warp(picture, [[1, 0, 0.5], [0, 1, 0]], 4, 4)
    assert np.array_equal(same, picture)
    assert half[1, 0, 0] == 50 and half[1, 1, 0] == 50
    assert warp(picture, [[1, 0, 50], [0, 1, 0]], 4, 4).max() == 0


def test_paste_blends_clips_and_marks_its_pixels():
    frame, owner = np.full((4, 4, 3), 100, np.uint8), np.zeros((4, 4), np.uint8)
    patch = np.zeros((3, 3, 4), np.uint8)
    patch[1, 1] = (200, 0, 0, 255)
    patch[2, 2] = (50, 50, 50, 64)
    paste(frame, owner, patch, -1, -1, 7)
    assert frame[0, 0].tolist() == [200, 0, 0] and owner[0, 0] == 7
    assert frame[1, 1, 0] == 50 + round(100 * 191 / 255) and owner[1, 1] == 0
    paste(frame, owner, patch, 40, 0, 9)
    assert (owner == 9).sum() == 0


def test_families_table_lists_every_track(tiny):
    table = pd.read_csv(tiny.families_csv, keep_default_na=False)
    assert list(table.columns) == [
        "split",
        "video",
        "track_id",
        "family",
        "shape",
        "texture",
        "motion",
        "background",
        "attributes",
    ]
    assert table.groupby("split").video.nunique().to_dict() == {
        "train": 3,
        "val": 2,
        "otb": 2,
        "vot": 2,
        "got10k": 2,
    }
    assert json.loads((tiny.root / "manifest.json").read_text())["seed"] == 3


def test_the_sheet_has_a_row_a_family():
    sheet = family_sheet(built_in.settings(families=3))
    assert sheet.shape == (3 * CANVAS, 72 + 9 * CANVAS, 3)
    assert all((sheet[row * CANVAS :][:CANVAS, 80:] < 200).mean() > 0.08 for row in range(3))
