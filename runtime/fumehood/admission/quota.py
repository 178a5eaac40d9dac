"""How often one caller may call, and how much of it at once. Counters only: nothing here waits.

Must never tell a caller about anybody else: a refusal names the caller's own number, and of what
all share only that it is used up.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from fumehood.admission.buckets import Buckets, Short, Want, want
from fumehood.admission.conduct import Conduct
from fumehood.errors import OverQuota
from fumehood.model.quotas import Rates


class Quota:
    """Rates and concurrency of callers, their sessions, tools and everybody.

    Args:
        per_caller: invocations of one caller, running and waiting together, by principal's name.
        per_session: the same of one session; None is no limit.
        conduct: tightens per_caller and the caller's rate; None tightens nobody.
    """

    def __init__(
        self,
        *,
        per_caller: int,
        per_session: int | None = None,
        rates: Rates | None = None,
        conduct: Conduct | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.adopt(per_caller=per_caller, per_session=per_session, rates=rates or Rates())
        self.conduct = conduct or Conduct(clock, enabled=False)
        self._buckets = Buckets(clock)
        self._held: Counter[str] = Counter()
        self._held_sessions: Counter[str] = Counter()

    def adopt(self, *, per_caller: int, per_session: int | None, rates: Rates) -> None:
        """Hold to these from now on; what was counted stays counted."""
        self._per_caller = per_caller
        self._per_session = per_session
        self._rates = rates

    def arrive(self, principal: str, session: str = "") -> None:
        """Count an arrival, whatever becomes of it; raises OverQuota."""
        wants = self._arrivals(principal, session)
        if wants and (short := self._buckets.take(wants)) is not None:
            raise _too_often(short)

    def reach(self, tool: str) -> None:
        """Count a call of a tool that its caller may call; raises OverQuota."""
        rate = self._rates.tool
        if rate is not None:
            wanted = want(("tool", tool), rate, "rates.tool", shared=True)
            if (short := self._buckets.take([wanted])) is not None:
                raise _too_often(short)

    def check(self, principal: str, session: str = "") -> None:
        """Raise OverQuota if one more at once would be too many."""
        most = self.most(principal)
        if self._held[principal] >= most:
            raise _too_many(most, "per_caller")
        each = self._per_session
        if session and each is not None and self._held_sessions[session] >= each:
            raise _too_many(each, "per_session")

    @contextlib.contextmanager
    def hold(self, principal: str, session: str = "") -> Iterator[None]:
        """Count one more until the block ends, however it ends; raises OverQuota."""
        self.check(principal, session)
        self._held[principal] += 1
        self._held_sessions[session] += 1
        try:
            yield
        finally:
            for held, key in ((self._held, principal), (self._held_sessions, session)):
                held[key] -= 1
                if not held[key]:
                    del held[key]

    def held(self, principal: str) -> int:
        return self._held[principal]

    def most(self, principal: str) -> int:
        """How many the caller may have at once now."""
        return max(1, int(self._per_caller * self.conduct.factor(principal)))

    @property
    def callers(self) -> int:
        """How many callers have something running or waiting."""
        return len(self._held)

    def to_json(self, principal: str) -> dict[str, Any]:
        """For `caller show`."""
        own = [one for one in self._arrivals(principal, "") if not one.shared]
        return {
            "at_once": {"used": self.held(principal), "of": self.most(principal)},
            "rates": [
                {"limit": one.limit, "of": one.size, "seconds": one.seconds,
                 "left": self._buckets.left(one)}
                for one in own
            ],
        }  # fmt: skip

    def _arrivals(self, principal: str, session: str) -> list[Want]:
        rates, wants = self._rates, []
        if rates.caller is not None:
            factor = self.conduct.factor(principal)
            key = ("caller", principal)
            wants.append(want(key, rates.caller, "rates.caller", factor=factor))
        if rates.session is not None and session:
            wants.append(want(("session", session), rates.session, "rates.session"))
        if rates.all is not None:
            wants.append(want("all", rates.all, "rates.all", shared=True))
        return wants


_WHOSE = {"rates.caller": "your", "rates.session": "your session's", "rates.tool": "the tool's"}


def _too_often(short: Short) -> OverQuota:
    one = short.want
    whose = _WHOSE.get(one.limit, "everybody's")
    seconds = max(round(short.retry_after, 3), 0.001)
    return OverQuota(
        f"{whose} rate of {one.size} calls in {one.seconds:g} s is used up: 0 left",
        f"call again in {seconds:g} s",
        retry_after=seconds,
        limit=one.limit,
    )


def _too_many(most: int, limit: str) -> OverQuota:
    whose = "your calls" if limit == "per_caller" else "your session's calls"
    return OverQuota(
        f"{most} of {whose} are running or waiting, which is the most",
        "wait for one of them to end",
        retry_after=1.0,
        limit=limit,
    )
