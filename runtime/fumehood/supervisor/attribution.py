"""Which limit stood behind an end, and what a run met that its status does not tell.

Pure decisions over counters. It must never guess: what a counter does not prove is not said.
"""

from __future__ import annotations

from collections.abc import Iterable

from fumehood.launcher.messages import EndedMessage
from fumehood.model.outcome import Breach, Notice, Usage
from fumehood.model.plan import Limits
from fumehood.supervisor.conduct import Observed

_MIB = 1 << 20
_PAGE = 4096
_RECORDED = "the kernel had to record too many of its system calls in a second"


def memory(limits: Limits, end: EndedMessage, usage: Usage) -> Breach:
    """The kernel killed for want of memory: what had taken it, and who was killed.

    The page cache is given back before anybody is killed, so it is never the reason. Scratch
    space is memory; what is still in it is known, and so is the kernel's part on v1. The rest
    was the processes' own, and is not counted itself: heap, stacks and shared memory without a
    file. When this is asked for, they are dead and it is given back.
    """
    scratch = end.counters.scratch_bytes or 0
    known = end.counters.kernel_memory_peak_bytes
    kernel = known or 0
    if scratch * 2 >= limits.memory_bytes:
        what = f"tmpfs: {_mib(scratch)} in /tmp, /out and /dev/shm"
    elif kernel * 2 >= limits.memory_bytes:
        what = f"kernel: {_mib(kernel)} of pipes, sockets and other kernel objects"
    else:
        name = "heap" if known is not None else "heap or kernel"
        rest = _mib(limits.memory_bytes - scratch - kernel)
        what = f"{name}: the rest, {rest} outside scratch space"
    killed = f"{end.oom_kills} killed"
    if end.executed and end.exit_code is not None:
        killed += f", but not the tool itself, which ended with {end.exit_code}"
    observed = usage.memory_peak_bytes or limits.memory_bytes
    return Breach("memory", limits.memory_bytes, observed, f"{what}; processes: {killed}")


def behind_failure(limits: Limits, end: EndedMessage, usage: Usage) -> Breach | None:
    """The limit that a tool which failed by itself had met; it may have failed for that."""
    if end.counters.pids_refused:
        observed = limits.pids if usage.pids_peak is None else usage.pids_peak
        detail = f"refused {end.counters.pids_refused} times"
        return Breach("pids", limits.pids, observed, detail)
    if _reached_pids(limits, end, usage):
        detail = "as many as are allowed; whether more were refused is not told here"
        return Breach("pids", limits.pids, usage.pids_peak or limits.pids, detail)
    return _full(limits, end)


def _reached_pids(limits: Limits, end: EndedMessage, usage: Usage) -> bool:
    """Under gVisor on cgroup v1 refusals are counted in a group that the runtime removes."""
    peak = usage.pids_peak
    return end.counters.pids_refused is None and peak is not None and peak >= limits.pids


def _full(limits: Limits, end: EndedMessage) -> Breach | None:
    """Scratch space that was full at the end; one that was emptied again is not known. What the
    start of a tool had put there before the call fills it all the same, and is told."""
    counted = end.counters
    used, inodes = counted.scratch_bytes, counted.scratch_inodes
    if used is not None and limits.scratch_bytes - used < _PAGE:
        before = counted.scratch_bytes_before
        return Breach("scratch", limits.scratch_bytes, used, _at_the_end(before, "bytes"))
    if inodes is not None and inodes >= limits.scratch_inodes:
        before = counted.scratch_inodes_before
        return Breach("scratch_inodes", limits.scratch_inodes, inodes, _at_the_end(before, "files"))
    return None


def _at_the_end(before: int, unit: str) -> str:
    told = f", {before} {unit} of it already before the call" if before else ""
    return f"full at the end{told}"


def notices(
    limits: Limits,
    end: EndedMessage,
    usage: Usage,
    breach: Breach | None,
    signs: Iterable[Observed] = (),
) -> tuple[Notice, ...]:
    """What was met, and seen while it ran, besides the breach."""
    told = breach.control if breach else ""
    found = [
        Notice(seen.sign.replace("_", "-"), "medium", f"while it ran: {seen.message}")
        for seen in signs
        if seen.sign != told
    ]
    if end.oom_kills and told != "memory":
        met = memory(limits, end, usage)
        message = f"limits.memory of {met.limit} was reached (peak {met.observed}): {met.detail}"
        found.append(Notice("limit-memory", "medium", message))
    refused = end.counters.pids_refused
    if refused and told not in ("pids", "fork_storm"):
        message = f"limits.pids of {limits.pids} refused {refused} processes or threads"
        found.append(Notice("limit-pids", "medium", message))
    elif told not in ("pids", "fork_storm") and _reached_pids(limits, end, usage):
        message = f"there were {usage.pids_peak} processes and threads, all that limits.pids allows"
        found.append(Notice("limit-pids", "medium", message))
    full = _full(limits, end)
    if full is not None and told != full.control:
        unit = "bytes" if full.control == "scratch" else "files"
        message = f"limits.scratch was {full.detail}: {full.observed} {unit}"
        found.append(Notice("limit-scratch", "medium", message))
    if end.held_seconds:
        message = f"it stood still for {end.held_seconds:.1f} s: {_RECORDED}"
        found.append(Notice("held-back", "medium", message))
    if told != "seccomp" and (killed := end.syscalls.killed()):
        message = f"processes were killed for system calls that no tool may make: {killed}"
        found.append(Notice("syscall-killed", "high", message))
    return tuple(found)


def _mib(count: int) -> str:
    return f"{max(count, 0) / _MIB:.1f} MiB"
