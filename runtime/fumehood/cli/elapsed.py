"""A line that shows a long call is alive; must never reach anything but a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

from fumehood.cli.present import is_terminal

FIRST_SECONDS: Final = 1.0
EVERY_SECONDS: Final = 0.2
_ERASE_LINE: Final = "\r\x1b[K"


@contextlib.contextmanager
def shown(what: str) -> Iterator[None]:
    """While inside: `what … 3.4 s` on stderr, from the first second on, erased at the end."""
    if not is_terminal(sys.stderr):
        yield
        return
    ended = threading.Event()
    ticker = threading.Thread(target=_tick, args=(what, ended), daemon=True)
    ticker.start()
    try:
        yield
    finally:
        ended.set()
        ticker.join()


def _tick(what: str, ended: threading.Event) -> None:
    began = time.monotonic()
    if ended.wait(FIRST_SECONDS):
        return
    while not ended.wait(EVERY_SECONDS):
        spent = time.monotonic() - began
        sys.stderr.write(f"{_ERASE_LINE}{what} … {spent:.1f} s (Ctrl-C cancels)")
        sys.stderr.flush()
    sys.stderr.write(_ERASE_LINE)
    sys.stderr.flush()
