"""The times that records bear; must never be what decides their order."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

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


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")


def skew() -> float:
    """Seconds between wall and monotonic clock: changes when somebody sets the one."""
    return time.time() - time.monotonic()
