"""Reads back what the audit log says of one invocation; must never write, and never repeat a
record as true that the record after it does not continue.

The key that sealed a record is gone by then. What is checked is that the chain goes on from
exactly these bytes. That it leads on unbroken to what is vouched for, `verify` checks, and
`Anchors` for who writes the log.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.audit.folder import Segment, list_segments, reading
from fumehood.audit.head import read_head
from fumehood.audit.record import Position, Unsealed, read

MAX_BYTES: Final = 256 * 1024 * 1024
"""How much of the log is looked through (0.1 s when it is in memory)."""
MAX_RECORDS: Final = 32
_PLAN: Final = re.compile(r"sha384:[0-9a-f]{96}")
_MAX_HEAD: Final = 1024
_SLACK_SECONDS: Final = 2
"""The clock may have gone back by as much without a word in the log (`chain.STEP_SECONDS`)."""
_TIME: Final = re.compile(rb'\{"seq":[0-9]{1,19},"time":"([^"]{1,32})"')
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


Holds = Callable[[bytes], bool | None]
"""Whether a line is of the log, None for not known yet; `Anchors.holds`."""


def find(
    directory: Path, invocation: str, *, most_bytes: int = MAX_BYTES, holds: Holds | None = None
) -> Found:
    """Search the log, also while it is written: first where the invocation's name says that it
    began, and the newest part. Blocks: not for an event loop.

    holds: is asked of each record that is found.

    Raises:
        AuditError: there is no log.
    """
    if not _INVOCATION.fullmatch(invocation):
        return Found((), 0, whole=True)
    end = _end(directory)
    segments = list_segments(directory)
    begins = [_time_of(_first_of(segments[at : at + 1])) for at in range(len(segments))]
    order = _likeliest(begins, *_made(invocation))
    return _search(segments, order, end, ("invocation", invocation), most_bytes, holds=holds)


def find_plan(
    directory: Path,
    digest: str,
    before: int,
    *,
    most_bytes: int = MAX_BYTES,
    holds: Holds | None = None,
) -> dict[str, Any] | None:
    """The plan of a digest, where the log holds it: looked for back from the record numbered
    `before`, which is of a call that ran under it. Blocks. Raises AuditError: there is no log."""
    if not _PLAN.fullmatch(digest):
        return None
    end = _end(directory)
    segments = list_segments(directory)
    order = [at for at, segment in enumerate(segments) if segment.first <= before][::-1]
    wanted = ("plan", digest)
    only = b'"event":"plan.used"'
    found = _search(segments, order, end, wanted, most_bytes, only=only, most=1, holds=holds)
    content = found.records[0].get("content") if found.records else None
    return content if isinstance(content, dict) else None


def _likeliest(begins: Sequence[str], since: str, until: str) -> list[int]:
    """In which order to look through segments for what began between two times, given when each
    begins: from those in whose time that is, on, and turn by turn from the newest, back. There
    are more of them when the clock was set back."""
    last = len(begins) - 1
    here = [
        at
        for at, begin in enumerate(begins)
        if begin <= until and (at == last or since <= begins[at + 1])
    ]
    onward = [*here, *range(here[0] if here else last + 1, last + 1)]
    back = range(last, -1, -1)
    turns = [at for pair in zip(onward, back, strict=False) for at in pair]
    return list(dict.fromkeys([*turns, *onward, *back]))


def _made(invocation: str) -> tuple[str, str]:
    """Around when an invocation was named (UUIDv7: 48 bits of milliseconds), as records write
    their time."""
    seconds = int(invocation[:8] + invocation[9:13], 16) // 1000
    around = seconds - _SLACK_SECONDS, seconds + _SLACK_SECONDS
    since, until = (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) for at in around)
    return since, until


def _time_of(line: bytes) -> str:
    match = _TIME.match(line)
    return match[1].decode(errors="replace") if match else ""


def _end(directory: Path) -> Position | None:
    """Up to where the log goes. Asked for before its segments are: a writer only adds."""
    head = read_head(directory)
    return head.position if head else None


def _search(
    segments: Sequence[Segment],
    order: Sequence[int],
    end: Position | None,
    wanted: tuple[str, str],
    most_bytes: int,
    *,
    only: bytes = b"",
    most: int = MAX_RECORDS,
    holds: Holds | None = None,
) -> Found:
    """Records that hold a field with a value; `only`: with this text in them, `most` of them."""
    name, value = wanted
    text = f'"{name}":"{value}"'.encode()
    hits: list[tuple[dict[str, Any], bytes]] = []
    broken = 0
    whole = True
    for at in order:
        if most_bytes <= 0 or len(hits) >= most:
            whole = False
            break
        with contextlib.suppress(FileNotFoundError):  # retention removed it just now
            most_bytes -= segments[at].path.stat().st_size
            for line, following in _lines_with(segments[at].path, text):
                if only and only not in line[:_MAX_HEAD]:
                    continue
                if len(hits) >= most:
                    whole = False
                    break
                record = opened(line, following or _first_of(segments[at + 1 : at + 2]), end)
                if record is not None and record.get(name) != value:
                    continue
                held = record is not None and (True if holds is None else holds(line))
                if record is None or held is False:
                    broken += 1
                elif held:
                    hits.append((record, line))
    hits.sort(key=lambda hit: int(hit[0]["seq"]))
    records = tuple({key: hit[key] for key in hit if key not in _CHAIN} for hit, _ in hits)
    return Found(records, broken, whole, tuple(line for _, line in hits))


def _first_of(segments: Sequence[Segment]) -> bytes:
    """How the first line of the first one begins, empty when there is none."""
    with contextlib.suppress(FileNotFoundError):  # retention removed it just now
        for segment in segments:
            with reading(segment.path) as file:
                return file.readline(_MAX_HEAD)
    return b""


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
