"""What a receipt says: an in-toto statement of one terminal record of the audit log; pure.

The record stands in it byte for byte, so that its digest is the one that the next record, the
head and the caller's own result name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fumehood.audit.record import digest

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:fumehood:receipt:v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"


def statement(
    line: bytes, *, plan: Mapping[str, Any] | None, digest_key: str, issued: str, version: str
) -> bytes:
    """The payload to sign. line: a terminal record, without its newline.

    plan: the plan whose digest the record names, None when the log has it no more. digest_key:
    hex; opens this invocation's keyed digests, and no other's; empty when its key is gone.
    """
    record = json.loads(line)
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": f"fumehood:{record['invocation']}", "digest": {"sha384": digest(line)}}
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "line": line.decode(),
            "plan": plan,
            "digest_key": digest_key,
            "issued": issued,
            "issuer": f"fumehood {version}",
        },
    }
    return json.dumps(value, separators=(",", ":")).encode()


def released(content: object, structured: object) -> bytes:
    """What the digest of a result is made of; `fumehood.verify.released` makes the same."""
    value = {"content": content, "structured": structured}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
