"""How callers have behaved lately, and by how much that tightens what they may do. Pure.

Points are added by what a caller's calls did and drain away with time. It only ever makes limits
smaller: nobody gains by it, and nobody is shut out by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Sign = Literal["rejected", "guessed", "over_quota", "syscall_killed", "injection"]
POINTS: Final = {
    "rejected": 1.0,
    "guessed": 1.0,
    "over_quota": 0.5,
    "syscall_killed": 5.0,
    "injection": 5.0,
}
"""guessed: a session, tool, invocation or approval that is not the caller's, or an operator's
doing, outside of calls."""
DRAIN_SECONDS: Final = 3.0
"""One point goes in so many seconds: a mistake every three seconds is nobody's attack."""
TIGHTEN_AT: Final = 20
"""Points from which on a caller is tightened, unless the operator says otherwise."""
LEVELS: Final = ((1, 1), (2, 2), (4, 3))
"""From so many times these points on a caller is at this level."""
MOST: Final = 6
"""Times these points: whatever was done, with 20 all is given back within six minutes."""
EASE_BELOW: Final = 0.5
"""A level is left at half the points at which it was entered, so that it does not flicker."""
MAX_CALLERS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Change:
    """A caller's level has changed; what was seen since the last change."""

    principal: str
    before: int
    level: int
    signs: dict[str, int]


@dataclass(slots=True)
class _State:
    points: float
    at: float
    level: int = 0
    signs: Counter[str] = field(default_factory=Counter)


class Conduct:
    """clock: seconds, monotonic. enabled: False notes nothing and tightens nobody. tighten_at:
    points at which the first level is entered."""

    def __init__(
        self, clock: Callable[[], float], *, enabled: bool = True, tighten_at: int = TIGHTEN_AT
    ) -> None:
        self._clock = clock
        self.adopt(enabled=enabled, tighten_at=tighten_at)
        self._states: dict[str, _State] = {}

    def adopt(self, *, enabled: bool, tighten_at: int) -> None:
        """Judge by these from now on; what was noted stays noted."""
        self.enabled = enabled
        self._tighten_at = tighten_at

    def note(self, principal: str, sign: Sign, count: int = 1) -> Change | None:
        """Something that counts against a caller; what that changes, if anything."""
        if not self.enabled:
            return None
        state = self._states.get(principal)
        if state is None:
            self._make_room()
            state = self._states[principal] = _State(0.0, self._clock())
        self._drain(state)
        state.points = min(state.points + POINTS[sign] * count, MOST * self._tighten_at)
        state.signs[sign] += count
        return self._changed(principal, state)

    def level(self, principal: str) -> int:
        """0, or how much the caller is tightened: each level halves what it may do."""
        state = self._states.get(principal)
        return 0 if state is None else state.level

    def factor(self, principal: str) -> float:
        return 0.5 ** self.level(principal)

    def ease(self) -> list[Change]:
        """What time has given back; to be asked for now and then, and at `due`."""
        changes = []
        for principal, state in list(self._states.items()):
            self._drain(state)
            change = self._changed(principal, state)
            if change is not None:
                changes.append(change)
            if not state.points and not state.level:
                del self._states[principal]
        return changes

    def due(self) -> float | None:
        """Seconds until some level can change by time alone; None when nobody is tightened."""
        waits = []
        for state in self._states.values():
            if state.level:
                self._drain(state)
                until = state.points - self._least(state.level) * EASE_BELOW
                waits.append(max(until * DRAIN_SECONDS, 0.0) + 0.05)
        return min(waits, default=None)

    def to_json(self, principal: str) -> dict[str, Any]:
        state = self._states.get(principal)
        if state is not None:
            self._drain(state)
        return {
            "level": state.level if state else 0,
            "factor": self.factor(principal),
            "points": round(state.points, 1) if state else 0.0,
            "tighten_at": self._tighten_at,
            "signs": dict(state.signs) if state else {},
        }

    def _drain(self, state: _State) -> None:
        now = self._clock()
        state.points = max(0.0, state.points - (now - state.at) / DRAIN_SECONDS)
        state.at = now

    def _changed(self, principal: str, state: _State) -> Change | None:
        before = state.level
        entered = max(
            (level for _, level in LEVELS if state.points >= self._least(level)), default=0
        )
        while state.level > entered and state.points <= self._least(state.level) * EASE_BELOW:
            state.level -= 1
        state.level = max(state.level, entered)
        if state.level == before:
            return None
        change = Change(principal, before, state.level, dict(state.signs))
        state.signs.clear()
        return change

    def _make_room(self) -> None:
        """Of too many, the best-behaved are forgotten."""
        if len(self._states) >= MAX_CALLERS:
            for principal in sorted(self._states, key=lambda name: self._states[name].points)[
                : MAX_CALLERS // 4
            ]:
                del self._states[principal]

    def _least(self, level: int) -> float:
        return self._tighten_at * next(times for times, number in LEVELS if number == level)
