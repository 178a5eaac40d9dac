"""Whether the host has room for one more call: memory, CPU, disk, and the audit log.

It only looks, and refuses calls that have not begun; must never touch what runs. What the kernel
tells as PSI is used where there is PSI; the rest comes from psutil and statvfs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import structlog

from fumehood.audit.chain import AuditLog
from fumehood.audit.segments import Tampered, Unkept
from fumehood.errors import AuditError, Unavailable
from fumehood.kernel import cgroup, proc
from fumehood.model.host import Pressure, Storage

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
"""The host is looked at no more often: 0.2 ms, mostly for statvfs and four small files."""
RETRY_SECONDS: Final = 2.0
"""When a refused caller may try again. PSI averages over 10 s, a killed sandbox frees at once."""
RESTART_SECONDS: Final = 60.0
"""The same where it takes an operator: no sooner."""
PSI: Final = Path("/proc/pressure")
INODES_LEAST: Final = 1_000
"""Free inodes on the state's disk; a tool of 10,000 files is checked when it is registered."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the host looked like. Percentages of time or memory; None where it cannot be told.

    memory_stall, io_stall: PSI `full avg10`. load: of the last minute, for each CPU.
    disk_free: bytes for the supervisor on the disk of the state; disk_inodes: None where the
    file system counts none.
    """

    memory_free: float
    memory_stall: float | None
    io_stall: float | None
    load: float
    disk_free: int
    disk_inodes: int | None


def look(state: Path) -> Sample:
    """Read the host's gauges now."""
    memory = psutil.virtual_memory()
    disk = os.statvfs(state)
    return Sample(
        memory_free=100 * memory.available / memory.total,
        memory_stall=stalled("memory").get("full"),
        io_stall=stalled("io").get("full"),
        load=os.getloadavg()[0] / (os.cpu_count() or 1),
        disk_free=disk.f_bavail * disk.f_frsize,
        disk_inodes=disk.f_favail if disk.f_files else None,
    )


def short_of(sample: Sample, pressure: Pressure, storage: Storage) -> str:
    """What there is too little of, with both numbers; empty when there is room."""
    # CPU is judged by the load: PSI for cpu stands at 90 % on any host that is well used.
    if sample.disk_free < storage.free:
        return f"disk: {sample.disk_free} bytes free, storage.free is {storage.free}"
    if sample.disk_inodes is not None and sample.disk_inodes < INODES_LEAST:
        return f"disk: {sample.disk_inodes} inodes free, {INODES_LEAST} are needed"
    if sample.memory_free < pressure.memory_free:
        return (
            f"memory: {sample.memory_free:.1f} % available, "
            f"pressure.memory_free is {pressure.memory_free}"
        )
    for name, stalled, most in (
        ("memory", sample.memory_stall, pressure.memory_stall),
        ("io", sample.io_stall, pressure.io_stall),
    ):
        if stalled is not None and stalled > most:
            return f"{name}: stalled {stalled:.0f} % of the time, pressure.{name}_stall is {most}"
    if sample.load > pressure.cpu_load:
        return f"cpu: load {sample.load:.0f} for each CPU, pressure.cpu_load is {pressure.cpu_load}"
    return ""


class Gate:
    """Lets calls in while the host has room; told to callers in one word, to the log exactly.

    Refusals are counted, not recorded one by one: a flood of them must not fill the disk that
    may be what is short. The audit log has one record when the gate closes and one when it opens.
    """

    def __init__(self, audit: AuditLog, short: Callable[[], str]) -> None:
        """short: what there is too little of now; empty when there is room."""
        self._audit = audit
        self._short = short
        self._looked = -LOOK_SECONDS
        self._stopping = False
        self._refused = 0
        self.reason = ""
        """Why the gate is closed, for the operator; empty while it is open."""

    def stop(self) -> None:
        """Let nobody in any more."""
        self._stopping = True

    def check(self) -> None:
        """Raise Unavailable while no call is taken."""
        if self._stopping:
            raise Unavailable("the supervisor is stopping", "call again in 5 s", retry_after=5.0)
        if not self.look():
            return
        self._refused += 1
        kind = self.reason.partition(":")[0]
        if kind == "log":
            raise Unavailable(
                "the host's audit log was changed or moved away, and nothing runs unrecorded",
                "an operator must restart the daemon; its log says what to do before",
                retry_after=RESTART_SECONDS,
                detail=self.reason,
            )
        raise Unavailable(
            f"{_CAUSES.get(kind, f'the host is short of {kind}')}: no call is taken just now",
            f"call again in {RETRY_SECONDS:g} s",
            retry_after=RETRY_SECONDS,
            detail=self.reason,
        )

    def look(self) -> str:
        """Why no call is taken now; empty when calls are. The host is not asked each time."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or self._audit.broken is not None:
            self._looked = now
            self._turn(self._why())
        return self.reason

    def _why(self) -> str:
        broken = self._audit.broken
        if broken is not None:
            error = broken.__cause__
            other = "log" if isinstance(error, Tampered) else "audit"
            kind = "keys" if isinstance(error, Unkept) else other
            return f"{kind}: {broken.detail}"
        try:
            return self._short()
        except OSError as error:
            return f"disk: {error}"

    def _turn(self, reason: str) -> None:
        was, self.reason = self.reason, reason
        if bool(was) == bool(reason):
            return
        if reason:
            self._refused = 0
            log.error("no calls are taken", reason=reason)
            self._record("admission.closed", reason)
        else:
            log.warning("calls are taken again", refused=self._refused)
            self._record("admission.opened", was)

    def _record(self, event: str, reason: str) -> None:
        with contextlib.suppress(AuditError):  # that is the reason then; the local log has it
            self._audit.append(event, {"reason": reason[:200], "refused": self._refused})


_CAUSES: Final = {
    "audit": "the host is short of disk (nothing can be recorded)",
    "keys": "keys of the host cannot be used",
    "io": "the host is short of disk time",
    "cpu": "the host is short of CPU time",
}


def memory_total() -> int:
    """Bytes of memory that this host, or the cgroups above this process, leave for sandboxes."""
    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in _limits())])


def memory_left() -> float:
    """The part of the memory still available: the host's, or that of the cgroup above this
    process that has least left. What a cgroup could drop (its inactive file pages) counts as left,
    as it does for the host."""
    memory = psutil.virtual_memory()
    left = [memory.available / memory.total]
    for limit, path in _limits():
        if 0 < limit < memory.total:
            with contextlib.suppress(OSError, ValueError, KeyError):
                left.append((limit - _held(path)) / limit)
    return min(left)


def _held(path: Path) -> int:
    """Bytes that a memory cgroup holds and cannot drop."""
    usage = path / "memory.current"
    usage = usage if usage.exists() else path / "memory.usage_in_bytes"
    words = dict(line.split() for line in (path / "memory.stat").read_text().splitlines())
    droppable = words.get("total_inactive_file") or words["inactive_file"]
    return int(usage.read_text()) - int(droppable)


def _limits() -> Iterator[tuple[int, Path]]:
    """Memory limits of the cgroups above this process, with their folders."""
    layout = cgroup.discover()
    of = proc.cgroups("self")
    bases = [(layout.v1.get("memory"), "memory", "memory.limit_in_bytes")]
    bases.append((layout.unified, "", "memory.max"))
    for base, controller, file in bases:
        own = next((p for names, p in of.items() if controller in names.split(",")), None)
        if base is None or own is None:
            continue
        path = base / own.lstrip("/")
        while path.is_relative_to(base):
            with contextlib.suppress(OSError, ValueError):  # `max`, or none at the top
                yield int((path / file).read_text()), path
            path = path.parent


def stalled(resource: str) -> dict[str, float]:
    """PSI `avg10` in percent of time: `some` of what runs waited for the resource, or `full`, all
    of it (Documentation/accounting/psi.rst). Empty where the kernel has no PSI."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (PSI / resource).read_text().splitlines():
            words = line.split()
            if words and words[0] in ("some", "full"):
                found[words[0]] = float(words[1].removeprefix("avg10="))
    return found
