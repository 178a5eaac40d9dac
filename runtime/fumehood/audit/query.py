"""What can be asked of the audit log, and what is found; must never decide where to look."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from fumehood.audit.find import opened
from fumehood.audit.record import Entry, Position, Unsealed, read

NO_RECORD: Final = "(no record)"
"""The event of a hit in whose place something else stands."""
MOST: Final = (1 << 63) - 1
"""The largest integer of SQLite."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; empty or None: anything. Times are RFC 3339, or their beginnings.

    finding: part of a `kind:rule:action`. text: part of the record's line, as it stands or as it
    was before it was written as JSON in ASCII. limit: None for all there are.
    """

    caller: int | None = None
    tool: str = ""
    status: str = ""
    event: str = ""
    invocation: str = ""
    since: str = ""
    until: str = ""
    finding: str = ""
    text: str = ""
    limit: int | None = None
    newest: bool = False
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A record as it stands in the log; `sound`: the chain goes on from exactly it."""

    record: dict[str, Any]
    sound: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What of a record can be asked for. Whatever somebody wrote into the line: what is no text or
    number here is None, since nobody has looked at the seal."""

    seq: int
    time: str
    event: str
    invocation: str | None
    tool: str | None
    uid: int | None
    status: str | None
    findings: str | None


def known(entry: Entry, record: dict[str, Any]) -> Known:
    caller, findings = record.get("caller"), record.get("findings")
    uid = caller.get("uid") if isinstance(caller, dict) else None
    found = " ".join(map(str, findings)) if isinstance(findings, list) else ""
    return Known(
        min(entry.position.seq, MOST), entry.time, entry.event,
        _word(record.get("invocation")), _word(record.get("tool")),
        uid if isinstance(uid, int) and abs(uid) <= MOST else None,
        _word(record.get("status")), _word(found),
    )  # fmt: skip


def takes(query: Query, row: Known) -> bool:
    """Whether a record is asked for; `text`, which is of its line, aside."""
    return (
        query.seq in (None, row.seq)
        and query.caller in (None, row.uid)
        and query.tool in ("", row.tool)
        and query.status in ("", row.status)
        and query.event in ("", row.event)
        and query.invocation in ("", row.invocation)
        and query.since <= row.time
        and (not query.until or row.time < query.until)
        and query.finding in (row.findings or "")
    )


def as_written(text: str) -> tuple[bytes, ...]:
    """How a text may stand in a record's line: as it is, or as a part of a string."""
    return text.encode(errors="replace"), json.dumps(text)[1:-1].encode()


def hit(seq: int, line: bytes, following: bytes, end: Position | None) -> Hit:
    """A record as it stands; where something else stands there by now, only its number."""
    try:
        record = json.loads(line)
        read(line)
    except (Unsealed, ValueError, RecursionError):
        return Hit({"seq": seq, "time": "", "event": NO_RECORD}, sound=False)
    return Hit(record, opened(line, following, end) is not None)


def _word(value: object) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None
