"""A container's place in our own cgroups: Docker nests its group in ours, and ours decides.

Docker removes its own group as soon as a container ends, and with it every counter; kills that
go through dockerd wait for dockerd. So limits, peaks, OOM kills and `cgroup.kill` are those of
our parent group, for which Docker is only told the name. Standard library only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from fumehood.errors import EngineError
from fumehood.kernel import cgroup
from fumehood.kernel.forensics import Evidence
from fumehood.kernel.meter import Meter
from fumehood.model.outcome import Counters, Proof
from fumehood.model.plan import Limits

OPENING_PIDS = 64
"""The runtime's own threads while it sets a container up (runc has about 10)."""
OPENING_MEMORY = 64 << 20
"""The runtime's own memory until it executes the program: 25 MiB, its copy of itself included."""
INIT_PIDS = 1
"""The container's init, which lives beside the tool."""
TOOL = cgroup.TOOL
"""On v1 the tool has a group of its own in the `pids` hierarchy, beside Docker's: one in which no
runtime ever was, for a counter cannot be reset, and which Docker does not remove."""


def opening_limits(limits: Limits) -> Limits:
    """What holds until the program is held at its start, and what Docker itself is told: the
    container runtime sets the container up inside the sandbox's own groups."""
    return dataclasses.replace(
        limits,
        memory_bytes=limits.memory_bytes + OPENING_MEMORY,
        pids=limits.pids + OPENING_PIDS,
    )


class DockerGroup:
    """One sandbox's groups, in every hierarchy that Docker uses."""

    def __init__(self, instance: cgroup.Instance, name: str, limits: Limits) -> None:
        """Raises EngineError."""
        self._limits = limits
        self._group = instance.group(name, opening_limits(limits), 0)
        self._trees = [
            *map(Path, dict.fromkeys(self._group.v1.values())),
            *([Path(self._group.unified)] if self._group.unified else []),
            *(other / instance.name / name for other in instance.layout.others),
        ]
        self.parent = _parent_name(instance.layout, self._group, f"/{instance.name}/{name}")
        """What Docker is told as `CgroupParent`."""
        self._meter = Meter(self._group, nested=True)
        self._pids_before: int | None = None
        self._tool: Path | None = None
        """The tool's own group in the `pids` hierarchy, once it is in there."""
        self._ooms = -1
        """An eventfd for OOM on v1, where `oom_kill` is counted in Docker's group only."""
        self._seen_ooms = 0
        self._ooms_before = 0
        self._peak = -1
        if "memory" in self._group.v1:
            self._listen(Path(self._group.v1["memory"]))
        elif self._group.unified:
            # Writing makes this descriptor's readings start afresh (Linux 6.12).
            with contextlib.suppress(OSError):
                self._peak = os.open(f"{self._group.unified}/memory.peak", os.O_RDWR | os.O_CLOEXEC)

    def _listen(self, path: Path) -> None:
        """Be told of every OOM of this group or below (memory.txt, section 10: OOM control)."""
        control = os.open(path / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        self._ooms = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            (path / "cgroup.event_control").write_text(f"{self._ooms} {control}")
        finally:
            os.close(control)

    # --- from opening to running

    def at_start(self, tool: int = -1) -> None:
        """The program stands at its start: put its real limits in force, begin to count.

        tool: its process, which is alone so far; -1 where it is not visible.

        Raises:
            OSError: it is larger than its memory limit already.
        """
        self._group.retune(self._limits, INIT_PIDS)
        self._pids_before = self._raw_pids_peak()
        if tool > 0 and "pids" in self._group.v1:
            self._tool = Path(self._group.v1["pids"], TOOL)
            self._tool.mkdir(exist_ok=True)
            cgroup.write(self._tool / "pids.max", str(self._limits.pids))
            cgroup.write(self._tool / "cgroup.procs", str(tool))
            self._meter.count_pids_in(str(self._tool))
        self.begin()

    def begin(self, *, scratch: str = "") -> None:
        """Count CPU time and the peak of memory from now; with `scratch`, everything
        (`kernel.meter.Meter.begin`)."""
        self._meter.begin(scratch=scratch)
        if scratch:
            self._ooms_before = self._all_oom_kills()
        if self._peak >= 0:
            try:
                os.write(self._peak, b"reset")
            except OSError:
                os.close(self._peak)
                self._peak = -1

    def starting(self) -> list[int]:
        """PIDs in one hierarchy, cheap enough to ask for every millisecond."""
        pids: list[int] = []
        for directory, _, _ in os.walk(self._trees[0]):
            with contextlib.suppress(OSError):
                pids += map(int, Path(directory, "cgroup.procs").read_text().split())
        return pids

    def read_back(self, pid: int, container: str, *, tool: bool = False) -> list[Proof]:
        """See `cgroup.Group.read_back`. tool: it is the process that `at_start` was told of."""
        if not tool or self._tool is None:
            return self._group.read_back(pid, below=container)
        apart = {"pids": self._tool}
        proofs = self._group.read_back(pid, below=container, apart=apart)
        found = cgroup.read(self._tool / "pids.max").decode().strip()
        if found != str(self._limits.pids):
            raise EngineError(
                "pids.max is not what the plan promises", control="pids", detail=f"found {found}"
            )
        own = Proof("pids.max", found, str(self._tool / "pids.max"))
        return [*(proof for proof in proofs if proof.control != own.control), own]

    def take(self, pids: list[int]) -> None:
        """Move processes in that a runtime started outside."""
        for pid in pids:
            if pid <= 1:
                raise EngineError("PID 1 is nobody's to move", control="cgroup")
            with contextlib.suppress(ProcessLookupError):
                self._group.attach(pid)

    # --- counters

    def cpu_seconds(self) -> float | None:
        return self._meter.cpu_seconds()

    def counters(self, scratch: str, *, killed_for_memory: bool) -> Counters:
        """See `kernel.meter.Meter.counters`."""
        return self._meter.counters(scratch, killed_for_memory=killed_for_memory)

    def memory_peak(self) -> int | None:
        if self._peak >= 0:
            return int(os.pread(self._peak, 64, 0))
        return self._meter.memory_peak()

    def pids_peak(self) -> int | None:
        """The tool's, of a group in which nothing else ever was. Where it has none: None while it
        stayed below what the runtime had used, whose counter cannot be reset."""
        if self._tool is not None:
            return self._meter.pids_peak(cgroup.number(self._tool / "pids.peak"), overhead=0)
        found = self._raw_pids_peak()
        if found is None or self._pids_before is None or found <= self._pids_before:
            return None
        return self._meter.pids_peak(found - INIT_PIDS, overhead=INIT_PIDS)

    def _raw_pids_peak(self) -> int | None:
        found = self._group.pids_peak()
        return None if found is None else found + self._group.overhead

    def oom_kills(self) -> int:
        return max(self._all_oom_kills() - self._ooms_before, 0)

    def _all_oom_kills(self) -> int:
        if self._ooms >= 0:
            with contextlib.suppress(BlockingIOError):
                self._seen_ooms += os.eventfd_read(self._ooms)
            return self._seen_ooms
        return self._group.oom_kills()

    # --- the end

    def evidence(self, scratch: str) -> Evidence:
        return self._group.evidence(scratch)

    def freeze(self, *, frozen: bool) -> bool:
        """See `cgroup.Group.freeze`; what Docker put below stands still as well."""
        return self._group.freeze(frozen=frozen)

    def members(self) -> list[int]:
        """PIDs of everything in our group or below, in any hierarchy."""
        pids: set[int] = set()
        for directory in self._directories():
            with contextlib.suppress(OSError):
                text = (directory / "cgroup.procs").read_text()
                pids.update(int(word) for word in text.split())
        return sorted(pids - {0})

    def kill(self) -> None:
        """SIGKILL to everything here and below; `docker pause` is no hiding place."""
        for directory in self._directories():
            # Frozen by the v1 freezer a process does not even die (freezer-subsystem.txt).
            with contextlib.suppress(OSError):
                state = directory / "freezer.state"
                if state.exists():
                    state.write_text("THAWED")
        if self._group.unified:
            with contextlib.suppress(OSError):
                Path(self._group.unified, "cgroup.kill").write_text("1")
                return
        cgroup.kill_each(self.members())

    def remove(self) -> bool:
        """Remove the directories; False when something is still inside."""
        for fd in (self._ooms, self._peak):
            if fd >= 0:
                os.close(fd)
        self._ooms = self._peak = -1
        self._meter.close()
        for directory in self._directories():
            with contextlib.suppress(OSError):
                directory.rmdir()
        return not any(tree.exists() for tree in self._trees)

    def _directories(self) -> Iterator[Path]:
        """Deepest first. Docker makes and removes its own at the same time."""
        for tree in self._trees:
            for directory, _, _ in os.walk(tree, topdown=False):
                yield Path(directory)


def _parent_name(layout: cgroup.Layout, group: cgroup.Group, name: str) -> str:
    """The path of our group as Docker counts: from the top of the hierarchy."""
    if layout.unified is not None and group.unified is not None and not group.v1:
        return f"/{Path(group.unified).relative_to(layout.unified)}"
    return name


def remove_instance(instance: cgroup.Instance) -> None:
    """Remove what Docker made for an instance in hierarchies that we set nothing in."""
    for other in instance.layout.others:
        cgroup.remove_tree(other / instance.name)
