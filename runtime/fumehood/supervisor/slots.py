"""Sandboxes for invocations: bounded in number, fair between callers, bounded in waiting.

A caller with a thousand waiting calls does not starve another's one: free slots go round the
callers, not along the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator

from fumehood.errors import OverQuota

Key = int


class Slots:
    """At most `size` at once; at most `queue` waiting, each at most `patience` seconds."""

    def __init__(self, size: int, queue: int, patience: float) -> None:
        self._free = size
        self._queue = queue
        self._patience = patience
        self._waiting: OrderedDict[Key, deque[asyncio.Future[None]]] = OrderedDict()
        self.waiting = 0
        self.taken = 0

    @contextlib.asynccontextmanager
    async def slot(self, caller: Key) -> AsyncIterator[None]:
        """Hold one place.

        Raises:
            OverQuota: the queue is full, or no place became free in time.
        """
        await self._take(caller)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._give_back()

    async def _take(self, caller: Key) -> None:
        if self._free and not self.waiting:
            self._free -= 1
            return
        if self.waiting >= self._queue:
            raise OverQuota(
                f"the queue of {self._queue} invocations is full",
                "call again later",
                retry_after=self._patience / 4,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            self._leave(caller, turn)
            raise OverQuota(
                f"no sandbox became free within {self._patience:g} seconds",
                "call again later",
                retry_after=self._patience / 2,
            ) from None
        except asyncio.CancelledError:
            self._leave(caller, turn)
            raise

    def _leave(self, caller: Key, turn: asyncio.Future[None]) -> None:
        """Give up waiting; a slot that was just handed over goes to the next."""
        if turn.done() and not turn.cancelled():
            self._give_back()
            return
        queue = self._waiting.get(caller)
        if queue is not None and turn in queue:
            queue.remove(turn)
            self.waiting -= 1
            if not queue:
                del self._waiting[caller]

    def _give_back(self) -> None:
        while self._waiting:
            caller, queue = next(iter(self._waiting.items()))
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
