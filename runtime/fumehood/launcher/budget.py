"""When to look at a sandbox's CPU time so that a budget holds at a bounded cost.

Pure and standard library only: it reads no clock and no counter itself.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from fumehood.kernel.cgroup import CPU_PERIOD_US
from fumehood.model.plan import Limits

LEAST_SECONDS = 0.02
"""Never looked at more often: 10 µs each. What is burnt meanwhile is at most this on each CPU."""
_PERIOD = CPU_PERIOD_US / 1e6


@dataclass(slots=True)
class CpuBudget:
    """CPU seconds that a call may burn, and the next moment at which they could be gone.

    No tool burns faster than its bandwidth, so it is looked at again when it could have spent
    what is left at that rate. One that mostly waits is looked at a few times altogether.
    """

    seconds: float
    cores: float
    check: float = math.inf
    """time.monotonic() of the next look; never before the call has begun."""

    @classmethod
    def of(cls, limits: Limits, *, enforced: bool) -> CpuBudget | None:
        """The budget of a plan, None when it has none. enforced: its bandwidth really holds."""
        if not limits.cpu_time_ms:
            return None
        cpus = os.cpu_count() or 1
        cores = min(limits.cpu_millis / 1000, cpus) if enforced else cpus
        return cls(limits.cpu_time_ms / 1000, cores)

    def begin(self, now: float) -> None:
        """The call begins with nothing spent."""
        self._plan(self.seconds, now)

    def spent(self, used: float, now: float) -> bool:
        """Whether it is used up; if not, the next look is planned."""
        if used >= self.seconds:
            self.check = math.inf
            return True
        self._plan(self.seconds - used, now)
        return False

    def _plan(self, left: float, now: float) -> None:
        # A period's whole quota may be burnt at its beginning, ahead of the rate.
        self.check = now + max(left / self.cores - _PERIOD, LEAST_SECONDS)
