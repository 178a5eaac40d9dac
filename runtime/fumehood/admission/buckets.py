"""Token buckets: how often something may happen. Memory only, nothing here waits.

Kept as the time at which a bucket is full again (the generic cell rate algorithm), so that an
untouched one costs nothing and is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from fumehood.model.quotas import parse_rate

MAX_BUCKETS: Final = 65_536


@dataclass(frozen=True, slots=True)
class Want:
    """One call from the bucket `key`, which holds `size` and fills again in `seconds`.

    limit: its name in a refusal. shared: others take from it too, whose use is not told.
    """

    key: Hashable
    size: int
    seconds: float
    limit: str
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Short:
    """A bucket that is empty, and when it holds one again."""

    want: Want
    retry_after: float


def want(
    key: Hashable, rate: str, limit: str, *, factor: float = 1.0, shared: bool = False
) -> Want:
    """A want of a configured rate; `factor` makes the bucket smaller, at least one call large."""
    count, seconds = parse_rate(rate)
    return Want(key, max(1, int(count * factor)), float(seconds), limit, shared)


class Buckets:
    """clock: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}
        # Calls with large arguments are admitted in threads.
        self._lock = threading.Lock()

    def take(self, wants: Sequence[Want]) -> Short | None:
        """Take one from each, or from none: then the one that is empty longest."""
        with self._lock:
            return self._take(wants)

    def _take(self, wants: Sequence[Want]) -> Short | None:
        now = self._clock()
        emptiest: Short | None = None
        ahead = []
        for one in wants:
            each = one.seconds / one.size
            full_at = max(self._full_at.get(one.key, now), now) + each
            late = full_at - now - one.seconds
            if late > 1e-9 and (emptiest is None or late > emptiest.retry_after):
                emptiest = Short(one, late)
            ahead.append((one.key, full_at))
        if emptiest is None:
            self._full_at.update(ahead)
            if len(self._full_at) > MAX_BUCKETS:
                self._forget(now)
        return emptiest

    def left(self, one: Want) -> int:
        """How many the bucket holds now."""
        now = self._clock()
        missing = max(self._full_at.get(one.key, now) - now, 0.0)
        return max(0, int(one.size - missing * one.size / one.seconds + 1e-6))

    def _forget(self, now: float) -> None:
        """Full buckets say nothing. Where too many are not full, the fullest are forgotten."""
        kept = {key: at for key, at in self._full_at.items() if at > now}
        if len(kept) > MAX_BUCKETS // 2:
            fullest = sorted(kept, key=lambda key: kept[key])[: len(kept) - MAX_BUCKETS // 2]
            for key in fullest:
                del kept[key]
        self._full_at = kept
