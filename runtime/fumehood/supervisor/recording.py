"""Audit records from the event loop, each on disk before what depends on it goes on.

While little runs and the disk is quick, the loop writes them itself (0.2 ms): waking a thread and
being woken by it takes longer than the disk does. Otherwise the writer's thread takes many with
one fsync, and the loop goes on. Must never let a caller go on without its record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from typing import Final

from fumehood.audit.chain import AuditLog
from fumehood.audit.record import Field, Position

FEW_CALLS: Final = 2
"""With more of them running, one fsync for several is worth the wake-ups."""
QUICK_SECONDS: Final = 0.003
"""A disk whose last write took longer is not waited for on the event loop."""


class Recorder:
    """One for the supervisor. running: how many invocations there are just now."""

    def __init__(self, audit: AuditLog, running: Callable[[], int]) -> None:
        self._audit = audit
        self._running = running

    def begin(self, event: str, fields: Mapping[str, Field]) -> Callable[[], Awaitable[Position]]:
        """Queue a record. It is on disk when what this returns has returned; whoever does not
        call that leaves it to the next record.

        Raises:
            AuditError: see `AuditLog.append`.
        """
        ourselves = self._running() <= FEW_CALLS and self._audit.seconds <= QUICK_SECONDS
        done = self._audit.append(event, fields, wake=not ourselves)

        async def written() -> Position:
            if ourselves:
                self._audit.write_now()
            return await _of(done)

        return written

    async def record(self, event: str, fields: Mapping[str, Field]) -> Position:
        """Wait until a record is on disk, also when the caller no longer waits."""
        return await self.begin(event, fields)()


async def _of(done: Future[Position]) -> Position:
    if done.done():
        return done.result()
    return await asyncio.shield(asyncio.wrap_future(done))
