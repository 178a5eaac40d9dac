"""Calls that wait for an operator's approval: asked, shown as they will run, answered once.

Must never let a call pass that nobody approved, that its own caller approved, that could not be
seen whole, or whose approval is not on record. Everything here ends with the supervisor: an
approval cannot outlive its call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
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
    UsageError,
)
from fumehood.model.principal import Principal
from fumehood.model.quotas import Approvals as Settings
from fumehood.model.request import Admitted, Asking, Caller
from fumehood.supervisor.attempts import Attempts, as_asked

ID_BYTES: Final = 12
"""Nobody is let in by an id, but nobody should guess that one exists either."""
SHOWN_BYTES: Final = 64 * 1024
"""Of the arguments, in a list. Who approves a call with more has to say by their digest that they
were seen: nobody can agree to what is not shown."""
PIECE_BYTES: Final = 1 << 20
"""Of the arguments, in one answer of `arguments`."""

Record = Callable[[str, Mapping[str, Field]], Awaitable[object]]


@dataclass(slots=True)
class _Pending:
    """A call that waits. answer: who approved it, or why not."""

    approval: str
    asking: Asking
    caller: Principal
    expires: float
    answer: asyncio.Future[Principal]
    digest: str
    """`sha384:<hex>` of the arguments, exactly as the tool would read them."""
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
            # Cut between two characters: the whole is UTF-8.
            "arguments": arguments[:SHOWN_BYTES].decode(errors="ignore"),
            "arguments_bytes": len(arguments),
            "arguments_digest": self.digest,
            "expires_seconds": round(max(self.expires - time.monotonic(), 0.0), 1),
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """The calls that wait, the oldest first."""

    listed: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"approvals": self.listed}


@dataclass(frozen=True, slots=True)
class Piece:
    """Of the arguments of a call that waits. total: bytes of all of them; digest: of these."""

    offset: int
    data: bytes
    total: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        return {
            "offset": self.offset, "data": base64.b64encode(self.data).decode(),
            "arguments_bytes": self.total, "arguments_digest": self.digest,
        }  # fmt: skip


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

    async def arguments(self, caller: Caller, approval: str, offset: int) -> Piece:
        """What would be fed to the tool, from `offset` on, as bytes; raises UnknownApproval, also
        for a call of others."""
        principal = self.admission.authorizer.principal(caller)
        pending = self._pending.get(approval)
        if pending is None or not (principal.operates or pending.caller == principal):
            error = _unknown()
            fields: dict[str, Field] = {"approval": as_asked(approval)}
            await self.attempts.refused(caller, "approval.show_refused", error, fields)
            raise error
        whole = pending.asking.request.arguments_json
        return Piece(offset, whole[offset : offset + PIECE_BYTES], len(whole), pending.digest)

    async def answer(
        self, caller: Caller, approval: str, *, grant: bool, digest: str | None = None
    ) -> Answered:
        """Let a call pass, or not; each is answered once.

        Args:
            digest: of the arguments that were seen; needed to approve more than `SHOWN_BYTES`.

        Raises:
            UsageError: that is missing, or of other arguments; the call goes on waiting.
            Unauthorized: who answers is no operator, or the call's own caller.
            UnknownApproval: none of that id waits.
        """
        by = self.admission.authorizer.principal(caller)
        pending = self._pending.get(approval)
        refusal = _refusal(by, pending) or _unseen(pending, digest, grant=grant)
        if pending is None or refusal is not None:
            error = refusal or _unknown()
            fields: dict[str, Field] = {"approval": as_asked(approval), "by": by.name}
            await self.attempts.refused(caller, "approval.refused", error, fields)
            raise error
        del self._pending[approval]
        if pending.expiry is not None:  # from here on it is answered, however long the disk takes
            pending.expiry.cancel()
        shown = pending.to_json(operator=True)
        word = "approval.granted" if grant else "approval.denied"
        recorded = False
        try:
            await self._tell(word, pending, {"by": by.name, "bound": digest is not None})
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
        seen = "sha384:" + hashlib.sha384(asking.request.arguments_json).hexdigest()
        pending = _Pending(name, asking, caller, expires, loop.create_future(), seen)
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


def _unseen(pending: _Pending | None, digest: str | None, *, grant: bool) -> UsageError | None:
    """Why what was seen is not what would run."""
    if pending is None or not grant:
        return None
    if digest is None and len(pending.asking.request.arguments_json) > SHOWN_BYTES:
        return UsageError(
            f"its arguments are more than the {SHOWN_BYTES} bytes that are listed",
            f"look at all of them (`fumehood approvals {pending.approval} --full`, or `--output "
            "FILE`), and approve with the --digest that is shown there",
        )
    if digest not in (None, pending.digest):
        return UsageError(
            "its arguments have another digest",
            f"look at them again: `fumehood approvals {pending.approval} --full`",
        )
    return None


def _unknown() -> UnknownApproval:
    return UnknownApproval("no such call waits for approval", "`fumehood approvals` lists them")
