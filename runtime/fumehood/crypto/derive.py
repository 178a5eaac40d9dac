"""Keys from keys (SP 800-108) and keyed digests; pure functions."""

from __future__ import annotations

import re
from typing import Final

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

ALGORITHM: Final = "HMAC-SHA-384"
MIN_BITS, MAX_BITS = 128, 4096
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")


def key_id(material: bytes) -> str:
    """16 hex characters that name a secret key and tell nothing of it."""
    return hmac_sha384(material, b"fumehood key id")[:8].hex()


def hmac_sha384(key: bytes, data: bytes) -> bytes:
    """48 bytes."""
    keyed = hmac.HMAC(key, hashes.SHA384())
    keyed.update(data)
    return keyed.finalize()


class Keyed:
    """`hmac_sha384` under one key, for who does it often."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.HMAC(key, hashes.SHA384())

    def __call__(self, data: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(data)
        return keyed.finalize()


def mac(key: bytes, data: bytes) -> str:
    """`hmac-sha384:<hex>`: what stands in a record for data that is not kept in it."""
    return "hmac-sha384:" + hmac_sha384(key, data).hex()


def derive(root: bytes, purpose: str, bits: int) -> bytes:
    """`bits` of key material for `purpose` (SP 800-108r1 4.1; label and context separate uses).

    Raises:
        ValueError: a purpose or a size that no caller may ask for.
    """
    if not _PURPOSE.fullmatch(purpose) or bits % 8 or not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"no key of {bits} bits for purpose {purpose!r}")
    kdf = KBKDFHMAC(
        algorithm=hashes.SHA384(),
        mode=Mode.CounterMode,
        length=bits // 8,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=b"fumehood " + purpose.encode(),
        context=str(bits).encode(),
        fixed=None,
    )
    return kdf.derive(root)
