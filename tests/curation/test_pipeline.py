"""Curation: what lands in the store, what is left out, and what a kill or a full disk leaves."""

import csv
import os
import resource
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from mini_vid import folders, frame, make_vid, make_video, xml

from esiamfc_lib.curation import pipeline as curation
from esiamfc_lib.curation.crops import search_crop
from esiamfc_lib.curation.pipeline import curate, estimate
from esiamfc_lib.curation.store_check import merge, verify
from esiamfc_lib.data.images import read_image, write_image
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import parallel


def problems(store: Path) -> list[tuple[str, str, str]]:
    with (store / "problems.csv").open(encoding="utf-8", newline="") as file:
        return [(row["video"], row["frame"], row["reason"]) for row in csv.DictReader(file)]


def test_crops_are_what_the_geometry_says(tmp_path):
    root, store = make_vid(tmp_path / "vid"), tmp_path / "store"
    manifest = curate(root, store, jpeg_quality=100)
    assert (manifest["videos"], manifest["tracks"], manifest["crops"]) == (3, 6, 33)
    assert (manifest["frames"], manifest["bad_frames"], problems(store)) == (18, 0, [])
    crops = CropStore(store)
    track = crops.tracks.index[crops.tracks["track"] == "train_1/1"][0]
    assert crops.frames(track).tolist() == [0, 1, 3, 4, 5]
    image = read_image(root / "Data/VID/train/ILSVRC2015_VID_train_0001/train_1/000003.JPEG")
    expected = search_crop(image, (39, 15, 20, 24))
    assert np.abs(crops.read(track, 2).astype(int) - expected).mean() < 1
    assert crops.boxes(track)[2].tolist() == [39, 15, 20, 24]


def test_splits_and_families(tmp_path):
    root = make_vid(tmp_path / "vid")
    table = tmp_path / "families.csv"
    table.write_text("video,track_id,family\ntrain_0,1,disc\nval_0,0,bar\n")
    curate(root, tmp_path / "store", splits=("train", "val"), families=table)
    tracks = CropStore(tmp_path / "store").tracks.set_index("track")
    assert tracks["split"].value_counts().to_dict() == {"train": 6, "val": 2}
    assert tracks.loc["train_0/1", "family"] == "disc" and tracks.loc["val_0/0", "family"] == "bar"
    assert tracks.loc["train_0/0", "family"] == ""


def test_processes_archives_and_parts_give_the_same_store(tmp_path):
    root = make_vid(tmp_path / "vid")
    one = curate(root, tmp_path / "one", shard_bytes=1)
    assert len(one["shards"]) == 3  # a shard a video at that limit
    assert curate(root, tmp_path / "two", workers=2)["digest"] == one["digest"]
    for mode, order in (("w", ["Annotations", "Data"]), ("w:gz", ["Data", "Annotations"])):
        archive = tmp_path / f"vid-{order[0]}.tar"
        with tarfile.open(archive, mode) as tar:
            for part in order:
                tar.add(root / part, f"ILSVRC2015/{part}")
        streamed = curate(archive, tmp_path / f"store-{order[0]}")
        assert streamed["digest"] == one["digest"] and streamed["source"] == one["source"]
    for i in range(2):
        curate(root, tmp_path / f"part{i}", part=(i, 2))
    merged = merge([tmp_path / "part1", tmp_path / "part0"], tmp_path / "merged")
    assert merged["digest"] == one["digest"] and verify(tmp_path / "merged", decode=True) == []
    assert (merged["frames"], merged["crops"]) == (one["frames"], one["crops"])


def test_dask(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    root = make_vid(tmp_path / "vid", videos=2)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        manifest = curate(root, tmp_path / "store", scheduler=cluster.scheduler_address)
    assert manifest["crops"] == 22
    monkeypatch.setattr(parallel, "DASK_SECONDS", 0.5)
    with pytest.raises(StudyError, match=r"Dask at tcp://127\.0\.0\.1:1: "):
        curate(root, tmp_path / "other", scheduler="tcp://127.0.0.1:1")


def break_frames(root: Path) -> None:
    """One fault of each kind, in frames 0 to 8 of a video of 20."""
    images, annotations = make_video(root, "broken", frames=20, tracks=1)
    (annotations / "000000.xml").unlink()
    (annotations / "000001.xml").write_text("")
    data = (images / "000002.JPEG").read_bytes()
    (images / "000002.JPEG").write_bytes(data[: len(data) // 2])
    (images / "000003.JPEG").write_bytes(b"")
    write_image(images / "000004.JPEG", frame(64, 48))
    (annotations / "000005.xml").write_text(xml([(0, "a", 200, 10, 220, 20)]))
    (annotations / "000006.xml").write_text(xml([(0, "a", 30, 10, 20, 20)]))
    (images / "000007.JPEG").unlink()
    (annotations / "000008.xml").write_text(xml([(0, "a", 9, 9, 9, 9), (0, "a", 1, 1, 5, 5)]))


def test_broken_frames_are_listed_and_skipped(tmp_path):
    root = tmp_path / "vid"
    break_frames(root)
    manifest = curate(root, tmp_path / "store", max_bad_fraction=0.5)
    found = problems(tmp_path / "store")
    expected = [
        "missing XML",
        "empty",
        "truncated",
        "empty",
        "size differs: XML 96×72, image 64×48",
        "outside the frame",
        "inverted box",
        "missing JPEG",
        "twice in the frame",
    ]
    assert [int(n) for _, n, _ in found] == list(range(9))
    for (_, n, reason), words in zip(found, expected, strict=True):
        assert words in reason, n
    assert (manifest["bad_frames"], manifest["frames"], manifest["crops"]) == (9, 20, 12)
    crops = CropStore(tmp_path / "store")
    assert crops.boxes(0)[0].tolist() == [9, 9, 1, 1]  # the one-pixel box of frame 8 is a crop


def test_too_many_bad_frames(tmp_path):
    root = tmp_path / "vid"
    break_frames(root)
    with pytest.raises(StudyError, match=r"9 of the first 20 frames are bad.*max_bad_fraction"):
        curate(root, tmp_path / "store", max_bad_fraction=0.2)
    assert len(problems(tmp_path / "store")) == 9
    # With another threshold the store is finished without cutting anything again.
    assert curate(root, tmp_path / "store", max_bad_fraction=0.5)["crops"] == 12


def test_video_without_tracks(tmp_path):
    root = make_vid(tmp_path / "vid", videos=1)
    _, annotations = make_video(root, "bare", frames=2)
    for file in annotations.iterdir():
        file.write_text(xml([]))
    folders(root, "empty")
    manifest = curate(root, tmp_path / "store")
    assert (manifest["videos"], manifest["tracks"], manifest["bad_frames"]) == (3, 2, 0)
    assert problems(tmp_path / "store") == [
        ("bare", "-1", "video without tracks"),
        ("empty", "-1", "video without tracks"),
    ]


def test_spaces_letters_and_a_symlinked_root(tmp_path):
    root = tmp_path / "Größe und Raum"
    make_video(root, "видео один", frames=2)
    (tmp_path / "link").symlink_to(root)
    curate(tmp_path / "link", tmp_path / "mein Lager")
    assert CropStore(tmp_path / "mein Lager").tracks["track"].tolist() == [
        "видео один/0",
        "видео один/1",
    ]


def test_directory_without_read_permission():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "vid"
        images, _ = make_video(root, "locked")
        Path(folder).chmod(0o777)
        images.chmod(0)
        user = os.geteuid()
        if user == 0:  # root may read everything: become somebody else
            os.seteuid(65534)
        try:
            with pytest.raises(StudyError, match=r"cannot list .*locked: Permission denied"):
                curate(root, Path(folder) / "store")
        finally:
            if user == 0:
                os.seteuid(0)
            images.chmod(0o755)


def test_changed_parameters_or_source_are_refused(tmp_path):
    root, store = make_vid(tmp_path / "vid"), tmp_path / "store"
    first = curate(root, store)
    with pytest.raises(StudyError, match="jpeg_quality: there 95, now 80"):
        curate(root, store, jpeg_quality=80)
    assert curate(root, store, jpeg_quality=80, force=True)["bytes"] < first["bytes"]
    _, annotations = folders(root, "train_1", group="ILSVRC2015_VID_train_0001")
    (annotations / "000000.xml").write_text(xml([(0, "class0", 11, 12, 30, 35)]))
    make_video(root, "train_9")
    with pytest.raises(
        StudyError, match="new in the source: train/train_9; changed in the source: train/train_1"
    ):
        curate(root, store, jpeg_quality=80)
    assert curate(root, store, jpeg_quality=80, force=True)["videos"] == 4


def test_same_content_with_other_times_is_the_same_source(tmp_path):
    root, store = make_vid(tmp_path / "vid", videos=1), tmp_path / "store"
    first = curate(root, store)
    for file in root.rglob("*.xml"):
        os.utime(file, (1, 1))
    assert curate(root, store) == first


def test_a_finished_store_is_left_alone(tmp_path):
    root, store = make_vid(tmp_path / "vid"), tmp_path / "store"
    first = curate(root, store)
    before = {file: file.stat().st_mtime_ns for file in store.iterdir() if file.suffix == ".mdb"}
    assert curate(root, store) == first
    assert before == {file: file.stat().st_mtime_ns for file in before}


RUN = """
import sys
from esiamfc_lib.curation import curate
print("ready", flush=True)
curate(sys.argv[1], sys.argv[2])
"""


def start(root: Path, store: Path, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(root), str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_killed_at_any_moment(tmp_path):
    root = make_vid(tmp_path / "vid", videos=8, frames=12)
    whole = curate(root, tmp_path / "whole")
    seen = set()
    for delay in (0.02, 0.08, 0.15):
        store = tmp_path / f"killed{delay}"
        process = start(root, store)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (store / "manifest.json").exists():
            seen.add(len(CropStore(store).index.video))  # opens, with what is finished
        again = curate(root, store)
        assert again["digest"] == whole["digest"] and verify(store) == []
        assert again["shards"] == whole["shards"]
    assert seen  # at least one kill came after the store had been begun


def test_workers_end_with_a_killed_parent():
    code = (
        "import os; from esiamfc_lib.runtime.parallel import spread\n"
        "def work(_): import time; time.sleep(0.2); return os.getpid()\n"
        "for pid in spread(work, range(1000), 2): print(pid, flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    workers = {int(process.stdout.readline()) for _ in range(4)}
    process.kill()
    process.wait()
    process.stdout.close()
    alive, patience = workers, time.monotonic() + 20
    while alive and time.monotonic() < patience:
        time.sleep(0.2)
        alive = {pid for pid in workers if runs(pid)}
    assert not alive


def runs(pid: int) -> bool:
    """Whether a process is there and is more than an entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_finished_videos_are_not_redone(tmp_path, monkeypatch):
    root, store = make_vid(tmp_path / "vid"), tmp_path / "store"
    cut, done = curation.cut, []

    def interrupted(chunk, jpeg_quality):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chunk.name[1])
        return cut(chunk, jpeg_quality)

    monkeypatch.setattr(curation, "cut", interrupted)
    with pytest.raises(KeyboardInterrupt):
        curate(root, store)
    assert sorted(CropStore(store).index.video) == ["train_0", "train_1"]
    done.clear()
    curate(root, store)
    assert done == ["train_2"]


def test_full_disk(tmp_path):
    """A limit on the file size is what a full disk is to LMDB: the write fails."""
    root = make_vid(tmp_path / "vid", videos=8, frames=20)
    limit = 2 << 20

    process = start(
        root,
        tmp_path / "store",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "no space left" in errors and "GB more are needed" in errors
    kept = CropStore(tmp_path / "store")
    assert 0 < len(kept.index.video) < 8 and kept.read(0, 0).shape == (255, 255, 3)
    with pytest.raises(StudyError, match="close the CropStore that reads it"):
        curate(root, tmp_path / "store")
    del kept
    assert curate(root, tmp_path / "store")["digest"] == curate(root, tmp_path / "one")["digest"]


def test_kill_at_the_birth_of_a_shard(tmp_path, monkeypatch):
    root, store = make_vid(tmp_path / "vid"), tmp_path / "store"

    def killed(chunk, jpeg_quality):
        (store / "shard-0000.mdb").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(curation, "cut", killed)
        curate(root, store)
    assert len(CropStore(store)) == 0 and len(CropStore(store).tracks) == 0
    assert curate(root, store)["crops"] == 33 and verify(store) == []


def test_two_writers(tmp_path):
    from esiamfc_lib.curation.store_writer import StoreWriter

    root = make_vid(tmp_path / "vid", videos=1)
    writer = StoreWriter(tmp_path / "store", {}, {})
    with pytest.raises(StudyError, match="another process"):
        curate(root, tmp_path / "store")
    writer.close()


def test_bad_archives(tmp_path):
    (tmp_path / "no.tar").write_bytes(b"this is no archive" * 100)
    with pytest.raises(StudyError, match="cannot read the archive"):
        curate(tmp_path / "no.tar", tmp_path / "a")
    root = make_vid(tmp_path / "vid", videos=1)
    with tarfile.open(tmp_path / "cut.tar.gz", "w:gz") as tar:
        tar.add(root, "ILSVRC2015")
    data = (tmp_path / "cut.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(StudyError, match="cannot read the archive"):
        curate(tmp_path / "cut.tar.gz", tmp_path / "b")


def test_estimate(tmp_path):
    root = make_vid(tmp_path / "vid", videos=4)
    guess = estimate(root, sample_videos=2, sample_frames=6)
    real = curate(root, tmp_path / "store")
    assert (guess["videos"], guess["frames"], guess["crops"]) == (4, 24, real["crops"])
    assert guess["gigabytes"] == pytest.approx(real["bytes"] / 1e9, rel=0.1)
    assert guess["hours"] > 0
    (tmp_path / "vid.tar").touch()
    with pytest.raises(StudyError, match=r"is an archive.*needs a folder"):
        estimate(tmp_path / "vid.tar")


def test_real_videos_go_through(shared, tmp_path):
    manifest = curate(shared / "real" / "ILSVRC2015", tmp_path / "store", splits=("val",))
    assert (manifest["videos"], manifest["crops"], manifest["problems"]) == (6, 319, 0)
