"""The key ring of a state directory, and what callers of it share."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Final

from fumehood.crypto import derive, master
from fumehood.crypto.files import read_private, sync_directory
from fumehood.crypto.ring import MAX_FILE, Periods, Ring
from fumehood.errors import KeyringError

LOOK_SECONDS: Final = 1.0
NEXT: Final = "root.json.next"
"""The master key that is to come, while it is rotated."""


def open_ring(
    state: Path, periods: Periods, passed: str = "", source: str = "", *, create: bool = True
) -> Ring:
    """The ring in `state`, made when it is missing and `create`.

    passed: the master key in base64, with the source it was read from; empty: the key file in the
    state itself. Raises KeyringError.
    """
    folder = state / "keys"
    if passed:
        raw = base64.b64decode(passed)
        key = master.Master(derive.key_id(raw), source, "", raw)
    elif create:
        settle(folder)
        key = master.load_or_create(folder / "root.json")
    else:
        settle(folder)
        key = master.from_file(folder / "root.json")
    return Ring.open(folder / "ring.json", key, periods, create=create)


def rotate_master(ring: Ring, folder: Path) -> master.Master:
    """Another master key in the state itself, in three steps of which each is whole or not at all:
    the new key beside the old one, the ring under it, the new key in the old one's place. Whatever
    is between them is settled at the next opening. Raises KeyringError."""
    later = folder / NEXT
    made = master.load_or_create(later)
    ring.rewrap(made)
    settle(folder)
    return made


def settle(folder: Path) -> None:
    """Finish a rotation of the master key that was cut short after its second step; one that was
    cut short before it changes nothing. Raises KeyringError."""
    later = folder / NEXT
    try:
        if not later.exists():
            return
    except OSError as error:
        own = os.geteuid()
        raise KeyringError(
            f"the keys in {folder.absolute()} cannot be reached by UID {own}: {error.strerror}",
            f"where they are this installation's, `chown -R {own} {folder.absolute()}`",
        ) from None
    if wrapped_under(folder / "ring.json") == master.from_file(later).id:
        try:
            os.replace(later, folder / "root.json")
            sync_directory(folder)
        except OSError as error:
            raise KeyringError(
                f"the new master key cannot take its place: {error.strerror}",
                f"see to {folder}: the ring is encrypted under {later.name} already",
            ) from None


def wrapped_under(path: Path) -> str:
    """Id of the master key that a ring says it is encrypted under, not checked; empty when it does
    not say. Whoever forges it gains nothing: the ring does not open then."""
    try:
        raw = read_private(path, MAX_FILE, "key ring")
        keys = json.loads(raw or b"{}")["ring"]["keys"]
        return next((str(key["secret"]["key"]) for key in keys if key["secret"]), "")
    except (OSError, KeyringError, ValueError, KeyError, TypeError):
        return ""


def refusal(ring: Ring) -> str:
    """Why no call may be taken, empty when it may: no evidence without keys."""
    try:
        missing = ring.missing()
    except KeyringError as error:
        return error.cause
    if not missing:
        return ""
    return (
        f"the key for {missing[0]} expired; an operator must run `fumehood key rotate {missing[0]}`"
    )


class Digester:
    """Keyed digests, `hmac-sha384:<key id>:<hex>`, under the active key at each moment."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._until = 0.0
        self._key = ("", b"")

    def __call__(self, data: bytes) -> str:
        """Equal for equal data, as long as the key is active."""
        name, key = self._active()
        return f"hmac-sha384:{name}:{derive.hmac_sha384(key, data).hex()}"

    def of(self, invocation: str, *data: bytes) -> tuple[str, ...]:
        """Digests of one invocation, which `reveal` lets somebody check and nobody else's."""
        name, key = self._active()
        own = derive.hmac_sha384(key, _own(invocation))
        return tuple(f"hmac-sha384:{name}:{derive.hmac_sha384(own, item).hex()}" for item in data)

    def reveal(self, key_id: str, invocation: str) -> str:
        """The key of one invocation's digests, in hex. Raises KeyringError."""
        return derive.hmac_sha384(self._ring.secret_of(key_id, 384), _own(invocation)).hex()

    def _active(self) -> tuple[str, bytes]:
        moment = time.monotonic()
        if moment >= self._until:  # a look at the ring costs more than the digest
            self._key = self._ring.secret("digest", 384)
            self._until = moment + LOOK_SECONDS
        return self._key


def _own(invocation: str) -> bytes:
    return b"fumehood invocation " + invocation.encode()
