"""Verify a receipt, or a copy of an audit log, anywhere and offline.

Needs the receipt or the log, and the public keys of the daemon that gave it, got by a way you
trust (`fumehood key export-public receipt`, `… audit`). Must never say of a receipt what its
signature does not, and raises nothing but the errors that each function names.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fumehood.crypto import dsse
from fumehood.crypto.signing import PEM_END, PublicKey, read_public_keys
from fumehood.errors import KeyringError

if TYPE_CHECKING:
    from fumehood.audit.report import Report

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:fumehood:receipt:v1"


class ReceiptError(KeyringError):
    """A receipt that is none, is not signed by a trusted key, or is of something else."""

    code = "receipt"


def _unknown() -> ReceiptError:
    return ReceiptError(
        "the receipt is signed, and of a form that this version does not know",
        "verify it with the version that gave it, or a later one",
    )


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

        Raises ReceiptError; also for what is no JSON, of which no receipt is.
        """
        if arguments is not None:
            self._same("arguments", lambda: canonical(arguments))
        if result is not None:
            self._same("result", lambda: released(result.get("content"), result.get("structured")))

    def _same(self, name: str, data: Callable[[], bytes]) -> None:
        if not self._digest_key:
            raise ReceiptError(f"the receipt cannot tell of its {name}: its digest key is gone")
        recorded = str(self.record.get(name, "")).rpartition(":")[2]
        try:
            found = hmac.digest(bytes.fromhex(self._digest_key), data(), "sha384").hex()
        except (AttributeError, TypeError, ValueError, RecursionError):
            raise ReceiptError(f"the receipt is of other {name}: these are no JSON") from None
        if not hmac.compare_digest(found.encode(), recorded.encode(errors="replace")):
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
        trust: public keys, as PublicKey or in PEM, also several in one, as `fumehood key
            export-public` prints them; any of them may have signed (`Receipt.signer` says which),
            but none that a comment before it marks as revoked or expired.
        digest: what an MCP result carries in `_meta` (`sha384:…`); empty: not compared.

    Raises:
        ReceiptError: the cause says what does not hold.
    """
    keys = _keys(trust)
    try:
        data = receipt.encode() if isinstance(receipt, str) else receipt
        envelope = dsse.read(bytes(data)) if isinstance(data, bytes | bytearray) else data
        payload, signer = dsse.verify(envelope, keys, payload_type=PAYLOAD_TYPE)  # 1. signed
    except UnicodeEncodeError:
        raise ReceiptError("this is no JSON, so no signed envelope") from None
    except KeyringError as error:
        raise ReceiptError(error.cause, error.remedy) from None
    try:
        result = _opened(payload, signer.id)
    # RecursionError: nested deeper than Python follows; OverflowError: a number without bounds.
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
        raise _unknown() from None
    if digest and digest != result.digest:
        named = ascii(digest)[:24].strip("'")
        raise ReceiptError(f"the receipt is of {result.digest[:23]}…, not of {named}…")
    return result


def _text(given: object) -> str:
    if isinstance(given, str):
        return given
    if not isinstance(given, bytes | bytearray):  # bytes(n) would be n zeros
        raise TypeError("neither text nor bytes")
    return given.decode(errors="replace")


def _keys(trust: Iterable[PublicKey | str | bytes]) -> list[PublicKey]:
    if isinstance(trust, str | bytes | bytearray) or not isinstance(trust, Iterable):
        raise ReceiptError("trust is no list of public keys", "give [pem, …]")
    keys: list[PublicKey] = []
    files: list[str] = []
    try:
        for given in trust:
            if isinstance(given, PublicKey):
                keys.append(given)
                continue
            text = _text(given)
            if PEM_END not in text:
                PublicKey.from_pem(text)  # says what is wrong with it
            files.append(text)
        found, marked = read_public_keys("\n".join(files))
    except TypeError:
        raise ReceiptError("a trusted key: this is no P-384 public key in PEM") from None
    except KeyringError as error:
        raise ReceiptError(f"a trusted key: {error.cause}", error.remedy) from None
    if marked and not found and not keys:
        raise ReceiptError(
            "a trusted key: every one is marked revoked or expired",
            "get the keys of now (`fumehood key export-public`) by a way you trust",
        )
    return [*keys, *found]


def _opened(payload: bytes, signer: str) -> Receipt:
    statement = json.loads(payload)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise _unknown()  # 2. of the right kind
    predicate = statement["predicate"]
    line = predicate["line"].encode()
    found = hashlib.sha384(line).hexdigest()
    if [subject["digest"] for subject in statement["subject"]] != [{"sha384": found}]:
        raise ReceiptError("the receipt's subject is not its record")  # 3. of this record
    record, plan = json.loads(line), predicate["plan"]
    if plan is not None and plan_digest(plan) != record["plan"]:
        raise ReceiptError("the receipt's plan is not the one that is recorded")  # 4. and plan
    digest_key = predicate.get("digest_key") or ""
    bytes.fromhex(digest_key)
    if not isinstance(record, dict) or not isinstance(plan, dict | None):
        raise _unknown()
    return Receipt(
        str(record["invocation"]), str(record["tool"]), str(record["status"]),
        f"sha384:{found}", signer, record, plan, digest_key,
    )  # fmt: skip


def verify_log(
    directory: str | Path,
    trust: Iterable[PublicKey | str | bytes],
    *,
    first_key: str = "",
    at_least: int = 0,
) -> Report:
    """Verify an audit log, or a copy of one, as `fumehood audit verify --directory` does.

    Args:
        trust: public keys of `audit`, as for `verify_receipt`; any of them may have signed
            (`Report.signers` says which).
        first_key: the first sealing key as `audit init` showed it; without it seals are not
            checked. One that lies beside the log is not taken: who wrote the one may have
            written the other.
        at_least: the number of a record that the log is known to have had.

    Returns:
        What was found: `ok`, and else `first_bad` with kind, file, line and message.

    Raises:
        AuditError: there is no log to read.
        KeyringError: a key is none.
    """
    from fumehood.audit.head import parse_first_key
    from fumehood.audit.report import Trust
    from fumehood.audit.verify import verify

    first = parse_first_key(first_key) if first_key else None
    return verify(Path(directory), Trust(first, _keys(trust))).reaching(at_least)


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
