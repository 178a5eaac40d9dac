"""Reads an audit log and says whether it is whole, and where not; must never change a byte.

What a reader with the key learns: a record edited, deleted, moved, put in, or cut off at the
end. What retention removed is named by the sealed base. What no file beside the log can show:
the whole directory put back to an earlier state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from fumehood.audit.record import Entry, Position, Sealer, Unsealed
from fumehood.audit.segments import (
    MAX_LINE,
    START,
    Segment,
    last_line,
    list_segments,
    no_head,
    read_base,
    read_head,
    read_lines,
)
from fumehood.errors import AuditError

_LOOKS: Final = 3
"""How often to look again when retention removes segments meanwhile."""

Kind = Literal[
    "edited",
    "deleted",
    "reordered",
    "forked",
    "truncated",
    "renamed",
    "head",
    "base",
    "wrong_key",
]


@dataclass(frozen=True, slots=True)
class Defect:
    """The first thing wrong: what, in which file, at which line (from 1; 0: the file itself)."""

    kind: Kind
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. `last` is the last record in place before `first_bad`.

    torn_bytes: an unfinished last line, as a power cut leaves it, or a write under way.
    """

    records: int
    segments: int
    last: Position
    first_bad: Defect | None
    torn_bytes: int = 0

    @property
    def ok(self) -> bool:
        return self.first_bad is None


def verify(directory: Path, key: bytes) -> Report:
    """Check every record of the log, also while it is being written.

    Raises:
        AuditError: there is no log to read.
    """
    return survey(directory, Sealer(key), whole=True)


def survey(directory: Path, sealer: Sealer, *, whole: bool) -> Report:
    """`verify`, or, when not `whole`, every record of the last segment and only the first and
    last record of those before it: what a start can afford."""
    for _ in range(_LOOKS):
        base = read_base(directory, sealer)
        try:
            report = _survey(directory, sealer, base, whole=whole)
        except FileNotFoundError:
            continue
        if report.ok or read_base(directory, sealer) == base:
            return report
    raise AuditError("the log's oldest segments are being removed just now", "verify again")


def _survey(directory: Path, sealer: Sealer, base: Position | None, *, whole: bool) -> Report:
    if base is None:
        return Report(0, 0, START, Defect("base", "base", 0, "the base was edited"))
    # The head is read before the records: a live writer only ever adds to what it names.
    head = read_head(directory, sealer)
    segments = [s for s in list_segments(directory) if s.first > base.seq]
    walk = _Walk(sealer, head or START, last=base)
    for segment in segments:
        walk.segment(segment, whole=whole or segment is segments[-1])
        if walk.defect:
            break
    defect = walk.defect or _against_head(directory, segments, walk, head)
    return Report(walk.records, len(segments), walk.last, defect, walk.torn)


def _against_head(
    directory: Path, segments: list[Segment], walk: _Walk, head: Position | None
) -> Defect | None:
    if head is None:
        if not segments and no_head(directory):
            return None
        return Defect("head", "head", 0, "the head is missing or was edited")
    if head.seq > walk.last.seq:
        missing = f"records {walk.last.seq + 1} to {head.seq} are missing at the end"
        return Defect("truncated", walk.file, walk.line + 1, missing)
    return None


@dataclass(slots=True)
class _Walk:
    """Goes along the chain; `last` is the record reached, `defect` what stopped it."""

    sealer: Sealer
    head: Position
    last: Position = START
    records: int = 0
    torn: int = 0
    file: str = "head"
    line: int = 0
    defect: Defect | None = field(default=None)

    def segment(self, segment: Segment, *, whole: bool) -> None:
        self.file, self.line = segment.path.name, 0
        if self.torn:
            self._stop("edited", "the segment before this one ends within a line")
            return
        lines = read_lines(segment.path) if whole else _ends(segment.path)
        for line in lines:
            self.line += 1
            self._line(segment, line, linked=whole or self.line == 1)
            if self.defect or self.torn:
                return
        # A segment is made, then written: a power cut between leaves it empty.
        if not self.line and segment.first != self.last.seq + 1:
            self._stop("truncated", "the segment is empty")

    def _line(self, segment: Segment, line: bytes, *, linked: bool) -> None:
        if not line.endswith(b"\n"):
            if len(line) < MAX_LINE:
                self.torn = len(line)
            else:
                self._stop("edited", "the line is too long to be a record")
            return
        try:
            entry = self.sealer.open(line[:-1])
        except Unsealed as unsealed:
            self._unsealed(unsealed)
            return
        if linked and not self._follows(segment, entry):
            return
        if self.line == 1 and entry.position.seq != segment.first:
            self._stop("renamed", f"its first record is number {entry.position.seq}")
            return
        if entry.position.seq == self.head.seq and entry.position.mac != self.head.mac:
            self._stop("forked", "the head names another record of this number")
            return
        self.last = entry.position
        self.records += 1

    def _unsealed(self, unsealed: Unsealed) -> None:
        if unsealed.key and unsealed.key != self.sealer.key_id and not self.records:
            given = f"sealed with key {unsealed.key}, checked with key {self.sealer.key_id}"
            self._stop("wrong_key", given)
        else:
            self._stop("edited", "the record is not what was sealed")

    def _follows(self, segment: Segment, entry: Entry) -> bool:
        expected, found = self.last.seq + 1, entry.position.seq
        if found == expected and entry.prev == self.last.mac:
            return True
        if found == expected:
            self._stop("forked", f"record {found} continues another record {self.last.seq}")
        elif found < expected:
            self._stop("reordered", f"record {found} stands after record {self.last.seq}")
        elif self._comes_later(segment, expected):
            self._stop("reordered", f"record {found} stands before record {expected}")
        else:
            missing = f"record {expected} is missing, record {found} follows"
            self._stop("deleted", missing)
        return False

    def _comes_later(self, segment: Segment, seq: int) -> bool:
        for later in list_segments(segment.path.parent):
            if later.path.name < segment.path.name:
                continue
            for line in read_lines(later.path):
                try:
                    if self.sealer.open(line[:-1]).position.seq == seq:
                        return True
                except Unsealed:
                    continue
        return False

    def _stop(self, kind: Kind, message: str) -> None:
        self.defect = Defect(kind, self.file, self.line, message)


def _ends(path: Path) -> Iterator[bytes]:
    first = next(read_lines(path), b"")
    last = last_line(path)
    yield first
    if last != first:
        yield last
