"""Reads how far a tool says it is out of its stderr; must never hold more than one line of it.

A line `::progress VALUE[/TOTAL] [MESSAGE]`. Why there, and why so: docs/decisions/0005.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PREFIX: Final = b"::progress "
MAX_LINE: Final = 1024
"""Bytes of a line that is looked at; a longer one is no progress line."""
MAX_MESSAGE: Final = 200
"""Characters of a message; the rest of it is left out."""
_LOOKS: Final = 8
"""Lines of one read that are tried, the last first: a flood of broken ones costs no more."""

_NUMBER: Final = rb"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_LINE: Final = re.compile(
    rb"(?P<value>%b)(?:/(?P<total>%b|\?))?(?:[ \t]+(?P<message>[^\n]*?))?[ \t]*\r?\Z"
    % (_NUMBER, _NUMBER)
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the tool wrote, not scanned."""

    value: float
    total: float | None
    message: bytes


class ProgressLines:
    """Takes stderr as it comes and remembers the last progress line in it."""

    __slots__ = ("_rest", "_too_long", "latest")

    def __init__(self) -> None:
        self.latest: Said | None = None
        self._rest = b""
        self._too_long = False

    def feed(self, data: bytes) -> bool:
        """More of the stream; whether there was a new progress line in it."""
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return False
        lines = b"" if self._too_long else self._rest
        lines += data[data.find(b"\n") : end] if self._too_long else data[:end]
        self._rest, self._too_long = b"", False
        self._keep(data[end + 1 :])
        return self._look(lines)

    def _keep(self, data: bytes) -> None:
        if self._too_long or len(self._rest) + len(data) > MAX_LINE:
            self._rest, self._too_long = b"", True
        else:
            self._rest += data

    def _look(self, lines: bytes) -> bool:
        at = len(lines)
        for _ in range(_LOOKS):
            at = lines.rfind(PREFIX, 0, at)
            if at < 0:
                return False
            if at and lines[at - 1] != 0x0A:
                continue
            end = lines.find(b"\n", at)
            said = parse(lines[at + len(PREFIX) : end if end >= 0 else len(lines)])
            if said is not None:
                self.latest = said
                return True
        return False


def parse(line: bytes) -> Said | None:
    """What stands behind the prefix; None when it is not as documented.

    `0.4` is a part of the whole, `4/10` so many of so many, `4/?` so many of nobody knows.
    """
    found = _LINE.match(line) if len(line) <= MAX_LINE else None
    if found is None:
        return None
    value, total = float(found["value"]), found["total"]
    of = 1.0 if total is None else None if total == b"?" else float(total)
    if of is not None and (value > of or of == 0):
        return None
    return Said(value, of, found["message"] or b"")
