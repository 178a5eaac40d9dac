"""The key ring: every key by purpose, with its times, encrypted under the master key.

One file, replaced whole under a lock and authenticated as a whole. A key is active, then it only
verifies and decrypts what was made under it, then it is of no use. Rotation keeps what is old
readable; revocation erases the secret, and what was encrypted under it with it. Must never hand
out a key beyond its time. What the file cannot show: itself put back to an earlier state; a
running daemon sees it by the generation, and a start by its `standing`, which the audit log keeps.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives import constant_time

from fumehood.crypto import derive, sealing, signing
from fumehood.crypto.files import read_private, write_private
from fumehood.crypto.master import Master
from fumehood.crypto.purposes import ENCRYPTION, PURPOSES, SIGNATURE
from fumehood.crypto.sealing import Sealed, seal, unseal
from fumehood.crypto.signing import PublicKey, SigningKey
from fumehood.errors import KeyringError, ProtocolError
from fumehood.model.codec import decode, encode

VERSION: Final = 1
MAX_KEYS: Final = 1024
MAX_FILE: Final = 4 * 1024 * 1024
MAX_PAST: Final = 1024
"""Marks of earlier generations that a ring keeps: older ones cannot be told from others."""
_MARK_CHARS: Final = 12
_SECRET_BYTES: Final = 48

State = Literal["active", "verify-only", "expired", "revoked"]
TRUSTED: Final = ("active", "verify-only")
"""In these states a key verifies what it signed."""


@dataclass(frozen=True, slots=True)
class Periods:
    """In days: how long a new key is active, and then verifies and decrypts; how long before the
    end of the first it is warned of."""

    active: int = 365
    verify: int = 3650
    warn: int = 30


@dataclass(frozen=True, slots=True)
class Entry:
    """One key, without its secret. Times are RFC 3339 in UTC; `revoked` is empty while it is not.

    size: bits. public: PEM, for signatures; empty for secret keys.
    """

    id: str
    purpose: str
    algorithm: str
    size: int
    created: str
    active_until: str
    verify_until: str
    revoked: str = ""
    public: str = ""

    def state(self, now: str) -> State:
        if self.revoked:
            return "revoked"
        if now >= self.verify_until:
            return "expired"
        return "verify-only" if now >= self.active_until else "active"


@dataclass(frozen=True, slots=True)
class _Held:
    entry: Entry
    secret: Sealed | None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    generation: int
    held: tuple[_Held, ...]
    log: str = ""
    past: tuple[str, ...] = ()
    """Marks of the generations before this one, the last one last."""
    mark: str = ""
    """Begin of the file's MAC: of two rings of one generation it tells which is which."""


def now() -> str:
    return stamp(datetime.now(UTC))


def listed(purposes: Sequence[str]) -> str:
    """For a sentence."""
    *others, last = purposes
    return f"{', '.join(others)} and {last}" if others else last


def rotations(purposes: Sequence[str]) -> str:
    """The commands, each of its own: one that fails must not keep the others from being run."""
    return listed([f"`fumehood key rotate {purpose}`" for purpose in purposes])


def stamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds: sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Ring:
    """An open key ring. Thread safe. What another process changes is seen at the next use."""

    def __init__(
        self, path: Path, master: Master, periods: Periods, clock: Callable[[], str] = now
    ) -> None:
        """Use `Ring.open`."""
        self._path = path
        self._master = master
        self._periods = periods
        self._clock = clock
        self._mutex = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._exposed: KeyringError | None = None
        self.told: Callable[[KeyringError], None] = lambda _: None
        """Is told of each use that the ring's file, or the master key's, refuses; on any thread."""
        self._snapshot = _Snapshot(0, ())
        self._opened: dict[str, SigningKey | bytes] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        master: Master,
        periods: Periods = Periods(),
        *,
        clock: Callable[[], str] = now,
        create: bool = True,
    ) -> Ring:
        """Read the ring; make it, and keys for purposes that have none, when `create`.

        Raises:
            KeyringError: it is missing, was changed, belongs to another master key, or can be
                reached by others.
        """
        ring = cls(path, master, periods, clock)
        if create:
            with ring._changing() as held:
                there = {item.entry.purpose for item in held}
                held += [ring._made(purpose) for purpose in PURPOSES if purpose not in there]
        ring._look()
        return ring

    # --- using keys

    def signer(self, purpose: str) -> SigningKey:
        """The active signature key. Raises KeyringError when there is none."""
        key = self._secret(self._active(purpose))
        if not isinstance(key, SigningKey):
            raise KeyringError(f"{purpose!r} has no signature key")
        return key

    def secret(self, purpose: str, bits: int) -> tuple[str, bytes]:
        """Id and bytes of the active secret key, derived for the size asked for.

        Raises KeyringError when there is none."""
        held = self._active(purpose)
        return held.entry.id, self._derived(held, bits)

    def secret_of(self, key_id: str, bits: int) -> bytes:
        """The bytes of a secret key that something names, also when it is not active any more.

        Raises KeyringError when it is unknown, expired or revoked."""
        return self._derived(self._usable(key_id), bits)

    def public_keys(
        self, purpose: str, *, untrusted: bool = False, ended: bool = False
    ) -> list[PublicKey]:
        """The keys that signatures for `purpose` may be checked with: active or verify-only.

        untrusted: also expired and revoked ones, for who does not rely on the signature.
        ended: also expired ones, for what was signed here, whenever that was."""
        wanted = (*TRUSTED, "expired") if ended else TRUSTED
        moment = self._clock()
        return [
            PublicKey.from_pem(entry.public)
            for entry in self.entries()
            if entry.purpose == purpose
            and entry.public
            and (untrusted or entry.state(moment) in wanted)
        ]

    def seal(self, plain: bytes, bound: bytes, *, purpose: str = "content") -> dict[str, Any]:
        """Encrypt under the active key, as a JSON object that names that key."""
        key_id, key = self.secret(purpose, sealing.KEY_BITS)
        return seal(key, key_id, plain, bound).to_json()

    def unseal(self, value: object, bound: bytes) -> bytes:
        """Decrypt what `seal` made. Raises KeyringError, also when its key was revoked."""
        sealed = Sealed.from_json(value)
        return unseal(self.secret_of(sealed.key, sealing.KEY_BITS), sealed, bound)

    # --- looking at keys

    @property
    def generation(self) -> int:
        """Grows by one with every change."""
        self._look()
        return self._snapshot.generation

    @property
    def standing(self) -> str:
        """`GENERATION.MARK`: names this state of the ring, for `follows`. Tells of no key."""
        self._look()
        now = self._snapshot
        return f"{now.generation}.{now.mark}"

    def follows(self, standing: str) -> bool:
        """Whether the ring is that state of itself, or came from it by changes alone; also when
        that is `MAX_PAST` changes ago, or was before rings kept marks."""
        self._look()
        number, _, mark = standing.partition(".")
        return _follows(self._snapshot, int(number), mark)

    @property
    def master(self) -> Master:
        return self._master

    def entries(self) -> list[Entry]:
        """All keys, by purpose, the newest first."""
        self._look()
        found = sorted((item.entry for item in self._snapshot.held), key=_newest, reverse=True)
        return sorted(found, key=lambda entry: list(PURPOSES).index(entry.purpose))

    def missing(self) -> list[str]:
        """Purposes without an active key: what needs one is refused."""
        moment = self._clock()
        active = {entry.purpose for entry in self.entries() if entry.state(moment) == "active"}
        return [purpose for purpose in PURPOSES if purpose not in active]

    def expiring(self) -> list[Entry]:
        """Active keys that stop being so within the time to warn."""
        moment = self._clock()
        edge = _later(moment, self._periods.warn)
        newest = {entry.purpose: entry for entry in reversed(self.entries())}
        return [
            entry
            for entry in newest.values()
            if entry.state(moment) == "active" and entry.active_until <= edge
        ]

    @property
    def log(self) -> str:
        """Id of the audit log that was noted last; empty when none was."""
        self._look()
        return self._snapshot.log

    def look_at_master(self) -> None:
        """See whether others can reach the file of the master key by now: as long as that is so,
        every use of the ring raises KeyringError. To be called now and then."""
        self._exposed = self._master.exposed(self._path.parent)

    # --- changing keys

    def note_log(self, chain: str) -> None:
        """Note which audit log the state has, as authentic as the keys. Raises KeyringError."""
        with self._changing(chain):
            pass

    def rotate(self, purpose: str) -> Entry:
        """Make a new active key; those before it only verify and decrypt from now on."""
        if purpose not in PURPOSES:
            raise KeyringError(
                f"no key is for {purpose[:40]!r}", f"purposes are {', '.join(PURPOSES)}"
            )
        with self._changing() as held:
            return self._rotate(held, purpose)

    def revoke(self, key_id: str) -> tuple[Entry, Entry | None]:
        """Erase a key's secret and trust nothing made under it any more.

        Returns:
            The revoked key, and its successor when it was the active one.
        """
        with self._changing() as held:
            at = next((i for i, item in enumerate(held) if item.entry.id == key_id), None)
            if at is None:
                raise KeyringError(f"no key {key_id[:40]!r} is in the ring", "`fumehood key list`")
            entry, moment = held[at].entry, self._clock()
            if entry.revoked:
                raise KeyringError(f"the key {key_id} was revoked at {entry.revoked}")
            active = entry.state(moment) == "active"
            revoked = replace(entry, revoked=moment, active_until=min(moment, entry.active_until))
            held[at] = _Held(revoked, None)
            return revoked, self._rotate(held, entry.purpose) if active else None

    def rewrap(self, master: Master) -> None:
        """Encrypt the ring under another master key: all keys stay what they are. Whole or not at
        all. For a ring that no daemon has open: it could not read it any more."""
        before = self._master
        try:
            with self._changing() as held:
                plain = [
                    None
                    if item.secret is None
                    else unseal(self._wrapping, item.secret, _bound(item.entry))
                    for item in held
                ]
                self._master = master
                held[:] = [
                    _Held(item.entry, None if secret is None else self._sealed(item.entry, secret))
                    for item, secret in zip(held, plain, strict=True)
                ]
        except BaseException:
            self._master = before
            raise

    def _sealed(self, entry: Entry, secret: bytes) -> Sealed:
        return seal(self._wrapping, self._master.id, secret, _bound(entry))

    def _rotate(self, held: list[_Held], purpose: str) -> Entry:
        moment = self._clock()
        for at, item in enumerate(held):
            if item.entry.purpose == purpose and item.entry.state(moment) == "active":
                held[at] = self._resealed(item, replace(item.entry, active_until=moment))
        if len(held) >= MAX_KEYS:
            raise KeyringError(f"the ring has {MAX_KEYS} keys already")
        made = self._made(purpose)
        held.append(made)
        return made.entry

    def _made(self, purpose: str) -> _Held:
        algorithm, _ = PURPOSES[purpose]
        moment = self._clock()
        until = _later(moment, self._periods.active)
        public = ""
        if algorithm == SIGNATURE:
            key = SigningKey.generate()
            name, public, secret, size = key.id, key.public.pem, key.to_bytes(), signing.KEY_BITS
        else:
            secret = os.urandom(_SECRET_BYTES)
            name = derive.hmac_sha384(secret, b"fumehood key id").hex()[: signing.ID_CHARS]
            size = sealing.KEY_BITS if algorithm == ENCRYPTION else _SECRET_BYTES * 8
        entry = Entry(
            id=name, purpose=purpose, algorithm=algorithm, size=size, created=moment,
            active_until=until, verify_until=_later(until, self._periods.verify), public=public,
        )  # fmt: skip
        return _Held(entry, self._sealed(entry, secret))

    def _resealed(self, held: _Held, entry: Entry) -> _Held:
        if held.secret is None:
            return _Held(entry, None)
        plain = unseal(self._wrapping, held.secret, _bound(held.entry))
        return _Held(entry, self._sealed(entry, plain))

    # --- secrets

    @property
    def _wrapping(self) -> bytes:
        return derive.derive(self._master.bytes, "ring-wrap", sealing.KEY_BITS)

    def _active(self, purpose: str) -> _Held:
        self._look()
        moment = self._clock()
        found = [
            item
            for item in self._snapshot.held
            if item.entry.purpose == purpose and item.entry.state(moment) == "active"
        ]
        if not found:
            missing = self.missing()
            raise KeyringError(
                f"there is no active key for {listed(missing)}: what was active expired",
                f"run {rotations(missing)}",
            )
        return max(found, key=lambda item: _newest(item.entry))

    def _usable(self, key_id: str) -> _Held:
        self._look()
        held = next((item for item in self._snapshot.held if item.entry.id == key_id), None)
        if held is None:
            raise KeyringError(
                f"the key {key_id[:40]!r} is not in the ring", "`fumehood key list` shows the keys"
            )
        state = held.entry.state(self._clock())
        if state == "revoked":
            raise KeyringError(f"the key {key_id} was revoked at {held.entry.revoked}")
        if state == "expired":
            raise KeyringError(f"the key {key_id} expired at {held.entry.verify_until}")
        return held

    def _derived(self, held: _Held, bits: int) -> bytes:
        secret = self._secret(held)
        if isinstance(secret, SigningKey):
            raise KeyringError(f"{held.entry.purpose!r} has no secret key")
        return derive.derive(secret, held.entry.purpose, bits)

    def _secret(self, held: _Held) -> SigningKey | bytes:
        known = self._opened.get(held.entry.id)
        if known is not None:
            return known
        if held.secret is None:
            raise KeyringError(f"the secret of key {held.entry.id} was erased")
        plain = unseal(self._wrapping, held.secret, _bound(held.entry))
        signs = held.entry.algorithm == SIGNATURE
        opened: SigningKey | bytes = SigningKey.from_bytes(plain) if signs else plain
        self._opened[held.entry.id] = opened
        return opened

    # --- the file

    def _look(self) -> None:
        """Read the file when it is another than the one read last (one stat(2) otherwise)."""
        try:
            self._look_at_file()
        except KeyringError as error:
            self.told(error)
            raise

    def _look_at_file(self) -> None:
        with self._mutex:
            try:
                found = self._path.stat()
            except OSError as error:
                raise KeyringError(
                    f"the key ring cannot be read: {error.strerror}",
                    f"bring {self._path} back from a backup",
                ) from None
            if self._exposed is not None:
                raise KeyringError(self._exposed.cause, self._exposed.remedy)
            # Of a changed mode only st_ctime and the mode tell.
            seen = (
                found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid,
            )  # fmt: skip
            if seen == self._seen:
                return
            snapshot = self._read()
            if not _follows(snapshot, self._snapshot.generation, self._snapshot.mark):
                raise KeyringError(
                    "the key ring was put back to an earlier state",
                    "a revoked key could be trusted again: find out who did it, then restart",
                )
            self._snapshot, self._seen = snapshot, seen
            self._opened.clear()

    def _read(self) -> _Snapshot:
        try:
            raw = read_private(self._path, MAX_FILE, "key ring")
        except OSError as error:
            raise KeyringError(f"the key ring cannot be read: {error.strerror}") from None
        if raw is None:
            raise KeyringError("there is no key ring", f"see {self._path}")
        damaged = KeyringError(
            "the key ring was changed, or belongs to another master key",
            f"bring {self._path} back from a backup; its master key is {self._master.source}",
        )
        try:
            document = json.loads(raw)
            body, mac = document["ring"], document["mac"]
            if not constant_time.bytes_eq(self._mac(body).encode(), str(mac).encode()):
                raise damaged
            if body["version"] != VERSION:
                raise KeyringError("the key ring is of another version of Fumehood")
            held = [
                _Held(
                    decode(Entry, item["key"]),
                    Sealed.from_json(item["secret"]) if item["secret"] else None,
                )
                for item in body["keys"]
            ]
            return _Snapshot(
                int(body["generation"]), tuple(held), str(body.get("log", "")),
                tuple(map(str, body.get("past", ()))), _mark(mac),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, UnicodeError, ProtocolError):
            raise damaged from None

    def _mac(self, body: object) -> str:
        key = derive.derive(self._master.bytes, "ring-mac", 384)
        return derive.mac(key, _canonical(body))

    @contextlib.contextmanager
    def _changing(self, log: str = "") -> Iterator[list[_Held]]:
        """The keys, to be changed in place and written when the body ends without an error.

        log: to be noted with them; without it what is noted stays."""
        lock = self._path.with_name(self._path.name + ".lock")
        try:
            lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise KeyringError(
                f"the key ring cannot be changed: {error.strerror}", f"see {lock.parent}"
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            there = os.path.lexists(self._path)
            if there:
                self._look()
            before = self._snapshot
            held = list(before.held)
            yield held
            after = replace(before, held=tuple(held), log=log or before.log)
            if after != before:
                past = (*before.past, before.mark)[-MAX_PAST:] if before.mark else ()
                self._write(replace(after, generation=before.generation + 1, past=past))
                self._look()
        finally:
            os.close(fd)

    def _write(self, snapshot: _Snapshot) -> None:
        body = {
            "version": VERSION,
            "generation": snapshot.generation,
            "log": snapshot.log,
            "past": list(snapshot.past),
            "keys": [
                {"key": encode(item.entry), "secret": item.secret and item.secret.to_json()}
                for item in snapshot.held
            ],
        }
        document = {"ring": body, "mac": self._mac(body)}
        data = json.dumps(document, indent=1).encode() + b"\n"
        try:
            write_private(self._path, data, replace=True)
        except OSError as error:
            raise KeyringError(
                f"the key ring cannot be written: {error.strerror}", f"see {self._path.parent}"
            ) from None


def _mark(mac: str) -> str:
    return mac.rpartition(":")[2][:_MARK_CHARS]


def _follows(now: _Snapshot, generation: int, mark: str) -> bool:
    """Whether a state of the ring is that one, or came from it by changes alone."""
    marks = (*now.past, now.mark)
    back = now.generation - generation
    return back >= 0 and (back >= len(marks) or marks[-1 - back] == mark)


def _newest(entry: Entry) -> tuple[str, str]:
    return entry.active_until, entry.created


def _later(moment: str, days: int) -> str:
    return stamp(datetime.fromisoformat(moment) + timedelta(days=days))


def _bound(entry: Entry) -> bytes:
    """What a secret is bound to: its own description, times included."""
    return _canonical(encode(entry))


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
