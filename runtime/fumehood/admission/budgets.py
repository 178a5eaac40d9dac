"""Budgets of an hour or a day: CPU time, output and invocations, exact within their window.

A call reserves the most it may use before it runs, and gives back at its end what it did not, so
that no number of calls at once can use more. Must never forget what was used: the store has it
before the call runs. What is given back is stored with the next reservation, or by `flush`: until
then a crash counts too much, never too little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fumehood.errors import FumehoodError, OverQuota
from fumehood.model.plan import Limits
from fumehood.model.principal import Principal
from fumehood.model.quotas import WINDOWS, Budget
from fumehood.model.rules import EVERYBODY, glob
from fumehood.model.units import format_duration, format_size

Amounts = tuple[int, int, int]
"""Invocations, milliseconds of CPU, bytes of output."""
NAMES: Final = ("invocations", "cpu", "output")
OUTPUT_STREAMS: Final = 3
"""limits.output bounds stdout, stderr and the artifacts each."""


class Store(Protocol):
    """Keeps what was used, by key and window."""

    def load(self, key: str, window: int) -> Amounts: ...

    def save(self, entries: Sequence[tuple[str, int, Amounts]]) -> None: ...


@dataclass(frozen=True, slots=True)
class Count:
    """One budget as it stands: for `caller show`."""

    budget: Budget
    key: str
    used: Amounts
    ends_in: float

    def to_json(self) -> dict[str, Any]:
        budget, used = self.budget, self.used
        return {
            "per": budget.per, "window": budget.window, "tools": list(budget.tools),
            "invocations": {"used": used[0], "of": budget.invocations},
            "cpu_seconds": {"used": used[1] / 1000, "of": budget.cpu},
            "output_bytes": {"used": used[2], "of": budget.output},
            "ends_in_seconds": round(self.ends_in, 1),
        }  # fmt: skip


@dataclass(slots=True)
class Reservation:
    """What one call holds. Settled once, at its end."""

    budgets: Budgets
    entries: tuple[tuple[str, int], ...]
    most: Amounts

    def settle(self, used: Amounts) -> None:
        """Give back what was not used; more than was reserved is counted too."""
        if self.entries:
            one, two, three = used
            self.budgets.add(
                self.entries, (one - self.most[0], two - self.most[1], three - self.most[2])
            )
            self.entries = ()


class Budgets:
    """clock: seconds of UTC that never go back while this process lives."""

    def __init__(self, budgets: Sequence[Budget], store: Store, clock: Callable[[], float]) -> None:
        self.adopt(budgets)
        self._store = store
        self._clock = clock
        self._used: dict[tuple[str, int], Amounts] = {}
        self._unsaved: set[tuple[str, int]] = set()

    def adopt(self, budgets: Sequence[Budget]) -> None:
        """Hold to these from now on; what was counted stays counted."""
        self._budgets = tuple((budget, budget.key) for budget in budgets)

    def reserve(self, principal: Principal, tool: str, limits: Limits) -> Reservation:
        """Hold what a call may use at most, in every budget that it falls under.

        Raises:
            OverQuota: one of them has less left; nothing is held then.
        """
        most = worst_case(limits)
        now = self._clock()
        entries = []
        for budget, key in self._budgets:
            if not about(budget, principal, tool):
                continue
            entry = (_key(budget, key, principal.name, tool), window_of(budget, now))
            _check(budget, self._of(entry), most, _ends_in(budget, now))
            entries.append(entry)
        held = Reservation(self, tuple(entries), most)
        if entries:
            self.add(held.entries, most)
            try:
                self.flush()
            except FumehoodError:
                held.settle((0, 0, 0))
                raise
            self._forget(now)
        return held

    def counts(self, principal: Principal, tool: str | None = None) -> list[Count]:
        """Those of one caller; of one tool where the budget is that narrow."""
        now = self._clock()
        found = []
        for budget, key in self._budgets:
            name = tool or next((p for p in budget.tools if "*" not in p), "")
            if budget.per == "tool" or EVERYBODY not in (*budget.who, *principal.roles):
                continue
            if principal.roles.isdisjoint(budget.who) or (budget.per == "caller_tool" and not name):
                continue
            counted = _key(budget, key, principal.name, name)
            used = self._of((counted, window_of(budget, now)))
            found.append(Count(budget, counted, used, _ends_in(budget, now)))
        return found

    def add(self, entries: Sequence[tuple[str, int]], change: Amounts) -> None:
        """Count more, or less."""
        for entry in entries:
            one, two, three = self._of(entry)
            self._used[entry] = (
                max(0, one + change[0]), max(0, two + change[1]), max(0, three + change[2])
            )  # fmt: skip
            self._unsaved.add(entry)

    def flush(self) -> None:
        """Everything counted so far is on disk when this returns."""
        if self._unsaved:
            used = self._used
            self._store.save([(*entry, used[entry]) for entry in self._unsaved])
            self._unsaved.clear()

    def _of(self, entry: tuple[str, int]) -> Amounts:
        used = self._used.get(entry)
        if used is None:
            used = self._used[entry] = self._store.load(*entry)
        return used

    def _forget(self, now: float) -> None:
        if len(self._used) > 4 * (len(self._budgets) + 1_024):
            oldest = now - 2 * max(WINDOWS.values())
            self._used = {
                e: used for e, used in self._used.items() if e[1] > oldest or e in self._unsaved
            }


def worst_case(limits: Limits) -> Amounts:
    """The most that one call under these limits can use."""
    cpu = -(-limits.timeout_ms * limits.cpu_millis // 1000)
    if limits.cpu_time_ms:
        cpu = min(cpu, limits.cpu_time_ms)
    return 1, cpu, OUTPUT_STREAMS * limits.output_bytes


def about(budget: Budget, principal: Principal, tool: str) -> bool:
    """Whether a call of `principal` to `tool` falls under the budget."""
    if principal.roles.isdisjoint(budget.who):
        return False
    return budget.tools == ("*",) or any(glob(pattern, tool) for pattern in budget.tools)


def window_of(budget: Budget, now: float) -> int:
    """When the window began, in seconds of UTC."""
    length = WINDOWS[budget.window]
    return int(now // length) * length


def _ends_in(budget: Budget, now: float) -> float:
    return window_of(budget, now) + WINDOWS[budget.window] - now


def _key(budget: Budget, key: str, principal: str, tool: str) -> str:
    if budget.per == "caller":
        return f"{key}/{principal}"
    return f"{key}/{tool}" if budget.per == "tool" else f"{key}/{principal}/{tool}"


def _check(budget: Budget, used: Amounts, most: Amounts, ends_in: float) -> None:
    cpu = None if budget.cpu is None else round(budget.cpu * 1000)
    limits = (budget.invocations, cpu, budget.output)
    for name, limit, have, need in zip(NAMES, limits, used, most, strict=True):
        if limit is None or have + need <= limit:
            continue
        whose = {"caller": "your", "tool": "the tool's", "caller_tool": "your"}[budget.per]
        what = f"{whose} budget of {_show(name, limit)} in one {budget.window}"
        left = "" if budget.per == "tool" else f" has {_show(name, max(limit - have, 0))} left"
        need_text = "" if name == "invocations" else f"; this call may need {_show(name, need)}"
        raise OverQuota(
            f"{what}{left or ' is used up'}{need_text}",
            f"call again in {round(ends_in)} s, or when running calls have ended",
            retry_after=round(ends_in, 1),
            limit=f"budget.{budget.per}.{budget.window}.{name}",
        )


def _show(name: str, amount: int) -> str:
    if name == "cpu":
        return f"{format_duration(amount)} of CPU time"
    return f"{amount} invocations" if name == "invocations" else f"{format_size(amount)} of output"
