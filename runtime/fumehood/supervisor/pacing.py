"""Slows down who is refused all the time. Each refused call has a record, which costs the log about
600 bytes: a flood of them would push out of it what was there before.

Nothing that is admitted ever waits here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

BURST: Final = 1_000
"""Refusals of one principal that are answered at once."""
EACH_SECONDS: Final = 0.1
"""Then one in so many seconds: 22 MB of the log in an hour."""
MAX_HELD: Final = 16_384


@dataclass(slots=True)
class Pacing:
    """clock: seconds, monotonic."""

    clock: Callable[[], float]
    _paid: dict[str, float] = field(default_factory=dict)
    """By principal, when all its refusals are paid for (the generic cell rate algorithm)."""

    async def refusal(self, principal: str) -> None:
        """Return when another refusal of this principal may be recorded."""
        wait = self.wait(principal)
        if wait > 0:
            await asyncio.sleep(wait)

    def wait(self, principal: str) -> float:
        """Seconds until then; counts the refusal."""
        now = self.clock()
        if len(self._paid) >= MAX_HELD:
            self._paid = {name: at for name, at in self._paid.items() if at > now}
        paid = max(self._paid.get(principal, now), now) + EACH_SECONDS
        self._paid[principal] = paid
        return max(0.0, paid - now - BURST * EACH_SECONDS)
