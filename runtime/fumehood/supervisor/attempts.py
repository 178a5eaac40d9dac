"""What callers attempted and were refused outside of calls, on record: sessions that are not
theirs, tools that they may not know of, registrations that conflict or are out of bounds.

Must never let a flood of attempts fill the log or hide who made it: of each caller and kind the
first of a minute are recorded, the others counted and told with the next one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fumehood.admission.buckets import Buckets, Want
from fumehood.audit.record import Field
from fumehood.errors import FumehoodError
from fumehood.model.request import Caller

EACH: Final = 10
"""Records a minute of one principal and kind."""
ALL: Final = 120
"""Records a minute of everybody's attempts together."""
MAX_COUNTED: Final = 4_096
_CAUSE: Final = 400


@dataclass(slots=True)
class Attempts:
    """principal: whose name a caller counts under. record: returns once it is on disk. clock:
    seconds, monotonic."""

    principal: Callable[[Caller], str]
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    clock: Callable[[], float]
    _buckets: Buckets = field(init=False)
    _unrecorded: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._buckets = Buckets(self.clock)

    async def refused(
        self,
        caller: Caller,
        event: str,
        error: FumehoodError,
        fields: Mapping[str, Field] | None = None,
    ) -> None:
        """Record a refusal, or count it where this caller had its share of records.

        fields: what more is known, bounded by whoever gives it.
        """
        name = self.principal(caller)
        key = (name, event)
        wants = (Want(key, EACH, 60.0, "attempts"), Want("all", ALL, 60.0, "attempts", shared=True))
        if self._buckets.take(wants) is not None:
            self._count(key)
            return
        more: dict[str, Field] = {
            "caller": {"uid": caller.uid, "gid": caller.gid, "pid": caller.pid},
            "principal": name,
            "code": error.code,
            "cause": error.cause[:_CAUSE],
        }
        if unrecorded := self._unrecorded.pop(key, 0):
            more["unrecorded"] = unrecorded
        await self.record(event, {**(fields or {}), **more})

    def _count(self, key: tuple[str, str]) -> None:
        if key not in self._unrecorded and len(self._unrecorded) >= MAX_COUNTED:
            del self._unrecorded[next(iter(self._unrecorded))]
        self._unrecorded[key] = self._unrecorded.get(key, 0) + 1
