"""Calls that wait for an operator's approval: asked, shown as they will run, answered once.

Must never let a call pass that nobody approved, that its own caller approved, or whose approval is
not on record. Everything here ends with the supervisor: an approval cannot outlive its call.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fumehood.admission.admit import Admission
from fumehood.audit.record import Field
from fumehood.errors import (
    FumehoodError,
    NotApproved,
    OverQuota,
    Unauthorized,
    UnknownApproval,
)
from fumehood.model.principal import Principal
from fumehood.model.quotas import Approvals as Settings
from fumehood.model.request import Admitted, Asking, Caller
from fumehood.supervisor.attempts import Attempts

ID_BYTES: Final = 12
"""Nobody is let in by an id, but nobody should guess that one exists either."""
SHOWN_BYTES: Final = 64 * 1024
"""Of the arguments; a call with more is not asked about: nobody can agree to what is not shown."""

Record = Callable[[str, Mapping[str, Field]], Awaitable[object]]


@dataclass(slots=True)
class _Pending:
    """A call that waits. answer: who approved it, or why not."""

    approval: str
    asking: Asking
    caller: Principal
    expires: float
    answer: asyncio.Future[Principal]
    expiry: asyncio.TimerHandle | None = None

    def to_json(self, *, operator: bool) -> dict[str, Any]:
        """operator: which rule asks, and why, is for operators alone."""
        request, tool = self.asking.request, self.asking.tool
        arguments = request.arguments_json
        run = tool.manifest.run
        return {
            "approval": self.approval,
            "invocation": request.invocation,
            "caller": {"principal": self.caller.name, "name": request.caller.name},
            **({"reason": self.asking.reason, "rule": self.asking.rule} if operator else {}),
            "tool": tool.manifest.name,
            "version": tool.manifest.version,
            "digest": tool.digest,
            "command": list(run.command),
            "image": run.image,
            "network": tool.manifest.network,
            "limits": tool.manifest.limits.model_dump(mode="json"),
            "arguments": arguments[:SHOWN_BYTES].decode(errors="replace"),
            "arguments_bytes": len(arguments),
            "expires_seconds": round(max(self.expires - time.monotonic(), 0.0), 1),
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """The calls that wait, the oldest first."""

    listed: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"approvals": self.listed}


@dataclass(frozen=True, slots=True)
class Answered:
    """One that was answered, as it was shown."""

    shown: Mapping[str, Any]
    granted: bool

    def to_json(self) -> dict[str, Any]:
        return {**self.shown, "granted": self.granted}


@dataclass(slots=True)
class Approvals:
    """record: returns once it is on disk. digest: of arguments, as they are recorded."""

    admission: Admission
    settings: Settings
    record: Record
    digest: Callable[[bytes], str]
    attempts: Attempts
    _pending: dict[str, _Pending] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self._pending)

    async def wait(self, asking: Asking) -> Admitted:
        """Wait until an operator approves the call.

        Raises:
            OverQuota: too many calls wait already.
            NotApproved: it has more arguments than can be shown.
            NotApproved: it was denied, or nobody answered in time.
            Unauthorized, UnknownTool: it was approved, and may not run any more.
        """
        pending = self._enter(asking)
        try:
            shown = {"expires_seconds": self.settings.wait}
            await self._tell("approval.asked", pending, shown)
            by = await pending.answer
        except asyncio.CancelledError:
            if self._pending.pop(pending.approval, None) is not None:
                await self._tell("approval.withdrawn", pending, {})
            raise
        except NotApproved as error:
            if error.expired:
                await self._tell("approval.expired", pending, {})
            raise
        finally:
            self._pending.pop(pending.approval, None)
            if pending.expiry is not None:
                pending.expiry.cancel()
        return self.admission.approved(asking, by)

    def pending(self, caller: Caller) -> Waiting:
        """Those that wait: all for an operator, one's own for others."""
        principal = self.admission.authorizer.principal(caller)
        seen = (p for p in self._pending.values() if principal.operates or p.caller == principal)
        return Waiting([one.to_json(operator=principal.operates) for one in seen])

    async def answer(self, caller: Caller, approval: str, *, grant: bool) -> Answered:
        """Let a call pass, or not; each is answered once.

        Raises:
            Unauthorized: who answers is no operator, or the call's own caller.
            UnknownApproval: none of that id waits.
        """
        by = self.admission.authorizer.principal(caller)
        pending = self._pending.get(approval)
        refusal = _refusal(by, pending)
        if pending is None or refusal is not None:
            error = refusal or _unknown()
            fields: dict[str, Field] = {"approval": approval[:64], "by": by.name}
            await self.attempts.refused(caller, "approval.refused", error, fields)
            raise error
        del self._pending[approval]
        if pending.expiry is not None:  # from here on it is answered, however long the disk takes
            pending.expiry.cancel()
        shown = pending.to_json(operator=True)
        word = "approval.granted" if grant else "approval.denied"
        recorded = False
        try:
            await self._tell(word, pending, {"by": by.name})
            recorded = True
        finally:  # also when it cannot be recorded, or who answers is gone: nobody waits for ever
            if not pending.answer.done():
                if grant and recorded:
                    pending.answer.set_result(by)
                else:
                    cause = "an operator denied the call"
                    if grant:
                        cause = "the approval could not be recorded"
                    pending.answer.set_exception(NotApproved(cause))
        return Answered(shown, grant)

    def _enter(self, asking: Asking) -> _Pending:
        if len(asking.request.arguments_json) > SHOWN_BYTES:
            raise NotApproved(
                f"its arguments are more than the {SHOWN_BYTES} bytes that an operator is shown",
                "send fewer, or have an operator allow the call by a rule",
            )
        caller = self.admission.authorizer.principal(asking.request.caller)
        own = sum(one.caller.name == caller.name for one in self._pending.values())
        if own >= self.settings.per_caller or len(self._pending) >= self.settings.pending:
            raise OverQuota(
                "too many calls wait for approval"
                if own < self.settings.per_caller
                else f"{own} of your calls wait for approval, which is the most",
                "wait until some are answered",
                retry_after=min(self.settings.wait, 30.0),
            )
        loop = asyncio.get_running_loop()
        expires = time.monotonic() + self.settings.wait
        name = secrets.token_hex(ID_BYTES)
        pending = _Pending(name, asking, caller, expires, loop.create_future())
        pending.expiry = loop.call_later(self.settings.wait, _expire, pending)
        self._pending[pending.approval] = pending
        return pending

    async def _tell(self, event: str, pending: _Pending, more: Mapping[str, Field]) -> None:
        request, tool = pending.asking.request, pending.asking.tool
        await self.record(
            event,
            {
                "approval": pending.approval,
                "invocation": request.invocation,
                "caller": {"uid": request.caller.uid, "gid": request.caller.gid,
                           "pid": request.caller.pid},
                "tool": tool.manifest.name,
                "tool_digest": tool.digest,
                "arguments": self.digest(request.arguments_json),
                "rule": pending.asking.rule,
                **more,
            },
        )  # fmt: skip


def _expire(pending: _Pending) -> None:
    if not pending.answer.done():
        cause = "no operator approved the call in time"
        pending.answer.set_exception(NotApproved(cause, "ask one, and call again", expired=True))


def _refusal(by: Principal, pending: _Pending | None) -> FumehoodError | None:
    if not by.operates:
        return Unauthorized("only an operator may approve calls", "ask an operator")
    if pending is not None and pending.caller.name == by.name:
        return Unauthorized(
            "nobody approves a call of their own", "have another operator look at it"
        )
    return None


def _unknown() -> UnknownApproval:
    return UnknownApproval("no such call waits for approval", "`fumehood approvals` lists them")
