"""The crop store: reading it from anywhere, checking, merging."""

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from contextlib import contextmanager

import lmdb
import numpy as np
import pytest
from mini_vid import make_vid, make_video

from esiamfc_lib.commands import store as command
from esiamfc_lib.curation import store_check
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.data.store import CropStore, crop_key, read_records
from esiamfc_lib.data.store_index import Index, join
from esiamfc_lib.errors import StudyError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of three videos in three shards, and its source."""
    folder = tmp_path_factory.mktemp("made")
    root = make_vid(folder / "vid")
    curate(root, folder / "store", shard_bytes=1)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the store, as on another machine."""
    shutil.copytree(made / "store", tmp_path / "copy")
    return tmp_path / "copy"


@contextmanager
def changing(file):
    with (
        lmdb.open(str(file), subdir=False, lock=False) as shard,
        shard.begin(write=True) as transaction,
    ):
        yield transaction


def pixels(path, track, i):
    return CropStore(path).read(track, i).sum()


def test_reads_several_shards_as_one(made):
    store = CropStore(made / "store")
    assert len(store.shards) == 3 and len(store) == 33
    assert store.tracks.columns.tolist()[:7] == [
        "track",
        "video",
        "track_id",
        "name",
        "split",
        "frames",
        "family",
    ]
    assert store.tracks["frames"].tolist() == [6, 5, 6, 5, 6, 5]
    for track in range(6):
        for i, _ in enumerate(store.frames(track)):
            assert store.read(track, i).shape == (255, 255, 3)
    assert store.boxes().shape == (33, 4) and store.boxes().dtype == np.float64


def test_keys_are_readable_and_ordered(made):
    with (
        lmdb.open(
            str(made / "store/shard-0000.mdb"), subdir=False, readonly=True, lock=False
        ) as shard,
        shard.begin() as transaction,
    ):
        keys = [bytes(key).decode() for key, _ in transaction.cursor()]
    assert keys[:3] == ["#train/train_0", "train_0/000/000000", "train_0/000/000001"]
    assert keys == sorted(keys)
    assert crop_key("Größe", 3, 17) == "Größe/003/000017".encode()


def test_copy_has_the_same_digest_and_crops(made, copy):
    here, there = CropStore(made / "store"), CropStore(copy)
    assert here.digest == there.digest
    assert np.array_equal(here.read(4, 2), there.read(4, 2))


def test_read_only_files(copy):
    for file in copy.iterdir():
        file.chmod(0o444)
    copy.chmod(0o555)
    try:
        assert CropStore(copy).read(0, 0).shape == (255, 255, 3)
    finally:
        copy.chmod(0o755)


def test_forked_and_spawned_processes_read(copy):
    store = CropStore(copy)
    expected = [int(store.read(t, 0).sum()) for t in range(6)]
    child = os.fork()
    if child == 0:  # the environment opened above is used on both sides of the fork
        same = [int(store.read(t, 0).sum()) for t in range(6)] == expected
        os._exit(0 if same else 1)
    again = [int(store.read(t, 0).sum()) for t in range(6)]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and again == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(pixels, [(copy, t, 0) for t in range(2)]) == expected[:2]
    assert np.array_equal(pickle.loads(pickle.dumps(store)).read(2, 1), store.read(2, 1))


def test_two_stores_on_one_path(copy):
    assert np.array_equal(CropStore(copy).read(1, 0), CropStore(copy).read(1, 0))
    a, b = CropStore(copy), CropStore(copy)
    assert np.array_equal(a.read(1, 0), b.read(1, 0))


def test_index_has_no_pickle_and_opens_fast(tmp_path):
    tracks, length = 10_000, 100
    crops = np.arange(tracks * length)
    index = Index(
        video=np.array([f"ILSVRC2015_train_{v:08d}" for v in range(tracks)]),
        split=np.full(tracks, "train"),
        shard=np.zeros(tracks, np.int32),
        size=np.zeros((tracks, 2), np.int32),
        n_frames=np.zeros(tracks, np.int32),
        content=np.full(tracks, "0" * 32),
        track_video=np.arange(tracks, dtype=np.int32),
        track_id=np.zeros(tracks, np.int32),
        track_name=np.full(tracks, "n02084071"),
        track_family=np.full(tracks, ""),
        offset=np.arange(tracks + 1) * length,
        frame=(crops % length).astype(np.int32),
        box=np.zeros((len(crops), 4), np.float32),
        occluded=np.zeros(len(crops), bool),
        generated=np.zeros(len(crops), bool),
        n_bytes=np.zeros(len(crops), np.int32),
        crc=np.zeros(len(crops), np.uint32),
        problem=np.zeros((0, 4), "U1"),
    )
    (tmp_path / "index.npz").write_bytes(index.to_bytes())
    lmdb.open(str(tmp_path / "shard-0000.mdb"), subdir=False, lock=False).close()
    facts = {"format": 1, "complete": True, "digest": "x", "shards": [{}]}
    facts |= {"parameters": {}, "tracks": tracks}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    code = (
        "import sys, time; from esiamfc_lib.data.store import CropStore; t = time.perf_counter();"
        "s = CropStore(sys.argv[1]); s.tracks; print(len(s), time.perf_counter() - t)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, seconds = done.stdout.split()
    assert int(count) == 1_000_000 and float(seconds) < 1


def test_join_of_parts_in_any_order(made):
    store = CropStore(made / "store")
    records = [record for shard in reversed(store.shards) for record in read_records(shard)]
    again, index = join(zip(records, [2, 1, 0], strict=True)), store.index
    assert again.digests() == index.digests() and np.array_equal(again.offset, index.offset)
    with pytest.raises(StudyError, match="train_0 is there twice"):
        join((record, 0) for record in records + records)


def test_verify(copy):
    assert store_check.verify(copy, decode=True) == []
    with changing(copy / "shard-0001.mdb") as transaction:
        damaged = bytearray(transaction.get(b"train_1/000/000003"))
        damaged[100] ^= 255
        transaction.put(b"train_1/000/000003", bytes(damaged))
        transaction.put(b"train_1/000/000004", b"short")
        transaction.delete(b"train_1/000/000005")
    faults = store_check.verify(copy)
    assert [fault.split(": ")[0] for fault in faults] == [f"train_1/0/{n:06d}" for n in (3, 4, 5)]
    for fault, words in zip(faults, ("checksum", "5 bytes instead of", "missing"), strict=True):
        assert words in fault


def test_verify_sees_a_foreign_index(made, copy, tmp_path):
    make_video(tmp_path / "other", "train_0")
    curate(tmp_path / "other", tmp_path / "small")
    shutil.copy(tmp_path / "small" / "index.npz", copy / "index.npz")
    assert any("disagree" in fault for fault in store_check.verify(copy))


def test_info(made):
    told = store_check.info(made / "store")
    assert (told["videos"], told["tracks"], told["crops"], told["shards"]) == (3, 6, 33, 3)
    assert told["classes"] == {"class0": 3, "class1": 3}
    assert told["crops_per_track"] == {"least": 5, "median": 5.5, "most": 6}


def test_merge_refuses(made, copy, tmp_path):
    with pytest.raises(StudyError, match="there twice"):
        store_check.merge([made / "store", copy], tmp_path / "out")
    with pytest.raises(StudyError, match="holds a crop store already"):
        store_check.merge([made / "store"], copy)
    make_video(tmp_path / "more", "more")
    curate(tmp_path / "more", tmp_path / "low", jpeg_quality=50)
    with pytest.raises(StudyError, match="different parameters"):
        store_check.merge([made / "store", tmp_path / "low"], tmp_path / "out")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    with pytest.raises(StudyError, match="unfinished"):
        store_check.merge([copy], tmp_path / "out")


def test_damaged_stores(copy, tmp_path):
    with pytest.raises(StudyError, match=r"not a crop store: manifest.json"):
        CropStore(tmp_path / "nowhere")
    index = (copy / "index.npz").read_bytes()
    (copy / "index.npz").write_bytes(index[: len(index) // 2])
    with pytest.raises(StudyError, match=r"index.npz is damaged"):
        CropStore(copy)
    (copy / "index.npz").write_bytes(index)
    (copy / "shard-0002.mdb").unlink()
    with pytest.raises(StudyError, match=r"cannot open the shard .*shard-0002"):
        CropStore(copy)
    (copy / "manifest.json").write_text("{")
    with pytest.raises(StudyError, match=r"cannot read .*manifest.json"):
        CropStore(copy)
    (copy / "manifest.json").write_text('{"format": 1, "complete": true}')
    with pytest.raises(StudyError, match=r"manifest\.json lacks digest, parameters, shards"):
        CropStore(copy)
    (copy / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(StudyError, match="format 99"):
        CropStore(copy)


def test_rows_of_tracks_by_id(made):
    store = CropStore(made / "store")
    ids = store.tracks["track"].tolist()
    assert store.rows_of(ids[::-1]).tolist() == list(range(len(ids)))[::-1]
    assert store.rows_of([]).tolist() == []
    with pytest.raises(StudyError, match="has no track 'nowhere/7'"):
        store.rows_of([ids[0], "nowhere/7", "elsewhere/1"])


def test_out_of_range(made):
    store = CropStore(made / "store")
    with pytest.raises(StudyError, match="track 6"):
        store.frames(6)
    with pytest.raises(StudyError, match="crop 5 of track 1: it has 5"):
        store.read(1, 5)


def run(*words):
    import argparse

    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return command.main(parser.parse_args([str(word) for word in words]))


def test_command(made, copy, tmp_path, capsys):
    for i in (1, 2):
        assert (
            run("build", made / "vid", tmp_path / f"part{i}", "--part", f"{i}/2", "--workers", 1)
            == 0
        )
    assert run("merge", tmp_path / "all", tmp_path / "part1", tmp_path / "part2") == 0
    assert CropStore(tmp_path / "all").digest == CropStore(made / "store").digest
    capsys.readouterr()
    assert run("info", tmp_path / "all") == 0
    assert json.loads(capsys.readouterr().out)["crops"] == 33
    assert run("verify", tmp_path / "all", "--decode") == 0
    assert run("estimate", made / "vid", "--workers", 1) == 0
    with changing(copy / "shard-0000.mdb") as transaction:
        transaction.delete(b"train_0/000/000000")
    assert run("verify", copy) == 1
    with pytest.raises(StudyError, match="--part 3/2"):
        run("build", made / "vid", tmp_path / "no", "--part", "3/2")
