"""The embedded engine: bubblewrap, run as the service account and proven from outside.

Standard library and kernel room only, since it runs inside the privileged launcher.

bubblewrap reads its seccomp filter from a descriptor after its whole set-up and just before
it forks the tool. That descriptor is our gate: a pipe that stays empty until `start`. Its
`--block-fd` would be no gate, because end-of-file opens it: a launcher that dies would release
the tool, in the moment before bubblewrap ties the tool's life to its parent. A filter of no
bytes or of one, on the other hand, makes bubblewrap fail: without the launcher nothing ever runs.

The first byte lies in the pipe from the beginning and fills it, so that the pipe becomes writable
as soon as bubblewrap comes to the gate: the kernel tells, and nobody has to look every millisecond.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fumehood.engines import bwrap_argv
from fumehood.engines.bwrap import BWRAP
from fumehood.engines.protocol import NEVER, NOW, Ended, Event, Failed, Opened, Started
from fumehood.errors import EngineError
from fumehood.kernel import (
    accounts,
    audit_stream,
    cgroup,
    libc,
    openat2,
    pidfd,
    proc,
    rootfs,
    seccomp_logged,
)
from fumehood.kernel.forensics import Evidence
from fumehood.kernel.meter import Meter
from fumehood.kernel.readback import prove_confined, prove_mounts, prove_seccomp
from fumehood.model.outcome import Proof
from fumehood.model.plan import Plan

OPEN_SECONDS = 10.0
"""How long bubblewrap may take to reach the gate; 7 ms on a quiet machine."""
START_SECONDS = 5.0
OVERHEAD_PIDS = 2
"""bubblewrap's monitor and its init live in the sandbox's cgroup."""
MAX_ARTIFACTS = 64
_GATE_FD, _STATUS_FD = 3, 4
_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOMY = 1 << 16
"""Bytes of a gate that takes any filter; what pipes have by default (pipe(7))."""
_MAX_STATUS = 4096
_EXEC_FAILED = 1
"""How bubblewrap's monitor ends when execve(2) failed, and no other way (`die_with_error`)."""

Phase = Literal["opening", "opened", "starting", "running", "dying", "over"]


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the launcher laid out what sandboxes are made from, inside its own mount namespace."""

    skeleton: str
    devices: str
    store: str
    sandboxes: str
    images: str = ""


@dataclass(slots=True)
class Bubblewrap:
    """The engine. `filters` gives the compiled filter (raw BPF) of a profile by name; `logged` the
    same as two, where denials can be recorded. `own_filters`: how many this process has itself."""

    stage: Stage
    cgroups: cgroup.Instance
    filters: Mapping[str, bytes]
    host_namespaces: Mapping[str, str]
    rootless: bool
    logged: Mapping[str, seccomp_logged.Pair] = field(default_factory=dict)
    own_filters: int = 0
    name: str = "bubblewrap"
    runtimes: frozenset[str] = frozenset()
    _inits: set[int] = field(default_factory=set)
    """Of sandboxes that are not released yet; reaped by them alone."""
    _strangers: bool = False
    """There may be inits of no sandbox."""

    def unenforceable(self) -> dict[str, str]:
        found = dict(self.cgroups.problems)
        if self.rootless:
            found["service_account"] = "only root can give each tool an account of its own"
        return found

    def open(self, name: str, plan: Plan, stdio: tuple[int, int, int]) -> BubblewrapSandbox:
        group = self.cgroups.group(name, plan.limits, OVERHEAD_PIDS)
        sandbox = BubblewrapSandbox(self, name, plan, group)
        try:
            sandbox.spawn(stdio)
        except OSError as error:
            sandbox.abandon()
            raise EngineError(
                "the sandbox could not be opened",
                "run `fumehood doctor` on the host",
                control="sandbox",
                detail=str(error),
            ) from error
        except EngineError:
            sandbox.abandon()
            raise
        return sandbox

    def adopt(self, init: int) -> None:
        self._inits.add(init)

    def forget(self, init: int, *, reaped: bool) -> None:
        """Its sandbox is over; whatever of it is left is a stranger."""
        self._inits.discard(init)
        self._strangers = self._strangers or not reaped

    def bury_strangers(self) -> None:
        """Kill and reap inits of no sandbox, where there may be any. A monitor that was killed
        before it reported its init leaves it to us, the subreaper, and nobody else knows of it."""
        if not self._strangers:
            return
        found = False
        with contextlib.suppress(OSError):
            for pid in proc.children(os.getpid()):
                with contextlib.suppress(OSError):
                    if pid not in self._inits and proc.is_namespace_init(pid):
                        os.kill(pid, signal.SIGKILL)  # our child: its PID is its own till reaped
                        found = os.waitpid(pid, os.WNOHANG)[0] == 0 or found
        self._strangers = found

    def close(self) -> None:
        self.cgroups.close()


@dataclass(slots=True)
class BubblewrapSandbox:
    """One sandbox, from the scratch mount to the removed cgroup."""

    engine: Bubblewrap
    name: str
    plan: Plan
    group: cgroup.Group
    phase: Phase = "opening"
    _pid: int = -1
    _init: int = -1
    _tool: int = -1
    _pidfd: int = -1
    _init_pidfd: int = -1
    _tool_pidfd: int = -1
    _gate: int = -1
    _status: int = -1
    _at_gate: bool = False
    """bubblewrap has read the first byte of its filter, and waits for the rest."""
    _text: bytes = b""
    _report: dict[str, object] = field(default_factory=dict)
    """What it says so far, parsed."""
    _deadline: float = 0.0
    _failure: Failed | None = None
    _seccomp_proven: bool = False
    _left: tuple[int, ...] = ()
    """Of a dying sandbox: its processes that had not ended when they were last looked at."""
    _monitor_exit: int | None = None
    _switches: int | None = None
    _switches_before: int = 0
    _logged: seccomp_logged.Pair | None = None
    _meter: Meter = field(init=False)
    _reaped: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._meter = Meter(self.group)
        if self.plan.log_denials and self.group.can_freeze and audit_stream.errors_are_logged():
            self._logged = self.engine.logged.get(self.plan.seccomp)

    # --- opening

    def spawn(self, stdio: tuple[int, int, int]) -> None:
        """Make the scratch space and start bubblewrap as the service account."""
        plan = self.plan
        os.mkdir(self._scratch, 0o711)
        rootfs.scratch(
            self._scratch,
            size=plan.limits.scratch_bytes,
            inodes=plan.limits.scratch_inodes,
            uid=plan.uid,
            gid=plan.gid,
        )
        for mount in plan.mounts:
            if mount.kind == "tool":
                tree = f"{self.engine.stage.store}/{mount.source.removeprefix('sha384:')}"
                rootfs.bind_directory(tree, self._tool_files)
        gate_read, self._gate = os.pipe()
        self._status, status_write = os.pipe()
        try:
            # A pipe of one page is full with one byte, since writes into it take pages. Filters
            # come in eights of bytes, and bubblewrap refuses what does not.
            fcntl.fcntl(self._gate, fcntl.F_SETPIPE_SZ, _PAGE)
            os.write(self._gate, self._filter[:1])
            self._pid = self._execute((*stdio, gate_read, status_write))
        finally:
            os.close(gate_read)
            os.close(status_write)
        os.set_blocking(self._status, False)
        self._pidfd = os.pidfd_open(self._pid)
        self._deadline = time.monotonic() + OPEN_SECONDS
        # The first migration waits for an RCU grace period (10-18 ms on an idle host); bubblewrap
        # sets itself up meanwhile.
        self.group.attach(self._pid)

    def _execute(self, descriptors: tuple[int, ...]) -> int:
        """Execute bubblewrap as the service account; its PID."""
        plan, argv = self.plan, self._argv()
        if self._logged is not None:
            program = self._logged.first
            return accounts.spawn_filtered(
                BWRAP, argv, descriptors, uid=plan.uid, gid=plan.gid, program=program
            )
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(descriptors)]
        with accounts.identity(plan.uid, plan.gid):
            return os.posix_spawn(BWRAP, argv, {}, file_actions=actions)

    @property
    def logs(self) -> bool:
        return self._logged is not None

    @property
    def hidden(self) -> str:
        return ""

    def freeze(self, *, frozen: bool) -> bool:
        return self.group.freeze(frozen=frozen)

    @property
    def _filter(self) -> bytes:
        """What bubblewrap loads."""
        return self._logged.second if self._logged else self.engine.filters[self.plan.seccomp]

    def _prove_seccomp(self) -> list[Proof] | None:
        filters = seccomp_logged.FILTERS if self._logged else 1
        own = self.engine.own_filters
        return prove_seccomp(self._tool, self._init, filters=own + filters)

    @property
    def _scratch(self) -> str:
        return f"{self.engine.stage.sandboxes}/{self.name}"

    @property
    def _tool_files(self) -> str:
        return f"{self._scratch}.tool"

    @property
    def _mounted(self) -> tuple[str, ...]:
        """Where something of this sandbox is mounted in the launcher's own namespace."""
        has_files = any(mount.kind == "tool" for mount in self.plan.mounts)
        return (self._scratch, self._tool_files) if has_files else (self._scratch,)

    @property
    def _root(self) -> str:
        if self.plan.image.startswith("sha256:"):
            return f"{self.engine.stage.images}/{self.plan.image.removeprefix('sha256:')}"
        return self.engine.stage.skeleton

    def _argv(self) -> list[str]:
        places = bwrap_argv.Places(
            self._root, self.engine.stage.devices, self._scratch, self._tool_files
        )
        return bwrap_argv.argv(self.plan, places, seccomp=_GATE_FD, status=_STATUS_FD)

    def step(self) -> list[Event]:
        """Go on as far as possible; see engines.protocol."""
        try:
            return self._step()
        except EngineError as error:
            return self._fail(error.control, error.cause, error.detail)
        except (OSError, KeyError, ValueError) as error:
            return self._fail("sandbox", "the sandbox could not be proven", repr(error))

    def _step(self) -> list[Event]:
        if self.phase == "dying":
            return self._finish_dying()
        if self.phase == "over":
            return []
        if self._pidfd >= 0 and pidfd.has_ended(self._pidfd):
            return self._monitor_ended()
        if self.phase == "opening":
            return self._try_open()
        if self.phase == "starting":
            return self._try_started()
        return []

    def _read_status(self) -> None:
        """bubblewrap's own report: the PID of its init, later the exit code of the tool."""
        if self._status < 0:
            return
        try:
            chunk = os.read(self._status, _MAX_STATUS)
        except BlockingIOError:
            return
        self._text += chunk
        self._report = {}
        for line in self._text.split(b"\n")[:-1]:
            self._report = {**json.loads(line), **self._report}
        if not chunk or len(self._text) > _MAX_STATUS:
            os.close(self._status)
            self._status = -1

    def _reported(self, key: str) -> int | None:
        value = self._report.get(key)
        return value if isinstance(value, int) else None

    def _try_open(self) -> list[Event]:
        self._read_status()
        if self._init < 0:
            pid = self._reported("child-pid")
            if pid is None:
                return self._still_within("bubblewrap did not start")
            self._init_pidfd = os.pidfd_open(pid)
            self._init = pid
            self.engine.adopt(pid)
            if not self.group.holds(pid):  # cloned before, or while, its parent was attached
                self.group.attach(pid)
            with contextlib.suppress(OSError):
                cgroup.write(f"/proc/{pid}/oom_score_adj", "1000")
        if not self._at_gate and not pidfd.is_ready(self._gate, select.POLLOUT):
            return self._still_within("bubblewrap did not finish its set-up")
        self._at_gate = True
        status = proc.read_status(self._init)
        if any(status.capabilities) or not status.no_new_privs:
            return self._still_within("bubblewrap did not give up its privileges")
        self._switches_before = status.context_switches
        proofs = [
            *prove_confined(self._init, self.plan, self.engine.host_namespaces, status=status),
            *prove_mounts(self._init, self.plan),
            *self.group.read_back(self._init),
        ]
        self.phase = "opened"
        return [Opened(tuple(proofs))]

    def _still_within(self, cause: str) -> list[Event]:
        if time.monotonic() < self._deadline:
            return []
        raise EngineError(cause, control="sandbox", detail=f"phase {self.phase}")

    # --- running

    def start(self) -> None:
        """Give bubblewrap its filter, which is what it waits for."""
        if self.phase != "opened":
            raise EngineError("only an opened sandbox can start", control="sandbox")
        self.phase = "starting"
        self._deadline = time.monotonic() + START_SECONDS
        try:
            rest = self._filter[1:]
            if len(rest) > _PAGE:
                fcntl.fcntl(self._gate, fcntl.F_SETPIPE_SZ, _ROOMY)
            os.write(self._gate, rest)  # one write into an empty pipe with room for it
        except BrokenPipeError:
            pass  # bubblewrap died at the gate: the next step reports it
        finally:
            os.close(self._gate)
            self._gate = -1

    def begin(self, *, ahead: bool) -> None:
        self._meter.begin(scratch=self._scratch if ahead else "")
        if self._tool >= 0:  # started ahead
            with contextlib.suppress(OSError):
                self._switches_before = sum(
                    proc.read_status(pid).context_switches for pid in (self._init, self._tool)
                )

    def cpu_seconds(self) -> float | None:
        return self._meter.cpu_seconds()

    def _try_started(self) -> list[Event]:
        if self._tool < 0:
            found = proc.children(self._init)
            if not found:
                return self._still_within("bubblewrap did not execute the tool")
            with contextlib.suppress(ProcessLookupError):
                self._tool_pidfd = os.pidfd_open(found[0])
            self._tool = found[0]
        proofs = self._prove_seccomp()
        if proofs is None:
            return self._still_within("the seccomp filter was not loaded")
        self._seccomp_proven = True
        self.phase = "running"
        return [Started(tuple(proofs))]

    # --- ending

    def terminate(self) -> bool:
        if self.phase != "running" or self._tool_pidfd < 0:
            return False
        # Its PID was read before it was opened: what has this PID must still be init's child, or
        # the descriptor may hold a stranger that came after a tool that ended quickly.
        try:
            known = self._tool in proc.children(self._init)
        except OSError:
            return False
        if not known:
            return False
        pidfd.terminate(self._tool_pidfd)
        return True

    def evidence(self) -> Evidence:
        return self.group.evidence(self._scratch, self._pid)

    def kill(self) -> None:
        """Kill by cgroup and by init: each alone is enough where the other is missing."""
        if self.phase == "over":
            return
        self.phase = "dying"
        self._kill()
        self._left = self._living()

    def _kill(self) -> None:
        self.group.kill()
        for fd in (self._init_pidfd, self._pidfd):
            if fd >= 0:
                pidfd.kill(fd)

    def _monitor_ended(self) -> list[Event]:
        """bubblewrap's monitor ends with the tool; its init and whatever it holds may go on."""
        if self.phase in ("opening", "opened"):
            self._failure = Failed("sandbox", "bubblewrap failed to set up the sandbox", "")
        self.phase = "dying"
        if self._init_pidfd < 0:
            self._kill()
        elif not pidfd.has_ended(self._init_pidfd):
            pidfd.kill(self._init_pidfd)  # all of its PID namespace dies with it
        return self._finish_dying()

    def _finish_dying(self) -> list[Event]:
        # The death of a PID namespace's init is reported only once all its processes are dead
        # (zap_pid_ns_processes), so these two descriptors speak for everything.
        self._left = self._living()
        if self._left:
            return []
        events: list[Event] = []
        self._read_status()  # what the monitor wrote last, between our last look and its end
        executed = self._reported("exit-code") is not None
        if executed and not self._seccomp_proven and self._failure is None:
            # The tool was quicker than we: init is a zombie of ours and still tells.
            if self._prove_seccomp() is None:
                self._failure = Failed("seccomp", "the seccomp filter was not loaded", "")
            else:
                self._seccomp_proven = True
                events.append(Started((Proof("seccomp", "2", f"/proc/{self._init}/status"),)))
        self._reap(self._init)
        self._reap(self._pid)
        if self._init < 0:
            self.engine.forget(self._init, reaped=False)
            self.engine.bury_strangers()
        if not self.group.is_empty:
            self.group.kill()
            return events
        events.append(self._failure or self._ended(executed=executed))
        self.phase = "over"
        return events

    def _ended(self, *, executed: bool) -> Ended:
        code, ended_by = self._exit()
        if not executed and self._monitor_exit == _EXEC_FAILED:
            code = ended_by = None  # it is bubblewrap's own
        elif not executed and ended_by is None:
            ended_by = signal.SIGKILL  # of init, by a stranger or by us: the tool's end, too
        oom_kills = self._meter.oom_kills()
        counters = self._meter.counters(
            self._scratch, killed_for_memory=oom_kills > 0, context_switches=self._switches_since()
        )
        return Ended(
            exit_code=code,
            signal=ended_by,
            executed=executed,
            cpu_seconds=self._meter.cpu_seconds(),
            memory_peak_bytes=self._meter.memory_peak(),
            pids_peak=self._meter.pids_peak(self.group.pids_peak(), overhead=self.group.overhead),
            oom_kills=oom_kills,
            # Whatever lies in /out holds an inode of its own (tmpfs counts links, too).
            artifacts=() if counters.scratch_inodes == 0 else self._artifacts(),
            counters=counters,
        )

    def _artifacts(self) -> tuple[openat2.Found, ...]:
        fd = os.open(f"{self._scratch}/out", os.O_RDONLY | os.O_DIRECTORY)
        try:
            return tuple(
                openat2.collect(
                    fd, max_files=MAX_ARTIFACTS, max_bytes=self.plan.limits.output_bytes
                )
            )
        finally:
            os.close(fd)

    def _exit(self) -> tuple[int | None, int | None]:
        """The kernel's word where it gives one (Linux 6.15) and bubblewrap's agrees, which reports
        a signal as 128 + number; an orphan of the tool's may stand where we looked for the tool.
        Else bubblewrap's, where only SIGSYS is taken for a signal: 137 alone proves nothing."""
        code = self._reported("exit-code")
        if self._tool_pidfd >= 0:
            status = pidfd.wait_status(self._tool_pidfd)
            if status is not None and code in (None, _as_shells_report(status)):
                return pidfd.exit_code_and_signal(status)
        if code == 128 + signal.SIGSYS:
            return None, signal.SIGSYS
        return code, None

    def _fail(self, control: str, cause: str, detail: str) -> list[Event]:
        self._failure = self._failure or Failed(control, cause, detail)
        if self.phase == "over":
            return []
        self.phase = "dying"
        self._kill()
        self._left = self._living()
        return []

    def _switches_since(self) -> int | None:
        found = self._switches
        return None if found is None else max(found - self._switches_before, 0)

    def _reap(self, pid: int) -> None:
        """Our child, or, since we are a subreaper, our dead child's child."""
        if pid >= 0 and pid not in self._reaped:
            try:
                reaped, status, used = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:  # its monitor has waited for it
                self._reaped.add(pid)
                return
            if reaped:
                self._reaped.add(pid)
            if reaped and self._switches is None:
                # Of init and whoever it waited for: all processes of the sandbox. Where the
                # monitor was quicker to wait for init, they are in its own account.
                self._switches = used.ru_nvcsw + used.ru_nivcsw
            if reaped and pid == self._pid:
                self._monitor_exit = os.waitstatus_to_exitcode(status)

    def abandon(self) -> None:
        """Give up a sandbox whose opening failed half-way, wherever it stands."""
        self._kill()
        if self._pid >= 0:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
        self.phase = "over"
        self.release()

    def release(self) -> None:
        for path in self._mounted:
            with contextlib.suppress(OSError):
                libc.umount2(path, libc.MNT_DETACH)
            with contextlib.suppress(OSError):
                os.rmdir(path)
        for fd in (self._pidfd, self._init_pidfd, self._tool_pidfd, self._gate, self._status):
            if fd >= 0:
                os.close(fd)
        self._pidfd = self._init_pidfd = self._tool_pidfd = self._gate = self._status = -1
        self._meter.close()
        self.group.remove()
        self.engine.forget(self._init, reaped=self._init in self._reaped)
        self.engine.bury_strangers()

    # --- what the launcher's loop watches

    @property
    def descriptors(self) -> tuple[int, ...]:
        if self.phase == "over":
            return ()
        if self.phase == "dying":  # the dead stay readable: watched, they would keep us spinning
            return self._left
        # Its report is waited for while it opens; what it says at the end is read when it ended.
        status = self._status if self.phase == "opening" else -1
        return tuple(fd for fd in (status, self._pidfd, self._init_pidfd) if fd >= 0)

    def _living(self) -> tuple[int, ...]:
        return tuple(
            fd for fd in (self._pidfd, self._init_pidfd) if fd >= 0 and not pidfd.has_ended(fd)
        )

    @property
    def writable(self) -> tuple[int, ...]:
        return (self._gate,) if self.phase == "opening" and not self._at_gate else ()

    @property
    def due(self) -> float:
        if self.phase == "opening" and not self._at_gate:
            return self._deadline
        # Of a dying sandbox the descriptors tell, until only its cgroup is left to empty.
        waits = self.phase in ("opened", "running", "over") or (
            self.phase == "dying" and self._left
        )
        return NEVER if waits else NOW


def _as_shells_report(status: int) -> int:
    code, number = pidfd.exit_code_and_signal(status)
    return 128 + number if number is not None else code or 0
