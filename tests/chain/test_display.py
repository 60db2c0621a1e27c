"""What is shown of running stages."""

import io
import json
import time

import pytest

from esiamfc_lib.chain import display as terminal
from esiamfc_lib.chain.display import Display, Tail, bar, duration

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (11220, "3 h 07 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_bar():
    state = {"desc": "epoch 2", "n": 5, "total": 20, "unit": "it", "rate": 2.5}
    assert bar(state) == "epoch 2 [#####               ]  25% 5/20 2.5 it/s"
    assert bar({"desc": "reading", "n": 3, "total": None, "unit": "it"}) == "reading 3"


def write(path, **state):
    with path.open("a") as file:
        file.write(json.dumps({"desc": "a", "n": 0, "total": 9, "unit": "it"} | state) + "\n")


def test_tail_follows_whole_lines_and_measures_the_rate(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    path = tmp_path / "progress.jsonl"
    tail = Tail(path)
    assert tail.read() == {}
    write(path, n=2)
    assert tail.read()["n"] == 2
    now[0] = 104.0
    write(path, n=5)
    write(path, n=6)
    with path.open("a") as file:
        file.write('{"desc": "a", "n"')  # half a line
    assert (tail.read()["n"], tail.read()["rate"]) == (6, 1.0)
    with path.open("a") as file:
        file.write(': 8, "total": 9, "unit": "it"}\n')
    assert (tail.read()["n"], tail.read()["rate"]) == (8, 1.5)
    write(path, desc="b", n=1)
    assert tail.read()["rate"] == 0.0  # another bar


def test_plain_output_has_no_control_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW", 0.01)
    monkeypatch.setattr(terminal, "PLAIN", 0.02)
    write(tmp_path / "p", n=3, desc="epoch 1")
    stream = io.StringIO()
    with Display(stream) as display:
        display.start("baseline", tmp_path / "p", cells=7)
        display.cell("baseline", 4)
        while "epoch 1" not in stream.getvalue():
            time.sleep(0.01)
        display.end("baseline")
        display.say("baseline: done")
    assert "cell 4/7  epoch 1 [###" in stream.getvalue()
    assert stream.getvalue().endswith("baseline: done\n")
    assert "\x1b" not in stream.getvalue()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_lines_are_redrawn_in_place_and_removed_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW", 60.0)
    screen = Screen()
    with Display(screen) as display:
        display.start("branches/0", tmp_path / "a", cells=5)
        display.start("branches/1", tmp_path / "b", cells=5)
        display.say("both run")
        display.end("branches/0")
        assert screen.getvalue().count("branches/0") == 1
    text = screen.getvalue()
    assert text.startswith("both run\nbranches/0")
    assert "\r\x1b[1A\x1b[J" in text  # two lines back to the first
    assert text.endswith("\r\x1b[J")
