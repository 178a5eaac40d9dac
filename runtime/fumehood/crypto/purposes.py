"""What each key of a ring is for, and its algorithm; must never hold a key."""

from __future__ import annotations

from typing import Final

from fumehood.crypto import derive, sealing, signing

SIGNATURE: Final = signing.ALGORITHM
KEYED: Final = derive.ALGORITHM
ENCRYPTION: Final = sealing.ALGORITHM

PURPOSES: Final = {
    "audit": (SIGNATURE, "signs the ends of audit segments"),
    "receipt": (SIGNATURE, "signs receipts"),
    "tool": (SIGNATURE, "signs tools that are packed here"),
    "digest": (KEYED, "keyed digests of arguments and results"),
    "fingerprint": (KEYED, "lets one secret be recognised again, never recovered"),
    "chain": (ENCRYPTION, "encrypts the audit log's sealing key while it rests"),
    "content": (ENCRYPTION, "encrypts what is kept in full: arguments, outputs, captures"),
}
"""What each key is for, with its algorithm. A ring has at least one key for each."""
