"""A long call shows that it is alive, on a terminal only, and leaves no trace there."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace

import pytest

from fumehood.cli import elapsed


class Terminal(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.shown.set()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(elapsed, "sys", SimpleNamespace(stderr=stream))
    return stream


def test_a_long_call_shows_its_name_and_time_and_erases_them(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elapsed, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(elapsed, "EVERY_SECONDS", 0.01)
    with elapsed.shown("word-count"):
        assert terminal.shown.wait(10)
    said = terminal.getvalue()
    assert "word-count … 0." in said
    assert said.endswith("\r\x1b[K")


def test_a_short_call_shows_nothing(terminal: Terminal) -> None:
    with elapsed.shown("word-count"):
        pass
    assert terminal.getvalue() == ""


def test_a_pipe_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(elapsed, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(elapsed, "FIRST_SECONDS", 0.0)
    with elapsed.shown("word-count"):
        assert threading.active_count() >= 1
    assert stream.getvalue() == ""
