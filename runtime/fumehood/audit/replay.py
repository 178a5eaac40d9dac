"""What a crash left unfinished: invocations that were launched and have no terminal record.

Reads the segments of an open, verified log and changes nothing; whoever asks records the ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.audit.folder import list_segments, read_lines

LAUNCHED: Final = "invocation.launched"
TERMINAL: Final = frozenset({"invocation.ended", "invocation.cancelled", "invocation.rejected"})
"""Every invocation has exactly one record of these events."""
STARTED: Final = "supervisor.started"
"""Recorded once everything before it has its terminal record."""
OPEN: Final = "audit.open_from"
"""Recorded in each segment: what was launched before the record `oldest` has its end."""

_MARKS: Final = (
    b'"event":"invocation.', b'"event":"supervisor.started"', b'"event":"audit.open_from"'
)  # fmt: skip


class Running:
    """Which launches have no terminal record yet, as far as the records go. Not thread safe.

    Knows nothing, and says so, before the first `supervisor.started` that it is told of: what a
    crash left is not in its hands.
    """

    def __init__(self) -> None:
        self._launched: dict[str, int] | None = None

    def note(self, event: str, invocation: str, seq: int) -> None:
        """A record is on disk. In the order of the log."""
        if event == STARTED:
            self._launched = {}
        elif self._launched is None:
            return
        elif event == LAUNCHED:
            self._launched[invocation] = seq
        elif event in TERMINAL:
            self._launched.pop(invocation, None)

    def since(self, last: int) -> int | None:
        """The number of the oldest launch without an end; after the record `last` when there is
        none, None when that is not known."""
        if self._launched is None:
            return None
        return min(self._launched.values(), default=last + 1)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An invocation without an end. `fields` are those of its launch, the chain's own left out."""

    invocation: str
    fields: dict[str, Any]


_CHAIN: Final = ("seq", "time", "event", "alg", "key", "epoch", "prev", "mac")


def unfinished(directory: Path) -> list[Unfinished]:
    """In the order of their launch. Reads back to the last `supervisor.started`, or to the oldest
    launch that was open when the newest segment began, whichever is later: as a rule that is one
    segment (64 MiB, 0.5 s), however long the log is and the daemon ran."""
    launched: dict[str, dict[str, Any]] = {}
    ended: set[str] = set()
    since: int | None = None
    for segment in reversed(list_segments(directory)):
        begun, here, told = False, dict[str, dict[str, Any]](), None
        for line in read_lines(segment.path):
            # The event stands behind `seq` and `time`, at most 60 bytes in.
            if not line.endswith(b"\n") or not any(mark in line[:128] for mark in _MARKS):
                continue
            record = json.loads(line)
            event, name = record["event"], str(record.get("invocation", ""))
            if event == STARTED:
                begun, here = True, {}
            elif event == OPEN:
                told = int(record["oldest"])
            elif event == LAUNCHED:
                here[name] = {key: record[key] for key in record if key not in _CHAIN}
            elif event in TERMINAL:
                ended.add(name)
        launched = here | launched
        since = told if since is None else since
        if begun or (since is not None and segment.first <= since):
            break
    return [Unfinished(name, launched[name]) for name in launched if name not in ended]
