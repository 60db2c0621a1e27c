"""The page on which boxes are drawn, in a real browser: what the mouse says is what is tracked."""

import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from queue import Queue

import cv2
import numpy as np
import pytest
from browser import lab
from faults import scene

from esiamfc_lib import cli
from esiamfc_lib.tracking import page as pages
from esiamfc_lib.tracking.page import Page

needs_browser = pytest.mark.skipif(bool(lab.MISSING), reason=lab.MISSING)
FRAME = scene.scene(1)[0][0]


@pytest.fixture
def opened(monkeypatch):
    """A display that is none: addresses that a browser would open."""
    addresses = Queue()
    monkeypatch.setattr(pages, "has_display", lambda: True)
    monkeypatch.setattr(pages.webbrowser, "open", addresses.put)
    return addresses


@contextmanager
def browser(address, size=(900, 700)):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=lab.BROWSER, args=["--no-sandbox"])
        try:
            tab = chromium.new_page(viewport={"width": size[0], "height": size[1]})
            faults = []
            tab.on("pageerror", lambda fault: faults.append(fault))
            tab.goto(address)
            tab.wait_for_function("document.querySelector('#frame').naturalWidth > 0")
            yield tab
            assert not faults
        finally:
            chromium.close()


def drag(tab, box):
    """Over the pixels of a box, from the middle of the first to that of the last one."""
    area = tab.locator("#drawn").bounding_box()
    cell = area["width"] / tab.evaluate("document.querySelector('#drawn').width")
    x, y, w, h = box
    corners = [(x + 0.5, y + 0.5), (x + w - 0.5, y + h - 0.5)]
    (left, top), (right, bottom) = (
        (area["x"] + a * cell, area["y"] + b * cell) for a, b in corners
    )
    tab.mouse.move(left, top)
    tab.mouse.down()
    tab.mouse.move((left + right) / 2, bottom)
    tab.mouse.move(right, bottom)
    tab.mouse.up()


def asked(address, body=None):
    """Status and text of a reply."""
    try:
        with urllib.request.urlopen(address, body, timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@needs_browser
@pytest.mark.parametrize("size", [(900, 700), (200, 180)])  # as it is, and scaled down
def test_the_mouse_says_the_boxes(size, opened):
    boxes = [[60, 80, 36, 30], [0, 0, 320, 240], [200, 100, 40, 60]]
    with Page(FRAME) as page:
        page.open()
        with browser(opened.get(timeout=10), size) as tab:
            assert tab.locator("#track").is_disabled()
            for box in [boxes[0], [5, 5, 60, 60], boxes[1], boxes[2]][:2]:
                drag(tab, box)
            drag(tab, [30, 30, 1, 1])  # a click is no box
            tab.click("#undo")
            for box in boxes[1:]:
                drag(tab, box)
            tab.click("#track")
            found = np.array(page.boxes.get(timeout=10))
            tab.wait_for_function("says.textContent.includes('can be closed')")
    scale = max(1, 320 / (size[0] - 24), 240 / (size[1] - 80))
    np.testing.assert_allclose(found, boxes, atol=scale if scale > 1 else 0)


def test_the_page_is_its_owners(opened):
    with Page(FRAME) as page:
        page.open(watch=True)
        address, watch = opened.get(timeout=10).split("#")
        assert watch == "watch"
        assert address.startswith("http://127.0.0.1:")
        status, picture = asked(address + "frame?7")
        shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert np.abs(shown.astype(int) - FRAME).mean() < 8
        root = address.rsplit("/", 2)[0]
        for path in ("/", "/frame", "/boxes", "/../page.html", "/stop"):
            assert asked(root + path)[0] == 404
            assert asked(root + path, b"[]")[0] == 404
        assert not page.stopped
        for body, says in (
            (b"[[1,2,3]]", b"four finite numbers"),
            (b"[[900,2,30,30]]", b"is none in a frame of 320"),
            (b"no json", b""),
            (b"7", b""),
        ):
            status, said = asked(address + "boxes", body)
            assert (status, says in said) == (400, True)
        assert page.boxes.empty()
        assert asked(address + "boxes", json.dumps([[1, 2, 30, 40]]).encode())[0] == 200
        assert np.array(page.boxes.get(timeout=10)).tolist() == [[1, 2, 30, 40]]
        assert asked(address + "stop", b"")[0] == 200
        assert page.stopped
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=10)


@needs_browser
def test_the_command_opens_it_and_shows_what_it_does(opened, tmp_path, monkeypatch, capfd):
    """From a terminal with a display: draw two boxes, watch, press Stop."""
    monkeypatch.setattr("esiamfc_lib.commands.track.has_display", lambda: True)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    scene.network(tmp_path / "n.safetensors")
    for i in range(10):
        scene.frames(tmp_path / "f", 60, first=60 * i)
    given = [tmp_path / "f", "--weights", tmp_path / "n.safetensors", "--out", tmp_path / "o"]
    status = Queue()
    command = ["track", *map(str, given), "--live", "--device", "cpu", "--precision", "fp32"]
    thread = threading.Thread(target=lambda: status.put(cli.main(command)), daemon=True)
    thread.start()
    with browser(opened.get(timeout=60)) as tab:
        drag(tab, scene.BOX)
        drag(tab, [200, 100, 40, 60])
        tab.click("#track")
        tab.wait_for_function("says.textContent === 'Tracking.' && count > 5", timeout=60_000)
        tab.click("#stop")
        tab.wait_for_function("says.textContent.includes('has ended')", timeout=60_000)
    assert status.get(timeout=60) == 130
    said = capfd.readouterr().out
    assert "of 600 frames in" in said
    assert "2 objects, one network, cpu, fp32" in said
    rows = np.loadtxt(tmp_path / "o/mot.txt", delimiter=",")
    assert rows[:2, 2:6].tolist() == [[61, 81, 36, 30], [201, 101, 40, 60]]
