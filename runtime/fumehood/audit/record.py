"""One line of the audit log: how it is sealed and how it is read back; no files here.

A line is `{"seq":…,"time":…,"event":…,"alg":…,"key":…,"prev":…,<fields, sorted>,"mac":…}`.
The MAC covers every byte before `,"mac":`, so not even a space can change unnoticed, and
`prev` is the MAC of the record before, so none can be taken out, put in or moved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import constant_time, hashes, hmac

from fumehood.crypto.derive import ALGORITHM, key_id
from fumehood.errors import AuditError

Scalar: TypeAlias = str | int | float | bool | None
Field: TypeAlias = "Scalar | tuple[Field, ...] | list[Field] | Mapping[str, Field]"

GENESIS: Final = "0" * 96
"""`prev` of the first record."""

MAX_RECORD: Final = 64 * 1024
"""Bytes of one record's fields."""

MAC_CHARS: Final = 96
RESERVED: Final = frozenset({"seq", "time", "event", "alg", "key", "prev", "mac"})

_EVENT = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
_HEAD = re.compile(
    rb'\{"seq":([0-9]{1,19}),"time":"([^"]*)","event":"([^"]*)",'
    rb'"alg":"[^"]*","key":"[^"]*","prev":"([0-9a-f]{96})"'
)
_MAC_HEAD: Final = b',"mac":"'
_MAC_TAIL: Final = b'"}'
_TAIL_LENGTH: Final = len(_MAC_HEAD) + MAC_CHARS + len(_MAC_TAIL)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands in the chain; `mac` in hex."""

    seq: int
    mac: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One record read back; its MAC is right, its place in the chain not yet looked at."""

    position: Position
    prev: str
    time: str
    event: str


class Sealer:
    """Computes and checks MACs under one key."""

    def __init__(self, key: bytes) -> None:
        self.key_id = key_id(key)
        self._mac = hmac.HMAC(key, hashes.SHA384())

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
            f'{{"seq":{seq},"time":"{time}","event":"{event}","alg":"{ALGORITHM}",'
            f'"key":"{self.key_id}","prev":"{previous.mac}"{fields}'
        ).encode()
        mac = self.mac(body)
        return body + _MAC_HEAD + mac.encode() + _MAC_TAIL + b"\n", Position(seq, mac)

    def open(self, line: bytes) -> Entry:
        """Read one line without its newline back.

        Raises:
            Unsealed: the bytes are not what was sealed under this key.
        """
        body, tail = line[:-_TAIL_LENGTH], line[-_TAIL_LENGTH:]
        mac = tail[len(_MAC_HEAD) : -len(_MAC_TAIL)]
        shaped = tail.startswith(_MAC_HEAD) and tail.endswith(_MAC_TAIL)
        if not shaped or not constant_time.bytes_eq(self.mac(body).encode(), mac):
            raise Unsealed(_claimed_key(line))
        head = _HEAD.match(body)
        if head is None:
            raise Unsealed(_claimed_key(line))
        seq, time, event, prev = head.groups()
        return Entry(Position(int(seq), mac.decode()), prev.decode(), time.decode(), event.decode())


@dataclass(slots=True)
class Unsealed(Exception):
    """A line that does not carry a right MAC; `key` is the key it claims, empty when unreadable."""

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
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AuditError(f"{event}: a field is no JSON value", detail=str(error)) from error
    if len(text) > MAX_RECORD:
        raise AuditError(f"{event}: the record has {len(text)} bytes, at most {MAX_RECORD} fit")
    return "," + text[1:-1]


def _claimed_key(line: bytes) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    claimed = record.get("key") if isinstance(record, dict) else None
    return claimed[:32] if isinstance(claimed, str) else ""
