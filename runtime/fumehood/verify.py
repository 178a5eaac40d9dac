"""Verify a receipt anywhere, offline: `from fumehood.verify import verify_receipt`.

Needs the receipt, and the public key of the daemon that gave it, got by a way you trust
(`fumehood key export-public receipt`). Must never say of a receipt what its signature does not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fumehood.crypto import dsse
from fumehood.crypto.signing import PublicKey
from fumehood.errors import KeyringError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:fumehood:receipt:v1"


class ReceiptError(KeyringError):
    """A receipt that is none, is not signed by a trusted key, or is of something else."""

    code = "receipt"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a trusted daemon says it recorded of one invocation.

    record: the record of the audit log, as parsed from exactly the bytes whose SHA-384 `digest`
    is (`sha384:…`, as MCP results carry it). plan: everything that was enforced; None when the
    log did not hold it any more. signer: id of the key that signed.
    """

    invocation: str
    tool: str
    status: str
    digest: str
    signer: str
    record: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    _digest_key: str = field(default="", repr=False)

    def is_of(self, *, arguments: object = None, result: Mapping[str, Any] | None = None) -> None:
        """Check that it is of these arguments, or of this result (`content`, `structured`).

        Raises ReceiptError.
        """
        if arguments is not None:
            self._same("arguments", canonical(arguments))
        if result is not None:
            self._same("result", released(result.get("content"), result.get("structured")))

    def _same(self, name: str, data: bytes) -> None:
        if not self._digest_key:
            raise ReceiptError(f"the receipt cannot tell of its {name}: its digest key is gone")
        recorded = str(self.record.get(name, "")).rpartition(":")[2]
        found = hmac.digest(bytes.fromhex(self._digest_key), data, "sha384").hex()
        if not hmac.compare_digest(found, recorded):
            raise ReceiptError(f"the receipt is of other {name}")


def verify_receipt(
    receipt: bytes | str | Mapping[str, Any],
    trust: Iterable[PublicKey | str | bytes],
    *,
    digest: str = "",
) -> Receipt:
    """Verify a receipt against trusted keys.

    Args:
        receipt: the file's bytes, or its parsed JSON.
        trust: public keys, as PEM or PublicKey; any of them may have signed.
        digest: what an MCP result carries in `_meta` (`sha384:…`); empty: not compared.

    Raises:
        ReceiptError: the cause says what does not hold.
    """
    keys = [key if isinstance(key, PublicKey) else PublicKey.from_pem(key) for key in trust]
    data = receipt.encode() if isinstance(receipt, str) else receipt
    try:
        envelope = dsse.read(data) if isinstance(data, bytes) else data
        payload, signer = dsse.verify(envelope, keys, payload_type=PAYLOAD_TYPE)  # 1. signed
    except ReceiptError:
        raise
    except KeyringError as error:
        raise ReceiptError(error.cause, error.remedy) from None
    broken = ReceiptError("the receipt is signed, and of a form that this version does not know")
    try:
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
            raise broken  # 2. of the right kind
        predicate = statement["predicate"]
        line = predicate["line"].encode()
        found = hashlib.sha384(line).hexdigest()
        if [subject["digest"] for subject in statement["subject"]] != [{"sha384": found}]:
            raise ReceiptError("the receipt's subject is not its record")  # 3. of this record
        record, plan = json.loads(line), predicate["plan"]
        if plan is not None and plan_digest(plan) != record["plan"]:
            raise ReceiptError("the receipt's plan is not the one that is recorded")  # 4. and plan
        result = Receipt(
            str(record["invocation"]), str(record["tool"]), str(record["status"]),
            f"sha384:{found}", signer.id, record, plan, str(predicate.get("digest_key") or ""),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError):
        raise broken from None
    if digest and digest != result.digest:
        raise ReceiptError(f"the receipt is of {result.digest[:23]}…, not of {digest[:23]}…")
    return result


def canonical(value: object) -> bytes:
    """JSON as digests are made of it: keys as they stand, no space, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def released(content: object, structured: object) -> bytes:
    """What the digest of a result is made of."""
    value = {"content": content, "structured": structured}
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def plan_digest(plan: object) -> str:
    """As `model.plan.Plan.digest`."""
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    return "sha384:" + hashlib.sha384(text.encode()).hexdigest()
