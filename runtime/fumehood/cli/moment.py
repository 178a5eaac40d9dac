"""Reads a time that was given on the command line; must never guess what was meant.

RFC 3339, or how it begins. Where no offset is given it is UTC, as in records.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from fumehood.errors import UsageError

_FORM: Final = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?)?)?)?)?"
)


def moment(text: str) -> str:
    """Where the time begins that `text` names, as records have it: UTC, with microseconds, so that
    it compares with theirs as text. Raises UsageError."""
    found = _FORM.fullmatch(text)
    try:
        if found is not None:
            return _utc(found)
    except (ValueError, OverflowError):
        pass
    raise UsageError(
        f"{text[:40]!r} is no time",
        "write it as 2026-11-27, 2026-11-27T09:59 or 2026-11-27T09:59:00+01:00; UTC where no "
        "offset is given",
    )


def _utc(found: re.Match[str]) -> str:
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    seconds = int(second or 0)
    leap = timedelta(seconds=seconds == 60)  # RFC 3339, 5.6: the leap second
    at = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
        seconds - leap.seconds, int((fraction or "0")[:6].ljust(6, "0")), _zone(offset or "Z"),
    )  # fmt: skip
    return f"{(at + leap).astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def _zone(offset: str) -> timezone:
    if offset in "Zz":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(offset)
    sign = -1 if offset[0] == "-" else 1
    return timezone(sign * timedelta(hours=hours, minutes=minutes))
