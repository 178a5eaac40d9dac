"""Reads back what the audit log says of one invocation; must never write, and never repeat a
record as true whose seal is not."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fumehood.audit.record import Sealer, Unsealed
from fumehood.audit.segments import list_segments

MAX_BYTES: Final = 256 * 1024 * 1024
"""How much of the log is looked through, its newest part first (0.1 s when it is in memory)."""
MAX_RECORDS: Final = 32
_INVOCATION: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CHAIN: Final = frozenset({"alg", "key", "prev", "mac", "invocation"})


@dataclass(frozen=True, slots=True)
class Found:
    """The records of one invocation in their order, without the fields of the chain itself.

    broken: how many more were there whose seal is not right. whole: the whole log was searched.
    """

    records: tuple[dict[str, Any], ...]
    broken: int
    whole: bool


def find(directory: Path, key: bytes, invocation: str, *, most_bytes: int = MAX_BYTES) -> Found:
    """Search the log, also while it is written. Blocks: not for an event loop.

    Raises:
        AuditError: there is no log.
    """
    if not _INVOCATION.fullmatch(invocation):
        return Found((), 0, whole=True)
    sealer, wanted = Sealer(key), f'"invocation":"{invocation}"'.encode()
    records: list[dict[str, Any]] = []
    broken = 0
    for segment in reversed(list_segments(directory)):
        if most_bytes <= 0:
            return Found(_in_order(records), broken, whole=False)
        most_bytes -= segment.path.stat().st_size
        for line in _lines_with(segment.path, wanted):
            if len(records) >= MAX_RECORDS:
                return Found(_in_order(records), broken, whole=False)
            record = _opened(line, sealer)
            if record is None:
                broken += 1
            elif record.get("invocation") == invocation:
                records.append({name: record[name] for name in record if name not in _CHAIN})
    return Found(_in_order(records), broken, whole=True)


def _in_order(records: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(sorted(records, key=lambda record: int(record["seq"])))


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    """Whole lines that hold `wanted`, without their newline."""
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
                yield data[start:end]
                at = end


def _opened(line: bytes, sealer: Sealer) -> dict[str, Any] | None:
    try:
        sealer.open(line)
    except Unsealed:
        return None
    record = json.loads(line)
    return record if isinstance(record, dict) else None
