"""Signed envelopes: DSSE 1.0 (github.com/secure-systems-lab/dsse) with ECDSA P-384 signatures.

What is signed is the payload's type and bytes together, so that no payload passes for one of
another type. `verify` must never return a payload that no trusted
key signed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Final

from fumehood.crypto.signing import PublicKey, SigningKey
from fumehood.errors import KeyringError

MAX_ENVELOPE: Final = 4 * 1024 * 1024
"""Bytes."""
MAX_SIGNATURES: Final = 16


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes that are signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *keys: SigningKey) -> dict[str, Any]:
    """The envelope as a JSON object."""
    signed = pae(payload_type, payload)
    return envelope(payload_type, payload, [(key.id, key.sign(signed)) for key in keys])


def envelope(
    payload_type: str, payload: bytes, signatures: Iterable[tuple[str, bytes]]
) -> dict[str, Any]:
    """An envelope from its parts: (key id, signature) of each who signed."""
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": name, "sig": base64.b64encode(signature).decode()}
            for name, signature in signatures
        ],
    }


def verify(
    value: object, trusted: Iterable[PublicKey], *, payload_type: str
) -> tuple[bytes, PublicKey]:
    """The payload, and the trusted key that signed it.

    `keyid` is only a hint (DSSE, protocol): every trusted key may be tried.

    Raises:
        KeyringError: it is no envelope, of another type, or signed by none of `trusted`.
    """
    kind, payload, signatures = _opened(value)
    if kind != payload_type:
        raise KeyringError(f"the envelope holds {kind[:80]!a}, not {payload_type!r}")
    signed = pae(kind, payload)
    keys = list(trusted)
    for key in keys:
        if any(key.verifies(signature, signed) for _, signature in signatures):
            return payload, key
    # Anybody wrote these names: as ASCII, whatever they hold.
    named = ", ".join(sorted({ascii(name[:32])[1:-1] for name, _ in signatures if name})) or "none"
    raise KeyringError(
        f"no trusted key signed this (it names {named})",
        "get the signer's public key (`fumehood key export-public`) by a way you trust",
    )


def key_ids(value: object) -> list[str]:
    """The keys that an envelope says it was signed with: a hint that anybody can write; raises
    KeyringError."""
    return [name for name, _ in _opened(value)[2]]


def claimed(value: object, *, payload_type: str) -> bytes:
    """The payload without a look at who signed it: only for what is believed on other grounds.

    Raises KeyringError.
    """
    kind, payload, _ = _opened(value)
    if kind != payload_type:
        raise KeyringError(f"the envelope holds {kind[:80]!a}, not {payload_type!r}")
    return payload


def read(data: bytes) -> dict[str, Any]:
    """An envelope from a file's bytes; raises KeyringError."""
    if len(data) > MAX_ENVELOPE:
        raise KeyringError(f"the envelope has {len(data)} bytes, at most {MAX_ENVELOPE} are read")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise KeyringError("this is no JSON, so no signed envelope") from None
    if not isinstance(value, dict):
        raise KeyringError("this is no signed envelope")
    return value


def _opened(value: object) -> tuple[str, bytes, list[tuple[str, bytes]]]:
    broken = KeyringError("this is no signed envelope", "it has payloadType, payload, signatures")
    if not isinstance(value, dict):
        raise broken
    kind, listed = value.get("payloadType"), value.get("signatures")
    if not isinstance(kind, str) or not isinstance(listed, list) or not listed:
        raise broken
    if len(listed) > MAX_SIGNATURES:
        raise KeyringError(f"the envelope has more than {MAX_SIGNATURES} signatures")
    try:
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = [
            (str(item.get("keyid", "")), base64.b64decode(item["sig"], validate=True))
            for item in listed
        ]
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise broken from None
    return kind, payload, signatures
