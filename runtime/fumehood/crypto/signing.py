"""Signatures: ECDSA on P-384 with SHA-384, and nothing else.

A public key's id is the SHA-384 of its DER SubjectPublicKeyInfo, so that anyone who has the key
can compute it. A file of public keys in PEM may say in a comment before a key that it is revoked or
expired: such a key must never be trusted.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fumehood.errors import KeyringError

ALGORITHM: Final = "ECDSA-P384-SHA384"
KEY_BITS: Final = 384
ID_CHARS: Final = 32
MAX_PEM: Final = 4096
PEM_END: Final = "-----END PUBLIC KEY-----"
_MARKED: Final = re.compile(r"^[ \t]*#.*\b(revoked|expired)\b", re.MULTILINE)
_SCHEME: Final = ec.ECDSA(hashes.SHA384())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verification key. `id` is 32 hex characters."""

    id: str
    pem: str
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @classmethod
    def from_pem(cls, text: str | bytes) -> Self:
        """Read a PEM `PUBLIC KEY`; raises KeyringError for anything but a P-384 key, for several,
        and for one that a comment before it marks as revoked or expired."""
        wrong = KeyringError(
            "this is no P-384 public key in PEM", "see `fumehood key export-public`"
        )
        try:
            data = text.encode() if isinstance(text, str) else bytes(text)
            if len(data) > MAX_PEM:
                raise wrong
            if (mark := _mark(data.decode(errors="replace"))) is not None:
                raise KeyringError(f"this public key is marked {mark}", "trust another one")
            if data.count(PEM_END.encode()) > 1:  # only the first would be read
                raise KeyringError("these are several public keys where one is asked for")
            key = serialization.load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise wrong from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p384(key.curve):
            raise wrong
        return cls._of(key)

    @classmethod
    def _of(cls, key: ec.EllipticCurvePublicKey) -> Self:
        der = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(hashlib.sha384(der).hexdigest()[:ID_CHARS], pem.decode(), key)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` (DER) over `data` was made with the private half."""
        try:
            self._key.verify(signature, data, _SCHEME)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; neither it nor its bytes show in `repr`."""

    public: PublicKey
    _key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @classmethod
    def generate(cls) -> Self:
        return cls._of(ec.generate_private_key(ec.SECP384R1()))

    @classmethod
    def from_bytes(cls, der: bytes) -> Self:
        """Read what `to_bytes` wrote; raises KeyringError for anything else."""
        try:
            key = serialization.load_der_private_key(der, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise KeyringError("this is no private key") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p384(key.curve):
            raise KeyringError("this is no P-384 private key")
        return cls._of(key)

    @classmethod
    def _of(cls, key: ec.EllipticCurvePrivateKey) -> Self:
        return cls(PublicKey._of(key.public_key()), key)

    @property
    def id(self) -> str:
        return self.public.id

    def to_bytes(self) -> bytes:
        """PKCS #8 DER, not encrypted: only for `sealing`."""
        return self._key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, data: bytes) -> bytes:
        """A DER signature."""
        return self._key.sign(data, _SCHEME)


def read_public_keys(text: str) -> tuple[list[PublicKey], int]:
    """The keys of a file of PEM parts, without those that comments before them mark as revoked or
    expired, wherever else in it they stand; and how many these are. Raises KeyringError."""
    parts = [f"{part}{PEM_END}\n" for part in text.split(PEM_END)[:-1]]
    keys: dict[str, PublicKey] = {}
    marked: set[str] = set()
    for part in parts:
        bare = part[part.find("-----BEGIN") :]
        if _mark(part) is None:
            key = PublicKey.from_pem(bare)
            keys[key.id] = key
            continue
        try:
            marked.add(PublicKey.from_pem(bare).id)
        except KeyringError:
            marked.add(bare)  # nothing trusts it, whatever it is
    return [key for key in keys.values() if key.id not in marked], len(marked)


def _mark(text: str) -> str | None:
    found = _MARKED.search(text.partition("-----BEGIN")[0])
    return found[1] if found else None


def _is_p384(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP384R1)
