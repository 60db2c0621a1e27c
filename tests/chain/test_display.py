"""What is shown of running stages."""

import io
import time

import pytest

from esiamfc_lib.chain import display as terminal
from esiamfc_lib.chain.display import Display, duration

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


def test_plain_output_has_no_control_characters(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW", 0.01)
    monkeypatch.setattr(terminal, "PLAIN", 0.02)
    (tmp_path / "p").write_text("epoch 1:  30%|###       | 3/9")
    stream = io.StringIO()
    with Display(stream) as display:
        display.start("baseline", tmp_path / "p", cells=7)
        display.cell("baseline", 4)
        while "epoch 1" not in stream.getvalue():
            time.sleep(0.01)
        display.end("baseline")
        display.say("baseline: done")
    assert "cell 4/7  epoch 1:  30%|###" in stream.getvalue()
    assert stream.getvalue().endswith("baseline: done\n")
    assert "\x1b" not in stream.getvalue()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_lines_are_redrawn_in_place_and_removed_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(terminal, "REDRAW", 0.01)
    screen = Screen()
    with Display(screen) as display:
        display.start("branches/0", tmp_path / "a", cells=5)
        display.start("branches/1", tmp_path / "b", cells=5)
        display.cell("branches/1", 3)
        while not all(text in screen.getvalue() for text in ("branches/0", "cell 3/5")):
            time.sleep(0.01)
        display.say("both run")
        display.end("branches/0")
    text = screen.getvalue()
    assert "both run\n" in text
    assert "\n\rbranches/1" in text  # a line below the other
    assert "\x1b[A" in text  # and back
    assert text.rpartition("branches")[2].rstrip(" \r\n\x1b[A").endswith("cell 3/5")
    assert text.endswith("\x1b[A") and not text.rpartition("\r")[2][:-3].strip()  # all is blank


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_closed_pipe_ends_no_thread_with_a_traceback(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(terminal, "REDRAW", 0.01)
    monkeypatch.setattr(terminal, "PLAIN", 0.0)
    with Display(Closed()) as display:
        display.start("baseline", tmp_path / "p", cells=7)
        time.sleep(0.1)
        with pytest.raises(BrokenPipeError):
            display.say("baseline: done")
    assert capfd.readouterr().err == ""
