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

from fumehood.audit.folder import Segment, list_segments, reading
from fumehood.audit.head import read_head
from fumehood.audit.record import Position, Unsealed, read

MAX_BYTES: Final = 256 * 1024 * 1024
"""How much of the log is looked through, its newest part first (0.1 s when it is in memory)."""
MAX_RECORDS: Final = 32
_PLAN: Final = re.compile(r"sha384:[0-9a-f]{96}")
_MAX_HEAD: Final = 1024
_PREV: Final = re.compile(rb'"prev":"([0-9a-f]{96})"')
_INVOCATION: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHAIN: Final = frozenset({"alg", "key", "epoch", "prev", "mac", "invocation"})


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one invocation in their order, without the fields of the chain itself.

    broken: how many more were there that were changed since. whole: the whole log was searched.
    lines: the records as they stand in the log.
    """

    records: tuple[dict[str, Any], ...]
    broken: int
    whole: bool
    lines: tuple[bytes, ...] = ()


def find(directory: Path, invocation: str, *, most_bytes: int = MAX_BYTES) -> Found:
    """Search the log, also while it is written. Blocks: not for an event loop.

    Raises:
        AuditError: there is no log.
    """
    if not _INVOCATION.fullmatch(invocation):
        return Found((), 0, whole=True)
    return _search(directory, "invocation", invocation, most_bytes)


def find_plan(directory: Path, digest: str) -> dict[str, Any] | None:
    """The plan of a digest, where the log holds it. Blocks. Raises AuditError: there is no log."""
    if not _PLAN.fullmatch(digest):
        return None
    found = _search(directory, "plan", digest, MAX_BYTES, only=b'"event":"plan.used"', most=1)
    content = found.records[0].get("content") if found.records else None
    return content if isinstance(content, dict) else None


def _search(
    directory: Path, name: str, value: str, most_bytes: int, *, only: bytes = b"", most: int = 0
) -> Found:
    """Records whose field `name` is `value`; `only`: with this text in them, `most` of them."""
    wanted = f'"{name}":"{value}"'.encode()
    hits: list[tuple[dict[str, Any], bytes]] = []
    broken = 0
    head = read_head(directory)  # before the segments: a writer only adds
    end = head.position if head else None
    segments = list_segments(directory)
    whole = True
    for at in range(len(segments) - 1, -1, -1):
        if most_bytes <= 0 or (most and len(hits) >= most):
            whole = False
            break
        path = segments[at].path
        most_bytes -= path.stat().st_size
        for line, following in _lines_with(path, wanted):
            if only and only not in line[:_MAX_HEAD]:
                continue
            if len(hits) >= (most or MAX_RECORDS):
                whole = False
                break
            record = opened(line, following or _first_of(segments[at + 1 : at + 2]), end)
            if record is None:
                broken += 1
            elif record.get(name) == value:
                hits.append((record, line))
        if not whole:
            break
    hits.sort(key=lambda hit: int(hit[0]["seq"]))
    records = tuple({key: hit[key] for key in hit if key not in _CHAIN} for hit, _ in hits)
    return Found(records, broken, whole, tuple(line for _, line in hits))


def _first_of(segments: list[Segment]) -> bytes:
    """The first line of the next segment, empty when there is none."""
    if not segments:
        return b""
    with reading(segments[0].path) as file:
        return file.readline(_MAX_HEAD)


def _lines_with(path: Path, wanted: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Whole lines that hold `wanted`, without their newline, and how the line after each begins."""
    with reading(path) as file:
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


def opened(line: bytes, following: bytes, end: Position | None) -> dict[str, Any] | None:
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
