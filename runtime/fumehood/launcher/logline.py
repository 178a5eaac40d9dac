"""One line of the log, as the supervisor writes them, of processes that load no logging library."""

from __future__ import annotations

import json
import time


def log_line(event: str, level: str, **fields: str) -> str:
    """A JSON object with `event`, `level`, `timestamp` (RFC 3339, UTC) and the fields; ASCII."""
    now = time.time()
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
    return json.dumps({**fields, "event": event, "level": level, "timestamp": moment}) + "\n"
