"""An audit log without a key ring: fixed keys, and what verifies it."""

from __future__ import annotations

from pathlib import Path

from fumehood.audit.custody import FixedCustody
from fumehood.audit.report import Report, Trust
from fumehood.audit.verify import verify as verify_log
from fumehood.crypto.signing import SigningKey

SIGNER = SigningKey.generate()


def custody(signer: SigningKey = SIGNER, key: bytes = b"k" * 32) -> FixedCustody:
    """The keys of a host of its own."""
    return FixedCustody(key, signer)


KEYS = custody()


def verify(directory: Path, keys: FixedCustody = KEYS, first_key: bytes | None = None) -> Report:
    """As the host itself would, with the first key where it still lies beside the log."""
    return verify_log(directory, Trust(first_key, keys.public(), keys))
