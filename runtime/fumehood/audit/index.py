"""Search the audit log: a SQLite index beside it, made from the log and made again at will.

Must never be believed for what a record says: it only tells where to look, and each hit is read
from the log and checked against the record after it. Nor may it believe what a record says of its
place: rows stand, and are gone on behind, by where they were read.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from fumehood.audit.folder import (
    Segment,
    list_segments,
    read_lines,
    reading,
    segment_name,
)
from fumehood.audit.head import read_head
from fumehood.audit.query import MOST, Hit, Query, as_written, hit, known
from fumehood.audit.record import Entry, Unsealed, read
from fumehood.audit.ways import Ways

VERSION: Final = 3
_BATCH: Final = 5_000
"""Rows that are written, or read, at once: between those that are read others can write."""
_TABLES: Final = """
CREATE TABLE records (
  segment INTEGER, offset INTEGER, length INTEGER, seq INTEGER,
  time TEXT, event TEXT, invocation TEXT, tool TEXT, uid INTEGER, status TEXT, findings TEXT,
  PRIMARY KEY (segment, offset)
) WITHOUT ROWID;
CREATE INDEX by_seq ON records (seq);
CREATE INDEX by_tool ON records (tool);
CREATE INDEX by_uid ON records (uid);
CREATE INDEX by_status ON records (status);
CREATE INDEX by_event ON records (event);
CREATE INDEX by_time ON records (time);
CREATE INDEX by_invocation ON records (invocation);
CREATE TABLE state (segment INTEGER, offset INTEGER, length INTEGER, digest TEXT, rows INTEGER);
"""


_Row: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Taken:
    """The last line that was taken in: its segment, where it begins, how long it is without its
    newline, and its digest. `number`: which record it says it is."""

    segment: int = 0
    offset: int = 0
    length: int = -1
    digest: str = ""
    number: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.length + 1


class Index:
    """An open index of one log. Not thread safe; close it."""

    def __init__(self, path: Path, directory: Path) -> None:
        """path: the index's file. Made anew when it is missing, of another form or damaged; where
        the disk takes none, it serves as it stands while it goes as far as the log, and else one
        is made in a temporary file."""
        self._directory = directory
        self._ways = Ways(path, _TABLES + f"PRAGMA user_version = {VERSION};", VERSION)
        self.unread = 0
        """Numbers between the log's first and last record under which no record can be read. The
        last is the one that the head names; where there is no head, the last that can be read."""
        self._database = self._ways.open()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def update(self) -> int:
        """Take in what was written since the last time; how many records that was.

        Raises:
            AuditError: there is no log, or nowhere to keep an index.
        """
        while True:
            try:
                return self._take_in()
            except sqlite3.Error as error:
                self._instead(error)

    def _instead(self, error: sqlite3.Error) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        self._database = self._ways.open(error)

    def _take_in(self) -> int:
        head = read_head(self._directory)  # before the segments: a writer only adds
        last = self._known()
        self._ways.must_be_as_left()
        if last is None:
            self._database.execute("DELETE FROM records")
            self._database.execute("DELETE FROM state")
        last, added = last or _Taken(), 0
        for segment in list_segments(self._directory):
            if segment.first < last.segment:
                continue
            start = last.end if segment.first == last.segment else 0
            with contextlib.suppress(FileNotFoundError):  # retention removed it just now
                for rows in _batches(self._rows(segment, start)):
                    self._insert([row for row, _ in rows])
                    last = rows[-1][1]
                    added += len(rows)
        self._settle(last, head.position.seq if head else last.number)
        return added

    def _settle(self, last: _Taken, number: int) -> None:
        """Forget what retention removed, and note up to where the index goes now. Writes nothing
        where nothing is new: the disk may take nothing. number: of the log's last record."""
        first = next((segment.first for segment in list_segments(self._directory)), 1)
        oldest = self._database.execute("SELECT min(segment) FROM records").fetchone()[0]
        if self._database.in_transaction or (oldest is not None and oldest < first):
            self._database.execute("DELETE FROM records WHERE segment < ?", (first,))
            self._database.execute("DELETE FROM state")
            if last.digest:
                values = (last.segment, last.offset, last.length, last.digest, self._count())
                self._database.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?)", values)
            self._database.commit()
            self._ways.leave()
        sql = "SELECT count(DISTINCT seq) FROM records WHERE seq BETWEEN ? AND ?"
        here = int(self._database.execute(sql, (first, min(number, MOST))).fetchone()[0])
        self.unread = max(number - first + 1, 0) - here

    def _count(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM records").fetchone()[0])

    def _known(self) -> _Taken | None:
        """The last line taken in; None when the log is not the one that the index is of, or rows
        are missing."""
        state = self._database.execute(
            "SELECT segment, offset, length, digest, rows FROM state"
        ).fetchone()
        if state is None or state[4] != self._count():
            return None
        with contextlib.suppress(OSError, Unsealed):
            segment, offset, length, digest = state[:4]
            position = read(self._line(segment, offset, length)).position
            if position.digest == digest:
                return _Taken(segment, offset, length, digest, position.seq)
        return None

    def _rows(self, segment: Segment, offset: int) -> Iterator[tuple[_Row, _Taken]]:
        """Of a segment, from an offset on, at which a line begins."""
        for line in read_lines(segment.path, offset):
            start, offset = offset, offset + len(line)
            if not line.endswith(b"\n"):
                continue  # torn, or too long for a record
            try:
                entry, record = read(line[:-1]), json.loads(line)
            except (Unsealed, ValueError, RecursionError):
                continue  # `verify` tells of it
            place = segment.first, start, len(line) - 1
            yield (
                _row(place, entry, record),
                _Taken(*place, entry.position.digest, entry.position.seq),
            )

    def _insert(self, rows: list[_Row]) -> None:
        marks = ",".join("?" * 11)
        self._database.executemany(f"INSERT OR REPLACE INTO records VALUES ({marks})", rows)  # noqa: S608  (question marks only)

    def search(self, query: Query) -> Iterator[Hit]:
        """Hits in the log's order, or the newest first; at most `query.limit`."""
        left = query.limit if query.limit is not None else MOST
        texts = as_written(query.text)
        head = read_head(self._directory)
        for seq, segment, offset, length in self._places(query):
            if left <= 0:
                return
            with contextlib.suppress(FileNotFoundError):  # retention removed it just now
                line = self._line(segment, offset, length)
                if not any(text in line for text in texts):
                    continue
                following = self._following(segment, offset + length + 1)
                left -= 1
                yield hit(seq, line, following, head.position if head else None)

    def _places(self, query: Query) -> Iterator[tuple[int, int, int, int]]:
        """Where the records are that the index has under what is asked for."""
        where, values = _where(query)
        beyond, order = ("<", "DESC") if query.newest else (">", "ASC")
        after = (MOST, MOST) if query.newest else (-1, -1)
        sql = (
            f"SELECT seq, segment, offset, length FROM records "  # noqa: S608  (values are bound)
            f"WHERE (segment, offset) {beyond} (?, ?){where} "
            f"ORDER BY segment {order}, offset {order} LIMIT {_BATCH}"
        )
        while page := self._page(sql, (*after, *values)):
            yield from page
            after = page[-1][1:3]

    def _page(self, sql: str, values: Sequence[object]) -> list[tuple[int, int, int, int]]:
        while True:
            try:
                return self._database.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                self._instead(error)
                self.update()

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


def _batches(rows: Iterator[tuple[_Row, _Taken]]) -> Iterator[list[tuple[_Row, _Taken]]]:
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch


def _row(place: tuple[int, int, int], entry: Entry, record: dict[str, Any]) -> _Row:
    return (*place, *astuple(known(entry, record)))


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
    return "".join(f" AND {clause}" for clause, _ in given), [value for _, value in given]
