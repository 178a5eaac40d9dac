"""Search the audit log: a SQLite index beside it, made from the log and made again at will.

Must never be believed for what a record says: it only tells where to look, and each hit is read
from the log and checked against the record after it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.audit.find import opened
from fumehood.audit.folder import (
    Segment,
    list_segments,
    read_lines,
    reading,
    segment_name,
)
from fumehood.audit.head import read_head
from fumehood.audit.record import Entry, Position, Unsealed, read
from fumehood.crypto.files import open_plain
from fumehood.errors import AuditError

VERSION: Final = 1
NO_RECORD: Final = "(no record)"
"""The event of a hit in whose place something else stands by now."""
MAX_HITS: Final = 100_000
_BATCH: Final = 5_000
_MOST: Final = (1 << 63) - 1
"""The largest integer of SQLite."""
_TABLES: Final = """
CREATE TABLE records (
  seq INTEGER PRIMARY KEY, segment INTEGER, offset INTEGER, length INTEGER,
  time TEXT, event TEXT, invocation TEXT, tool TEXT, uid INTEGER, status TEXT, findings TEXT
);
CREATE INDEX by_tool ON records (tool, seq);
CREATE INDEX by_uid ON records (uid, seq);
CREATE INDEX by_status ON records (status, seq);
CREATE INDEX by_event ON records (event, seq);
CREATE INDEX by_time ON records (time);
CREATE INDEX by_invocation ON records (invocation);
CREATE TABLE state (chain TEXT, last INTEGER, digest TEXT);
"""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; empty or None: anything. Times are RFC 3339, or their beginnings.

    finding: part of a `kind:rule:action`. text: part of the record's line, as it stands.
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
    limit: int = 1000
    newest: bool = False
    seq: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A record as it stands in the log; `sound`: the chain goes on from exactly it."""

    record: dict[str, Any]
    sound: bool


class Index:
    """An open index of one log. Not thread safe; close it."""

    def __init__(self, path: Path, directory: Path) -> None:
        """path: the index's file, made when it is missing or of another form."""
        self._path = path
        self._directory = directory
        self._database = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            for beside in ("-journal", "-wal", "-shm"):  # SQLite would open a FIFO, and wait
                with contextlib.suppress(FileNotFoundError):
                    os.close(open_plain(self._path.with_name(self._path.name + beside)))
            os.close(open_plain(self._path, os.O_RDWR | os.O_CREAT))
            database = sqlite3.connect(self._path, timeout=30)
            with contextlib.suppress(sqlite3.DatabaseError):
                if database.execute("PRAGMA user_version").fetchone()[0] == VERSION:
                    return database
            database.close()
            self._path.unlink()
            database = sqlite3.connect(self._path, timeout=30)
            os.chmod(self._path, 0o600)
            database.executescript(_TABLES + f"PRAGMA user_version = {VERSION};")
        except (OSError, sqlite3.Error) as error:
            raise AuditError(
                f"the audit log's index cannot be used: {error}",
                f"remove {self._path}; it is remade",
            ) from error
        return database

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def update(self) -> int:
        """Take in what was written since the last time; how many records that was.

        Raises:
            AuditError: there is no log.
        """
        segments = list_segments(self._directory)
        last = self._reached()
        if last is None:
            self._database.execute("DELETE FROM records")
            self._database.execute("DELETE FROM state")
            last = 0
        added, digest = 0, ""
        rows: list[tuple[object, ...]] = []
        for segment in segments:
            following = next((s.first for s in segments if s.first > segment.first), None)
            if following is not None and following <= last + 1:
                continue
            for row, at in self._rows(segment, last):
                rows.append(row)
                digest = at
                added += 1
                if len(rows) >= _BATCH:
                    self._insert(rows)
        self._insert(rows)
        if added:
            reached = self._database.execute("SELECT max(seq) FROM records").fetchone()[0]
            self._database.execute("DELETE FROM state")
            self._database.execute("INSERT INTO state VALUES ('', ?, ?)", (reached, digest))
        first = segments[0].first if segments else 1
        self._database.execute("DELETE FROM records WHERE seq < ?", (first,))
        self._database.commit()
        return added

    def _reached(self) -> int | None:
        """The last record taken in; None when the log is not the one that the index is of."""
        state = self._database.execute("SELECT last, digest FROM state").fetchone()
        if state is None:
            return None
        last, digest = state
        place = self._database.execute(
            "SELECT segment, offset, length FROM records WHERE seq = ?", (last,)
        ).fetchone()
        if place is None:
            return None
        with contextlib.suppress(OSError, Unsealed, StopIteration):
            line = self._line(*place)
            if read(line).position == Position(last, digest):
                return int(last)
        return None

    def _rows(self, segment: Segment, last: int) -> Iterator[tuple[tuple[object, ...], str]]:
        offset = 0
        for line in read_lines(segment.path):
            start, offset = offset, offset + len(line)
            if not line.endswith(b"\n"):
                continue  # torn, or too long for a record
            try:
                entry, record = read(line[:-1]), json.loads(line)
            except (Unsealed, ValueError, RecursionError):
                continue  # `verify` tells of it
            if last < entry.position.seq <= _MOST:
                place = segment.first, start, len(line) - 1
                yield _row(place, entry, record), entry.position.digest

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        marks = ",".join("?" * 11)
        self._database.executemany(f"INSERT OR REPLACE INTO records VALUES ({marks})", rows)  # noqa: S608  (question marks only)
        rows.clear()

    def search(self, query: Query) -> Iterator[Hit]:
        """Hits in the log's order, or the newest first; at most `query.limit`."""
        where, values = _where(query)
        order = "DESC" if query.newest else "ASC"
        sql = f"SELECT seq, segment, offset, length FROM records{where} ORDER BY seq {order}"  # noqa: S608  (values are bound)
        left = min(query.limit, MAX_HITS)
        head = read_head(self._directory)
        for seq, segment, offset, length in self._database.execute(sql, values):
            if left <= 0:
                return
            with contextlib.suppress(FileNotFoundError):  # retention removed it just now
                line = self._line(segment, offset, length)
                if query.text and query.text.encode(errors="replace") not in line:
                    continue
                following = self._following(segment, offset + length + 1)
                left -= 1
                yield _hit(seq, line, following, head.position if head else None)

    def _line(self, segment: int, offset: int, length: int) -> bytes:
        with reading(self._directory / segment_name(segment)) as file:
            file.seek(offset)
            return file.read(length)

    def _following(self, segment: int, offset: int) -> bytes:
        line = self._line(segment, offset, 1024)
        if line:
            return line
        later = [s for s in list_segments(self._directory) if s.first > segment]
        return self._line(later[0].first, 0, 1024) if later else b""


def _hit(seq: int, line: bytes, following: bytes, end: Position | None) -> Hit:
    """A record as it stands; where something else stands there by now, only its number."""
    try:
        record = json.loads(line)
        read(line)
    except (Unsealed, ValueError, RecursionError):
        return Hit({"seq": seq, "time": "", "event": NO_RECORD}, sound=False)
    return Hit(record, opened(line, following, end) is not None)


def _row(place: tuple[int, int, int], entry: Entry, record: dict[str, Any]) -> tuple[object, ...]:
    """Whatever somebody wrote into the line: what is no text or number here is none in the index,
    since nobody has looked at the seal."""
    caller, findings = record.get("caller"), record.get("findings")
    uid = caller.get("uid") if isinstance(caller, dict) else None
    found = " ".join(map(str, findings)) if isinstance(findings, list) else ""
    return (
        entry.position.seq, *place, entry.time, entry.event,
        _word(record.get("invocation")), _word(record.get("tool")),
        uid if isinstance(uid, int) and abs(uid) <= _MOST else None,
        _word(record.get("status")), _word(found),
    )  # fmt: skip


def _word(value: object) -> str | None:
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _where(query: Query) -> tuple[str, list[object]]:
    wanted: list[tuple[str, object]] = [
        ("seq = ?", query.seq),
        ("uid = ?", query.caller),
        ("tool = ?", query.tool or None),
        ("status = ?", query.status or None),
        ("event = ?", query.event or None),
        ("invocation = ?", query.invocation or None),
        ("time >= ?", query.since or None),
        ("time < ?", query.until or None),
        ("instr(findings, ?)", query.finding or None),
    ]
    given = [(clause, value) for clause, value in wanted if value is not None]
    text = " WHERE " + " AND ".join(clause for clause, _ in given) if given else ""
    return text, [value for _, value in given]
