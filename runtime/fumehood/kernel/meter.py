"""What one sandbox used, from the kernel's counters on v2, v1 and hybrid hosts.

Standard library only; it must never limit or kill anything, and never estimate: what a host
does not count is None. Files are read whole by descriptor, because this runs once for each call
(0.1 ms altogether).
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass

from fumehood.kernel import cgroup
from fumehood.model.outcome import Counters

_OWN_INODES = 3
"""The scratch space's own: its root, /tmp and /out (kernel.rootfs.scratch)."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds since the group was made; user and system are None where they are not told apart."""

    total: float
    user: float | None
    system: float | None


class Meter:
    """The counters of one group, from the moment the call began to the last death in it."""

    def __init__(self, group: cgroup.Group, *, nested: bool = False) -> None:
        """nested: an engine puts the processes into a group of its own below this one."""
        self._group = group
        self._pids = _pids(group, nested=nested)
        self._unified_cpu = f"{group.unified}/cpu.stat" if group.unified else ""
        self._before = Cpu(0.0, 0.0, 0.0)
        self._throttled_before = 0.0
        self._refused_before = 0
        self._ooms_before = 0
        self._space_before = (0, 0)
        self._pids_before: int | None = None
        """The peak so far, where it says nothing of what comes."""
        self._memory_before: int | None = None
        """The same."""
        self._peak = -1
        """memory.peak of v2, whose readings through this descriptor started afresh."""
        self._last: Cpu | None = None
        """When everything was dead."""

    def begin(self, *, scratch: str = "") -> None:
        """The call begins: CPU time that opening the sandbox took is not the caller's, nor is
        the memory of a set-up that is over.

        scratch: where the scratch space of a tool that was started ahead is mounted; nothing that
            it met or made until now is the caller's either.
        """
        self._before = self._cpu() or self._before
        self._throttled_before = self._throttled() or 0.0
        if (v1 := self._group.v1.get("memory")) is not None:
            # The peak falls to what is in use now (memory.txt, section 5.4).
            _write(f"{v1}/memory.max_usage_in_bytes", b"0")
        if scratch:
            self._begin_again(scratch)

    def _begin_again(self, scratch: str) -> None:
        self._refused_before = self._refused() or 0
        self._ooms_before += self.oom_kills()
        self._space_before = _space(scratch) or (0, 0)
        if self._pids is not None:
            peak = cgroup.number(f"{self._pids}/pids.peak")
            self._pids_before = _if_passed(peak, cgroup.number(f"{self._pids}/pids.current"))
        if (v1 := self._group.v1.get("memory")) is not None:
            with contextlib.suppress(OSError):  # gone since Linux 6.16
                _write(f"{v1}/memory.kmem.max_usage_in_bytes", b"0")
        elif "memory" in self._group.v2 and self._group.unified is not None:
            path = f"{self._group.unified}/memory.peak"
            with contextlib.suppress(OSError):  # before Linux 6.12 nobody may write it
                self._peak = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                os.write(self._peak, b"reset")
                return
            self.close()
            now = cgroup.number(f"{self._group.unified}/memory.current")
            self._memory_before = _if_passed(self._group.memory_peak(), now)

    def memory_peak(self) -> int | None:
        """Bytes, since the call began; None where the peak that is known was before it."""
        if self._peak >= 0:
            return int(os.pread(self._peak, 64, 0))
        return _unless(self._group.memory_peak(), self._memory_before)

    def oom_kills(self) -> int:
        """Processes that were killed for want of memory since the call began."""
        return max(self._group.oom_kills() - self._ooms_before, 0)

    def pids_peak(self, found: int | None, *, overhead: int) -> int | None:
        """A peak without the engine's own; None where it was before the call began."""
        before = self._pids_before
        return _unless(found, None if before is None else max(before - overhead, 0))

    def close(self) -> None:
        """Nothing of it is asked any more."""
        if self._peak >= 0:
            os.close(self._peak)
            self._peak = -1

    def cpu_seconds(self) -> float | None:
        """User and system time since the call began."""
        found = self._last or self._cpu()
        return None if found is None else max(found.total - self._before.total, 0.0)

    def counters(
        self,
        scratch: str = "",
        *,
        killed_for_memory: bool = False,
        context_switches: int | None = None,
    ) -> Counters:
        """Everything that is counted beside CPU, memory and pids; nothing is alive any more.

        scratch: where the sandbox's scratch space is still mounted.
        killed_for_memory: tell also what the memory went into.
        context_switches: as whoever waited for the processes was told (wait4(2)); no cgroup
            counts them.
        """
        cpu, before = self._cpu(), self._before
        self._last = cpu
        space = _space(scratch) if scratch else None
        return Counters(
            user_seconds=_since(cpu.user if cpu else None, before.user),
            system_seconds=_since(cpu.system if cpu else None, before.system),
            throttled_seconds=_since(self._throttled(), self._throttled_before),
            pids_refused=_more(self._refused(), self._refused_before),
            scratch_bytes=space[0] if space else None,
            scratch_inodes=space[1] if space else None,
            scratch_bytes_before=self._space_before[0],
            scratch_inodes_before=self._space_before[1],
            kernel_memory_peak_bytes=self._kernel_memory() if killed_for_memory else None,
            context_switches=context_switches,
        )

    # --- sources

    def _cpu(self) -> Cpu | None:
        """cpu.stat of v2 has these three in every group, whether or not the cpu controller is
        on, so hybrid hosts have it too: one file instead of three."""
        if self._unified_cpu:
            found = cgroup.counters(self._unified_cpu)
            if (usage := found.get(b"usage_usec")) is not None:
                return Cpu(
                    usage / 1e6,
                    _scaled(found.get(b"user_usec"), 1e6),
                    _scaled(found.get(b"system_usec"), 1e6),
                )
        if (v1 := self._group.v1.get("cpuacct")) is None:
            return None
        total = cgroup.number(f"{v1}/cpuacct.usage")
        if total is None:
            return None
        user, system = (
            cgroup.number(f"{v1}/cpuacct.usage_user"),
            cgroup.number(f"{v1}/cpuacct.usage_sys"),
        )
        return Cpu(total / 1e9, _scaled(user, 1e9), _scaled(system, 1e9))

    def _throttled(self) -> float | None:
        """Time that runnable tasks were held back by the CPU limit, added up over the CPUs."""
        if (v1 := self._group.v1.get("cpu")) is not None:
            return _scaled(cgroup.counters(f"{v1}/cpu.stat").get(b"throttled_time"), 1e9)
        if "cpu" in self._group.v2:
            return _scaled(cgroup.counters(self._unified_cpu).get(b"throttled_usec"), 1e6)
        return None

    def _kernel_memory(self) -> int | None:
        """Peak bytes of pipes, sockets and other kernel objects; v2 keeps no peak of them."""
        if (v1 := self._group.v1.get("memory")) is None:
            return None
        return cgroup.number(f"{v1}/memory.kmem.max_usage_in_bytes")

    def count_pids_in(self, group: str) -> None:
        """The tool's processes are in this group of the `pids` hierarchy."""
        self._pids = group

    def _refused(self) -> int | None:
        """Processes and threads that the pids limit refused."""
        return cgroup.counters(f"{self._pids}/pids.events").get(b"max") if self._pids else None


def _pids(group: cgroup.Group, *, nested: bool) -> str | None:
    """Where refusals are counted. v1 does that where somebody forks, whichever limit it was
    (kernel/cgroup/pids.c, pids_event): in an engine's own group, which it removes."""
    if (v1 := group.v1.get("pids")) is not None:
        return None if nested else v1
    return group.unified if "pids" in group.v2 else None


def _since(now: float | None, before: float | None) -> float | None:
    return None if now is None else round(max(now - (before or 0.0), 0.0), 6)


def _more(now: int | None, before: int) -> int | None:
    return None if now is None else max(now - before, 0)


def _if_passed(peak: int | None, now: int | None) -> int | None:
    """A peak that is over, and so would hide a lower one that comes after it."""
    return peak if peak is not None and (now is None or now < peak) else None


def _unless(peak: int | None, before: int | None) -> int | None:
    return None if peak is None or (before is not None and peak <= before) else peak


def _scaled(value: int | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _space(scratch: str) -> tuple[int, int] | None:
    """Bytes and inodes in use."""
    try:
        found = os.statvfs(scratch)
    except OSError:
        return None
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    return used, max(found.f_files - found.f_ffree - _OWN_INODES, 0)


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)
