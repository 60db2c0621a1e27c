"""Sequences, trackers and places that ``vot-workspace`` is given, and what its server is sent."""

import configparser
import io
import os
import re
import sys

import cv2
import pytest
from faults import scene
from faults.campaign import Row, rows, tried
from faults.scene import text

from esiamfc_lib.data import benchmarks
from tools import trax

WORKSPACE = "vot-workspace ws --root vot --identity"


def vot(**options):
    return lambda folder: scene.vot(folder / "vot", count=4, **options)


def both(*makes):
    def make(folder):
        for one in makes:
            one(folder)

    return make


def networks(*names):
    return lambda folder: [scene.network(folder / name) for name in names]


def nothing(folder):
    assert not os.path.lexists(folder / "ws")


def linked(folder):
    """What the toolkit finds under its pattern is every frame of the sequence, in order."""
    made = folder / "ws/sequences/ball"
    facts = dict(line.split("=") for line in (made / "sequence").read_text().splitlines())
    assert (facts["length"], facts["width"], facts["height"]) == ("4", "320", "240")
    for i, frame in enumerate(scene.scene(4)[0], 1):
        found = cv2.imread(str(made / (facts["channels.color"] % i)))[:, :, ::-1]
        assert abs(found.astype(int) - frame).mean() < 9
    assert len(list((made / "color").iterdir())) == 4
    read, _ = benchmarks.read_benchmark("vot2018", folder / "ws")
    assert len(read) == 1
    assert not list(made.glob(".*"))


def entries(*names):
    """Names of the trackers, as the toolkit reads them."""

    def check(folder):
        registry = configparser.ConfigParser()
        registry.read(folder / "ws/trackers.ini")
        assert registry.sections() == list(names)
        for name in names:
            assert str(folder) in registry[name]["command"]

    return check


def refused(name, make, says, command=WORKSPACE, check=nothing):
    return Row(name, make, command, says, check=check)


def weights(*names):
    return ["vot-workspace", "ws", "--root", "vot", *(f"--weights={name}" for name in names)]


def of(name, toolkit):
    command, check = weights(f"{name}.safetensors"), entries(toolkit)
    return Row(f"{name}.safetensors", both(vot(), networks(f"{name}.safetensors")), command,
               check=check)  # fmt: skip


TABLE = [
    Row("frames from 0", vot(first=0), WORKSPACE, check=linked),
    Row("frames of six digits", vot(pattern="{:06d}.jpg"), WORKSPACE, check=linked),
    Row(
        "frames without leading zeros from 9",
        vot(pattern="{}.jpg", first=9),
        WORKSPACE,
        check=linked,
    ),
    Row("frames with a word before", vot(pattern="img{:05d}.jpg"), WORKSPACE, check=linked),
    Row("frames as they should be", vot(), WORKSPACE, check=linked),
    refused("an empty frame", both(vot(), text("vot/ball/00000001.jpg", "")), "the file is empty"),
    refused(
        "ground truth of other length",
        both(vot(), text("vot/ball/groundtruth.txt", "1,1,9,9\n")),
        "vot2018.*ball",
    ),
    refused("a list of nothing", both(vot(), text("vot/list.txt", "")), "no sequence"),
    refused("a root that is not there", lambda folder: None, "no folder"),
    refused("a file as root", text("vot"), "no folder"),
    refused("a stack that is unknown", vot(), ".*", WORKSPACE + " --stack vot1999"),
    refused("no tracker", vot(), "without a tracker", "vot-workspace ws --root vot"),
    refused(
        "a workspace that is there",
        both(vot(), text("ws/mine")),
        "ws is already there",
        check=lambda folder: None,
    ),
    refused(
        "a file as workspace",
        both(vot(), text("ws")),
        "ws is already there",
        check=lambda folder: None,
    ),
    refused(
        "a workspace below a file",
        both(vot(), text("file")),
        "cannot write to file/ws: Not a dir",
        WORKSPACE.replace("ws ", "file/ws "),
    ),
    refused(
        "a link to nowhere as workspace",
        both(vot(), lambda folder: (folder / "ws").symlink_to("no")),
        "cannot write to ws",
        check=lambda folder: None,
    ),
    refused(
        "two trackers of one name",
        both(vot(), networks("a-b.safetensors", "a_b.safetensors")),
        "'a_b' is a_b in the toolkit, where that name is taken",
        weights("a-b.safetensors", "a_b.safetensors"),
    ),
    refused(
        "a name that ini files keep",
        both(vot(), networks("DEFAULT.safetensors")),
        "'DEFAULT' is DEFAULT in the toolkit",
        weights("DEFAULT.safetensors"),
    ),
    refused(
        "int8 without its file",
        both(vot(), networks("n.safetensors")),
        "n.*int8",
        [*weights("n.safetensors"), "--precision", "int8"],
    ),
    refused(
        "an even number of scales",
        both(vot(), networks("n.safetensors")),
        "scale_num",
        [*weights("n.safetensors"), "--set", "scale_num=2"],
    ),
    refused(
        "weights that are not there", vot(), "no such file: n.safetensors", weights("n.safetensors")
    ),
    of("siamfc (1)", "siamfc__1_"),
    of("siamfc@e50", "siamfc_e50"),
    of("-dash", "_dash"),
    of("ünï", "_n_"),
    of("a.b%c", "a_b_c"),
]


@rows(TABLE)
def test_vot_workspace(row, tmp_path, monkeypatch, capsys):
    tried(row, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", ["100% %s", "a#b?c", "%41 \N{SNOWMAN}", 'a "quote" \\'])
def test_the_server_in_a_folder_of_any_name(name, tmp_path, monkeypatch, capsys):
    """The toolkit sends paths as they are; only quotation marks and backslashes are escaped."""
    folder = tmp_path / name
    folder.mkdir()
    row = Row(
        name, both(vot(), networks("siamfc (1).safetensors")), weights("siamfc (1).safetensors")
    )
    tried(row, folder, monkeypatch, capsys)
    entries("siamfc__1_")(folder)
    frame = str(folder / "ws/sequences/ball/color/00000001.jpg")
    frame = frame.replace("\\", "\\\\").replace('"', '\\"')
    said = f'@@TRAX:initialize "file://{frame}" "61,81,36,30"\n@@TRAX:frame "file://{frame}"\n'
    status, replies, errors = served(said, monkeypatch, capsys, "ws/specs/siamfc__1_.json")
    assert (status, errors) == (0, "")
    assert replies.count("@@TRAX:state") == 2


def served(requests, monkeypatch, capsys, *arguments):
    data = requests.encode() if isinstance(requests, str) else requests
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
    capsys.readouterr()
    status = trax.main(list(arguments))
    return status, *capsys.readouterr()


FIRST = '@@TRAX:initialize "file://f.jpg" "61,81,36,30"\n'
REQUESTS = {
    "nothing": ("", ""),
    "noise": ("\n@@TRAX\n@@TRAX:\nhello\n@@trax:frame\n\xff\n", ""),
    "bytes that are no text": (b"\xff\xfe\n" + FIRST.encode(), ""),
    "carriage returns": (FIRST.replace("\n", "\r\n"), ""),
    "the end without quit": (FIRST, ""),
    "a path in the encoding of a URI": (FIRST.replace("f.jpg", "%66.jpg"), ""),
    "a second beginning": (FIRST * 2, ""),
    "a frame first": ('@@TRAX:frame "file://f.jpg"\n', "'frame' is unknown or comes before"),
    "an unknown request": ("@@TRAX:dance\n", "'dance' is unknown"),
    "no arguments": ("@@TRAX:initialize\n", "malformed request '@@TRAX:initialize'"),
    "no region": ('@@TRAX:initialize "file://f.jpg"\n', "malformed request"),
    "an open quotation": ('@@TRAX:initialize "file://f.jpg\n', "malformed request"),
    "no frame": (FIRST + "@@TRAX:frame\n", "malformed request '@@TRAX:frame'"),
    "a mask": (FIRST.replace("61,", "m61,"), "malformed request"),
    "an empty region": (FIRST.replace("61,81,36,30", ""), "malformed request"),
    "five numbers": (FIRST.replace("30", "30,1"), "a region has 5 values"),
    "a region of NaN": (FIRST.replace("36", "nan"), "four finite numbers"),
    "a polygon of NaN": (FIRST.replace("36", "nan,1,2,3,4"), "four finite numbers"),
    "a region outside": (FIRST.replace("61", "6100"), "none in a frame of 320×240"),
    "a region without area": (FIRST.replace("36", "0"), "four finite numbers, with an area"),
    "a frame that is not there": (FIRST.replace("f.jpg", "g.jpg"), "no such file: g.jpg"),
    "a folder as frame": (FIRST.replace("f.jpg", "."), "not a file: ."),
    "a pipe as frame": (FIRST.replace("f.jpg", "pipe"), "not a file: pipe"),
    "a frame that is none": (FIRST.replace("f.jpg", "text.jpg"), "truncated or no image"),
    "a name with a zero": (FIRST.replace("f.jpg", "\0"), "no such file|malformed"),
    "a name too long": (FIRST.replace("f.jpg", "f" * 9999), "File name too long"),
    "an address": (FIRST.replace("file", "http"), "the path of a file"),
    "an image in the request": (FIRST.replace("file://", "data:image/png;"), "the path of a file"),
}
SPECS = {
    "no JSON": ("{", "s.json: Invalid JSON"),
    "an empty file": ("", "s.json: Invalid JSON"),
    "bytes": (b"\xff\xfe", "s.json: Invalid JSON"),
    "a list": ("[]", "s.json: Input should be an object"),
    "no name": ('{"kind": "identity"}', "s.json: parameter 'name' .* Field required"),
    "a bad name": ('{"name": "../x", "kind": "identity"}', "s.json: parameter 'name'"),
    "an unknown kind": ('{"name": "x", "kind": "y"}', "s.json: parameter 'kind' = 'y'"),
    "an unknown parameter": ('{"name": "x", "kind": "identity", "y": 1}', "unknown parameter 'y'"),
    "an oracle": ('{"name": "x", "kind": "oracle"}', "an oracle chooses among results"),
    "no weights": ('{"name": "x", "kind": "siamfc", "weights": "w"}', "no such file: w"),
    "deep brackets": ("[" * 99999, "s.json: Invalid JSON"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text("s.json", '{"name": "x", "kind": "identity"}')(tmp_path)
    text("text.jpg")(tmp_path)
    scene.write(tmp_path / "f.jpg", scene.scene(1)[0][0])
    os.mkfifo("pipe")
    sent, says = REQUESTS[name]
    status, replies, errors = served(sent, monkeypatch, capsys, "s.json")
    assert status == (2 if says else 0), errors
    expect_sentence(errors, says)
    if not says and "initialize" in str(sent):
        assert '@@TRAX:state "61.0000,81.0000,36.0000,30.0000"' in replies


@pytest.mark.parametrize("name", SPECS)
def test_specs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text("s.json", SPECS[name][0])(tmp_path)
    status, replies, errors = served("", monkeypatch, capsys, "s.json")
    assert (status, replies) == (2, "")
    expect_sentence(errors, SPECS[name][1])
    assert len(errors) < 400


@pytest.mark.parametrize("arguments", [(), ("s.json", "t.json"), ("s.json",), ("/",)])
def test_arguments(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, replies, errors = served("", monkeypatch, capsys, *arguments)
    assert (status, replies) == (2, "")
    expect_sentence(errors, "one argument is expected|(no such|not a) file: ")


def expect_sentence(errors, says):
    assert bool(errors) == bool(says)
    if says:
        assert re.fullmatch(rf"tools/trax\.py: .*({says}).*\n", errors), errors
