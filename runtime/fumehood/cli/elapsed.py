"""A line that shows a long call is alive; must never reach anything but a terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

from fumehood.cli.present import is_terminal, percent, printable

FIRST_SECONDS: Final = 1.0
EVERY_SECONDS: Final = 0.2
_ERASE_LINE: Final = "\r\x1b[K"
_CANCELS: Final = "(Ctrl-C cancels)"


class Line:
    """What the line says. Changed by one thread, drawn by another."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._progress = ""

    def progress(self, value: float, total: float | None, message: str) -> None:
        """How far the tool says it is."""
        self._progress = f"  {percent(value, total)}  {printable(message)}".rstrip()

    def text(self, spent: float, width: int) -> str:
        """The line itself, `width` columns at most."""
        said = f"{self._what} … {spent:.1f} s{self._progress}"
        room = width - len(_CANCELS) - 2
        return f"{said[: max(room, 1)]} {_CANCELS}" if room > len(_CANCELS) else said[:width]


@contextlib.contextmanager
def shown(what: str, *, hidden: bool = False) -> Iterator[Line]:
    """While inside: `what … 3.4 s` on stderr, from the first second on, erased at the end.

    hidden: not at all, because something else is written to the same terminal meanwhile.
    """
    line = Line(what)
    if hidden or not is_terminal(sys.stderr):
        yield line
        return
    ended = threading.Event()
    ticker = threading.Thread(target=_tick, args=(line, ended), daemon=True)
    ticker.start()
    try:
        yield line
    finally:
        ended.set()
        ticker.join()


def _tick(line: Line, ended: threading.Event) -> None:
    began = time.monotonic()
    if ended.wait(FIRST_SECONDS):
        return
    while not ended.wait(EVERY_SECONDS):
        width = shutil.get_terminal_size().columns
        sys.stderr.write(_ERASE_LINE + line.text(time.monotonic() - began, width))
        sys.stderr.flush()
    sys.stderr.write(_ERASE_LINE)
    sys.stderr.flush()
