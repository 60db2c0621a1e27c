"""What users' videos, archives and crop stores do to ``esiamfc store``: a sentence, or crops."""

import csv
import errno
import gzip
import io
import json
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from faults import scene
from faults.campaign import Row, rows, tried
from mini_vid import make_video, xml

from esiamfc_lib import cli
from esiamfc_lib.curation import archive as archives
from esiamfc_lib.curation import crops, store_writer
from esiamfc_lib.curation.frames import FolderSource
from esiamfc_lib.curation.pipeline import curate
from esiamfc_lib.curation.store_check import merge, verify
from esiamfc_lib.data import images
from esiamfc_lib.data.store import CropStore
from esiamfc_lib.data.vid import VID, validation_sequences
from esiamfc_lib.errors import StudyError
from esiamfc_lib.runtime.files import exclusive

GROUP = "ILSVRC2015_VID_train_0000"
HIDDEN = b"\0\5\x16\7\0\2\0\0Mac OS X        \xff"
BUILD = "store build {} st --workers 1 --max-bad-fraction 0.5"


def vid(folder: Path, groups=(GROUP,), videos: int = 1, frames: int = 3, **more) -> Path:
    """A VID root ``v`` of videos ``a0``, ``a1`` ..., one object in each frame."""
    for i, group in enumerate(groups):
        for j in range(videos):
            make_video(folder / "v", f"{'abcdef'[i]}{j}", frames, tracks=1, group=group, **more)
    return folder / "v"


def both(root: Path, video: str = "a0") -> tuple[Path, Path]:
    """The folders of a video's images and annotations."""
    return tuple(next((root / part).rglob(video)) for part in ("Data", "Annotations"))


def pack(folder: Path, **how) -> Path:
    """``v.tar`` of the root ``v``, which is removed."""
    with tarfile.open(folder / "v.tar", "w", **how) as tar:
        for part in ("Annotations", "Data"):
            tar.add(folder / "v" / part, f"ILSVRC2015/{part}")
    shutil.rmtree(folder / "v")
    return folder / "v.tar"


def in_both(
    name: str, make, says: str = "", check=lambda folder: None, more: str = ""
) -> list[Row]:
    """The input as a folder and as an archive."""

    def packed(folder):
        make(folder)
        pack(folder)

    command = BUILD + more
    return [
        Row(f"{name}, folder", make, command.format("v"), says, check=check),
        Row(f"{name}, archive", packed, command.format("v.tar"), says, check=check),
    ]


def holds(videos: int, crops: int, problems: tuple = ()):
    """Check of the store ``st``: numbers of videos and crops, words of each problem."""

    def check(folder):
        manifest = json.loads((folder / "st/manifest.json").read_text())
        with (folder / "st/problems.csv").open() as file:
            reasons = [row["reason"] for row in csv.DictReader(file)]
        assert len(reasons) == len(problems), reasons
        for reason, words in zip(reasons, problems, strict=True):
            assert words in reason and str(folder) not in reason
        assert (manifest["videos"], manifest["crops"]) == (videos, crops)
        assert manifest["complete"] and verify(folder / "st", decode=True) == []

    return check


def png(width: int, height: int) -> bytes:
    """A PNG whose header promises a size, with little behind it."""

    def chunk(kind, data):
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(9999))), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def jpeg(width: int, height: int, start: bytes = b"") -> bytes:
    """A JPEG whose header promises a size."""
    data = cv2.imencode(".jpg", np.zeros((72, 96, 3), np.uint8))[1].tobytes()
    at = data.index(b"\xff\xc0")
    data = data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]
    return data[:2] + start + data[2:]


# ---------------------------------------------------------------- names, groups, hidden files


def renamed(images: str = "{:06d}.JPEG", annotations: str = "{:06d}.xml", frames: int = 3):
    """Frames and annotations under other names."""

    def make(folder):
        root = vid(folder, frames=frames)
        for place, ending, pattern in zip(
            both(root), ("JPEG", "xml"), (images, annotations), strict=True
        ):
            for n in reversed(range(frames)):
                (place / f"{n:06d}.{ending}").rename(place / pattern.format(n))

    return make


def hidden(folder):
    """What macOS and Jupyter leave beside data."""
    root = vid(folder)
    for path in [*root.rglob("*.JPEG"), *root.rglob("*.xml")]:
        path.with_name(f"._{path.name}").write_bytes(HIDDEN)
    for place in [*both(root), *(root / "Data/VID").iterdir(), root / "Data/VID/train" / GROUP]:
        (place / ".DS_Store").write_bytes(HIDDEN)
        for copies in (".ipynb_checkpoints", "__MACOSX", ".AppleDouble"):
            (place / copies).mkdir()
            shutil.copy(both(root)[0] / "000000.JPEG", place / copies)


def beside(folder):
    """Files that are no frames."""
    for place in both(vid(folder)):
        for name in (
            "readme.txt",
            "000001.xml~",
            "000001 (1).xml",
            "Thumbs.db",
            "x.JPEG",
            "000001",
        ):
            (place / name).write_text("<no>")


def the_same_number(folder):
    images, _ = both(vid(folder))
    shutil.copy(images / "000001.JPEG", images / "1.JPEG")


def a_huge_number(folder):
    images, _ = both(vid(folder))
    shutil.copy(images / "000001.JPEG", images / f"{2**31}.JPEG")


def anew(folder, name: str) -> None:
    """Another name for a video."""
    for place in both(folder / "v"):
        place.rename(place.with_name(name))


def two_groups(folder):
    vid(folder)
    make_video(folder / "v", "a0", 3, group="other")


def two_splits(folder):
    vid(folder)
    make_video(folder / "v", "a0", 3, split="val")


def an_empty_group(folder):
    root = vid(folder)
    (root / "Data/VID/train" / "b").mkdir()
    make_video(root, "b0", 3, tracks=1, group="b")
    shutil.rmtree(both(root, "b0")[0])


def a_circle(folder):
    root = vid(folder, groups=("b",))
    (root / "Data/VID/train/c").mkdir()
    (root / "Data/VID/train/c/round").symlink_to(root / "Data/VID/train/c")


NAMES = [
    *in_both(
        "groups of another release",
        lambda folder: vid(folder, ("ILSVRC2015_VID_train_0000", "ILSVRC2017_VID_train_0000"), 2),
        check=holds(4, 12),
    ),
    *in_both("groups a to e", lambda f: vid(f, ("a", "b", "c", "d", "e")), check=holds(5, 15)),
    *in_both("no groups", lambda folder: vid(folder, ("",), 2), check=holds(2, 6)),
    *in_both("groups in groups", lambda f: vid(f, ("x/y", "x/z"), 1), check=holds(2, 6)),
    *in_both("groups with spaces", lambda f: vid(f, ("train 1", "train 2")), check=holds(2, 6)),
    *in_both("hidden files and folders", hidden, check=holds(1, 3)),
    *in_both("files beside frames", beside, check=holds(1, 3)),
    *in_both("numbers without zeros", renamed("{}.JPEG", "{}.xml", 12), check=holds(1, 12)),
    *in_both("other endings", renamed("{:06d}.jpg", "{:06d}.XML"), check=holds(1, 3)),
    *in_both("endings in capitals", renamed("{:04d}.JPG", "{:08d}.Xml"), check=holds(1, 3)),
    *in_both("two files of one number", the_same_number, "the same number|is there twice"),
    *in_both("a number beyond 31 bits", a_huge_number, r"2147483648\.JPEG: the number of a frame"),
    *in_both("a video with a #", lambda f: vid(f) and anew(f, "#0"), "#0 begins with #"),
    *in_both("a video with a line", lambda f: vid(f) and anew(f, "a\nb"), "is not a plain name"),
    *in_both("a video in two groups", two_groups, "a0 is there twice"),
    *in_both("a video in two splits", two_splits, "a0 is there twice", more=" --splits train val"),
    Row(
        "an empty group",
        an_empty_group,
        BUILD.format("v"),
        check=holds(2, 3, (*("missing JPEG",) * 3, "video without tracks")),
    ),
]


@rows(NAMES)
def test_names(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


def test_a_link_that_leads_round_ends(tmp_path):
    a_circle(tmp_path)
    assert VID(tmp_path / "v").videos == ["a0", "round"]


# ------------------------------------------------------------------ counts and empty results


def without_objects(folder):
    for file in both(vid(folder))[1].iterdir():
        file.write_text(xml([]))


def an_empty_split(folder):
    root = vid(folder)
    for part in ("Data", "Annotations"):
        (root / part / "VID/val").mkdir()


def lacking(part: int, ending: str):
    def make(folder):
        place = both(vid(folder))[part]
        for n in (0, 1):
            (place / f"{n:06d}.{ending}").unlink()

    return make


VAL = " --splits train val"
COUNTS = [
    *in_both(
        "no object at all", without_objects, r"v(\.tar)?: not one object could be cut out, see"
    ),
    *in_both("a split without videos", an_empty_split, "holds no videos in val", more=VAL),
    *in_both("images without annotations", lacking(1, "xml"), "2 of the first 3 frames are bad"),
    *in_both("annotations without images", lacking(0, "JPEG"), "2 of the first 3 frames are bad"),
    Row(
        "more parts than videos",
        vid,
        "store build v st --part 2/3",
        "holds 1 videos: no part 2/3",
    ),
    Row(
        "a split twice",
        vid,
        "store build v st --workers 1 --splits train train",
        "stands there twice",
    ),
    Row("no root", lambda folder: None, BUILD.format("v"), "the VID root v does not exist"),
    Row("a root without Data", lambda f: (f / "v").mkdir(), BUILD.format("v"), "not a VID root"),
    Row("no workers", vid, "store build v st --workers 0", "'workers' = 0"),
    Row("fewer workers", vid, "store build v st --workers -2", "'workers' = -2"),
    Row("a share that is no number", vid, "store build v st --max-bad-fraction nan", "max_bad_fr"),
    Row("a share beyond 1", vid, "store build v st --max-bad-fraction 5", "max_bad_fraction"),
    Row("an estimate of nothing", an_empty_split, f"store estimate v{VAL}", "no videos in val"),
    Row("an estimate of no workers", vid, "store estimate v --workers 0", "'workers' = 0"),
]


@rows(COUNTS)
def test_counts(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(("limit", "frames"), [(-1, 0), (0, -3)])
def test_a_number_below_zero_is_refused(tmp_path, limit, frames):
    make_video(tmp_path, "v", split="val")
    with pytest.raises(StudyError, match=f"below zero: {limit + frames}"):
        validation_sequences(tmp_path, limit, frames)


# ------------------------------------------------------------------------------ hostile files


def image(data: bytes):
    def make(folder):
        (both(vid(folder))[0] / "000001.JPEG").write_bytes(data)

    return make


def annotation(text: str | bytes):
    def make(folder):
        data = text if isinstance(text, bytes) else text.encode()
        (both(vid(folder))[1] / "000001.xml").write_bytes(data)

    return make


def number(old: str, new: str):
    """An annotation with one text exchanged."""
    return annotation(xml([(0, "class0", 13, 13, 32, 36)]).replace(old, new, 1))


def instead(make_it):
    """Something in the place of a frame's image and of another one's annotation."""

    def make(folder):
        images, annotations = both(vid(folder, frames=5))
        for file in (images / "000001.JPEG", annotations / "000003.xml"):
            file.unlink()
            make_it(file)

    return make


def a_socket(file):
    here = Path.cwd()
    os.chdir(file.parent)  # the path of a socket is at most of 108 bytes
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(file.name)
    os.chdir(here)


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    + "]><annotation>&j;</annotation>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>'
FIELD, XML = ("missing or not a number",), ("not well-formed",)
MORE = ("promises more than 89,000,000 pixels",)
HOSTILE = [
    (f"{name} of {w}x{h}", image(data(w, h)), MORE)
    for name, data in (("PNG", png), ("JPEG", jpeg))
    for w, h in ((40_000, 40_000), (65_535, 65_535), (12_000, 12_000))
]
HOSTILE += [
    ("JPEG of Exif", image(jpeg(65_000, 65_000, b"\xff\xe1\0\x08Exif\0\0")), MORE),
    ("PNG of a side", image(png(2**31 - 1, 1)), MORE),
    (
        "BMP",
        image(b"BM" + bytes(16) + struct.pack("<ii", 40_000, 40_000) + bytes(99)),
        ("truncated",),
    ),
    ("PPM", image(b"P6 40000 40000 255\n" + bytes(999)), MORE),
    ("no size", image(png(0, 0)), ("truncated or no image",)),
    ("track of 10**30", number("<trackid>0<", f"<trackid>{10**30}<"), FIELD),
    ("track of 5,000 digits", number("<trackid>0<", f"<trackid>{'9' * 5000}<"), FIELD),
    ("track below zero", number("<trackid>0<", "<trackid>-1<"), FIELD),
    ("width of 10**12", number("<width>96<", f"<width>{10**12}<"), FIELD),
    ("height of zero", number("<height>72<", "<height>0<"), FIELD),
    ("box of no number", number("<xmin>13<", "<xmin>nan<"), ("box without bounds",)),
    ("box without end", number("<xmax>32<", "<xmax>inf<"), ("box without bounds",)),
    ("box of 1e300", number("<xmax>32<", "<xmax>1e300<"), ("box without bounds",)),
    ("decimal comma", number("<xmin>13<", "<xmin>13,5<"), FIELD),
    ("name of 10,000 letters", number("class0", "n" * 10_000), FIELD),
    ("entities that grow", annotation(BOMB), XML),
    ("entity of another file", annotation(OUTSIDE), XML),
    ("elements without end", annotation("<annotation>" + "<a>" * 50_000), XML),
    ("unknown encoding", annotation('<?xml version="1.0" encoding="x-no"?><annotation/>'), XML),
    ("several bytes a letter", annotation('<?xml version="1.0" encoding="big5"?><a/>'), FIELD),
    ("zero bytes", annotation(bytes(999)), XML),
    (
        "megabytes of XML",
        annotation("<annotation>" + " " * (2 << 20)),
        ("XML is no regular file of at",),
    ),
]
FILES = [
    row for name, make, words in HOSTILE for row in in_both(name, make, check=holds(1, 2, words))
]
NO_FILE = ("JPEG is no regular file", "XML is no regular file")
MISSING = ("missing JPEG", "missing XML")
FILES += [
    Row("pipes", instead(os.mkfifo), BUILD.format("v"), check=holds(1, 3, NO_FILE)),
    Row("sockets", instead(a_socket), BUILD.format("v"), check=holds(1, 3, NO_FILE)),
    Row(
        "a device",
        instead(lambda f: f.symlink_to("/dev/zero")),
        BUILD.format("v"),
        check=holds(1, 3, NO_FILE),
    ),
    Row("folders", instead(Path.mkdir), BUILD.format("v"), check=holds(1, 3, MISSING)),
]


@rows(FILES)
def test_files(row, tmp_path, monkeypatch, capsys):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tried(row, tmp_path, monkeypatch, capsys)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_too_many_bytes_is_a_bad_frame(tmp_path, monkeypatch, packed):
    vid(tmp_path)
    (both(tmp_path / "v")[0] / "000001.JPEG").write_bytes(bytes(9_000))
    monkeypatch.setattr(crops, "MOST_BYTES", 8_000)
    monkeypatch.setitem(archives.MOST, "Data", 8_000)
    root = pack(tmp_path) if packed else tmp_path / "v"
    curate(root, tmp_path / "st", max_bad_fraction=0.5)
    holds(1, 2, ("JPEG is no regular file of at most 8,000 bytes",))(tmp_path)


# ---------------------------------------------------------------------------------- archives


def archive(spoil):
    """``v.tar``, spoilt by a function of its bytes."""

    def make(folder):
        vid(folder)
        file = pack(folder)
        file.write_bytes(spoil(file.read_bytes()))

    return make


def header(name: str, size: int, kind: bytes = b"0") -> bytes:
    """A member's header with nothing behind it."""
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


def at(data: bytes, name: bytes) -> int:
    """Where the header of a member begins."""
    return data.index(name) // 512 * 512


def without_end(data: bytes) -> bytes:
    """Cut at the border of a member, as a download that was broken off."""
    return data[: at(data, b"000002.JPEG")]


def flipped(data: bytes) -> bytes:
    place = at(data, b"000001.JPEG") + 100
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def scattered(folder):
    root = vid(folder, videos=2)
    with tarfile.open(folder / "v.tar", "w") as tar:
        tar.add(root / "Annotations", "Annotations")
        for n in range(3):
            for video in ("a0", "a1"):
                file = both(root, video)[0] / f"{n:06d}.JPEG"
                tar.add(file, file.relative_to(root))
    shutil.rmtree(root)


def leading_out(folder):
    """Members whose names lead out of the archive, beside those that count."""
    root = vid(folder)
    with tarfile.open(folder / "v.tar", "w") as tar:
        for file in sorted([*root.rglob("*.xml"), *root.rglob("*.JPEG")]):
            inside = file.relative_to(root)
            for name in (
                inside,
                Path("Data/VID/train/../../..", file.name),
                f"/{inside.parent}/../x/1.JPEG",
            ):
                tar.add(file, str(name))
    shutil.rmtree(root)


def linked(folder):
    """Members that are links, pipes and devices."""
    root = vid(folder)
    place = both(root)[0]
    with tarfile.open(folder / "v.tar", "w") as tar:
        tar.add(root / "Annotations", "Annotations")
        tar.add(root / "Data", "Data")
        kinds = tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE
        for n, kind in enumerate(kinds, 7):
            member = tarfile.TarInfo(f"{place.relative_to(root)}/{n:06d}.JPEG")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    shutil.rmtree(root)


END = f"ILSVRC2015/Data/VID/train/{GROUP}/a0/000009.JPEG"
ARCHIVES = [
    ("cut off between members", archive(without_end), "empty header: it is damaged or cut short"),
    ("cut off in a header", archive(lambda d: d[: at(d, b"000001.JPEG") + 99]), "truncated header"),
    ("cut off in a member", archive(lambda d: d[: at(d, b"000001.JPEG") + 999]), "unexpected end"),
    ("a header with another bit", archive(flipped), "bad checksum: it is damaged or cut short"),
    ("nothing", archive(lambda d: b""), "empty"),
    ("text", archive(lambda d: b"no archive\n" * 999), "cannot read the archive v.tar"),
    ("gzip cut off", archive(lambda d: gzip.compress(d)[:-999]), "cannot read the archive v.tar"),
    ("gzip of text", archive(lambda d: gzip.compress(b"text" * 999)), "cannot read the archive"),
    (
        "a name of 3 GB",
        archive(lambda d: header("x", 3 << 30, b"L") + d),
        "a name or file of 3,221,225,472",
    ),
    (
        "a header of 3 GB",
        archive(lambda d: header("x", 3 << 30, b"x") + d),
        "a name or file of 3,221,225,472",
    ),
    ("a member of 3 GB", archive(lambda d: d[:-10240] + header(END, 3 << 30)), "unexpected end"),
    ("a member of 8 EB", archive(lambda d: d[:-10240] + header(END, 1 << 63)), "name or file of"),
    (
        "a size below zero",
        archive(lambda d: d[:-10240] + header(END, -512)),
        "name or file of -512",
    ),
    ("headers of headers", archive(lambda d: header("x", 0, b"L") * 9999 + d), "recursion"),
    ("scattered", scattered, "a0 are scattered over the archive|a1 are scattered"),
    (
        "no video",
        lambda f: (f / "v").mkdir() or tarfile.open(f / "v.tar", "w").close(),
        "no videos in",
    ),
]
ARCHIVES = [Row(name, make, BUILD.format("v.tar"), says) for name, make, says in ARCHIVES]
ARCHIVES += [
    Row("names that lead out", leading_out, BUILD.format("v.tar"), check=holds(1, 3)),
    Row("links and devices", linked, BUILD.format("v.tar"), check=holds(1, 3)),
    Row(
        "parts of an archive", archive(lambda d: d), "store build v.tar st --part 1/2", "one stream"
    ),
    Row("estimate of an archive", archive(lambda d: d), "store estimate v.tar", "is an archive"),
]


def zipped(folder):
    with zipfile.ZipFile(folder / "v.tar", "w") as file:
        file.writestr("Data/VID/train/a/000000.JPEG", b"")


ARCHIVES += [Row("zip", zipped, BUILD.format("v.tar"), "cannot read the archive v.tar")]


@rows(ARCHIVES)
def test_archives(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


# ------------------------------------------------------------------------------------- stores


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Stores of three videos, of three shards and of one, and a store of another video."""
    folder = tmp_path_factory.mktemp("made")
    root = vid(folder, videos=3)
    curate(root, folder / "st", shard_bytes=1)
    make_video(folder / "w", "other", 3)
    curate(folder / "w", folder / "more")
    scene.network(folder / "n.safetensors")
    return folder


def cut(size: int):
    def spoil(store):
        file = store / "shard-0001.mdb"
        file.write_bytes(file.read_bytes()[:size])

    return spoil


def cut_by_a_page(store):
    cut((store / "shard-0001.mdb").stat().st_size - 4096)(store)


def pages(store):
    file = store / "shard-0001.mdb"
    rng = np.random.default_rng(0)
    file.write_bytes(file.read_bytes()[:8192] + rng.bytes(file.stat().st_size - 8192))


def replaced(name: str, content: bytes):
    return lambda store: (store / name).write_bytes(content)


def manifest(**values):
    def spoil(store):
        facts = json.loads((store / "manifest.json").read_text())
        (store / "manifest.json").write_text(json.dumps(facts | values))

    return spoil


def index(how=np.savez, **arrays):
    def spoil(store):
        with np.load(store / "index.npz") as file:
            arrays_there = dict(file)
        how(store / "index.npz", **(arrays_there | arrays))

    return spoil


def a_pipe(name: str):
    def spoil(store):
        (store / name).unlink()
        os.mkfifo(store / name)

    return spoil


def unlinked(name: str):
    return lambda store: (store / name).unlink()


def buffer(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


SHARD = r"cannot open the shard shard-0001\.mdb|shard-0001\.mdb is (damaged|cut short)"
INDEX = r"index\.npz is damaged"
SPOILT = [
    ("a shard cut by a page", cut_by_a_page, r"shard-0001\.mdb is cut short: \d+ bytes instead"),
    ("a shard cut to half", cut(12_288), "is cut short: 12288 bytes instead"),
    *((f"a shard of {n} bytes", cut(n), SHARD) for n in (8192, 8191, 5000, 4096, 100, 1)),
    ("an empty shard", cut(0), SHARD),
    ("no shard", unlinked("shard-0001.mdb"), SHARD),
    ("a pipe as shard", a_pipe("shard-0001.mdb"), SHARD),
    ("no index", unlinked("index.npz"), INDEX),
    ("a pipe as index", a_pipe("index.npz"), INDEX),
    ("text as index", replaced("index.npz", b"text"), INDEX),
    ("nothing as index", replaced("index.npz", b""), INDEX),
    ("one array as index", replaced("index.npz", buffer(np.arange(3))), INDEX),
    ("objects as index", replaced("index.npz", buffer(np.array([{}, 1], object))), INDEX),
    ("objects in the index", index(video=np.array(["a0", {}, 1], object)), INDEX),
    ("columns of other lengths", index(frame=np.arange(2)), INDEX),
    ("columns of another shape", index(box=np.zeros((3, 3))), INDEX),
    ("columns of another kind", index(frame=np.array(["x"] * 9)), INDEX),
    ("a column less", index(lambda path, frame, **rest: np.savez(path, **rest)), INDEX),
    ("an index that grows", index(np.savez_compressed), f"{INDEX}: compressed"),
    ("another shard's number", index(shard=np.array([0, 1, 7])), "disagree about shards"),
    ("no manifest", unlinked("manifest.json"), "is not a crop store: manifest.json is missing"),
    ("no JSON", replaced("manifest.json", b"{"), "cannot read .*manifest.json"),
    ("a list", replaced("manifest.json", b"[1, 2]"), "cannot read .*manifest.json"),
    ("lists in lists", replaced("manifest.json", b"[" * 99_999), "cannot read .*manifest.json"),
    ("bytes", replaced("manifest.json", b"\xff\xfe\0"), "cannot read .*manifest.json"),
    ("another format", manifest(format="1"), "format '1', this version reads 1"),
    ("parameters of another kind", manifest(parameters=[1]), "lacks parameters"),
    ("shards of another kind", manifest(shards="three"), "lacks shards"),
    ("digest of another kind", manifest(digest=7), "lacks digest"),
]
COMMANDS = {
    "verify": "store verify st",
    "info": "store info st",
    "merge": "store merge out more st",
    "quantise": "quantise n.safetensors --store st --out q.safetensors",
}


def spoilt(made, folder, spoil) -> None:
    for name in ("st", "more"):
        shutil.copytree(made / name, folder / name)
    shutil.copy(made / "n.safetensors", folder)
    spoil(folder / "st")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("spoil", "says"), [row[1:] for row in SPOILT], ids=[row[0].replace(" ", "-") for row in SPOILT]
)
def test_a_spoilt_store(made, command, spoil, says, tmp_path, monkeypatch, capsys):
    def make(folder):
        spoilt(made, folder, spoil)

    tried(Row("", make, COMMANDS[command], says), tmp_path, monkeypatch, capsys)
    assert not (tmp_path / "q.safetensors").exists()
    assert not (tmp_path / "out/manifest.json").exists()


def test_more_crops_than_there_are_are_not_repeated(made, tmp_path, monkeypatch, capsys):
    def make(folder):
        spoilt(made, folder, lambda store: None)

    there = len(CropStore(made / "st"))
    command = f"{COMMANDS['quantise']} --crops 99"
    assert there < 99
    said = tried(Row("", make, command), tmp_path, monkeypatch, capsys)
    assert f"{there} crops of st (99 asked for: it has no more)" in said


def test_verify_says_that_a_store_is_unfinished_or_empty(made, tmp_path, monkeypatch, capsys):
    parameters = json.loads((made / "st/manifest.json").read_bytes())["parameters"]
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/manifest.json").write_text(
        json.dumps({"format": 1, "complete": False, "parameters": parameters})
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["store", "verify", "begun"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("begun is unfinished") and said[1:] == ["begun holds no crop"]


def test_damaged_pages_are_found(made, tmp_path, monkeypatch, capsys):
    spoilt(made, tmp_path, pages)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["store", "verify", "st"]) in (1, 2)
    said = capsys.readouterr()
    assert "unexpected" not in said.err and "shard-0001.mdb" in said.out + said.err
    with pytest.raises(StudyError, match=r"shard-0001\.mdb|a record"):
        merge([tmp_path / "st"], tmp_path / "out")


def stores(*spoils):
    """Row.make: the stores ``st`` and ``more``, spoilt."""

    def make(folder):
        root = vid(folder, videos=3)
        curate(root, folder / "st", shard_bytes=1)
        make_video(folder / "w", "other", 3)
        curate(folder / "w", folder / "more")
        for spoil in spoils:
            spoil(folder / "st")

    return make


def other_shards(store):
    """Shards of another store under the names of this one's."""
    shutil.copy(store.parent / "more/shard-0000.mdb", store / "shard-0001.mdb")


def left(folder):
    stores()(folder)
    (folder / "out").mkdir()
    shutil.copy(folder / "st/shard-0000.mdb", folder / "out")


LOCKS = []


def locked(name: str):
    def make(folder):
        stores()(folder)
        LOCKS.append(exclusive(folder / name, ""))

    return make


OUTPUTS = [
    ("merge with itself", stores(), "store merge out st st", "a0 is there twice"),
    ("merge into an input", stores(), "store merge st st more", "st is its own source st"),
    (
        "merge into a file",
        lambda f: stores()(f) or (f / "out").touch(),
        "store merge out st",
        "out",
    ),
    ("merge of nothing", stores(), "store merge out nowhere", "nowhere is not a crop store"),
    ("merge of a part", stores(manifest(complete=False)), "store merge out st", "is unfinished"),
    ("merge of strangers", stores(manifest(parameters={})), "store merge out more st", "different"),
    ("merge of others' shards", stores(other_shards), "store merge out st", "disagree|there twice"),
    (
        "merge over shards",
        left,
        "store merge out st more",
        "out holds shard-0000.mdb, which",
    ),
    (
        "merge into a part of an input",
        stores(),
        "store merge st/x st more",
        "st/x lies in its own source st",
    ),
    (
        "merge over one's own table",
        lambda f: stores()(f) or (f / "out").mkdir() or (f / "out/problems.csv").write_text("mine"),
        "store merge out st more",
        "out holds problems.csv, which no merge",
    ),
    (
        "merge over one's own shard",
        lambda f: stores()(f) or (f / "out").mkdir() or (f / "out/shard-mine.mdb").write_text("x"),
        "store merge out st more",
        "out holds shard-mine.mdb, which no merge",
    ),
    ("build into the root", vid, "store build v v", "v is its own source v"),
    ("build beside the images", vid, "store build v v/st", "v/st lies in its own source v"),
    ("build about the root", vid, "store build v .", ". holds its own source v"),
    (
        "build into links in a circle",
        lambda f: vid(f) and (f / "L").symlink_to("L"),
        "store build v L",
        "cannot use L: Symlink loop",
    ),
    ("merge while another writes", locked("out"), "store merge out st", "another process"),
    ("build over a finished one", stores(), "store build w st", "was made differently"),
    ("build while another writes", locked("st"), "store build v st", "another process is writing"),
    (
        "build into the images",
        vid,
        "store build v v/Data/VID/train/st",
        "st lies in its own source",
    ),
    (
        "build into the annotations",
        vid,
        "store build v v/Annotations",
        "lies in its own source",
    ),
    (
        "build into a file",
        lambda f: vid(f) and (f / "st").touch(),
        "store build v st",
        "cannot write to st",
    ),
    (
        "build below a file",
        lambda f: vid(f) and (f / "x").touch(),
        "store build v x/st",
        "cannot write to x.st: x is no",
    ),
    (
        "build into its archive",
        archive(lambda d: d),
        "store build v.tar v.tar",
        "v.tar is its own source",
    ),
    (
        "build on a lost shard",
        stores(unlinked("shard-0000.mdb")),
        "store build v st",
        "0.mdb is miss",
    ),
    ("build on a cut shard", stores(cut_by_a_page), "store build v st", "is cut short"),
    (
        "build on no manifest",
        stores(unlinked("manifest.json")),
        "store build v st",
        "force to start",
    ),
    ("build on a list", stores(manifest(parameters=[1])), "store build v st", "json is damaged"),
    ("build on null", stores(manifest(parameters=None)), "store build v st", "json is damaged"),
    ("build on pairs", stores(replaced("source.json", b"[[1,2]]")), "store build v st", "damaged"),
    ("info of a folder", vid, "store info v", "v is not a crop store"),
    ("verify of a file", lambda f: (f / "st").touch(), "store verify st", "st is not a crop store"),
]


@rows([Row(name, make, command, says) for name, make, command, says in OUTPUTS])
def test_outputs_of_a_store(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
    while LOCKS:
        LOCKS.pop().close()


@pytest.mark.parametrize(
    "spoil", [cut_by_a_page, pages, unlinked("shard-0000.mdb"), replaced("manifest.json", b"{")]
)
def test_force_starts_a_damaged_store_again(tmp_path, monkeypatch, spoil):
    stores(spoil)(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["store", "build", "v", "st", "--workers", "1", "--force"]) == 0
    assert verify("st", decode=True) == [] and len(CropStore("st")) == 9


def test_a_merge_that_was_cut_off_leaves_nothing_to_the_next_one(tmp_path, monkeypatch):
    stores()(tmp_path)
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("esiamfc_lib.curation.store_manifest.manifest_of", interrupted)
        merge([tmp_path / "st", tmp_path / "more"], out)
    assert len(list(out.glob("shard-*"))) == 4
    assert len(merge([tmp_path / "more"], out)["shards"]) == 1 and verify(out) == []


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_full_disk_is_known_before_a_merge(tmp_path, monkeypatch):
    stores()(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StudyError, match=r"the merged store takes .* GB, .* are free"):
        merge([tmp_path / "st"], tmp_path / "out")
    assert not list((tmp_path / "out").glob("shard-*"))


# -------------------------------------------------------------------- errors of the machine


@pytest.fixture
def patient(monkeypatch):
    """Little waiting; gives the seconds that were waited."""
    waited = []
    monkeypatch.setattr(images.time, "sleep", waited.append)
    return waited


def failing(monkeypatch, name: str, times: int, code: int):
    """A disk that refuses to read the file ``name`` so many times."""
    left, real = [times], Path.read_bytes

    def read(path):
        if path.name == name and left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)


CODES = [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EACCES, errno.ENOTCONN]


@pytest.mark.parametrize("name", ["000001.JPEG", "000001.xml"])
@pytest.mark.parametrize("code", CODES)
def test_a_frame_that_is_away_for_a_moment_is_a_frame(tmp_path, monkeypatch, patient, name, code):
    root = vid(tmp_path)
    failing(monkeypatch, name, 2, code)
    assert curate(root, tmp_path / "st")["problems"] == 0
    assert patient == list(images.WAITS[:2])


def test_a_frame_that_stays_away_stops_the_work_and_is_not_written_down(
    tmp_path, monkeypatch, capsys
):
    root = vid(tmp_path, videos=3)
    gone = both(root, "a1")[0]
    monkeypatch.setattr(images, "WAITS", (0.01,))

    real = FolderSource._files

    def listed(self, split, video):
        files = real(self, split, video)
        if video == "a1" and gone.is_dir():
            gone.rename(gone.with_name("aside"))  # after the frames have been listed
        return files

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "_files", listed)
        command = f"store build {root} {tmp_path / 'st'} --workers 1"
        assert cli.main(command.split()) == 2
    assert "000000.JPEG: No such file" in capsys.readouterr().err
    gone.with_name("aside").rename(gone)
    again = curate(root, tmp_path / "st")
    assert again["problems"] == 0 and again == curate(root, tmp_path / "one")


def test_one_frame_is_no_bad_frame_for_a_worker_without_the_data(tmp_path, patient):
    files = crops.FrameFiles(0, tmp_path / "no/000000.xml", tmp_path / "no/000000.JPEG")
    with pytest.raises(FileNotFoundError):
        crops.cut(crops.Chunk(("train", "v"), (files,), True, 1), 95)
    assert patient == list(images.WAITS)


def test_tracks_are_not_shortened_by_an_error_of_the_machine(tmp_path, monkeypatch, patient):
    root = vid(tmp_path)
    failing(monkeypatch, "000001.xml", 99, errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        VID(root).tracks("a0")


def test_a_limit_of_address_space(tmp_path):
    """As batch systems set it: the map of a shard takes a part of it."""
    root = vid(tmp_path)
    code = (
        "import resource, sys; from esiamfc_lib import cli;"
        "resource.setrlimit(resource.RLIMIT_AS, (2_500_000 << 10,) * 2);"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    words = f"store build {root} {tmp_path / 'st'} --workers 1".split()
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=alone
    )
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "st") == []


def test_no_address_space_at_all_is_a_sentence(tmp_path, monkeypatch):
    root = vid(tmp_path)
    monkeypatch.setattr(store_writer, "MAP_SIZE", 1 << 14)
    with pytest.raises(StudyError, match="limit of address space is too low"):
        curate(root, tmp_path / "st")
    assert len(CropStore(tmp_path / "st")) == 0
    monkeypatch.undo()
    assert curate(root, tmp_path / "st")["crops"] == 3
