"""The key ring of a state directory, and what callers of it share."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fumehood.crypto import derive, master
from fumehood.crypto.files import read_private, sync_directory
from fumehood.crypto.ring import MAX_FILE, Entry, Periods, Ring, listed, rotations
from fumehood.errors import KeyringError

LOOK_SECONDS: Final = 1.0
NEXT: Final = "root.json.next"
"""The master key that is to come, while it is rotated."""


def open_ring(
    state: Path, periods: Periods, passed: str = "", source: str = "", *, create: bool = True
) -> Ring:
    """The ring in `state`, begun when `create` and there is neither one nor an audit log yet.

    passed: the master key in base64, with the source it was read from; empty: the key file in the
    state itself. Raises KeyringError.
    """
    folder = state / "keys"
    if not passed:
        settle(folder)
    begins = create and _begins(state)
    if passed:
        raw = base64.b64decode(passed)
        key = master.Master(derive.key_id(raw), source, "", raw)
    elif begins:
        key = master.load_or_create(folder / "root.json")
    else:
        key = _own_master(folder)
    return Ring.open(folder / "ring.json", key, periods, create=create)


def _begins(state: Path) -> bool:
    """Whether the state has had no ring yet: another in the place of one that is gone would make
    all that was signed and kept before worthless. Raises KeyringError when one is gone."""
    ring, audit = state / "keys" / "ring.json", state / "audit"
    logged = _is_there(audit)  # looked for first: another start makes it last
    if _is_there(ring):
        return False
    if not logged:
        return True
    raise KeyringError(
        f"the key ring {ring.absolute()} is missing, and the audit log made with it is there",
        "bring it back from a backup, with the master key of its time; without one, keep "
        f"{audit.absolute()} as evidence (move it away): the next start begins anew",
    )


def _own_master(folder: Path) -> master.Master:
    root = folder / "root.json"
    if _is_there(folder / "ring.json") and not _is_there(root):
        raise KeyringError(
            f"the master key {root.absolute()} is missing: the key ring is encrypted under it",
            "bring it back from a backup, or have `keys.master_…` name where it is; without it "
            "nothing in the ring can be read",
        )
    return master.from_file(root)


def _is_there(path: Path) -> bool:
    """Also when it cannot be told: whoever opens it hears why."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


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
    """Why no call may be taken, as `Gate` takes it; empty when it may: no evidence without keys."""
    try:
        missing = ring.missing()
    except KeyringError as error:
        return f"keys: {error.cause}"
    if not missing:
        return ""
    many = len(missing) > 1
    return (
        f"keys: the {'keys' if many else 'key'} for {listed(missing)} expired; an operator must"
        f" run {rotations(missing)}"
    )


def named(entries: Sequence[Entry], prefix: str) -> Entry:
    """The one key whose id begins with `prefix`. Raises KeyringError."""
    found = [entry for entry in entries if entry.id.startswith(prefix)] if prefix else []
    if len(found) != 1:
        what = f"{len(found)} keys of the ring begin" if found else "no key of the ring begins"
        raise KeyringError(f"{what} with {prefix[:40]!r}", "`fumehood key list` shows the keys")
    return found[0]


class Digester:
    """Keyed digests, `hmac-sha384:<key id>:<hex>`, under the active key at each moment."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._until = 0.0
        self._key: tuple[str, derive.Keyed] | None = None

    def __call__(self, data: bytes) -> str:
        """Equal for equal data, as long as the key is active."""
        name, keyed = self._active()
        return f"hmac-sha384:{name}:{keyed(data).hex()}"

    def of(self, invocation: str, *data: bytes) -> tuple[str, ...]:
        """Digests of one invocation, which `reveal` lets somebody check and nobody else's."""
        name, keyed = self._active()
        own = derive.Keyed(keyed(_own(invocation)))
        return tuple([f"hmac-sha384:{name}:{own(item).hex()}" for item in data])

    def reveal(self, key_id: str, invocation: str) -> str:
        """The key of one invocation's digests, in hex. Raises KeyringError."""
        return derive.hmac_sha384(self._ring.secret_of(key_id, 384), _own(invocation)).hex()

    def _active(self) -> tuple[str, derive.Keyed]:
        moment = time.monotonic()
        # A look at the ring costs more than the digest.
        if self._key is None or moment >= self._until:
            name, key = self._ring.secret("digest", 384)
            self._key = name, derive.Keyed(key)
            self._until = moment + LOOK_SECONDS
        return self._key


def _own(invocation: str) -> bytes:
    return b"fumehood invocation " + invocation.encode()
