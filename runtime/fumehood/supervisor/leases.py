"""Which account each sandbox runs as: the tool's own, or a leased one while that is taken.

Two sandboxes that run at once never share an account while there are any left, so that what the
kernel reports or counts for an account is one sandbox's (docs/decisions/0007). Must never give
out an account that belongs to a tool.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

from fumehood.model.plan import Ceilings, Plan

Range = tuple[int, int]


def divide(ceilings: Ceilings) -> tuple[Range, Range]:
    """The range of accounts as (first, count) twice: for tools, and for leases.

    As many for leases as there may be sandboxes, but never more than half.
    """
    spare = min(ceilings.sandboxes, ceilings.uid_count // 2)
    own = ceilings.uid_count - spare
    return (ceilings.uid_first, own), (ceilings.uid_first + own, spare)


class Leases:
    """The accounts in use. Leased ones come back to the end of the queue: the one that was
    given back first is given out first, so that two users of one are far apart in time."""

    def __init__(self, first: int, count: int) -> None:
        """The range for leases; none at all when rootless, where all share the user's account."""
        self._spare = deque(range(first, first + count))
        self._range = range(first, first + count)
        self._used: Counter[int] = Counter()

    def lease(self, plan: Plan) -> Plan:
        """The same plan for an account that nobody uses just now, if there is one.

        When there is none the tool's own is shared; the results then say what that costs.
        """
        uid = plan.uid
        if self._used[uid] and self._spare:
            uid = self._spare.popleft()
        self._used[uid] += 1
        return plan if uid == plan.uid else replace(plan, uid=uid, gid=uid)

    def give_back(self, uid: int) -> None:
        """A sandbox ended, and everything in it is dead."""
        self._used[uid] -= 1
        if not self._used[uid]:
            del self._used[uid]
            if uid in self._range:
                self._spare.append(uid)

    @property
    def leased(self) -> int:
        """How many leased accounts are in use."""
        return len(self._range) - len(self._spare)
