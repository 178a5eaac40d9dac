"""Every limit of the front door, and the shares that one caller may take of what all share.

Nothing here does I/O. A limit without a name, a default and a unit does not exist.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from fumehood.model import strict_json

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the gateway; one set for all connections.

    frame_bytes: longest frame, newline not counted.
    frame_seconds: from a frame's first byte to its last; an idle connection has no limit.
    depth, values: of one JSON document, see `model.strict_json.loads`.
    in_flight: requests of one connection that have no answer yet.
    connections, connections_per_uid: open at once.
    unsent_bytes: answers of one connection that its peer has not taken; one answer may exceed
        it alone. unsent_seconds: without the peer taking a byte.
    held_bytes, held_bytes_per_uid: frames being read or answered, with what they parse to.
    """

    frame_bytes: int = 16 * MIB
    frame_seconds: float = 30.0
    depth: int = strict_json.DEPTH
    values: int = strict_json.VALUES
    in_flight: int = 64
    connections: int = 128
    connections_per_uid: int = 96
    unsent_bytes: int = 32 * MIB
    unsent_seconds: float = 30.0
    held_bytes: int = 512 * MIB
    held_bytes_per_uid: int = 256 * MIB


class Shares:
    """A bounded quantity that callers take from and give back to; none of them can take all.

    Nobody holds more than is left for others: one alone gets a half, the next a quarter, and so
    on, so that a few who take what they can leave something for whoever comes after them.
    """

    __slots__ = ("_all", "_by_uid", "_each", "_total")

    def __init__(self, total: int, each: int) -> None:
        self._total = total
        self._each = min(total, each)
        self._all = 0
        self._by_uid: Counter[int] = Counter()

    @property
    def taken(self) -> int:
        return self._all

    def take(self, uid: int, amount: int) -> bool:
        """Take `amount` for `uid`, or return False and take nothing."""
        held = self._by_uid[uid] + amount
        left = self._total - self._all - amount
        if left < 0 or held > self._each or held > left + amount:
            return False
        self._all += amount
        self._by_uid[uid] += amount
        return True

    def give(self, uid: int, amount: int) -> None:
        self._all -= amount
        self._by_uid[uid] -= amount
        if self._by_uid[uid] <= 0:
            del self._by_uid[uid]
