"""Who keeps the audit log's secrets: encrypts the sealing key at rest, and signs.

Must never keep a sealing key that was moved on from.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from fumehood.crypto import dsse
from fumehood.crypto.ring import Ring
from fumehood.crypto.sealing import KEY_BITS, Cipher, Sealed, seal, unseal
from fumehood.crypto.signing import PublicKey, SigningKey
from fumehood.errors import KeyringError

SEGMENT_TYPE: Final = "application/vnd.fumehood.audit-segment+json"
BASE_TYPE: Final = "application/vnd.fumehood.audit-base+json"
LOOK_SECONDS: Final = 1.0


class Custody(Protocol):
    """Every method raises KeyringError when a key is missing, expired or revoked."""

    def seal(self, plain: bytes, bound: bytes) -> Sealed:
        """Encrypt what only this host may read."""

    def unseal(self, sealed: Sealed, bound: bytes) -> bytes:
        """Decrypt what `seal` made."""

    def sign(self, payload_type: str, payload: bytes) -> dict[str, Any]:
        """A DSSE envelope."""

    def public(self) -> Sequence[PublicKey]:
        """The keys that this host may have signed with, revoked ones included: what it finds at a
        start is authenticated by the head. `verify` gets the trusted ones only."""

    def standing(self) -> str:
        """Which state the keys are in, to stand in the head; empty where they never change."""

    def must_follow(self, standing: str) -> None:
        """Raises KeyringError: the keys were put back to before the state that a head names."""


class RingCustody:
    """The keys `chain` and `audit` of the ring, looked up again once a second."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._until = 0.0
        self._standing = ""
        self._sealer: Cipher | None = None

    def seal(self, plain: bytes, bound: bytes) -> Sealed:
        moment = time.monotonic()
        if self._sealer is None or moment >= self._until:
            name, key = self._ring.secret("chain", KEY_BITS)
            self._sealer = Cipher(name, key)
            self._until = moment + LOOK_SECONDS
        return self._sealer.seal(plain, bound)

    def standing(self) -> str:
        """Looked up each time (one stat(2)): with the first record after a key was revoked, a ring
        from before that is told."""
        standing = self._ring.standing
        if standing != self._standing:
            self._standing, self._sealer = standing, None
        return standing

    def must_follow(self, standing: str) -> None:
        if not self._ring.follows(standing):
            raise KeyringError(
                f"it is in the state {self._ring.standing}, and was in {standing} before"
            )

    def unseal(self, sealed: Sealed, bound: bytes) -> bytes:
        return unseal(self._ring.secret_of(sealed.key, KEY_BITS), sealed, bound)

    def sign(self, payload_type: str, payload: bytes) -> dict[str, Any]:
        return dsse.sign(payload_type, payload, self._ring.signer("audit"))

    def public(self) -> Sequence[PublicKey]:
        return self._ring.public_keys("audit", untrusted=True)


class FixedCustody:
    """Keys given once, for tools that work on a log of their own."""

    def __init__(self, key: bytes, signer: SigningKey) -> None:
        self._key = key
        self._signer = signer

    def seal(self, plain: bytes, bound: bytes) -> Sealed:
        return seal(self._key, self._signer.id, plain, bound)

    def unseal(self, sealed: Sealed, bound: bytes) -> bytes:
        return unseal(self._key, sealed, bound)

    def sign(self, payload_type: str, payload: bytes) -> dict[str, Any]:
        return dsse.sign(payload_type, payload, self._signer)

    def public(self) -> Sequence[PublicKey]:
        return [self._signer.public]

    def standing(self) -> str:
        return ""

    def must_follow(self, standing: str) -> None:
        """These keys have one state."""
