"""Audit records from the event loop, each on disk before what depends on it goes on.

While little runs and the disk is quick, the loop writes them itself (0.2 ms): waking a thread and
being woken by it takes longer than the disk does. Otherwise the writer's thread takes many with
one fsync: it is woken once for all that one turn of the loop had to record, and wakes the loop once
for all of them. Must never let a caller go on without its record.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fumehood.audit.chain import AuditLog
from fumehood.audit.queue import Queued
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
        self._waiting: dict[asyncio.Future[None], Queued] = {}
        """Changed by the loop alone; the writer's thread looks whether it is empty."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waking = False
        """Whether the writer's thread is woken with the next turn of the loop."""
        audit.listen(self._settled)

    def begin(self, event: str, fields: Mapping[str, Field]) -> Callable[[], Awaitable[Position]]:
        """Queue a record. It is on disk when what this returns has returned; whoever does not
        call that leaves it to the next record.

        Raises:
            AuditError: see `AuditLog.append`.
        """
        ourselves = self._running() <= FEW_CALLS and self._audit.seconds <= QUICK_SECONDS
        done = self._audit.append(event, fields, wake=False)
        if not ourselves and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_soon(self._wake)

        async def written() -> Position:
            if ourselves:
                self._audit.write_now()
            return done.result() if done.done() else await self._of(done)

        return written

    def _wake(self) -> None:
        self._waking = False
        self._audit.wake()

    async def record(self, event: str, fields: Mapping[str, Field]) -> Position:
        """Wait until a record is on disk, also when the caller no longer waits."""
        return await self.begin(event, fields)()

    async def _of(self, done: Queued) -> Position:
        """Who is cancelled here gives up waiting, no more."""
        self._loop = loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting[waiter] = done
        try:
            # Settled before it stood there: then nobody tells.
            if not done.done():
                await waiter
        finally:
            del self._waiting[waiter]
        return done.result()

    def _settled(self) -> None:
        """Called by who writes, once for a group: wakes the loop once for all that wait in it."""
        if self._waiting and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all that waited
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        for waiter, done in self._waiting.items():
            if done.done() and not waiter.done():
                waiter.set_result(None)
