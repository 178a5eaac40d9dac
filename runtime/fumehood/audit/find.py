"""Reads back what the audit log says of one invocation; must never write, and never repeat a
record as true that the record after it does not continue.

The key that sealed a record is gone by then. What is checked is that the chain goes on from
exactly these bytes; that the chain leads to the head unbroken, `verify` checks.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.audit.head import read_head
from fumehood.audit.record import Position, Unsealed, read
from fumehood.audit.segments import Segment, list_segments

MAX_BYTES: Final = 256 * 1024 * 1024
"""How much of the log is looked through, its newest part first (0.1 s when it is in memory)."""
MAX_RECORDS: Final = 32
_MAX_HEAD: Final = 1024
_PREV: Final = re.compile(rb'"prev":"([0-9a-f]{96})"')
_INVOCATION: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHAIN: Final = frozenset({"alg", "key", "epoch", "prev", "mac", "invocation"})


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one invocation in their order, without the fields of the chain itself.

    broken: how many more were there that were changed since. whole: the whole log was searched.
    """

    records: tuple[dict[str, Any], ...]
    broken: int
    whole: bool


def find(directory: Path, invocation: str, *, most_bytes: int = MAX_BYTES) -> Found:
    """Search the log, also while it is written. Blocks: not for an event loop.

    Raises:
        AuditError: there is no log.
    """
    if not _INVOCATION.fullmatch(invocation):
        return Found((), 0, whole=True)
    wanted = f'"invocation":"{invocation}"'.encode()
    records: list[dict[str, Any]] = []
    broken = 0
    head = read_head(directory)  # before the segments: a writer only adds
    end = head.position if head else None
    segments = list_segments(directory)
    for at in range(len(segments) - 1, -1, -1):
        if most_bytes <= 0:
            return Found(_in_order(records), broken, whole=False)
        path = segments[at].path
        most_bytes -= path.stat().st_size
        for line, following in _lines_with(path, wanted):
            if len(records) >= MAX_RECORDS:
                return Found(_in_order(records), broken, whole=False)
            record = _opened(line, following or _first_of(segments[at + 1 : at + 2]), end)
            if record is None:
                broken += 1
            elif record.get("invocation") == invocation:
                records.append({name: record[name] for name in record if name not in _CHAIN})
    return Found(_in_order(records), broken, whole=True)


def _first_of(segments: list[Segment]) -> bytes:
    """The first line of the next segment, empty when there is none."""
    if not segments:
        return b""
    with segments[0].path.open("rb") as file:
        return file.readline(_MAX_HEAD)


def _in_order(records: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(sorted(records, key=lambda record: int(record["seq"])))


def _lines_with(path: Path, wanted: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Whole lines that hold `wanted`, without their newline, and how the line after each begins."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at = 0
            while (at := data.find(wanted, at)) >= 0:
                start = data.rfind(b"\n", 0, at) + 1
                end = data.find(b"\n", at)
                if end < 0:
                    return
                yield data[start:end], data[end + 1 : end + 1 + _MAX_HEAD]
                at = end


def _opened(line: bytes, following: bytes, end: Position | None) -> dict[str, Any] | None:
    """The record, when the chain goes on from it: in the line after it, or in the head.

    A last record that the head does not name yet was written a moment ago.
    """
    try:
        entry = read(line)
    except Unsealed:
        return None
    link = _PREV.search(following)
    if link is not None:
        if link[1].decode() != entry.position.digest:
            return None
    elif end is not None and entry.position.seq <= end.seq and entry.position != end:
        return None
    record = json.loads(line)
    return record if isinstance(record, dict) else None
