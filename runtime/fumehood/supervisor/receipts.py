"""Receipts: signed accounts of what is recorded of an invocation, for its caller or an operator.

Nothing is signed while a call runs (0.5 ms each); its record's digest goes out with the result,
and whoever wants proof of it asks later. Must never sign anything but a terminal record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import structlog

from fumehood.audit.chain import AuditLog
from fumehood.audit.find import Found
from fumehood.audit.receipt import PAYLOAD_TYPE, statement
from fumehood.audit.record import Field
from fumehood.audit.replay import TERMINAL
from fumehood.crypto import dsse
from fumehood.crypto.keyring import Digester
from fumehood.crypto.ring import Ring, now
from fumehood.errors import AuditError, KeyringError, UnknownInvocation
from fumehood.model.codec import encode
from fumehood.model.plan import Plan
from fumehood.model.request import Caller

log = structlog.get_logger(__name__)

PLAN_USED: Final = "plan.used"
"""The event that holds a plan, by digest, once in each segment of the log."""
MAX_PLANS: Final = 8192
"""Plans that are remembered as recorded; beyond, all are recorded anew."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A DSSE envelope, for `to_json` of the gateway."""

    envelope: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.envelope)


class Receipts:
    """records: what the log has of an invocation; plans: of a plan's digest, before a record's
    number. Both block."""

    def __init__(
        self,
        ring: Ring,
        digester: Digester,
        audit: AuditLog,
        records: Callable[[str], Found],
        plans: Callable[[str, int], Mapping[str, Any] | None],
        is_operator: Callable[[Caller], bool],
        version: str,
    ) -> None:
        self._ring = ring
        self._digester = digester
        self._audit = audit
        self._records = records
        self._plans = plans
        self._is_operator = is_operator
        self._version = version
        self._recorded: set[str] = set()
        self._segments = 0
        self._reader = ThreadPoolExecutor(1, "receipts")

    def digests(self, invocation: str, *data: bytes) -> tuple[str, ...]:
        """Keyed digests that a receipt can open for this invocation alone."""
        return self._digester.of(invocation, *data)

    def uses(self, plan: Plan) -> None:
        """Have a plan on record before a call that ran under it ends, and near by: in its segment,
        or the one before, which was the newest just now."""
        segments = self._audit.segments
        if len(self._recorded) >= MAX_PLANS or segments != self._segments:
            self._recorded.clear()
            self._segments = segments
        name = plan.digest()
        if name in self._recorded:
            return
        content: dict[str, Field] = encode(plan)
        try:
            self._audit.append(PLAN_USED, {"plan": name, "content": content})
        except AuditError as error:  # too large, or the log fails: the receipt has the digest
            log.warning("a plan is not on record", plan=name, error=error.cause)
            return
        self._recorded.add(name)

    async def receipt(self, caller: Caller, invocation: str) -> Signed:
        """The receipt of an invocation that ended.

        Raises:
            UnknownInvocation: none of the caller's own, or none that ended.
            KeyringError: it cannot be signed just now.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, self._signed, caller, invocation)

    def _signed(self, caller: Caller, invocation: str) -> Signed:
        found = self._records(invocation)
        ended = [
            (record, line)
            for record, line in zip(found.records, found.lines, strict=True)
            if record["event"] in TERMINAL
        ]
        if not ended and found.broken and self._may_know(caller, found.records):
            raise UnknownInvocation(
                "records of this invocation in the audit log are damaged, so it has no receipt",
                "`fumehood audit verify` says where; a forwarded copy has them",
            )
        if not ended or not self._may(caller, ended[0][0]):
            raise _unknown(whole=found.whole)
        record, line = ended[0]
        plan = record.get("plan")
        payload = statement(
            line,
            plan=self._plans(plan, record["seq"]) if isinstance(plan, str) else None,
            digest_key=self._opened(record, invocation),
            issued=now(),
            version=self._version,
        )
        return Signed(dsse.sign(PAYLOAD_TYPE, payload, self._ring.signer("receipt")))

    def _opened(self, record: Mapping[str, Any], invocation: str) -> str:
        arguments = str(record.get("arguments", "")).split(":")
        if len(arguments) != 3:
            return ""
        try:
            return self._digester.reveal(arguments[1], invocation)
        except KeyringError:  # revoked since: the digest opens no more
            return ""

    def _may(self, caller: Caller, record: Mapping[str, Any]) -> bool:
        who = record.get("caller")
        own = isinstance(who, dict) and who.get("uid") == caller.uid
        return own or self._is_operator(caller)

    def _may_know(self, caller: Caller, records: Sequence[Mapping[str, Any]]) -> bool:
        """Whose call a damaged record is of it does not prove; one that is whole does."""
        return self._is_operator(caller) or any(self._may(caller, record) for record in records)

    def close(self) -> None:
        self._reader.shutdown(wait=False, cancel_futures=True)


def _unknown(*, whole: bool) -> UnknownInvocation:
    """whole: the whole log was searched; then, and only then, there is none."""
    if whole:
        return UnknownInvocation(
            "no such invocation has ended", "one's own can be asked for, operators for all"
        )
    return UnknownInvocation(
        "no such invocation has ended in the parts of the audit log that were searched",
        "an operator finds it in all of the log: `fumehood audit show ID`",
    )
