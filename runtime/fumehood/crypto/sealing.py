"""Encryption at rest: AES-256-GCM under a fresh random 96-bit nonce, bound to what it belongs to.

An envelope names its algorithm and key, so that it can be opened after a rotation and moved to
another algorithm later.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fumehood.errors import KeyringError

ALGORITHM: Final = "AES-256-GCM"
KEY_BITS: Final = 256
NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Sealed:
    """An envelope: `key` is the id of the key that opens it."""

    key: str
    nonce: bytes
    data: bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "alg": ALGORITHM,
            "key": self.key,
            "nonce": base64.b64encode(self.nonce).decode(),
            "data": base64.b64encode(self.data).decode(),
        }

    @classmethod
    def from_json(cls, value: object) -> Sealed:
        """Raises KeyringError for what is no envelope of a known algorithm."""
        broken = KeyringError("this is no encrypted value of a known algorithm")
        if not isinstance(value, dict) or value.get("alg") != ALGORITHM:
            raise broken
        try:
            nonce = base64.b64decode(value["nonce"], validate=True)
            data = base64.b64decode(value["data"], validate=True)
            key = value["key"]
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise broken from None
        if not isinstance(key, str) or len(nonce) != NONCE_BYTES:
            raise broken
        return cls(key, nonce, data)


class Cipher:
    """`seal` under one key, for who does it often."""

    def __init__(self, key_id: str, key: bytes) -> None:
        self._id = key_id
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, bound: bytes) -> Sealed:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return Sealed(self._id, nonce, self._cipher.encrypt(nonce, plain, bound))


def seal(key: bytes, key_id: str, plain: bytes, bound: bytes) -> Sealed:
    """Encrypt `plain`; it opens only beside the same `bound` bytes (additional data)."""
    return Cipher(key_id, key).seal(plain, bound)


def unseal(key: bytes, sealed: Sealed, bound: bytes) -> bytes:
    """Raises KeyringError when key, data or `bound` are not those it was sealed with."""
    try:
        return AESGCM(key).decrypt(sealed.nonce, sealed.data, bound)
    except InvalidTag:
        raise KeyringError(
            "an encrypted value does not open: it was changed, or belongs to another key",
            "bring it back from a backup together with the keys of its time",
        ) from None
