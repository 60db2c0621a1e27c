"""A finished store in place of curation, and an archive in place of a folder."""

import json
import shutil
import tarfile
from contextlib import closing

import lmdb
import matplotlib.pyplot as plt
import pytest
from mini_vid import make_vid

from esiamfc_lib.config import DatasetParameters
from esiamfc_lib.curation import archive
from esiamfc_lib.curation.inputs import fill_store, prepare
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.curation.store_check import adopt, merge
from esiamfc_lib.curation.store_writer import StoreWriter
from esiamfc_lib.data.roots import load_roots
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.data.vid import validation_sequences
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime import paths


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A VID root, its archive, a store in two shards, the same from the archive, and merged."""
    folder = tmp_path_factory.mktemp("made")
    root = make_vid(folder / "vid", videos=2, val=4)
    with tarfile.open(folder / "vid.tar.gz", "w:gz") as tar:
        for part in ("Annotations", "Data"):
            tar.add(root / part, f"ILSVRC2015/{part}")
    curate(root, folder / "store", shard_bytes=1)
    curate(folder / "vid.tar.gz", folder / "streamed")
    for i in range(2):
        curate(root, folder / f"part{i}", part=(i, 2))
    merge([folder / "part0", folder / "part1"], folder / "merged")
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made / "store", tmp_path / "copy")


def parameters(tmp_path, **values) -> DatasetParameters:
    folders = {"run_dir": str(tmp_path / "run"), "report_dir": str(tmp_path / "reports")}
    return DatasetParameters(source="vid", workers=1, **folders, **values)


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["store", "streamed", "merged"])
def test_a_finished_store_is_taken_as_it_is(made, tmp_path, name):
    p = parameters(tmp_path, store=str(made / name))
    before = content(made / name)
    manifest = fill_store(p, prepare(p))
    assert manifest["digest"] == CropStore(p.artefacts.store).digest
    assert CropStore(p.artefacts.store).read(0, 0).shape == (255, 255, 3)
    assert fill_store(p, prepare(p)) == manifest  # again, for example after an interruption
    assert content(made / name) == before


def test_a_removed_stage_leaves_the_store_alone(copy, tmp_path):
    p = parameters(tmp_path, store=str(copy))
    fill_store(p, prepare(p))
    before = content(copy)
    shutil.rmtree(p.folder)
    assert content(copy) == before


def test_curating_again_does_not_write_through_the_link(made, copy, tmp_path):
    p = parameters(tmp_path, store=str(copy))
    fill_store(p, prepare(p))
    for file in copy.iterdir():
        file.chmod(0o444)
    before = {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}
    p = parameters(tmp_path, vid_root=str(made / "vid"))
    fill_store(p, prepare(p))
    assert not p.artefacts.store.is_symlink()
    assert before == {file.name: file.stat().st_mtime_ns for file in copy.iterdir()}


def test_a_store_that_was_curated_here_is_not_thrown_away(made, tmp_path):
    p = parameters(tmp_path, vid_root=str(made / "vid"))
    fill_store(p, prepare(p))
    p = parameters(tmp_path, store=str(made / "merged"))
    with pytest.raises(StudyError, match=r"dataset\.store: .*holds a store already: remove it"):
        fill_store(p, prepare(p))


def without(name):
    return lambda store: (store / name).unlink()


def shorter(store):
    file = store / "shard-0001.mdb"
    file.write_bytes(file.read_bytes()[:-8192])


def unfinished(store):
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))


def other_index(store):
    file = store / "index.npz"
    file.write_bytes(file.read_bytes()[:100])


def other_digest(store):
    text = (store / "manifest.json").read_text()
    digest = json.loads(text)["shards"][1]["digest"]
    (store / "manifest.json").write_text(text.replace(digest, "0" * 32))


def other_crop(store):
    with (
        lmdb.open(str(store / "shard-0000.mdb"), subdir=False, lock=False) as shard,
        shard.begin(write=True) as transaction,
    ):
        crop = transaction.get(b"train_0/000/000003")
        transaction.put(b"train_0/000/000003", crop[:-1] + b"?")


def shards_exchanged(store):
    (store / "shard-0000.mdb").rename(store / "aside")
    (store / "shard-0001.mdb").rename(store / "shard-0000.mdb")
    (store / "aside").rename(store / "shard-0001.mdb")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (without("manifest.json"), "not a crop store: manifest.json is missing"),
        (without("index.npz"), "index.npz is damaged"),
        (without("shard-0001.mdb"), r"cannot open the shard .*shard-0001\.mdb"),
        (shorter, r"shard-0001\.mdb is cut short: \d+ bytes instead of \d+"),
        (unfinished, "is unfinished.*manifest.json"),
        (other_index, "index.npz is damaged"),
        (other_digest, "manifest.json and index.npz disagree about shards"),
        (shards_exchanged, r"shard-0000\.mdb and index.npz disagree about the crops; \d+ more"),
        (other_crop, "train_0/0/000003: the checksum differs"),
    ],
)
def test_what_is_wrong_with_a_store_is_said_in_a_sentence(copy, tmp_path, fault, sentence):
    fault(copy)
    p = parameters(tmp_path, store=str(copy))
    with pytest.raises(StudyError, match=rf"^dataset\.store: .*copy.*{sentence}"):
        fill_store(p, prepare(p))
    assert not p.artefacts.store.exists()


def test_a_store_without_tracks(tmp_path):
    root = make_vid(tmp_path / "vid", videos=1)
    for file in (root / "Annotations/VID/train").rglob("*.xml"):
        text = file.read_text()
        file.write_text(text[: text.index("<object>")] + "</annotation>")
    with pytest.raises(StudyError, match=r"not one object could be cut out, see .*problems\.csv"):
        curate(root, tmp_path / "empty")
    with closing(StoreWriter(tmp_path / "older", {}, {})) as writer:
        writer.complete()
    with pytest.raises(StudyError, match="holds no track"):
        adopt(tmp_path / "older", tmp_path / "run/dataset/store")


def test_an_archive_is_a_root(made, tmp_path, monkeypatch):
    p = parameters(tmp_path, vid_root=str(made / "vid.tar.gz"), val_videos=2)
    roots = prepare(p)
    assert fill_store(p, roots)["digest"] == CropStore(made / "store").digest
    # The later notebooks track some validation videos, which are unpacked.
    assert load_roots(p.run) == roots
    found = validation_sequences(roots.path("vid"), 12, 4)
    assert [sequence.name for sequence in found] == ["val_0/0", "val_3/0", "val_0/1", "val_3/1"]
    assert found[0].boxes.tolist() == validation_sequences(made / "vid", 1, 4)[0].boxes.tolist()
    assert roots.videos().split == "val"
    monkeypatch.setattr(archive, "members", None)  # once is enough
    assert prepare(p) == roots


def test_an_archive_without_validation_videos(tmp_path):
    root = make_vid(tmp_path / "vid", videos=1, val=0)
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        tar.add(root, "ILSVRC2015")
    p = parameters(tmp_path, vid_root=str(tmp_path / "train.tar"))
    roots = prepare(p)
    assert roots.videos() is None and fill_store(p, roots)["tracks"] == 2
    with pytest.raises(StudyError, match=r"set dataset\.vid_root, with the validation videos"):
        roots.path("vid")


@pytest.mark.parametrize("frames", ["", "vid.tar.gz", "vid"])
def test_notebook_01_reports_from_the_store_alone(made, tmp_path, root, frames, monkeypatch):
    """With the frames, with those of an archive, and without any."""
    monkeypatch.setenv(paths.CHAIN, "1")
    given = str(made / frames) if frames else ""
    p = parameters(tmp_path, store=str(made / "merged"), vid_root=given)
    namespace = {**p.model_dump(), "display": lambda shown: None}
    notebook = json.loads((root / "notebooks/01_dataset_prep.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), namespace)
    plt.close("all")
    metrics = json.loads((p.folder / "metrics.json").read_text())
    assert (metrics["tracks"], metrics["store"]) == (4, CropStore(made / "store").digest)
    assert (p.reports / "figures/01_statistics.pdf").is_file()
    assert (p.reports / "tables/01_classes.csv").is_file()
    photographs = {file.stem for file in (p.reports / "figures/photographs").iterdir()}
    assert "01_crops" in photographs and ("01_videos" in photographs) == bool(frames)
