"""Why a sandbox ended: the one terminal status and the breach that explains it.

Pure decisions over what the kernel counted and what the supervisor saw. Never an exit code
alone: 137 proves nothing, the cgroup's own counters do.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from fumehood.launcher.messages import EndedMessage
from fumehood.model.live import Sign
from fumehood.model.outcome import IN_FILES, Breach, Status, Syscalls, Usage
from fumehood.model.plan import Plan
from fumehood.supervisor import attribution
from fumehood.supervisor.conduct import Observed

Reason = Literal["timeout", "output", "cancelled"] | Sign
_ENDED_FOR: Final[Mapping[Sign, Status]] = {
    "spinning": "timeout",
    "fork_storm": "tool_error",
    "denials": "syscall_killed",
    "output_flood": "output_exceeded",
}


NO_SIGNS: Final[Mapping[Sign, Observed]] = MappingProxyType({})


@dataclass(slots=True)
class Watch:
    """What the supervisor saw while the sandbox ran. The first reason to kill is the one kept."""

    reason: Reason | None = None

    def note(self, reason: Reason) -> bool:
        """Record a reason; True for the first, which is the one that kills."""
        if self.reason is not None:
            return False
        self.reason = reason
        return True


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The terminal status, its breach, and for `engine_error` what failed."""

    status: Status
    breach: Breach | None = None
    error: str = ""


def conclude(
    plan: Plan,
    end: EndedMessage,
    usage: Usage,
    reason: Reason | None,
    *,
    exceeded: bool,
    signs: Mapping[Sign, Observed] = NO_SIGNS,
) -> Conclusion:
    """Decide in order of certainty: what we did, what the kernel did, what the tool did.

    exceeded: one of the streams, or the artifacts together, passed `output_bytes`.
    signs: abnormal behaviour that was seen while it ran.
    """
    limits = plan.limits
    tripped = end.signal == signal.SIGSYS and not _sent_by_itself(end.syscalls)
    if reason == "cancelled" and not tripped:  # else it was dead before anybody could cancel it
        return Conclusion("cancelled")
    stopped = bool(end.stopped) or reason in ("timeout", "output") or reason in signs
    if end.oom_kills and not stopped:  # else it went on after that, and a notice tells
        return Conclusion("memory_exceeded", attribution.memory(limits, end, usage))
    for sign, seen in signs.items():
        if sign == reason:
            breach = Breach(sign, seen.limit, seen.observed, seen.message)
            return Conclusion(_ENDED_FOR[sign], breach)
    if reason is None and end.stopped == "cpu_time":
        allowed, burnt = limits.cpu_time_ms / 1000, usage.cpu_seconds or 0.0
        return Conclusion("timeout", Breach("cpu_time", allowed, burnt))
    if "timeout" in (reason, end.stopped):
        return Conclusion(
            "timeout", Breach("timeout", limits.timeout_ms / 1000, usage.wall_seconds)
        )
    if exceeded or reason == "output":
        left = sum(file.size for file in end.artifacts)
        written = max(usage.stdout_bytes, usage.stderr_bytes)
        detail = IN_FILES if left > written else ""
        breach = Breach("output", limits.output_bytes, max(written, left), detail)
        return Conclusion("output_exceeded", breach)
    if tripped:
        detail = end.syscalls.killed() or end.syscalls.reason
        return Conclusion("syscall_killed", Breach("seccomp", plan.seccomp, "SIGSYS", detail))
    if not end.executed and end.signal is not None:
        return Conclusion("engine_error", error="sandbox: it was killed from outside")
    if not end.executed:
        return Conclusion("engine_error", error="command: the program could not be executed")
    if end.exit_code == 0:
        return Conclusion("ok")
    return Conclusion("tool_error", attribution.behind_failure(limits, end, usage))


def _sent_by_itself(told: Syscalls) -> bool:
    """SIGSYS is a signal that anybody may send; the kernel records the ones that it sends for a
    system call. Only where none could have been missed does having seen none say something."""
    if not (told.kills_visible and told.complete) or told.others:
        return False
    return all(item.action == "log" for item in told.seen)
