"""Up to where the receiver has the audit log, and whether the log is still the one it says so of.

Must never take another log for the one that was sent: its records would never be. Nor the word of
whoever can write the state: a cursor that was moved ahead leaves records out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import constant_time

from fumehood.audit.folder import MAX_LINE, list_segments, reading
from fumehood.audit.follow import Place
from fumehood.audit.record import Field, digest
from fumehood.crypto.derive import derive, hmac_sha384
from fumehood.crypto.files import read_private, write_private
from fumehood.crypto.ring import Ring

OTHER: Final = "another log is in its place"
SHORTER: Final = "the log ends before what was sent of it"
CHANGED: Final = "the log does not hold what was sent of it"
UNLINKED: Final = "what stands behind it does not follow it"
UNKNOWN: Final = "what was sent cannot be read"
_MAC_BITS: Final = 384


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where sending goes on, and what was sent last.

    chain: id of the log's first key; empty when that was not known, and of earlier versions, as
    `seq` and `digest` of the last record are 0 and empty. rejected: how many records the receiver
    refused for good which nobody was told of yet; reason: why.
    """

    place: Place
    chain: str = ""
    seq: int = 0
    digest: str = ""
    rejected: int = 0
    reason: str = ""

    def lacking(self, record: Mapping[str, Any]) -> dict[str, Field]:
        """What there was between what was sent last and this record, for a gap; empty when it is
        the next one, or nobody knows what was sent last."""
        seq = int(record["seq"])
        if not self.seq and self.place != Place(1, 0):
            return {}
        if follows(record, self.seq, self.digest):
            return {}
        gap: dict[str, Field] = {"from_segment": self.place.segment, "after": self.seq}
        return {**gap, "to": seq - 1} if seq > self.seq + 1 else {**gap, "reason": UNLINKED}


def follows(record: Mapping[str, Any], seq: int, digest: str) -> bool:
    """Whether a record is the next one in the chain. digest: of the one before; empty when nobody
    knows it."""
    return int(record["seq"]) == seq + 1 and digest in ("", record["prev"])


def beginning(directory: Path, chain: str) -> Cursor:
    """Before the first record that the log still has. Raises AuditError."""
    first = next((s.first for s in list_segments(directory) if s.first), 1)
    return Cursor(Place(first, 0), chain, first - 1)


class Vouch:
    """Vouches for cursors with the ring's key for digests, derived for this use alone."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def mac(self, text: bytes) -> str:
        """Raises KeyringError."""
        name, key = self._ring.secret("digest", _MAC_BITS)
        return f"{name}:{_mac(key, text)}"

    def holds(self, text: bytes, mac: str) -> bool:
        """Raises KeyringError: the key that it names is unknown, expired or revoked."""
        name, _, _ = mac.partition(":")
        wanted = f"{name}:{_mac(self._ring.secret_of(name, _MAC_BITS), text)}"
        return constant_time.bytes_eq(wanted.encode(), mac.encode())


def _mac(key: bytes, text: bytes) -> str:
    return hmac_sha384(derive(key, "forward-cursor", _MAC_BITS), text).hex()


def read_cursor(path: Path, vouch: Vouch) -> Cursor | None:
    """None where there is none. Raises OSError, KeyringError, ValueError for one that says nothing
    or that this host has not written."""
    raw = read_private(path, 4096, "cursor")
    if raw is None:
        return None
    try:
        value = json.loads(raw)
        if not vouch.holds(_text(value), str(value.get("mac", ""))):
            raise ValueError("it was changed by somebody else")
        return Cursor(
            Place(int(value["segment"]), max(0, int(value["offset"]))),
            str(value.get("chain", "")), int(value.get("seq", 0)), str(value.get("digest", "")),
            max(0, int(value.get("rejected", 0))), str(value.get("reason", "")),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no cursor: {error}") from None


def _text(value: Mapping[str, Any]) -> bytes:
    """What is vouched for."""
    rest = {key: value[key] for key in value if key != "mac"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()


def write_cursor(path: Path, cursor: Cursor, vouch: Vouch) -> None:
    """On disk when it returns. Raises OSError, KeyringError."""
    value: dict[str, Any] = {
        "segment": cursor.place.segment,
        "offset": cursor.place.offset,
        "chain": cursor.chain,
        "seq": cursor.seq,
        "digest": cursor.digest,
        "rejected": cursor.rejected,
        "reason": cursor.reason,
    }
    value["mac"] = vouch.mac(_text(value))
    write_private(path, json.dumps(value).encode() + b"\n", replace=True)


def astray(directory: Path, cursor: Cursor, chain: str, *, closely: bool) -> str:
    """Why the log there is not the one that the cursor is of; empty when it is.

    chain: of the log as its head says, empty when that cannot be read just now. closely: also look
    at the record before the cursor. Raises AuditError.
    """
    place = cursor.place
    if not place.segment:
        return ""
    if chain and cursor.chain and chain != cursor.chain:
        return OTHER
    segments = list_segments(directory)
    if not segments or place.segment > segments[-1].first:
        return SHORTER
    here = next((s for s in segments if s.first == place.segment), None)
    if here is None or not place.offset:
        return ""  # what retention removed is a gap of its own
    try:
        with reading(here.path) as file:
            if file.seek(0, 2) < place.offset:
                return SHORTER
            if not closely:
                return ""
            file.seek(max(0, place.offset - MAX_LINE))
            before = file.read(min(place.offset, MAX_LINE))
    except FileNotFoundError:
        return ""
    line = before[before.rfind(b"\n", 0, -1) + 1 : -1]
    if not before.endswith(b"\n") or (cursor.digest and digest(line) != cursor.digest):
        return CHANGED
    return ""
