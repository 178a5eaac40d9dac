"""What a terminal gets is readable and harmless; what a pipe gets is exact."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from fumehood.cli import present


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    # pytest puts its own sys.stdout back between set-up and test.
    monkeypatch.setattr(present, "sys", SimpleNamespace(stdout=stream, stderr=stream))
    return stream


def test_a_terminal_gets_no_control_character_of_foreign_text(terminal: Terminal) -> None:
    present.out("a\x1b]52;c;eA==\x07\u202eb\tc")
    assert terminal.getvalue() == "a\\u001b]52;c;eA==\\u0007\\u202eb\tc\n"


def test_labels_are_coloured_on_a_terminal_only(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    present.note("error", "bad\x1b[0m")
    assert terminal.getvalue() == "\x1b[1merror:\x1b[0m bad\\u001b[0m\n"
    assert present.styled("error", "1", io.StringIO()) == "error"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_turned_off(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert present.styled("error", "1", terminal) == "error"


def test_a_table_in_a_pipe_is_aligned_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    present.table(("NAME", "TITLE"), [("a", "x" * 300), ("longer", "y")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME    TITLE", "a       " + "x" * 300, "longer  y"]


def test_a_table_on_a_terminal_shows_markup_as_text(terminal: Terminal) -> None:
    present.table(("NAME", "TITLE"), [("a", "[red]not markup[/red]\x1b[2J")])
    assert "[red]not markup[/red]\\u001b[2J" in terminal.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (128 << 20, "128 MiB"), (None, "unknown")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert present.size(count) == text


@pytest.mark.parametrize(("value", "text"), [(0.0125, "12 ms"), (1.0, "1.00 s"), (None, "unknown")])
def test_seconds(value: float | None, text: str) -> None:
    assert present.seconds(value) == text
