"""The video that tracking leaves: what is drawn, what is written, and that a browser plays it."""

import av
import cv2
import numpy as np
import pytest
from browser import lab

from esiamfc_lib.errors import StudyError
from esiamfc_lib.tracking import film

BOX = np.array([20.0, 10, 30, 15])
COLOURS = np.array([[200, 40, 20], [20, 160, 60], [40, 60, 190], [210, 200, 40]], np.uint8)


def plain(i, size=(64, 96)):
    return np.broadcast_to(COLOURS[i % 4], (*size, 3))


def written(path, count=8, size=(64, 96), fps=4.0):
    one = film.Film(path, plain(0, size), fps)
    for i in range(count):
        one.write(plain(i, size))
    one.close()
    return path


def test_what_is_drawn():
    image = np.zeros((240, 320, 3), np.uint8)
    drawn = film.annotated(image, [BOX], None, 10)
    assert not image.any()  # a copy was drawn on
    assert drawn[24, 35].tolist() == list(film.COLOURS[0])  # lower edge of the box
    bars = film.annotated(image, [BOX + 150], np.array([1.0, 0.0]), 10)
    assert bars[25, 60].tolist() == list(film.BAR_COLOUR)  # the full bar of branch 0
    assert bars[36, 60].tolist() == [0, 0, 0]  # the empty bar of branch 1
    undecided = film.annotated(image, [BOX + 150], np.array([np.nan, np.nan]), 10)
    assert not undecided[25:40, 60].any()
    film.annotated(image, [np.array([-1e12, 5, 1e13, 3])], None, 10)  # no overflow
    two = film.annotated(image, [BOX, BOX + np.array([100, 60, 0, 0])], None, 10)
    assert two[84, 135].tolist() == list(film.COLOURS[1])
    assert two[60:69, 118:130].any()  # and its number
    many = film.annotated(image, [BOX] * 12, None, 10)
    assert many[24, 35].tolist() == list(film.COLOURS[11 % len(film.COLOURS)])


@pytest.mark.parametrize("ending", film.ENDINGS)
@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_every_ending_keeps_all_frames(ending, size, tmp_path):
    path = written(tmp_path / f"a{ending}", size=size)
    assert film.frames_in_file(path) == 8
    with av.open(str(path)) as file:
        codec = file.streams.video[0].codec_context.name
        images = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    assert "vp9" in codec
    assert images[0].shape[:2] == size
    for i, image in enumerate(images):  # RGB came back as RGB
        np.testing.assert_allclose(image[20:40, 20:40].mean((0, 1)), COLOURS[i % 4], atol=8)


def test_a_build_without_vp9_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(film, "VP9", "libnone")
    path = written(tmp_path / "a.mp4")
    assert "no browser will play the video" in capsys.readouterr().err
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_what_is_no_video(tmp_path):
    with pytest.raises(StudyError, match=r"the name of a video ends in \.mp4, \.webm"):
        written(tmp_path / "a.gif")
    with pytest.raises(StudyError, match="frames of 70000×8 pixels cannot be written"):
        written(tmp_path / "a.mp4", size=(8, 70000))


@pytest.mark.skipif(bool(lab.MISSING), reason=lab.MISSING)
@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_a_browser_plays_it(ending, tmp_path):
    """At several times, the colours that were written."""
    from playwright.sync_api import sync_playwright

    path = written(tmp_path / f"a{ending}")
    (tmp_path / "a.html").write_text(f"<body style='margin:0'><video src='{path.name}'></video>")
    seek = "at => new Promise(done => { v.onseeked = () => done(v.error); v.currentTime = at; })"
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=lab.BROWSER, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            page.goto((tmp_path / "a.html").as_uri())
            page.evaluate("() => { window.v = document.querySelector('video'); }")
            page.wait_for_function("v.readyState >= 2 || v.error")
            assert page.evaluate("[v.videoWidth, v.videoHeight, v.duration]") == [96, 64, 2]
            for i in (2, 5, 7, 0):
                assert page.evaluate(seek, i / 4 + 0.1) is None
                page.wait_for_timeout(100)
                shot = page.locator("video").screenshot()
                image = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR_RGB)
                np.testing.assert_allclose(image[30, 40], COLOURS[i % 4], atol=14)
        finally:
            browser.close()
