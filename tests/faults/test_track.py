"""Videos, boxes, weights and outputs that ``track`` is given."""

import os
import shutil
import struct
import subprocess

import cv2
import numpy as np
import pytest
from faults import scene
from faults.campaign import Row, rows, tried
from faults.scene import text

from esiamfc_lib.tracking import video
from esiamfc_lib.tracking.film import Film

TRACK = "track {} --box 60,80,36,30 --weights n.safetensors --out o"
FOLDER = TRACK.format("f")
APPLE = b"\0\5\x16\7\0\2\0\0Mac OS X        \xff"


def given(*makes):
    """A network, and then what the functions make."""

    def make(folder):
        scene.network(folder / "n.safetensors")
        for one in makes:
            one(folder)

    return make


def frames(count=4, pattern="{:04d}.png", first=1):
    return lambda folder: scene.frames(folder / "f", count, pattern, first)


def film(name="v.mp4", count=12, fps=25.0, codec="mp4v"):
    def make(folder):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        writer = cv2.VideoWriter(
            str(folder / name), cv2.VideoWriter_fourcc(*codec), fps, (320, 240)
        )
        for frame in scene.scene(count)[0]:
            writer.write(frame[:, :, ::-1])
        writer.release()

    return make


def cut(name, share):
    """The first part of a file."""
    return lambda folder: os.truncate(folder / name, int((folder / name).stat().st_size * share))


def counted(name, frames):
    """An avi whose header counts another number of frames."""

    def make(folder):
        data = bytearray((folder / name).read_bytes())
        struct.pack_into("<I", data, data.find(b"avih") + 24, frames)
        struct.pack_into("<I", data, data.find(b"strh") + 40, frames)
        (folder / name).write_bytes(data)

    return make


def image(name, change):
    def make(folder):
        path = folder / "f" / name
        assert cv2.imwrite(str(path), change(cv2.imread(str(path))))

    return make


def call(function, *names):
    """A link, by a function of ``os``, or another act on paths in the folder."""
    return lambda folder: function(*(folder / name for name in names))


def tracked(count, out="o"):
    """So many frames are in both results, and nothing else is there."""

    def check(folder):
        boxes = np.loadtxt(folder / out / "boxes.txt", delimiter=",", ndmin=2)
        there = cv2.VideoCapture(str(folder / out / "tracked.mp4"))
        assert len(boxes) == there.get(cv2.CAP_PROP_FRAME_COUNT) == count
        assert sorted(path.name for path in (folder / out).iterdir()) == [
            "boxes.txt",
            "tracked.mp4",
        ]

    return check


def nothing(folder):
    """No result and no part of one."""
    assert not (folder / "o").is_dir() or not list((folder / "o").iterdir())


def rate(fps):
    def check(folder):
        tracked(4)(folder)
        found = cv2.VideoCapture(str(folder / "o/tracked.mp4")).get(cv2.CAP_PROP_FPS)
        assert found == pytest.approx(fps, rel=0.001)

    return check


def boxed(box):
    return ["track", "f", "--box", box, *FOLDER.split()[4:]]


def refused(box, says, name=""):
    return Row(name or f"box {box}", given(frames()), boxed(box), says, check=nothing)


OUTSIDE = "is none in a frame of 320×240 pixels"
BOXES = [
    refused("1900,1000,36,30", OUTSIDE),
    refused("60,-31,36,30", OUTSIDE),
    refused("-36,80,36,30", OUTSIDE),
    refused("320,80,36,30", OUTSIDE),
    refused("-1e9,-1e9,2e9,2e9", OUTSIDE),
    refused("0,0,1e308,1e308", OUTSIDE),
    refused("60,80,0,30", "with an area"),
    refused("60,80,36,-30", "with an area"),
    refused("60,80,nan,30", "four finite numbers"),
    refused("60,80,inf,30", "four finite numbers"),
    refused("60,80,36", "four finite numbers"),
    refused("60,80,36,30,1", "four finite numbers"),
    refused("60;80;36;30", "four numbers X,Y,W,H are expected"),
    refused("", "four numbers X,Y,W,H are expected", "no box"),
    Row("box half outside", given(frames()), boxed("-10,-10,36,30"), check=tracked(4)),
    Row("box as large as the frame", given(frames()), boxed("0,0,320,240"), check=tracked(4)),
    Row("box of a pixel", given(frames()), boxed("60,80,1,1"), check=tracked(4)),
    refused("60,80,.5,30", "with an area of 1×1 pixels or more"),
    refused("60,80,1e-300,1e-300", "with an area of 1×1 pixels or more"),
    refused("6_0,80,36,30", "four numbers X,Y,W,H are expected"),
]

FOLDERS = [
    Row(
        "frames of other systems",
        given(
            frames(),
            text("f/._0001.png", APPLE),
            text("f/.DS_Store"),
            text("f/.ipynb_checkpoints/0001.png"),
            text("f/Thumbs.db"),
        ),
        FOLDER,
        check=tracked(4),
    ),
    Row(
        "names of two numbers", given(frames(), text("f/00001.png")), FOLDER, "have the same number"
    ),
    Row("a folder without frames", given(text("f/readme.txt")), FOLDER, "no image .* in f"),
    Row(
        "a frame of another size",
        given(frames(), image("0003.png", lambda i: i[:200])),
        FOLDER,
        r"f/0003.png has another size than f/0001.png; incomplete: 2 of 4 frames .* in o",
        check=tracked(2),
    ),
    Row(
        "a frame cut off",
        given(frames(), cut("f/0003.png", 0.5)),
        FOLDER,
        "f/0003.png: the file is truncated or no image; incomplete: 2 of 4",
        check=tracked(2),
    ),
    Row(
        "an empty frame",
        given(frames(), text("f/0001.png", "")),
        FOLDER,
        "f/0001.png: the file is empty$",
        check=nothing,
    ),
    Row(
        "a grey frame",
        given(frames(), image("0002.png", lambda i: i[..., 0])),
        FOLDER,
        check=tracked(4),
    ),
    Row(
        "a frame with transparency",
        given(frames(), image("0002.png", lambda i: cv2.cvtColor(i, cv2.COLOR_BGR2BGRA))),
        FOLDER,
        check=tracked(4),
    ),
    Row(
        "a frame of 16 bit",
        given(frames(), image("0002.png", lambda i: i.astype(np.uint16) * 257)),
        FOLDER,
        check=tracked(4),
    ),
    Row(
        "a folder in place of a frame",
        given(frames(), call(os.remove, "f/0002.png"), call(os.mkdir, "f/0002.png")),
        FOLDER,
        "f/0002.png.*",
        check=lambda folder: None,
    ),
    *(
        Row(
            f"a single image {ending}",
            given(frames(1, "{:04d}." + ending)),
            TRACK.format(f"f/0001.{ending}"),
            "no video, folder or camera",
            check=nothing,
        )
        for ending in ("png", "webp", "tif")
    ),
    *(
        Row(
            f"{name} beside the frames",
            given(frames(), lambda folder, name=name: scene.frames(folder / "f", 1, name)),
            FOLDER,
            f"f: frames of two namings, .*{name}",
            check=nothing,
        )
        for name in ("cover.png", "folder.jpg", "a.webp")
    ),
    Row("frames as webp", given(frames(pattern="{}.webp")), FOLDER, check=tracked(4)),
    Row(
        "a folder without a name",
        given(frames()),
        ["track", "", *FOLDER.split()[2:]],
        "no video, folder or camera ''",
        check=nothing,
    ),
]

FILMS = [
    Row("a whole video", given(film()), TRACK.format("v.mp4"), check=tracked(12)),
    Row(
        "a name with a percent sign",
        given(film("50%02d off.mp4")),
        ["track", "50%02d off.mp4", *FOLDER.split()[2:]],
        check=tracked(12),
    ),
    Row(
        "a video named by a number",
        given(film("7.avi", codec="MJPG"), call(os.rename, "7.avi", "7")),
        TRACK.format("7"),
        check=tracked(12),
    ),
    Row(
        "a video cut off",
        given(film("v.avi", codec="MJPG"), cut("v.avi", 0.6)),
        TRACK.format("v.avi"),
        r"v.avi ends before the 12 frames of its header; incomplete: \d of 12 frames",
        check=lambda folder: tracked(len((folder / "o/boxes.txt").read_text().splitlines()))(
            folder
        ),
    ),
    Row(
        "a header that counts too many",
        given(film("v.avi", codec="MJPG"), counted("v.avi", 20)),
        TRACK.format("v.avi"),
        "ends before .* incomplete: 12 of 20",
        check=tracked(12),
    ),
    Row(
        "a header that counts too few",
        given(film("v.avi", codec="MJPG"), counted("v.avi", 5)),
        TRACK.format("v.avi"),
        check=tracked(12),
    ),
    Row(
        "a header that counts none",
        given(film("v.avi", codec="MJPG"), counted("v.avi", 0)),
        TRACK.format("v.avi"),
        check=tracked(12),
    ),
    Row(
        "a video without its end",
        given(film(), cut("v.mp4", 0.6)),
        TRACK.format("v.mp4"),
        "v.mp4 cannot be opened as a video",
        check=nothing,
    ),
    Row(
        "an empty video",
        given(text("v.mp4", "")),
        TRACK.format("v.mp4"),
        "cannot be opened",
        check=nothing,
    ),
    Row(
        "a video of no frame",
        given(film(count=0)),
        TRACK.format("v.mp4"),
        "cannot be opened|no frame",
        check=nothing,
    ),
    Row(
        "a name that is no UTF-8",
        given(film(), call(os.rename, "v.mp4", "v\udcff.mp4")),
        TRACK.format("v\udcff.mp4"),
        r"'v\\udcff.mp4': videos need a path in UTF-8",
        check=nothing,
    ),
    Row("no video", given(), TRACK.format("v.mp4"), "no video, folder or camera 'v.mp4'"),
    Row("a camera that is not there", given(), TRACK.format("99"), "camera 99 cannot be opened"),
    Row(
        "a camera of a number too large",
        given(),
        TRACK.format("9" * 30),
        "no video, folder or camera",
    ),
    Row("a number that is none", given(), TRACK.format("²"), "no video, folder or camera"),
    Row(
        "240 frames a second", given(film(count=4, fps=240)), TRACK.format("v.mp4"), check=rate(240)
    ),
    Row(
        "119.88 frames a second",
        given(film(count=4, fps=119.88)),
        TRACK.format("v.mp4"),
        check=rate(119.9),
    ),
    Row(
        "one frame in two seconds",
        given(film(count=4, fps=0.5)),
        TRACK.format("v.mp4"),
        check=rate(0.5),
    ),
    Row(
        "65535 frames a second",
        given(film(count=4, fps=65535)),
        TRACK.format("v.mp4"),
        check=rate(25),
    ),
]


def twice(folder):
    """A former result."""
    frames()(folder)
    text("o/boxes.txt", "1,2,3,4\n")(folder)
    film("o/tracked.mp4", 5)(folder)


def kept(folder):
    assert (folder / "o/boxes.txt").read_text() == "1,2,3,4\n"
    assert len(list((folder / "o").iterdir())) == 2


SELF = "its own source"
OUTPUTS = [
    Row(
        "the source is the output",
        given(film("o/tracked.mp4")),
        TRACK.format("o/tracked.mp4"),
        SELF,
    ),
    Row(
        "the source is the default output",
        given(film("tracked/tracked.mp4")),
        TRACK.format("tracked/tracked.mp4")[:-8],
        SELF,
    ),
    Row(
        "the source by a link",
        given(film(), call(os.mkdir, "o"), call(os.symlink, "v.mp4", "o/tracked.mp4")),
        TRACK.format("v.mp4"),
        SELF,
    ),
    Row(
        "the source is a link to the output",
        given(film("o/tracked.mp4"), call(os.symlink, "o/tracked.mp4", "v.mp4")),
        TRACK.format("v.mp4"),
        SELF,
    ),
    Row(
        "the source by a second name",
        given(film(), call(os.mkdir, "o"), call(os.link, "v.mp4", "o/tracked.mp4")),
        TRACK.format("v.mp4"),
        SELF,
    ),
    Row(
        "a video that is called as the boxes",
        given(film("o/tracked.mp4"), call(os.rename, "o/tracked.mp4", "o/boxes.txt")),
        TRACK.format("o/boxes.txt"),
        SELF,
    ),
    Row(
        "the folder of frames as output",
        given(frames()),
        FOLDER[:-1] + "f",
        SELF,
    ),
    Row(
        "a link to the folder of frames as output",
        given(frames(), call(os.symlink, "f", "o")),
        FOLDER,
        SELF,
    ),
    Row(
        "boxes of someone else",
        given(film("o/v.mp4"), text("o/boxes.txt")),
        TRACK.format("o/v.mp4"),
        "one of o/boxes.txt and o/tracked.mp4 is no result",
    ),
    Row(
        "a tracked video of someone else",
        given(frames(), film("o/tracked.mp4")),
        FOLDER,
        "one of o/boxes.txt and o/tracked.mp4 is no result",
    ),
    Row(
        "an output that is no UTF-8",
        given(frames()),
        FOLDER + "\udcff",
        r"'o\\udcff': videos need a path in UTF-8",
        check=lambda folder: [*folder.glob("o*")] and pytest.fail("made"),
    ),
    Row("a file as output", given(frames(), text("o")), FOLDER, "cannot write to o: "),
    Row(
        "an output below a file",
        given(frames(), text("file")),
        FOLDER[:-1] + "file/below/it",
        "cannot write to file/below/it: Not a directory",
    ),
    Row(
        "an output in a link to nowhere",
        given(frames(), call(os.symlink, "nowhere", "o")),
        FOLDER,
        "cannot write to o: ",
    ),
    Row(
        "a folder in place of the boxes",
        given(frames(), text("o/boxes.txt/file")),
        FOLDER,
        "cannot write to o/boxes.txt: it is a folder",
    ),
]

WEIGHTS = [
    Row(
        f"weights called {name}",
        given(frames(), call(os.rename, "n.safetensors", name)),
        [*FOLDER.split()[:4], f"--weights={name}", "--out", "o"],
        check=tracked(4),
    )
    for name in (
        "siamfc (1).safetensors",
        "siamfc@e50.safetensors",
        "-a.safetensors",
        " b.safetensors",
        "ünï²–.safetensors",
        "x" * 200 + ".safetensors",
    )
]
WEIGHTS += [
    Row(
        "weights that are not there", frames(), FOLDER, "no such file: n.safetensors", check=nothing
    ),
    Row(
        "two trackers",
        given(frames()),
        FOLDER + " --weights n.safetensors",
        "one tracker is needed",
    ),
]


LOOP = [
    Row(f"{value} for the loop", given(frames(2)), [*FOLDER.split(), "--set", value], says)
    for value, says in {
        "scale_num=100001": "'scale_num' = 100001",
        "scale_num=2": "'scale_num' = 2: Input should be 1, 3",
        "exemplar_size=100000": "'exemplar_size' = 100000",
        "search_size=3": "'search_size' = 3",
        "search_size=99": "search_size 99 is below exemplar_size 127",
        "response_up=10000": "'response_up' = 10000",
        "scale_step=.nan": "'scale_step' = nan",
    }.items()
]


@rows(BOXES + LOOP + FOLDERS + FILMS + OUTPUTS + WEIGHTS)
def test_track(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


def test_missing_frames_are_told(tmp_path, monkeypatch, capsys):
    for name, gone, says in (
        ("one", ["0003.png"], "f/0002.png is followed by 0004.png: are frames missing?\n"),
        ("two", ["0002.png", "0005.png"], "are frames missing? (2 such gaps)\n"),
        ("none", ["0002.png", "0004.png", "0006.png"], ""),
    ):
        (tmp_path / name).mkdir()
        make = given(frames(7), *(call(os.remove, f"f/{file}") for file in gone))
        row = Row(name, make, FOLDER, check=tracked(7 - len(gone)))
        said = tried(row, tmp_path / name, monkeypatch, capsys)
        assert says in said if says else "missing" not in said


def test_a_former_result_stays_until_there_is_another(tmp_path, monkeypatch, capsys):
    """Where the box is refused, the writer drops frames, or an error ends the work."""
    given(twice)(tmp_path)
    before = (tmp_path / "o/tracked.mp4").read_bytes()

    def attempt(status, says, command=FOLDER):
        row = Row("again", lambda folder: None, command, says, status, check=kept)
        tried(row, tmp_path, monkeypatch, capsys)
        assert (tmp_path / "o/tracked.mp4").read_bytes() == before

    attempt(2, OUTSIDE, FOLDER.replace("60,80,36,30", "999,80,36,30"))
    write, many = Film.write, iter(range(99))
    with monkeypatch.context() as patch:
        patch.setattr(Film, "write", lambda *given: next(many) == 2 or write(*given))
        attempt(2, "o/tracked.mp4 is incomplete: 3 of 4 frames were written")
    with monkeypatch.context() as patch:

        def fail(*given):
            raise OSError(28, "No space left on device")

        patch.setattr(video, "annotated", fail)
        attempt(2, "No space left on device")
    row = Row("at last", lambda folder: None, FOLDER)
    with pytest.raises(AssertionError, match="changed its input"):
        tried(row, tmp_path, monkeypatch, capsys)
    tracked(4)(tmp_path)


@pytest.mark.parametrize("at", [0, 2])
def test_an_interruption_says_how_far_it_came(at, tmp_path, monkeypatch, capsys):
    drawn, left = video.annotated, iter(range(at, -1, -1))

    def interrupted(*arguments):
        if not next(left):
            raise KeyboardInterrupt
        return drawn(*arguments)

    monkeypatch.setattr(video, "annotated", interrupted)
    check = tracked(at) if at else nothing
    said = tried(Row("", given(frames()), FOLDER, status=130, check=check),
                 tmp_path, monkeypatch, capsys)  # fmt: skip
    assert (f"{at} of 4 frames in " if at else "esiamfc track: interrupted") in said


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
@pytest.mark.parametrize("kind", ["variable", "sound", "cut"])
def test_videos_of_ffmpeg(kind, tmp_path, monkeypatch, capsys):
    """A rate that varies and sound that is longer are no loss; a file that ends early is said."""
    options = {
        "variable": ["-vf", "setpts='if(lt(N,6),N,6+(N-6)*5)/25/TB'", "-vsync", "vfr"],
        "sound": ["-f", "lavfi", "-i", "sine=duration=0.55"],
        "cut": ["-c:v", "mjpeg"],
    }[kind]

    def make(folder):
        given(frames(12))(folder)
        call = ["ffmpeg", "-v", "error", "-r", "25", "-i", "f/%04d.png", *options, "v.mkv"]
        subprocess.run(call, check=True, cwd=folder)
        if kind == "cut":
            cut("v.mkv", 0.6)(folder)

    row = Row(kind, make, TRACK.format("v.mkv"), check=tracked(12))
    if kind == "cut":
        row = Row(kind, make, row.command, r"incomplete: \d of 12", check=lambda folder: None)
    tried(row, tmp_path, monkeypatch, capsys)
