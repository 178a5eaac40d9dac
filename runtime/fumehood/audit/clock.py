"""The times that records bear, and how far retention believes them; must never decide the order."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

AHEAD_SECONDS: Final = 86_400.0
HELD_SECONDS: Final = 86_400.0

_second: tuple[int, str] = 0, ""
"""The last second that a record was of, and how its time begins."""


def now() -> str:
    """RFC 3339 with microseconds. The second is written once, not for each record: a tenth of what
    a record costs. Threads may both write it; each uses its own."""
    global _second
    seconds, rest = divmod(time.time_ns(), 1_000_000_000)
    known, begin = _second
    if known != seconds:
        begin = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        _second = seconds, begin
    return f"{begin}.{rest // 1000:06d}Z"


def days_before(moment: float, days: int) -> str:
    """moment: in Unix time."""
    then = datetime.fromtimestamp(moment, UTC) - timedelta(days=days)
    return then.isoformat(timespec="seconds")


class Steady:
    """The time as far as something supports it: the newest record, and how long we ran since.

    A clock that is more than `AHEAD_SECONDS` ahead of that is believed once it was so for
    `HELD_SECONDS` of running: what is removed because of a clock that was wrong once is gone.
    """

    def __init__(
        self,
        newest: str,
        wall: Callable[[], float] = time.time,
        running: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """newest: time of the newest record; empty for none."""
        self._wall = wall
        self._running = running
        try:
            began = datetime.fromisoformat(newest).timestamp()
        except ValueError:
            began = wall()
        self._at = began, running()
        self._ahead: float | None = None

    def now(self) -> float:
        """Unix time. To be asked now and then, for a jump to be told from days that went by."""
        wall, running = self._wall(), self._running()
        supported = self._at[0] + running - self._at[1]
        if wall - supported <= AHEAD_SECONDS:
            self._ahead = None
        elif self._ahead is None:
            self._ahead = running
        if self._ahead is not None and running - self._ahead < HELD_SECONDS:
            return supported
        self._at, self._ahead = (wall, running), None
        return wall


def skew() -> float:
    """Seconds between wall and monotonic clock: changes when somebody sets the one."""
    return time.time() - time.monotonic()
