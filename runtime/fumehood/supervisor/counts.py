"""How often something was seen of each of many within a time; what was seen last is kept longest.

Must never let many of a kind wipe out what was counted of one a moment ago.
"""

from __future__ import annotations

from collections import deque
from typing import Final

Key = tuple[int, str, int]
"""Rule, tool, caller."""
MAX_KEYS: Final = 10_000
"""As many as there may be tools."""
MAX_MOMENTS: Final = 100_000
"""Of all of them, at 32 bytes each; one alone has at most its rule's `count`, 10,000."""


class Counts:
    def __init__(self) -> None:
        self._moments: dict[Key, deque[float]] = {}
        """By when it was seen last, the oldest first."""
        self._total = 0

    def seen(self, key: Key, now: float, *, within: float, most: int) -> int:
        """Count it once more; how often it was seen within so many seconds, as far as `most`."""
        moments = self._moments.pop(key, deque())
        self._total -= len(moments)
        moments.append(now)
        while moments[0] <= now - within or len(moments) > most:
            moments.popleft()
        self._moments[key] = moments
        self._total += len(moments)
        while len(self._moments) > MAX_KEYS or self._total > MAX_MOMENTS:
            self._total -= len(self._moments.pop(next(iter(self._moments))))
        return len(moments)
