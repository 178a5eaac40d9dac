"""Reads on as the audit log grows; must never give a line that is not whole, nor one twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fumehood.audit.folder import MAX_LINE, list_segments, reading

LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on: in the segment of this first record, at this byte."""

    segment: int
    offset: int


def last_lines(directory: Path, count: int) -> tuple[list[bytes], Place]:
    """The last records, without newline, and the place behind them. Raises AuditError."""
    lines: list[bytes] = []
    place = Place(0, 0)
    for segment in reversed(list_segments(directory)):
        data = _end_of(segment.path, (count - len(lines)) * MAX_LINE)
        whole, _, torn = data.rpartition(b"\n")
        if place.segment == 0:
            place = Place(segment.first, segment.path.stat().st_size - len(torn))
        found = whole.split(b"\n") if whole else []
        lines = found[max(0, len(found) - (count - len(lines))) :] + lines
        if len(lines) >= count:
            break
    return lines[len(lines) - count :] if count else [], place


def _end_of(path: Path, most: int) -> bytes:
    with reading(path) as file:
        size = file.seek(0, 2)
        start = max(0, size - most)
        file.seek(start)
        data = file.read()
    return data if start == 0 else data[data.find(b"\n") + 1 :]


def read_on(directory: Path, place: Place) -> tuple[list[bytes], Place]:
    """Whole lines behind a place, of one segment, and the place behind them.

    Empty with the same place when there are none yet. Retention may have removed the segment:
    then reading goes on with the oldest that is there. Raises AuditError.
    """
    segments = list_segments(directory)
    here = next((s for s in segments if s.first == place.segment), None)
    if here is not None:
        with reading(here.path) as file:
            file.seek(place.offset)
            data = file.read(64 * MAX_LINE)
        whole, newline, _ = data.rpartition(b"\n")
        if newline:
            return whole.split(b"\n"), Place(here.first, place.offset + len(whole) + 1)
    later = next((s for s in segments if s.first > place.segment), None)
    return ([], place) if later is None else read_on(directory, Place(later.first, 0))


def follow(directory: Path, place: Place) -> Iterator[bytes]:
    """Lines as they are written, for ever. Raises AuditError."""
    while True:
        lines, place = read_on(directory, place)
        yield from lines
        if not lines:
            time.sleep(LOOK_SECONDS)  # Python has no inotify(7)
