"""Whose turn it is to have a tool's files stored: a few at once, one of each caller, in order.

A tree takes the disk seconds, and a stuck disk a minute; nothing else may wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from fumehood.errors import OverQuota

AT_ONCE: Final = 2
"""Trees that are stored at once; the keeper starts `keeper.MAX_SEALERS` processes for them and for
what is deleted."""
EACH: Final = 4
"""Registrations of one principal whose files are being stored, one at a time, or wait for it."""
ALL: Final = 16
"""Of everybody together."""


@dataclass(slots=True)
class Seals:
    """For the event loop."""

    _running: set[str] = field(default_factory=set)
    _waiting: list[tuple[str, asyncio.Future[None]]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def turn(self, principal: str) -> AsyncIterator[None]:
        """Wait for a turn of this principal, and keep it until the block ends; raises OverQuota."""
        own = sum(name == principal for name, _ in self._waiting) + (principal in self._running)
        if own >= EACH or len(self._waiting) + len(self._running) >= ALL:
            raise OverQuota(
                f"{own} of your registrations wait for their files to be stored"
                if own >= EACH
                else "too many registrations wait for their files to be stored",
                "try again in a moment",
                retry_after=2.0,
                limit="registrations",
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((principal, turn))
        self._next()
        try:
            await turn
            yield
        finally:
            if turn.done() and not turn.cancelled():
                self._running.discard(principal)
            else:
                self._waiting.remove((principal, turn))
            self._next()

    def _next(self) -> None:
        """Begin what may, the oldest first of those whose principal has none running."""
        for entry in list(self._waiting):
            principal, turn = entry
            if len(self._running) >= AT_ONCE:
                return
            if principal not in self._running and not turn.cancelled():
                self._waiting.remove(entry)
                self._running.add(principal)
                turn.set_result(None)
