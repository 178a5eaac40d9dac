"""The small files beside the segments: head, base, signed segment ends, the first key.

`head` names the last record, the state of the key ring and whether the first key is still here,
and holds, encrypted, the sealing key for what comes next: one sector, overwritten in place, so that
the key before is gone when the head says so. `base` names the last
record that retention removed, signed. `segment-….sig` is the signed end of a finished segment.
`first.key` is the log's first key until somebody takes it (`fumehood audit init`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from fumehood.audit.custody import BASE_TYPE, Custody
from fumehood.audit.folder import reading
from fumehood.audit.ratchet import KEY_BYTES, Ratchet
from fumehood.audit.record import GENESIS, Epoch, Position, Sealer
from fumehood.crypto import dsse
from fumehood.crypto.derive import key_id
from fumehood.crypto.files import read_private, write_private
from fumehood.crypto.sealing import NONCE_BYTES, Sealed
from fumehood.crypto.signing import PublicKey
from fumehood.errors import AuditError, KeyringError

HEAD_BYTES: Final = 512
PRUNED: Final = "audit.pruned"
"""The event that tells up to which record retention is about to remove the log."""
START: Final = Position(0, GENESIS)
_LOOKS: Final = 3
_MAX_SIGNED: Final = 64 * 1024
_SHOWN: Final = re.compile(r"fumehood-seal-1:([0-9a-f]{16}):([A-Za-z0-9_-]{64})")
_HEAD: Final = re.compile(
    rb'((\{"head":([0-9]{1,19}),"last":"([0-9a-f]{96})","epoch":"([0-9]{1,9})\.([0-9]{1,15})",'
    rb'"key":"([0-9a-f]{16})"(?:,"ring":"([0-9]{1,9}\.[0-9a-f]{12})")?(,"first":1)?),'
    rb'"mac":"([A-Za-z0-9+/]{64})"),"box":"([0-9a-f]{1,32}):([^"]+)"\} *\n?'
)


@dataclass(frozen=True, slots=True)
class Head:
    """What the head says, believed only after `sealed_by` or `opened`."""

    position: Position
    epoch: Epoch
    chain: str
    ring: str
    """The state that the key ring was in (`Ring.standing`); empty where it was not noted."""
    first_key: bool
    """Whether the first key lay beside the log, or that it was taken is not on record yet."""
    _body: bytes
    _bound: bytes
    _mac: str
    _box: Sealed

    def sealed_by(self, ratchet: Ratchet) -> bool:
        """Whether it was written by who had the key of its epoch, where `ratchet` stands."""
        return ratchet.sealer().mac(self._body) == self._mac

    def opened(self, custody: Custody) -> Ratchet:
        """The sealing key for what comes next. Raises KeyringError: not this host's, or edited."""
        state = custody.unseal(self._box, self._bound)
        try:
            return Ratchet.restored(self.chain, self.epoch, state)
        except ValueError as error:
            raise KeyringError(str(error)) from None


def render_head(
    ratchet: Ratchet,
    sealer: Sealer,
    position: Position,
    custody: Custody,
    *,
    first_key: bool = False,
) -> bytes:
    """The head's bytes, always of one length; `sealer` is the ratchet's. Raises KeyringError."""
    body = (
        f'{{"head":{position.seq},"last":"{position.digest}","epoch":"{ratchet.epoch}",'
        f'"key":"{ratchet.chain}"'
    ).encode()
    if standing := custody.standing():
        body += f',"ring":"{standing}"'.encode()
    if first_key:
        body += b',"first":1'
    mac = base64.b64encode(bytes.fromhex(sealer.mac(body)))
    bound = body + b',"mac":"' + mac + b'"'
    box = custody.seal(ratchet.state, bound)
    text = bound + b',"box":"%b:%b"}' % (
        box.key.encode(), base64.b64encode(box.nonce + box.data)
    )  # fmt: skip
    return text.ljust(HEAD_BYTES - 1) + b"\n"


def read_head(directory: Path) -> Head | None:
    """None when it is missing or no head. Looks again: a read beside a write may see half."""
    for _ in range(_LOOKS):
        try:
            with reading(directory / "head") as file:
                data = file.read(HEAD_BYTES + 1)
        except (OSError, AuditError):
            return None
        if len(data) <= HEAD_BYTES and (match := _HEAD.fullmatch(data)) is not None:
            return _head(match)
    return None


def _head(match: re.Match[bytes]) -> Head | None:
    bound, body, seq, last, segment, step, chain, ring, first, mac, key, box = match.groups()
    try:
        raw = base64.b64decode(box, validate=True)
    except binascii.Error:
        return None
    return Head(
        Position(int(seq), last.decode()), Epoch(int(segment), int(step)), chain.decode(),
        (ring or b"").decode(), first is not None, body, bound, base64.b64decode(mac).hex(),
        Sealed(key.decode(), raw[:NONCE_BYTES], raw[NONCE_BYTES:]),
    )  # fmt: skip


def no_head(directory: Path) -> bool:
    """Whether there is no head, or none was written yet (a power cut at the very first start)."""
    try:
        found = os.lstat(directory / "head")
    except FileNotFoundError:
        return True
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


# --- what is signed


@dataclass(frozen=True, slots=True)
class Signed:
    """A position that was signed: the last record of a segment, or the last one removed.

    first: of the segment; 0 in a base."""

    chain: str
    first: int
    position: Position
    epoch: Epoch
    time: str
    signer: str = field(default="", compare=False)
    """Key that was seen to have signed it; empty for none."""

    def payload(self) -> bytes:
        value = {
            "chain": self.chain,
            "first": self.first,
            "last": self.position.seq,
            "digest": self.position.digest,
            "epoch": [self.epoch.segment, self.epoch.step],
            "time": self.time,
        }
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_signed(path: Path, signed: Signed, custody: Custody, kind: str) -> None:
    """Sign and write; on disk when this returns. Raises OSError, KeyringError."""
    write_private(path, _rendered(custody.sign(kind, signed.payload())), replace=True)


def _rendered(envelope: dict[str, Any]) -> bytes:
    return json.dumps(envelope).encode() + b"\n"


def read_signed(path: Path, kind: str, public: Sequence[PublicKey] | None) -> Signed:
    """public: None reads what is claimed without a check. Raises KeyringError; AuditError and
    OSError as `reading` does."""
    with reading(path) as file:
        raw = file.read(_MAX_SIGNED + 1)
    if len(raw) > _MAX_SIGNED:
        raise KeyringError(f"it has more than {_MAX_SIGNED} bytes")
    envelope = dsse.read(raw)
    if public is None:
        return _signed(dsse.claimed(envelope, payload_type=kind))
    payload, key = dsse.verify(envelope, public, payload_type=kind)
    # Not one byte beside what was signed: the key's name and base64's last bits are only hints.
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    if raw != _rendered(dsse.envelope(kind, payload, [(key.id, signature)])):
        raise KeyringError("it is not in the form in which it was signed")
    return replace(_signed(payload), signer=key.id)


def _signed(payload: bytes) -> Signed:
    try:
        value: dict[str, Any] = json.loads(payload)
        segment, step = value["epoch"]
        return Signed(
            str(value["chain"]), int(value["first"]),
            Position(int(value["last"]), str(value["digest"])),
            Epoch(int(segment), int(step)), str(value["time"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise KeyringError("this is no signed position of an audit log") from None


def signature_path(segment: Path) -> Path:
    return segment.with_suffix(".sig")


def telling(removed: Position) -> bytes:
    """What stands in the line of the record that tells of a removal."""
    return b'"last":%d,"last_digest":"%s"' % (removed.seq, removed.digest.encode())


def read_base(directory: Path, public: Sequence[PublicKey] | None) -> Signed | None:
    """The last record that retention removed; None when there is none.

    Raises KeyringError when it is not what was signed."""
    try:
        return read_signed(directory / "base", BASE_TYPE, public)
    except FileNotFoundError:
        return None
    except AuditError as error:
        raise KeyringError(f"the base cannot be read: {error.cause}") from None
    except OSError as error:
        raise KeyringError(f"the base cannot be read: {error.strerror}") from None


# --- the first key


def show_first_key(key: bytes) -> str:
    """The first key as text for people to keep."""
    return f"fumehood-seal-1:{key_id(key)}:{base64.urlsafe_b64encode(key).decode()}"


def parse_first_key(text: str) -> bytes:
    """Raises KeyringError for anything but what `show_first_key` wrote, typing errors included."""
    wrong = KeyringError(
        "this is no first key of an audit log", "it begins with `fumehood-seal-1:`"
    )
    match = _SHOWN.fullmatch(text.strip())
    if match is None:
        raise wrong
    key = base64.urlsafe_b64decode(match[2])
    if len(key) != KEY_BYTES or key_id(key) != match[1]:
        raise wrong
    return key


def first_key_path(directory: Path) -> Path:
    return directory / "first.key"


def read_first_key(directory: Path) -> bytes | None:
    """The first key, while it still lies beside the log. Raises AuditError, KeyringError."""
    try:
        raw = read_private(first_key_path(directory), 4096, "first key")
    except OSError as error:
        raise AuditError(f"the first key cannot be read: {error.strerror}") from None
    return None if raw is None else parse_first_key(raw.decode(errors="replace"))
