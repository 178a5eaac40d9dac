"""What a running tool does that none should: spinning, fork storms, repeated denials, floods.

Pure decisions over one look after the other. It must never be the limit: what bounds a tool is
enforced elsewhere, whatever is seen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fumehood.kernel.gauge import Reading
from fumehood.model.behaviour import Behaviour
from fumehood.model.live import Sign
from fumehood.model.plan import Limits

BUSY: Final = 0.5
"""Part of the CPU a tool may use (of one core, where it may use more) that counts as spinning."""
RUNNABLE: Final = 0.9
"""Part of the time in which it ran or waited for a CPU that does so, too: on a busy host a program
that spins gets less, and waits for the rest. What sleeps does neither."""
LEAST: Final = 0.02
FULL_LOOKS: Final = 5
"""Looks one after another that find as many processes as are allowed."""
FLOOD_LOOKS: Final = 2
"""Looks one after another that must find a flood: one write of much is none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look. written: bytes of stdout and stderr so far. denied: calls it was killed for."""

    when: float
    reading: Reading
    written: int
    denied: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Observed:
    """A sign, the operator's threshold, what was observed, and both in words."""

    sign: Sign
    limit: float
    observed: float
    message: str


class Conduct:
    """What was seen of one running invocation; each sign is told once."""

    __slots__ = ("_before", "_flooding", "_full", "_settings", "_still", "signs")

    def __init__(self, settings: Behaviour) -> None:
        self._settings = settings
        self._before: Seen | None = None
        self._still: Seen | None = None
        """Since when it has used its CPU and written nothing."""
        self._flooding = 0
        self._full = 0
        self.signs: dict[Sign, Observed] = {}

    def look(self, seen: Seen) -> tuple[Observed, ...]:
        """The signs that this look adds."""
        before, self._before = self._before, seen
        tries = [self._denials(seen), self._fork_storm(seen)]
        if before is not None and seen.when > before.when:
            tries += [self._spinning(before, seen), self._output_flood(before, seen)]
        new = tuple(found for found in tries if found and found.sign not in self.signs)
        self.signs |= {found.sign: found for found in new}
        return new

    def _spinning(self, before: Seen, seen: Seen) -> Observed | None:
        now, then = seen.reading.cpu_seconds, before.reading.cpu_seconds
        if now is None or then is None or seen.written != before.written:
            self._still = None
            return None
        if not _busy(before, seen, now - then):
            self._still = None
            return None
        self._still = self._still or before
        lasted = seen.when - self._still.when
        if lasted < self._settings.spinning:
            return None
        burnt = now - (self._still.reading.cpu_seconds or 0.0)
        message = f"{burnt:.1f} s of CPU time in {lasted:.0f} s, and nothing written"
        return Observed("spinning", self._settings.spinning, round(lasted, 1), message)

    def _fork_storm(self, seen: Seen) -> Observed | None:
        """By what the limit refused; where the kernel does not tell (gVisor on cgroup v1), by
        standing at the limit."""
        refused = seen.reading.pids_refused
        if refused is not None:
            if refused < self._settings.fork_storm:
                return None
            message = f"limits.pids refused {refused} processes or threads"
            return Observed("fork_storm", self._settings.fork_storm, refused, message)
        self._full = self._full + 1 if seen.reading.pids_full else 0
        if self._full < FULL_LOOKS:
            return None
        most = seen.limits.pids
        message = f"{most} processes and threads, which is all that limits.pids allows"
        return Observed("fork_storm", most, most, message)

    def _denials(self, seen: Seen) -> Observed | None:
        if seen.denied < self._settings.denials:
            return None
        message = f"{seen.denied} system calls were denied, as far as they are recorded"
        return Observed("denials", self._settings.denials, seen.denied, message)

    def _output_flood(self, before: Seen, seen: Seen) -> Observed | None:
        rate = (seen.written - before.written) / (seen.when - before.when)
        self._flooding = self._flooding + 1 if rate >= self._settings.output_flood else 0
        if self._flooding < FLOOD_LOOKS:
            return None
        message = f"{rate / (1 << 20):.1f} MiB of output a second"
        return Observed("output_flood", self._settings.output_flood, round(rate), message)


def _busy(before: Seen, seen: Seen, used: float) -> bool:
    """Whether it used, or wanted, all the CPU it may have between two looks."""
    passed = seen.when - before.when
    if used >= BUSY * min(seen.limits.cpu_millis / 1000, 1.0) * passed:
        return True
    now, then = seen.reading.waited_seconds, before.reading.waited_seconds
    if now is None or then is None or used < LEAST * passed:
        return False
    return used + (now - then) >= RUNNABLE * passed
