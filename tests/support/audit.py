"""An audit log without a key ring: fixed keys, and what verifies it."""

from __future__ import annotations

import json
from pathlib import Path

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import FixedCustody
from fumehood.audit.record import Position
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


def records(directory: Path) -> list[dict[str, object]]:
    return [
        json.loads(line)
        for path in sorted(directory.glob("segment-*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def fill(directory: Path, count: int, **options: int) -> list[Position]:
    with AuditLog.open(directory, KEYS, **options) as log:
        futures = [log.append("test", {"n": n}) for n in range(count)]
        return [future.result(10) for future in futures]
