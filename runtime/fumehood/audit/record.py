"""One line of the audit log: how it is sealed and how it is read back; no files here.

A line is `{"seq":…,"time":…,"event":…,"alg":…,"key":…,"epoch":"3.17","prev":…,<fields,
sorted>,"mac":…}`. The MAC covers every byte before `,"mac":`, under the key of the epoch
(`ratchet`), so not even a space can change unnoticed by who has the first key. `prev` is the
SHA-384 of the line before, so that none can be taken out, put in, changed or moved without
changing all that follow: this anybody can check.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import constant_time, hashes, hmac

from fumehood.crypto.derive import ALGORITHM
from fumehood.errors import AuditError

Scalar: TypeAlias = str | int | float | bool | None
Field: TypeAlias = "Scalar | tuple[Field, ...] | list[Field] | Mapping[str, Field]"

GENESIS: Final = "0" * 96
"""`prev` of the first record."""

MAX_RECORD: Final = 64 * 1024
"""Bytes of one record's fields."""

MAC_CHARS: Final = 96
RESERVED: Final = frozenset({"seq", "time", "event", "alg", "key", "epoch", "prev", "mac"})

_EVENT = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_HEAD = re.compile(
    rb'\{"seq":([0-9]{1,19}),"time":"([^"]*)","event":"([^"]*)",'
    rb'"alg":"HMAC-SHA-384","key":"([0-9a-f]{16})","epoch":"([0-9]{1,9})\.([0-9]{1,15})",'
    rb'"prev":"([0-9a-f]{96})"'
)
_MAC_HEAD: Final = b',"mac":"'
_MAC_TAIL: Final = b'"}'
_TAIL_LENGTH: Final = len(_MAC_HEAD) + MAC_CHARS + len(_MAC_TAIL)


_ENCODER: Final = json.JSONEncoder(
    sort_keys=True,
    separators=(",", ":"),
    allow_nan=False,
    # A loop ends as a RecursionError all the same; looking for one takes a twentieth of the time.
    check_circular=False,
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands in the chain; `digest` is the SHA-384 of its line, in hex."""

    seq: int
    digest: str


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """Which key sealed a record: the number of the segment, and the step within it."""

    segment: int
    step: int

    def __str__(self) -> str:
        return f"{self.segment}.{self.step}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line read back; neither its MAC nor its place in the chain are looked at yet.

    key: id of the log's first key.
    """

    position: Position
    prev: str
    time: str
    event: str
    key: str
    epoch: Epoch


def digest(line: bytes) -> str:
    """Of a line without its newline."""
    return hashlib.sha384(line).hexdigest()


def read(line: bytes) -> Entry:
    """Read one line without its newline. Raises Unsealed when it has no record's shape."""
    head, tail = _HEAD.match(line), line[-_TAIL_LENGTH:]
    if head is None or not _has_mac(tail):
        raise Unsealed(_claimed_key(line))
    seq, time, event, key, segment, step, prev = head.groups()
    return Entry(
        Position(int(seq), digest(line)), prev.decode(), time.decode(errors="replace"),
        event.decode(errors="replace"), key.decode(), Epoch(int(segment), int(step)),
    )  # fmt: skip


def number(line: bytes) -> int | None:
    """The number that a line without its newline claims, None when it has no record's shape: `read`
    without the digest, a third of its time."""
    head = _HEAD.match(line)
    return int(head[1]) if head is not None and _has_mac(line[-_TAIL_LENGTH:]) else None


class Sealer:
    """Computes and checks MACs of one epoch."""

    def __init__(self, chain: str, epoch: Epoch, key: bytes) -> None:
        self.chain = chain
        self.epoch = epoch
        self._mac = hmac.HMAC(key, hashes.SHA384())
        self._middle = f'"alg":"{ALGORITHM}","key":"{chain}","epoch":"{epoch}","prev":"'

    def mac(self, body: bytes) -> str:
        mac = self._mac.copy()
        mac.update(body)
        return mac.finalize().hex()

    def seal(
        self, previous: Position, time: str, event: str, fields: str
    ) -> tuple[bytes, Position]:
        """The next line, newline included. `fields` comes from `encode_fields`."""
        seq = previous.seq + 1
        body = (
            f'{{"seq":{seq},"time":"{time}","event":"{event}",'
            f'{self._middle}{previous.digest}"{fields}'
        ).encode()
        line = body + _MAC_HEAD + self.mac(body).encode() + _MAC_TAIL
        return line + b"\n", Position(seq, digest(line))

    def sealed(self, line: bytes) -> bool:
        """Whether a line without its newline is what was sealed in this epoch."""
        body, tail = line[:-_TAIL_LENGTH], line[-_TAIL_LENGTH:]
        mac = tail[len(_MAC_HEAD) : -len(_MAC_TAIL)]
        return _has_mac(tail) and constant_time.bytes_eq(self.mac(body).encode(), mac)


@dataclass(slots=True)
class Unsealed(Exception):
    """A line that is no record; `key` is the key it claims, empty when unreadable."""

    key: str = field(default="")


def encode_fields(event: str, fields: Mapping[str, Field]) -> str:
    """The fields as they will stand in the line: a leading comma, sorted, ASCII JSON.

    Raises:
        AuditError: a name is reserved, a value is no JSON, or all together are too large.
    """
    if not _EVENT.fullmatch(event):
        raise AuditError(f"no event can be called {event[:64]!r}", "use a-z, 0-9, dot, dash")
    if clash := RESERVED.intersection(fields):
        raise AuditError(f"the field {min(clash)!r} belongs to the chain itself", "rename it")
    if not fields:
        return ""
    try:
        text = _ENCODER.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"{event}: a field is no JSON value", detail=str(error)) from error
    if len(text) > MAX_RECORD:
        raise AuditError(f"{event}: the record has {len(text)} bytes, at most {MAX_RECORD} fit")
    return "," + text[1:-1]


def _has_mac(tail: bytes) -> bool:
    return tail.startswith(_MAC_HEAD) and tail.endswith(_MAC_TAIL)


def _claimed_key(line: bytes) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    claimed = record.get("key") if isinstance(record, dict) else None
    return claimed[:32] if isinstance(claimed, str) else ""
