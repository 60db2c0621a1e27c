"""Benchmark folders, ground truth, lists and result files as users have them, in ``evaluate``."""

import hashlib
import os
import shutil
from pathlib import Path

import benchmark_layouts
import numpy as np
import pandas as pd
import pytest
from faults import scene
from faults.campaign import Row, rows, tried

from esiamfc_lib import cli
from esiamfc_lib.data.benchmark_files import LONGEST_TEXT
from esiamfc_lib.data.benchmarks import read_benchmark
from esiamfc_lib.data.images import encode_jpeg
from esiamfc_lib.data.sequence import Sequence

COUNT = 12
MAC = b"\0\5\26\7\0\2\0\0Mac OS X        \xff"


def evaluate(benchmark="otb2015", root="data", more=""):
    return (
        f"evaluate --benchmark {benchmark} --root {root} --out out --identity --no-figures {more}"
    )


def table(folder):
    return pd.read_csv(folder / "out" / "scores.csv")


def success(boxes, counted=None):
    """Of the tracker that never moves, by hand: 21 thresholds, IoU of boxes of equal size."""
    left = np.clip(36 - np.abs(boxes[:, 0] - boxes[0, 0]), 0, None)
    top = np.clip(30 - np.abs(boxes[:, 1] - boxes[0, 1]), 0, None)
    overlap = left * top / (2 * 36 * 30 - left * top)
    overlap = overlap if counted is None else overlap[counted]
    return np.greater(overlap[:, None], np.linspace(0, 1, 21)).mean()


def read_rightly(folder):
    """All frames, in order: any other order or number of boxes has another success."""
    assert table(folder)["success"].tolist() == pytest.approx([success(scene.scene(COUNT)[1])])
    assert table(folder)["frames"].tolist() == [COUNT]


def in_order(folder):
    """The frames are those of the numbers in their names, and all of them count."""
    (found,), _ = read_benchmark("otb2015", folder / "data")
    numbers = [int("".join(filter(str.isdigit, Path(file).stem))) for file in found.frames]
    assert numbers == sorted(numbers)
    read_rightly(folder)


def otb(**given):
    return lambda folder: scene.otb(folder / "data", **given)


def spoilt(change, layout=scene.otb, truth="Ball/groundtruth_rect.txt"):
    """A benchmark of one sequence whose ground truth (bytes) is changed."""

    def make(folder):
        file = layout(folder / "data") / truth
        file.write_bytes(change(file.read_bytes()))

    return make


def line(number, text):
    """Another line of ground truth, counted from 1."""

    def change(data):
        lines = data.decode().splitlines()
        lines[number - 1] = text
        return "\n".join(lines).encode() + b"\n"

    return change


def shorter(data):
    return data[: data.rindex(b"\n", 0, -1) + 1]


def beside(path, data=b"", layout=scene.otb):
    """A file more in the benchmark's folder."""

    def make(folder):
        file = layout(folder / "data") / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    return make


def listed(data, layout=scene.vot):
    return beside("list.txt", data, layout)


VOT_TRUTH = {"layout": scene.vot, "truth": "ball/groundtruth.txt"}
GOT_TRUTH = {"layout": scene.got10k, "truth": "val/GOT-10k_Val_000001/groundtruth.txt"}
VOT, GOT = evaluate("vot2018"), evaluate("got10k-val")


def png(folder):
    scene.otb(folder / "data", pattern="{:04d}.png")


def pipe(path, layout=scene.otb):
    def make(folder):
        file = layout(folder / "data") / path
        file.unlink()
        os.mkfifo(file)

    return make


def huge(folder):
    """Ground truth above the limit, of zeros that take no room on the disk."""
    with (scene.otb(folder / "data") / "Ball/groundtruth_rect.txt").open("r+b") as file:
        file.truncate(LONGEST_TEXT + 1)


def accuracy_as_without(folder):
    """The frame without truth is neither a failure nor an overlap."""
    assert table(folder)["failures"].tolist() == [0]
    assert table(folder)["counted"].tolist() == [COUNT - 10 - 1]


def vot_box(number, text):
    """VOT layout with boxes of four numbers, one of them another."""

    def make(folder):
        root = scene.vot(folder / "data")
        file = scene.table(root / "ball/groundtruth.txt", scene.scene(COUNT)[1] + [1, 1, 0, 0])
        file.write_bytes(line(number, text)(file.read_bytes()))

    return make


def without_the_sixth(folder):
    expected = success(scene.scene(COUNT)[1], np.arange(COUNT) != 5)
    assert table(folder)["success"].item() == pytest.approx(expected)
    assert table(folder)["counted"].isna().all() or table(folder)["counted"].item() == COUNT - 1


FRAMES = [
    Row("unpadded names", otb(pattern="{}.jpg"), evaluate(), check=in_order),
    Row("names that overflow", otb(pattern="{:04d}.jpg", first=9995), evaluate(), check=in_order),
    Row("names from zero", otb(first=0), evaluate(), check=in_order),
    Row("words before the number", otb(pattern="Frame {}.jpg"), evaluate(), check=in_order),
    Row("png", png, evaluate(), check=in_order),
    Row("upper case endings", otb(pattern="{:04d}.JPG"), evaluate(), check=in_order),
    Row("jpeg", otb(pattern="{}.jpeg"), evaluate(), check=in_order),
    Row(
        "a picture beside the frames",
        beside("Ball/img/preview.jpg", b"x"),
        evaluate(),
        "img: frames of two namings, .*preview.jpg",
    ),
    Row(
        "a frame of another size",
        beside("Ball/img/0005.jpg", encode_jpeg(np.zeros((60, 60, 3), np.uint8))),
        evaluate(),
        "Ball/img/0005.jpg has another size than .*Ball/img/0001.jpg",
    ),
    Row(
        "a frame of another size in VOT",
        beside("ball/00000005.jpg", encode_jpeg(np.zeros((60, 60, 3), np.uint8)), scene.vot),
        VOT,
        "ball/00000005.jpg has another size than .*ball/00000001.jpg",
    ),
    Row("one number twice", beside("Ball/img/1.jpg", b"x"), evaluate(), "1.jpg and 0001.jpg|same"),
    Row(
        "masks beside the frames",
        beside("Ball/img/0001.png", b"x"),
        evaluate(),
        check=read_rightly,
    ),
    Row("hidden frame", beside("Ball/img/._0001.jpg", MAC), evaluate(), check=read_rightly),
    Row("hidden frame of VOT", beside("ball/._00000001.jpg", MAC, scene.vot), VOT),
    Row("hidden label of VOT", beside("ball/._occlusion.label", MAC, scene.vot), VOT),
    Row(
        "hidden frame of GOT-10k",
        beside("val/GOT-10k_Val_000001/._00000001.jpg", MAC, scene.got10k),
        GOT,
    ),
    Row(
        "folder of Jupyter",
        beside(".ipynb_checkpoints/groundtruth_rect.txt", b"1,2,3,4\n"),
        evaluate(),
        check=read_rightly,
    ),
    Row(
        "folder of macOS",
        beside("__MACOSX/groundtruth_rect.txt", b"1,2,3,4\n"),
        evaluate(),
        check=read_rightly,
    ),
    Row(
        "copy of the ground truth",
        beside("Ball/groundtruth_rect (copy).txt", b"1,2,3,4\n"),
        evaluate(),
        check=read_rightly,
    ),
    Row(
        "two files of ground truth",
        beside("Ball/groundtruth.txt", b"1,2,3,4\n"),
        evaluate(),
        "Ball: which of 2 files, as groundtruth.txt",
    ),
    Row("empty frame", beside("Ball/img/0007.jpg"), evaluate(), "0007.jpg is empty, or no file"),
    Row(
        "a gap in the frames",
        spoilt(
            shorter, lambda root: ((root := scene.otb(root)) / "Ball/img/0007.jpg").unlink() or root
        ),
        evaluate(),
        "img: no frame just before 0008.jpg",
    ),
    Row("pipe as a frame", pipe("Ball/img/0007.jpg"), evaluate(), "0007.jpg is empty, or no file"),
    Row("pipe as the first frame", pipe("Ball/img/0001.jpg"), evaluate(), r"0001.jpg.*no.* file"),
    Row("no picture", beside("Ball/img/0001.jpg", b"no picture"), evaluate(), "0001.jpg: the file"),
    Row(
        "no frame",
        lambda folder: shutil.rmtree(scene.otb(folder / "data") / "Ball/img"),
        evaluate(),
        "groundtruth_rect.txt: 12 lines for 0 frames",
    ),
]

TRUTH = [
    Row("byte order mark", spoilt(lambda b: b"\xef\xbb\xbf" + b), evaluate(), check=read_rightly),
    Row(
        "line ends of Windows",
        spoilt(lambda b: b.replace(b"\n", b"\r\n")),
        evaluate(),
        check=read_rightly,
    ),
    Row(
        "line ends of old Macs",
        spoilt(lambda b: b.replace(b"\n", b"\r")),
        evaluate(),
        check=read_rightly,
    ),
    Row("blank last lines", spoilt(lambda b: b + b"\n \n\t\n"), evaluate(), check=read_rightly),
    Row("tabs", spoilt(lambda b: b.replace(b",", b"\t")), evaluate(), check=read_rightly),
    Row("commas and blanks", spoilt(lambda b: b.replace(b",", b" , ")), evaluate()),
    Row("comma at the end", spoilt(lambda b: b.replace(b"\n", b",\n")), evaluate()),
    Row("a heading", spoilt(lambda b: b"x,y,w,h\n" + b), evaluate(), "line 1: 0 numbers in 'x,y,"),
    Row("a remark", spoilt(lambda b: b"# x y w h\n" + b), evaluate(), check=read_rightly),
    Row("semicolons", spoilt(lambda b: b.replace(b",", b";")), evaluate(), "line 1: .*commas or"),
    Row("decimal commas", spoilt(line(3, "1,5\t2,5\t3,5\t4,5")), evaluate(), "line 3: .*decimal"),
    Row("decimal commas of VOT", spoilt(line(3, "1,5 2,5 3,5 4,5"), **VOT_TRUTH), VOT, "line 3: "),
    Row("five columns", spoilt(line(2, "1,2,3,4,5")), evaluate(), "line 2: 5 numbers .* 4 are"),
    Row(
        "eight numbers in OTB",
        spoilt(line(1, "1,2,3,4,5,6,7,8")),
        evaluate(),
        "Ball/groundtruth_rect.txt, line 1: 8 numbers .* where 4 are",
    ),
    Row("six numbers in VOT", spoilt(line(1, "1,2,3,4,5,6"), **VOT_TRUTH), VOT, "4 or 8 are"),
    Row("four among eight", spoilt(line(5, "1,2,3,4"), **VOT_TRUTH), VOT, "line 5: 4 numbers"),
    Row("words", spoilt(line(4, "occluded")), evaluate(), "line 4: 0 numbers in 'occluded'"),
    Row("infinity", spoilt(line(4, "1,2,inf,4")), evaluate(), "line 4: 3 numbers"),
    Row("no number is so large", spoilt(line(4, "1,2,3,1e300")), evaluate(), "line 4: 3 numbers"),
    Row("a line less", spoilt(shorter), evaluate(), "11 lines for 12 frames"),
    Row("a line more", spoilt(lambda b: b + b"1,2,3,4\n"), evaluate(), "13 lines for 12 frames"),
    Row("empty ground truth", spoilt(lambda b: b""), evaluate(), "0 lines for 12 frames"),
    Row("bytes", spoilt(lambda b: bytes(range(256))), evaluate(), "rect.txt is not UTF-8 text"),
    Row("UTF-16", spoilt(lambda b: b.decode().encode("utf-16")), evaluate(), "not UTF-8 text"),
    Row("pipe as ground truth", pipe("Ball/groundtruth_rect.txt"), evaluate(), "cannot read|no "),
    Row("ground truth without end", huge, evaluate(), "rect.txt.*(more than|at most)"),
    Row("no truth in the first frame", spoilt(line(1, "nan,nan,nan,nan")), evaluate(), "no box in"),
    Row("less than a pixel", spoilt(line(1, "61,81,.5,.5")), evaluate(), "box below a pixel in"),
    Row("no area in the first frame", spoilt(line(1, "5,5,0,9")), evaluate(), "no box in its fir"),
    Row("a first box outside", spoilt(line(1, "400,9,9,9")), evaluate(), "box outside the frame"),
    Row("a first box left of it", spoilt(line(1, "-99,9,9,9")), evaluate(), "outside the frame"),
    Row(
        "a frame without truth",
        spoilt(line(6, "NaN\tNaN\tNaN\tNaN")),
        evaluate(),
        check=without_the_sixth,
    ),
    *(
        Row(f"{name} in VOT", spoilt(line(11, text), **VOT_TRUTH), VOT, check=accuracy_as_without)
        for name, text in {
            "eight NaN": ",".join(["nan"] * 8),
            "four NaN among eights": "nan,nan,nan,nan",
            "eight zeros": ",".join(["0"] * 8),
            "a line for a polygon": "9,9,20,20,30,30,40,40",
            "a region outside": "900,9,920,9,920,30,900,30",
        }.items()
    ),
    *(
        Row(f"{name} in VOT boxes", vot_box(11, text), VOT, check=accuracy_as_without)
        for name, text in {
            "NaN": "nan,nan,nan,nan",
            "zeros": "0,0,0,0",
            "no height": "9,9,9,0",
        }.items()
    ),
    Row(
        "first region without truth", spoilt(line(1, "0,0,0,0,0,0,0,0"), **VOT_TRUTH), VOT, "no box"
    ),
    Row(
        "truth of the first frame alone",
        spoilt(lambda b: b.splitlines()[0] + b"\n" + b"nan,nan,nan,nan\n" * (COUNT - 1)),
        evaluate(),
        "ground truth nowhere but in its first frame",
    ),
    Row(
        "starts beside the frame",
        spoilt(line(6, "900,900,36,30")),
        evaluate(more="--starts 12 --segment 4"),
        check=lambda folder: None,
    ),
    Row("one line for many", spoilt(lambda b: b[:12], **GOT_TRUTH), GOT, "1 lines for 12 frames"),
    Row(
        "labels for fewer frames",
        beside("val/GOT-10k_Val_000001/cover.label", b"8\n8\n", scene.got10k),
        GOT,
        "cover.label: 2 values where 12 are expected",
    ),
    Row(
        "labels of NaN",
        beside("val/GOT-10k_Val_000001/cover.label", b"8\n" + b"nan\n" * 11, scene.got10k),
        GOT,
        "cover.label: NaN among its numbers",
    ),
    Row(
        "labels of words",
        beside("ball/occlusion.label", b"yes\n" * COUNT, scene.vot),
        VOT,
        "occlusion.label, line 1: 0 numbers in 'yes'",
    ),
    Row(
        "labels for more frames",
        beside("ball/occlusion.tag", b"1\n" * 99, scene.vot),
        VOT,
        "occlusion.tag: 99 values where 12 are expected",
    ),
    Row("own sequence of an official name", otb(names=("football1",)), evaluate()),
    Row(
        "official name and fewer lines",
        spoilt(shorter, lambda root: scene.otb(root, ["David"]), "David/groundtruth_rect.txt"),
        evaluate(),
        "11 lines for 12 frames",
    ),
]


def families(data):
    def make(folder):
        scene.otb(folder / "data")
        (folder / "families.csv").write_bytes(data)

    return make


def one_sequence(folder):
    assert len(table(folder)) == 1


LISTS = [
    Row("list of Windows", listed(b"\xef\xbb\xbfball\r\n\r\n"), VOT, check=one_sequence),
    Row("list with blanks", listed(b"\n  ball \t\n\n"), VOT, check=one_sequence),
    Row("list with repetitions", listed(b"ball\nball\nball\n"), VOT, check=one_sequence),
    *(
        Row(f"list with {name}", listed(text), VOT, "list.txt: .* is not a plain name")
        for name, text in {
            "a way up": b"ball\n../ball\n",
            "an absolute path": b"/etc/passwd\n",
            "slashes": b"ball/\n",
            "backslashes": b"..\\ball\n",
            "a NUL": b"ba\0ll\n",
            "dots": b"..\n",
            "a hidden name": b".ball\n",
            "a long name": b"b" * 300,
        }.items()
    ),
    Row("list of bytes", listed(b"\xff\xfe\0b"), VOT, "list.txt is not UTF-8 text"),
    Row(
        "a list that leads nowhere",
        lambda folder: (
            (scene.vot(folder / "data") / "list.txt").unlink()
            or (folder / "data/list.txt").symlink_to("gone")
        ),
        VOT,
        "cannot read .*list.txt",
    ),
    Row("a pipe as the list", pipe("list.txt", scene.vot), VOT, "list.txt is no regular file"),
    Row("families of bytes", families(b"\xff\0"), evaluate(), "families.csv is not the built-in"),
    Row("list of strangers", listed(b"cube\n"), VOT, "vot2018: no sequence in its layout"),
    Row("empty list", listed(b""), VOT, "vot2018: no sequence in its layout"),
    Row(
        "list of GOT-10k", listed(b"../x\n", lambda root: scene.got10k(root) / "val"), GOT, "plain"
    ),
    Row(
        "a name of two lines", otb(names=("Ball\nx",)), evaluate(), "'Ball.nx' is not a plain name"
    ),
    Row(
        "no sequence", lambda folder: (folder / "data").mkdir(), evaluate(), "no sequence in its la"
    ),
    Row("no folder", lambda folder: None, evaluate(), "otb2015: no folder"),
    Row("a file as the folder", lambda f: (f / "data").write_text("x"), evaluate(), "no folder"),
    Row("another benchmark", otb(), evaluate("lasot"), "lasot: no sequence in its layout"),
    Row(
        "strange families",
        families(b"a,b\n1,2\n"),
        evaluate(),
        "families.csv is not",
    ),
]


def made(folder):
    """The layouts of ``benchmark_layouts`` take sequences."""
    paths = scene.frames(folder / "frames", COUNT)
    frames = tuple(map(str, sorted(paths.iterdir())))
    return [Sequence("Seq0", frames, scene.scene(COUNT)[1])]


def laid(write, change, *given):
    """Another layout, with something spoilt in it."""

    def make(folder):
        write(folder / "data", made(folder), *given)
        change(folder / "data")

    return make


def renamed(folder, pattern):
    """The frames of a folder by other names."""

    def change(root):
        for i, file in enumerate(sorted((root / folder).glob("*.jpg")), 1):
            file.rename(file.with_name(pattern.format(i)))

    return change


def written(path, text):
    return lambda root: (root / path).write_text(text)


def nothing(root):
    pass


def rewritten(path, change):
    """Change the lines of a file."""

    def apply(root):
        lines = (root / path).read_text().splitlines()
        (root / path).write_text("\n".join(change(lines)) + "\n")

    return apply


def without(path):
    return lambda root: (root / path).unlink()


NFS_TRUTH, NFS_FRAMES = "Seq0/30/Seq0.txt", "Seq0/30/Seq0"


def nfs(change):
    return laid(benchmark_layouts.nfs, change, 30)


def nfs_success(frames):
    def check(folder):
        expected = success(scene.scene(COUNT)[1][:frames])
        assert table(folder)["success"].tolist() == pytest.approx([expected])
        assert table(folder)["frames"].tolist() == [frames]

    return check


LASOT = "airplane/airplane-1"
OTHERS = [
    Row(
        "unpadded DTB70",
        laid(benchmark_layouts.dtb70, renamed("Seq0/img", "{}.jpg")),
        evaluate("dtb70"),
    ),
    Row(
        "unpadded LaSOT",
        laid(benchmark_layouts.lasot, renamed(f"{LASOT}/img", "{}.JPG")),
        evaluate("lasot"),
    ),
    Row(
        "unpadded NfS",
        laid(benchmark_layouts.nfs, renamed("Seq0/30/Seq0", "{}.png"), 30),
        evaluate("nfs30"),
    ),
    Row(
        "unpadded UAV123",
        laid(benchmark_layouts.uav123, renamed("data_seq/UAV123/uav6", "{}.jpg")),
        evaluate("uav123"),
    ),
    Row(
        "unpadded TColor128",
        laid(
            benchmark_layouts.tcolor128,
            lambda root: [
                file.rename(file.with_name(f"{int(file.stem)}.jpg"))
                for file in (root / "Seq0/img").iterdir()
            ],
        ),
        evaluate("tcolor128"),
    ),
    Row(
        "a frame of UAV123 less",
        laid(
            benchmark_layouts.uav123,
            lambda root: (root / "data_seq/UAV123/uav6/000007.jpg").unlink(),
        ),
        evaluate("uav123"),
        "uav6: 108 frames of those from 1 to 109",
    ),
    Row(
        "no frame numbers",
        laid(benchmark_layouts.tcolor128, lambda root: (root / "Seq0/Seq0_frames.txt").unlink()),
        evaluate("tcolor128"),
        "Seq0 has no .*_frames.txt",
    ),
    Row(
        "too many frames",
        laid(benchmark_layouts.tcolor128, written("Seq0/Seq0_frames.txt", "1,99999999999\n")),
        evaluate("tcolor128"),
        "12 frames of those from 1 to 1e.11",
    ),
    Row(
        "three frame numbers",
        laid(benchmark_layouts.tcolor128, written("Seq0/Seq0_frames.txt", "1,2,3\n")),
        evaluate("tcolor128"),
        "3 values where 2",
    ),
    Row(
        "occlusions of fewer frames",
        laid(benchmark_layouts.lasot, written(f"{LASOT}/full_occlusion.txt", "0,0,1\n")),
        evaluate("lasot"),
        "full_occlusion.txt: 3 values where 12",
    ),
    *(
        Row(
            f"{name} frame hidden in LaSOT",
            laid(benchmark_layouts.lasot, written(f"{LASOT}/full_occlusion.txt", flags)),
            evaluate("lasot"),
            f"full_occlusion.txt: .*as in {said}",
        )
        for name, flags, said in [
            ("first", "1," + "0," * (COUNT - 1), "the first frame"),
            ("every", "1," * COUNT, "the first frame"),
            ("every later", "0," + "1," * (COUNT - 1), "all frames but the first"),
        ]
    ),
    Row(
        "attributes of NaN",
        laid(benchmark_layouts.uav123, written("anno/UAV123/att/uav6.txt", "nan," * 12)),
        evaluate("uav123"),
        "uav6.txt: NaN among its numbers",
    ),
    Row(
        "frame numbers of NaN",
        laid(benchmark_layouts.tcolor128, written("Seq0/Seq0_frames.txt", "nan,nan")),
        evaluate("tcolor128"),
        "Seq0_frames.txt: NaN among its numbers",
    ),
    Row(
        "few attributes",
        laid(benchmark_layouts.uav123, written("anno/UAV123/att/uav6.txt", "1,0\n")),
        evaluate("uav123"),
        "uav6.txt: 2 values where 12",
    ),
    Row(
        "notes beside NfS",
        laid(benchmark_layouts.nfs, written("Seq0/30/notes.txt", "by me\n"), 30),
        evaluate("nfs30"),
    ),
    Row(
        "short lines of NfS",
        laid(benchmark_layouts.nfs, written("Seq0/30/Seq0.txt", "0 1 2\n"), 30),
        evaluate("nfs30"),
        "Seq0.txt, line 1: 2 numbers",
    ),
    *(
        Row(name, nfs(change), evaluate("nfs30"), says, check=check)
        for name, change, says, check in [
            (
                "middle frame of NfS",
                without(f"{NFS_FRAMES}/00007.jpg"),
                "before 00008.jpg",
                nothing,
            ),
            (
                "first frame of NfS",
                without(f"{NFS_FRAMES}/00001.jpg"),
                "Seq0.txt: 12 lines for 11 frames",
                nothing,
            ),
            ("last frame of NfS", without(f"{NFS_FRAMES}/00012.jpg"), "", nfs_success(11)),
            (
                "first line of NfS",
                rewritten(NFS_TRUTH, lambda lines: lines[1:]),
                "Seq0.txt: 11 lines for 12 frames",
                nothing,
            ),
            (
                "middle line of NfS",
                rewritten(NFS_TRUTH, lambda lines: lines[:5] + lines[6:]),
                "Seq0.txt: 11 lines for 12 frames",
                nothing,
            ),
            (
                "a line of NfS at eight times the rate",
                rewritten(
                    NFS_TRUTH,
                    lambda lines: [
                        f'{x.rpartition(" " + str(i) + " 0 ")[0]} {8 * i + j} 0 0 0 "x"'
                        for i, x in enumerate(lines)
                        for j in range(8)
                        if 8 * i + j != 13
                    ],
                ),
                "Seq0.txt: 95 lines for 12 frames",
                nothing,
            ),
            (
                "last line of NfS",
                rewritten(NFS_TRUTH, lambda lines: lines[:-1]),
                "",
                nfs_success(11),
            ),
            (
                "lines of NfS in reverse",
                rewritten(NFS_TRUTH, lambda lines: lines[::-1]),
                "",
                nfs_success(12),
            ),
            (
                "commas in names of NfS",
                rewritten(NFS_TRUTH, lambda lines: [f'{x[:-8]}"ball, red"' for x in lines]),
                "",
                nfs_success(12),
            ),
        ]
    ),
    Row(
        "two of one name",
        laid(
            benchmark_layouts.lasot,
            lambda root: shutil.copytree(root / LASOT, root / "old/airplane-1"),
        ),
        evaluate("lasot"),
        "airplane-1 is there twice",
    ),
    Row(
        "unpadded VOT",
        lambda folder: scene.vot(folder / "data", pattern="{}.jpg"),
        VOT,
        check=one_sequence,
    ),
    Row(
        "unpadded GOT-10k",
        lambda folder: renamed("val/GOT-10k_Val_000001", "{}.jpg")(scene.got10k(folder / "data")),
        GOT,
        check=one_sequence,
    ),
]


def results(change):
    """A run that has ended, and then something happened to its files."""

    def make(folder):
        scene.otb(folder / "data", count=4)
        assert cli.main(evaluate().split()) == 0
        (folder / "whole").write_bytes((folder / "out/boxes/Identity/Ball.txt").read_bytes())
        change(folder / "out")

    return make


def damaged(path, data):
    """A result file that holds something else; it may be replaced, so it is no input."""

    def change(out):
        (out / path).unlink()
        (out / path).write_bytes(data)

    return change


def replaced(path):
    def change(out):
        (out / path).unlink(missing_ok=True)
        (out / path).mkdir(parents=True)

    return change


def linked(out):
    shutil.move(out / "boxes", out.parent / "elsewhere")
    (out / "keys/Identity/Ball.json").unlink()
    (out / "boxes").symlink_to(out.parent / "elsewhere")


def redone(folder):
    assert (folder / "out/boxes/Identity/Ball.txt").read_bytes() == (folder / "whole").read_bytes()
    assert table(folder)["success"].item() > 0.5


def a_file_for_out(folder):
    scene.otb(folder / "data", count=4)
    (folder / "file").write_text("x")


def out(place, root="data"):
    return f"evaluate --benchmark otb2015 --root {root} --out {place} --identity --no-figures"


BOXES, KEYS = "boxes/Identity/Ball.txt", "keys/Identity/Ball.json"
OUTPUTS = [
    Row(
        "boxes with NaN",
        results(damaged(BOXES, b"nan,nan,nan,nan\n" * 4)),
        evaluate(),
        check=redone,
    ),
    Row("fewer boxes", results(damaged(BOXES, b"61,81,36,30\n")), evaluate(), check=redone),
    Row("boxes of bytes", results(damaged(BOXES, b"\xff\0" * 99)), evaluate(), check=redone),
    Row("empty key", results(damaged(KEYS, b"")), evaluate(), check=redone),
    Row("key of bytes", results(damaged(KEYS, b"\xff\xfe\0")), evaluate(), check=redone),
    Row("key of brackets", results(damaged(KEYS, b"[" * 50_000)), evaluate(), check=redone),
    Row("key of another kind", results(damaged(KEYS, b"[1]")), evaluate(), check=redone),
    Row("key is a folder", results(replaced(KEYS)), evaluate(), "Ball.json: it is a folder"),
    Row("boxes are a folder", results(replaced(BOXES)), evaluate(), "Ball.txt: it is a folder"),
    Row(
        "a table is a folder", results(replaced("scores.csv")), evaluate(), "scores.csv: it is a f"
    ),
    Row("damaged scores", results(damaged("scores.json", b"{")), evaluate(), check=redone),
    Row(
        "damaged times",
        results(damaged("times/Identity/Ball.txt", b"0.1\nfast\n")),
        evaluate(),
        "times/Identity/Ball.txt, line 2: ",
    ),
    Row("boxes lead elsewhere", results(linked), evaluate(), "leads out of the folder"),
    Row("a file as output", a_file_for_out, out("file"), "cannot write to file"),
    Row("an output below a file", a_file_for_out, out("file/out"), "cannot write to file"),
    Row("the data as output", a_file_for_out, out("data"), "data is its own source data"),
    Row("an output in the data", a_file_for_out, out("data/x/y"), "y lies in its own source data"),
    Row("the data by another name", a_file_for_out, out("./data/../data/x"), "x lies in its own"),
    Row(
        "a file for figures",
        lambda f: (a_file_for_out(f), (f / "out").mkdir(), (f / "out/figures").write_text("x")),
        evaluate().replace("--no-figures", ""),
        "out/figures",
    ),
]

SILLY = {
    "--root ~nobody-of-this-name/otb": "cannot use ~nobody",
    "--limit -1": "number from 0",
    "--limit many": "number from 0",
    "--workers 0": "number from 1",
    "--workers 1000000": "number from 1 to 1024",
    "--seed -1": "number from 0",
    "--starts -2": "number from 0",
    "--starts 1000000000": "number from 0 to 1000",
    "--starts 2 --segment 1": "number from 2",
    "--starts 2 --perturbations -1": "number from 0",
    "--starts 2 --perturbations 1000000000": "number from 0 to 1000",
    "--benchmark otb1999": "invalid choice",
    "--benchmark vid-val": "vid-val has no protocol of its own",
    "--weights nowhere.safetensors": "nowhere.safetensors",
    "--weights n.safetensors --weights n.safetensors": "two trackers have one name",
    "--weights n.safetensors --weights sub/n.safetensors": "two trackers have one name",
    "--weights n.safetensors --set scale_num": "NAME=VALUE",
    "--weights n.safetensors --set scale_num=[": "not valid YAML",
    "--weights n.safetensors --set scale_num=0": "scale_num",
    "--weights n.safetensors --set scale_step=.nan": "scale_step",
    "--weights n.safetensors --set speed=1": "unknown parameter 'speed'",
    "--weights n.safetensors --threshold nan": "threshold",
    "--weights n.safetensors --top -1": "number from 0",
    "--weights n.safetensors --device abacus": "abacus",
    "--weights n.safetensors --device meta": "'meta' cannot be used",
    "--weights n.safetensors --fusion kcf": "invalid choice",
    "--weights n.safetensors --precision int8": "invalid choice",
    "--weights data": "data",
}


def networks(folder):
    scene.otb(folder / "data", count=2)
    scene.network(folder / "n.safetensors")
    (folder / "sub").mkdir()
    shutil.copy(folder / "n.safetensors", folder / "sub")


def untouched(folder):
    assert not list((folder / "out").rglob("*.txt"))


@rows(FRAMES)
def test_frames(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


@rows(TRUTH)
def test_ground_truth(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


@rows(LISTS)
def test_lists(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
    assert not [file for file in tmp_path.rglob("*.json") if (tmp_path / "out") not in file.parents]


@rows(OTHERS)
def test_other_layouts(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


@rows(OUTPUTS)
def test_results_and_outputs(row, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    row.make(tmp_path)
    capsys.readouterr()
    same = Row(row.name, lambda folder: None, row.command, row.says, row.status, row.check)
    monkeypatch.setattr("faults.campaign.digests", inputs)
    tried(same, tmp_path, monkeypatch, capsys)


def inputs(folder):
    """Digests of the benchmark's files alone: results may be made again."""
    files = [file for file in sorted((folder / "data").rglob("*")) if file.is_file()]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@rows([Row(option, networks, evaluate(more=option), says) for option, says in SILLY.items()])
def test_options(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)
    untouched(tmp_path)
