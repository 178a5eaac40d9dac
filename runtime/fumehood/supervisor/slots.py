"""Sandboxes for invocations: bounded in number, memory and waiting; fair between callers.

A caller with a thousand waiting calls does not starve another's one: free slots go round the
callers, not along the calls, and a full queue is full only for those who fill it. Nor does a
caller whose calls run long: one caller alone never holds everything, so another's call finds a
place. Nothing here knows what a slot is used for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fumehood.errors import OverQuota, Unavailable

Key = int
UNBOUNDED = 1 << 62
RESERVED = 8
"""One caller leaves an eighth of the places to others, and at least one; and an eighth of the
memory. A caller who holds nothing may always have one place, whatever its size."""


@dataclass(slots=True, eq=False)
class _Turn:
    """A call that waits, and what it needs."""

    tool: str
    memory: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class _Held:
    """What one caller holds."""

    places: int = 0
    memory: int = 0


class Slots:
    """At most `size` at once; at most `queue` waiting, each at most `patience` seconds.

    One caller holds at most its share of `size` and `memory`, see `RESERVED`; its further calls
    wait, those of others pass them.

    per_tool: of one tool at once; its further calls wait, those of other tools pass them.
    memory: bytes that all slots together may hold. A call that needs more than is left waits,
        and nobody passes it, so that a large one is not starved by small ones. One that needs
        more than there is runs alone.
    """

    def __init__(
        self,
        size: int,
        queue: int,
        patience: float,
        *,
        per_tool: int = UNBOUNDED,
        memory: int = UNBOUNDED,
    ) -> None:
        self._free = size
        self._share = max(1, size - max(1, size // RESERVED))
        self._memory_share = memory - memory // RESERVED
        self._held: dict[Key, _Held] = {}
        self._queue = queue
        self._patience = patience
        self._per_tool = per_tool
        self._memory = self._memory_left = memory
        self._tools: Counter[str] = Counter()
        self._waiting: OrderedDict[Key, deque[_Turn]] = OrderedDict()
        self._closed = False
        self.waiting = 0
        self.taken = 0

    @contextlib.asynccontextmanager
    async def slot(self, caller: Key, tool: str = "", memory: int = 0) -> AsyncIterator[None]:
        """Hold one place.

        Raises:
            OverQuota: the queue is full, or no place became free in time.
            Unavailable: the supervisor stops.
        """
        turn = _Turn(tool, min(memory, self._memory), asyncio.get_running_loop().create_future())
        await self._take(caller, turn)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._give_back(caller, turn)

    def close(self) -> None:
        """Refuse whoever waits, and whoever comes. Places that are held stay held."""
        self._closed = True
        for queue in self._waiting.values():
            for turn in queue:
                if not turn.granted.done():
                    turn.granted.set_exception(_stopping())
        self._waiting.clear()
        self.waiting = 0

    async def _take(self, caller: Key, turn: _Turn) -> None:
        if self._closed:
            raise _stopping()
        self._waiting.setdefault(caller, deque()).append(turn)
        self.waiting += 1
        self._serve()  # what waits may be held up by what this one does not need
        if self.waiting > self._queue:
            self._make_room(caller)
        try:
            async with asyncio.timeout(self._patience):
                await turn.granted
        except TimeoutError:
            self._leave(caller, turn)
            raise OverQuota(
                f"no sandbox became free within {self._patience:g} seconds",
                f"call again in {self._patience / 2:g} s",
                retry_after=self._patience / 2,
            ) from None
        except asyncio.CancelledError:
            self._leave(caller, turn)
            raise

    def _make_room(self, caller: Key) -> None:
        """In a queue that the caller's new call made too long, the newest call of whoever has
        most there gives way to one who has less; when nobody has to, the new one is refused."""
        counts = {key: len(queue) for key, queue in self._waiting.items()}
        counts[caller] -= 1
        most = max(counts, key=counts.__getitem__)
        loser = most if counts[most] > counts[caller] + 1 else caller
        turn = self._waiting[loser].pop()
        self.waiting -= 1
        if not self._waiting[loser]:
            del self._waiting[loser]
        if not turn.granted.done():
            turn.granted.set_exception(self._full())

    def _full(self) -> OverQuota:
        return OverQuota(
            f"the queue of {self._queue} invocations is full",
            f"call again in {self._patience / 4:g} s",
            retry_after=self._patience / 4,
        )

    def _within_share(self, caller: Key, turn: _Turn) -> bool:
        held = self._held.get(caller)
        return held is None or (
            held.places < self._share and held.memory + turn.memory <= self._memory_share
        )

    def _fits(self, turn: _Turn) -> bool:
        return self._free > 0 and turn.memory <= self._memory_left

    def _hold(self, caller: Key, turn: _Turn) -> None:
        held = self._held.setdefault(caller, _Held())
        held.places += 1
        held.memory += turn.memory
        self._free -= 1
        self._memory_left -= turn.memory
        self._tools[turn.tool] += 1

    def _give_back(self, caller: Key, turn: _Turn) -> None:
        held = self._held[caller]
        held.places -= 1
        held.memory -= turn.memory
        if not held.places:
            del self._held[caller]
        self._free += 1
        self._memory_left += turn.memory
        self._tools[turn.tool] -= 1
        if not self._tools[turn.tool]:
            del self._tools[turn.tool]
        self._serve()

    def _leave(self, caller: Key, turn: _Turn) -> None:
        """Give up waiting; a slot that was just handed over goes to the next."""
        if turn.granted.done() and not turn.granted.cancelled():
            if turn.granted.exception() is None:
                self._give_back(caller, turn)
            return
        queue = self._waiting.get(caller)
        if queue is not None and turn in queue:
            self._drop(caller, queue, turn)
            self._serve()

    def _serve(self) -> None:
        """Hand out what is free, one place to each caller in turn."""
        while self._free and (found := self._next()) is not None:
            caller, queue, turn = found
            if not self._fits(turn):
                return
            self._drop(caller, queue, turn)
            if not turn.granted.done():
                self._hold(caller, turn)
                turn.granted.set_result(None)

    def _next(self) -> tuple[Key, deque[_Turn], _Turn] | None:
        """Who is to have the next place. Of one caller's calls, a large one that waits for its
        caller's memory is not passed by small ones either."""
        for caller, queue in self._waiting.items():
            turn = next((t for t in queue if self._tools[t.tool] < self._per_tool), None)
            if turn is not None and self._within_share(caller, turn):
                return caller, queue, turn
        return None

    def _drop(self, caller: Key, queue: deque[_Turn], turn: _Turn) -> None:
        queue.remove(turn)
        self.waiting -= 1
        if queue:
            self._waiting.move_to_end(caller)
        else:
            del self._waiting[caller]


def _stopping() -> Unavailable:
    return Unavailable("the supervisor is stopping", "call again in 5 s", retry_after=5.0)
