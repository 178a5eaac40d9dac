"""What one caller may do now, and how it came to that: sessions, quotas, budgets, conduct.

A caller sees itself, an operator everybody. Must never make a limit larger than the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fumehood.admission.admit import Admission
from fumehood.admission.conduct import Change, Sign
from fumehood.audit.record import Field
from fumehood.errors import OverQuota, Rejected, UnknownSession, UsageError
from fumehood.model.principal import Principal
from fumehood.model.request import Caller
from fumehood.model.result import Result
from fumehood.supervisor.attempts import Attempts
from fumehood.supervisor.signals import TRIPPED

MISTAKES: Final = frozenset(
    {"unauthorized", "unknown_tool", "invalid_arguments", "unknown_session"}
)
INJECTION_KINDS: Final = frozenset({"injection", "prompt_injection"})


@dataclass(frozen=True, slots=True)
class Shown:
    value: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.value)


@dataclass(slots=True)
class Callers:
    """append: puts a record into the audit log. record: the same, and returns once it is on disk.

    operator_only: returns for an operator, and records and refuses others.
    """

    admission: Admission
    append: Callable[[str, Mapping[str, Field]], object]
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[object]]
    attempts: Attempts
    _easing: asyncio.TimerHandle | None = field(default=None)

    def __post_init__(self) -> None:
        self.attempts.guessed = self._guessed

    # --- conduct

    def refused(self, principal: Principal, error: Rejected) -> None:
        """A call was refused: by its own fault, or because it wanted too much."""
        if error.code in MISTAKES:
            self._note(principal, "rejected")
        elif isinstance(error, OverQuota) and error.limit:
            self._note(principal, "over_quota")

    def _guessed(self, principal: Principal) -> None:
        """Somebody tried, outside of a call, what is not theirs or that there is not."""
        self._note(principal, "guessed")

    def ended(self, principal: Principal, result: Result) -> None:
        """A call has ended; what its tool attempted counts against who called it, each sign once:
        how often it stands in one result is the tool's to say."""
        killed = any(finding.rule == TRIPPED for finding in result.findings)
        if killed or result.status == "syscall_killed":
            self._note(principal, "syscall_killed")
        if any(finding.kind in INJECTION_KINDS for finding in result.findings):
            self._note(principal, "injection")

    def _note(self, principal: Principal, sign: Sign, count: int = 1) -> None:
        change = self.admission.quota.conduct.note(principal.name, sign, count)
        if change is not None:
            self._tell(change)
            self._ease_later()

    def _ease_later(self) -> None:
        due = self.admission.quota.conduct.due()
        if self._easing is None and due is not None:
            self._easing = asyncio.get_running_loop().call_later(due, self._ease)

    def _ease(self) -> None:
        self._easing = None
        for change in self.admission.quota.conduct.ease():
            self._tell(change)
        self._ease_later()

    def _tell(self, change: Change) -> None:
        event = "caller.tightened" if change.level > change.before else "caller.eased"
        fields: dict[str, Field] = {
            "principal": change.principal,
            "level": change.level,
            "before": change.before,
            "signs": dict(change.signs),
        }
        self.append(event, fields)

    def close(self) -> None:
        if self._easing is not None:
            self._easing.cancel()

    # --- for callers and operators

    async def show(self, caller: Caller, who: str | None) -> Shown:
        """What a caller may do now; `who` is a user's name or UID, None the caller itself.

        Raises:
            Unauthorized: only an operator may look at others. UsageError: no such user.
        """
        authorizer = self.admission.authorizer
        principal = authorizer.principal(caller)
        if who is not None:
            account = authorizer.account(who)
            if account is None or account.uid != caller.uid:
                await self.operator_only(caller, "caller.show_refused")
                if account is None:
                    raise UsageError(f"this host has no user {who[:64]!r}", "give a name or a UID")
                principal = authorizer.principal(account)
        quota, budgets = self.admission.quota, self.admission.budgets
        return Shown(
            {
                "principal": principal.name,
                "roles": sorted(principal.roles),
                **quota.to_json(principal.name),
                "conduct": quota.conduct.to_json(principal.name),
                "budgets": [count.to_json() for count in budgets.counts(principal)],
                "sessions": self.admission.sessions.to_json(principal.name),
            }
        )

    async def open_session(self, caller: Caller) -> Shown:
        """A new session of the caller; raises OverQuota."""
        principal = self.admission.authorizer.principal(caller)
        handle, session = self.admission.sessions.open(principal.name)
        fields: dict[str, Field] = {"principal": principal.name, "session": session.id}
        await self.record("session.opened", fields)
        lifetime = self.admission.sessions.lifetime
        return Shown({"session": handle, "id": session.id, "expires_seconds": lifetime})

    async def close_session(self, caller: Caller, handle: str) -> Shown:
        """End a session of the caller; raises UnknownSession."""
        principal = self.admission.authorizer.principal(caller)
        try:
            session = self.admission.sessions.close(principal.name, handle)
        except UnknownSession as error:  # the handle may be somebody's: it is not recorded
            await self.attempts.refused(caller, "session.close_refused", error)
            raise
        fields: dict[str, Field] = {"principal": principal.name, "session": session.id}
        await self.record("session.closed", fields)
        return Shown({"id": session.id})
