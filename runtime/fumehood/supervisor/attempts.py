"""What callers attempted and were refused outside of calls, on record: sessions that are not
theirs, tools that they may not know of, registrations that conflict or are out of bounds.

Must never let a flood of attempts fill the log or hide who made it: of each caller and kind the
first of a minute are recorded, the others counted and told with the next one, or in one record
for everybody when the minute is over.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import structlog

from fumehood.admission.buckets import Buckets, Want
from fumehood.audit.record import Field
from fumehood.errors import (
    FumehoodError,
    Unauthorized,
    UnknownApproval,
    UnknownInvocation,
    UnknownSession,
    UnknownTool,
)
from fumehood.model.principal import Principal
from fumehood.model.request import Caller
from fumehood.supervisor.fields import of_caller

log = structlog.get_logger(__name__)

T = TypeVar("T")

EACH: Final = 10
"""Records a minute of one principal and kind."""
ALL: Final = 120
"""Records a minute of everybody's attempts together."""
MAX_COUNTED: Final = 4_096
MAX_TOLD: Final = 50
"""Of what was only counted, so many kinds by name in one record; the rest as a sum."""
TELL_SECONDS: Final = 60.0
GUESSES: Final = (Unauthorized, UnknownApproval, UnknownInvocation, UnknownSession, UnknownTool)
"""What is refused to somebody who tries what is not theirs, or that there is not: nobody can tell
these apart, and neither do we."""
_CAUSE: Final = 400
_ID: Final = re.compile(r"[0-9a-f-]{1,64}")


def as_asked(name: str) -> str:
    """The id of an invocation or approval that somebody asked for, as it may stand in a record:
    what has not the form of one may be anything that slipped in there."""
    return name if _ID.fullmatch(name) else "*"


@dataclass(slots=True)
class Attempts:
    """principal: who a caller counts as. record: returns once it is on disk. append: the same,
    without waiting. clock: seconds, monotonic. guessed: is told who tried what is not theirs, each
    time."""

    principal: Callable[[Caller], Principal]
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    append: Callable[[str, Mapping[str, Field]], object]
    clock: Callable[[], float]
    guessed: Callable[[Principal], None] = lambda _: None
    _buckets: Buckets = field(init=False)
    _unrecorded: dict[tuple[str, str], int] = field(default_factory=dict)
    _timer: asyncio.TimerHandle | None = field(default=None)

    def __post_init__(self) -> None:
        self._buckets = Buckets(self.clock)

    def noting(
        self,
        event: str,
        work: Callable[[Caller, str], Awaitable[T]],
        own: Callable[[Caller, str], bool] = lambda _caller, _invocation: False,
    ) -> Callable[[Caller, str], Coroutine[Any, Any, T]]:
        """The same, with a record of those who asked for an invocation that is not theirs, or
        that there is not: to them it is one and the same. own: whether it was theirs, which is no
        guess; it may have ended just now."""

        async def noted(caller: Caller, invocation: str) -> T:
            try:
                return await work(caller, invocation)
            except UnknownInvocation as error:
                guess = not own(caller, invocation)
                asked: dict[str, Field] = {"asked_for": as_asked(invocation)}
                await self.refused(caller, event, error, asked, guess=guess)
                raise

        return noted

    async def refused(
        self,
        caller: Caller,
        event: str,
        error: FumehoodError,
        fields: Mapping[str, Field] | None = None,
        *,
        guess: bool = True,
    ) -> None:
        """Record a refusal, or count it where this caller had its share of records.

        Args:
            fields: what more is known, bounded by whoever gives it.
            guess: whether one of `GUESSES` counts against the caller.
        """
        principal = self.principal(caller)
        name = principal.name
        if guess and isinstance(error, GUESSES):
            self.guessed(principal)
        key = (name, event)
        wants = (Want(key, EACH, 60.0, "attempts"), Want("all", ALL, 60.0, "attempts", shared=True))
        if self._buckets.take(wants) is not None:
            self._count(key)
            return
        more: dict[str, Field] = {
            "caller": of_caller(caller),
            "principal": name,
            "code": error.code,
            "cause": error.recorded[:_CAUSE],
        }
        log.info("refused", attempt=event, principal=name, code=error.code)
        if unrecorded := self._unrecorded.pop(key, 0):
            more["unrecorded"] = unrecorded
        await self.record(event, {**(fields or {}), **more})

    def count(self, caller: Caller, event: str) -> None:
        """One that is only counted."""
        self._count((self.principal(caller).name, event))

    async def operator_only(self, caller: Caller, event: str) -> None:
        """Return for an operator; record what somebody else attempted, and raise Unauthorized."""
        if self.principal(caller).operates:
            return
        error = Unauthorized(
            "only an operator may do this",
            "ask an operator, or have your account listed under `operators`",
        )
        await self.refused(caller, event, error)
        raise error

    def tell(self) -> None:
        """Record what was only counted since the last time: one record, however much it was."""
        self._timer = None
        counted, self._unrecorded = self._unrecorded, {}
        if not counted:
            return
        most = sorted(counted.items(), key=lambda item: item[1], reverse=True)
        told: list[Field] = [
            {"principal": name, "event": event, "count": count}
            for (name, event), count in most[:MAX_TOLD]
        ]
        others = sum(count for _, count in most[MAX_TOLD:])
        self.append("attempts.counted", {"attempts": told, "others": others})

    def close(self) -> None:
        """Tell what there still is."""
        if self._timer is not None:
            self._timer.cancel()
        self.tell()

    def _count(self, key: tuple[str, str]) -> None:
        if key not in self._unrecorded and len(self._unrecorded) >= MAX_COUNTED:
            del self._unrecorded[next(iter(self._unrecorded))]
        self._unrecorded[key] = self._unrecorded.get(key, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self.tell)
