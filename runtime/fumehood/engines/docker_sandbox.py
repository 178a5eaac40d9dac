"""One container as the launcher sees it: opened, proven, held, run, and dead beyond doubt.

Every decision is made here, on the launcher's own thread, from what the kernel says; the worker
only talks to Docker. A kill goes through our own cgroup and never waits for anybody.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fumehood.engines import docker_proof
from fumehood.engines.docker_api import LOAD_SECONDS, Ending
from fumehood.engines.docker_gate import Gate
from fumehood.engines.docker_group import DockerGroup
from fumehood.engines.docker_stream import new_mark
from fumehood.engines.docker_worker import (
    Attached,
    Broken,
    Created,
    Meddled,
    StartReturned,
    StreamsOver,
    Worker,
)
from fumehood.engines.promises import UNSEEN
from fumehood.engines.protocol import NEVER, NOW, Ended, Event, Failed, Opened, Started
from fumehood.errors import EngineError
from fumehood.kernel import openat2, pidfd, proc
from fumehood.kernel.forensics import Evidence
from fumehood.model.outcome import Proof
from fumehood.model.plan import Plan

OPEN_SECONDS: Final = 18.0
"""How long a container may take, once it exists, to be held at its start; 0.4 s on a quiet machine.
"""
ORDER_SECONDS: Final = LOAD_SECONDS + 30.0
"""How long it may take until it exists: its image may have to be loaded first, 40 s for 1.6 GiB."""
LATE_SECONDS: Final = 0.5
"""How long an init that was seized may run its program without having stopped for us."""
DELIVERY_SECONDS: Final = 4.0
"""How long Docker may take to deliver what a dead container wrote."""
MAX_ARTIFACTS: Final = 64

Phase = Literal["opening", "opened", "running", "dying", "over"]


@dataclass(slots=True)
class DockerSandbox:
    """One sandbox, from the scratch mount to the removed cgroup.

    traced: whether the runtime shows its processes to the host's kernel (runc does, gVisor and
    Kata do not); only those can be held at a gate and read back.
    scratch: mounted already. released: called once when everything in the sandbox is dead.
    """

    name: str
    plan: Plan
    group: DockerGroup
    worker: Worker
    scratch: str
    host_namespaces: Mapping[str, str]
    traced: bool
    unproven: Mapping[str, str]
    released: Callable[[str], None]
    init: str
    phase: Phase = "opening"
    gate: Gate = field(default_factory=Gate)
    _container: str = ""
    _binds: tuple[str, ...] = ()
    _attached: bool = False
    _start_returned: bool = False
    _told_started: bool = False
    _streams_over: bool = False
    _meddled: bool = False
    _proofs: list[Proof] | None = None
    _exit_code: int | None = None
    _killed: bool = False
    _failure: Failed | None = None
    _outputs: list[int] = field(default_factory=list)
    """The writing ends of its stdout and stderr, until they are marked."""
    _mark: bytes = b""
    _init_pidfd: int = -1
    _tool_pidfd: int = -1
    _deadline: float = field(default_factory=lambda: time.monotonic() + ORDER_SECONDS)
    _late: float = 0.0
    _unseen_end: bool = False
    """It ended before a process of it could be looked at."""
    _died: float = 0.0

    # --- what the launcher's loop calls

    def step(self) -> list[Event]:
        """Go on as far as possible; see engines.protocol."""
        if self.phase == "over":
            return []
        try:
            self._listen()
            return self._step()
        except EngineError as error:
            self._fail(error)
        except (OSError, KeyError, ValueError) as error:
            self._fail(
                EngineError(
                    "the sandbox could not be proven", control="sandbox", detail=repr(error)
                )
            )
        return []

    def start(self) -> None:
        """Let the held program run, or start the container that was only created."""
        if self.phase != "opened":
            raise EngineError("only an opened sandbox can start", control="sandbox")
        self.phase = "running"
        if self.traced:
            self.gate.release()
            self.worker.nudge()
        else:
            self.worker.go()

    def begin(self, *, ahead: bool) -> None:
        self.group.begin(scratch=self.scratch if ahead else "")

    def cpu_seconds(self) -> float | None:
        return self.group.cpu_seconds()

    def terminate(self) -> bool:
        if self.phase != "running" or self._tool_pidfd < 0:
            return False
        pidfd.terminate(self._tool_pidfd)
        return True

    def evidence(self) -> Evidence:
        return self.group.evidence(self.scratch)

    def kill(self) -> None:
        """Kill everything in it; the end is reported as always."""
        if self.phase == "over":
            return
        self._killed = True
        self._die()

    @property
    def logs(self) -> bool:
        return False  # dockerd hands no flags of a filter on (20.10)

    @property
    def hidden(self) -> str:
        return "" if self.traced else UNSEEN["seccomp"]

    def freeze(self, *, frozen: bool) -> bool:
        return self.group.freeze(frozen=frozen)

    @property
    def descriptors(self) -> tuple[int, ...]:
        if self.phase == "over":
            return ()
        ends = self._init_pidfd if self.phase in ("opened", "running") else -1
        return tuple(fd for fd in (self.worker.wake, ends) if fd >= 0)

    @property
    def writable(self) -> tuple[int, ...]:
        return ()

    @property
    def due(self) -> float:
        return NOW if self.phase in ("opening", "dying") else NEVER

    # --- steps

    def _listen(self) -> None:
        for message in self.worker.messages():
            match message:
                case Created(container, binds):
                    self._container, self._binds = container, binds
                    self._deadline = time.monotonic() + OPEN_SECONDS
                case Attached():
                    self._attached = True
                case StartReturned(ending):
                    self._start_returned = True
                    if ending is not None:
                        self._adopt(ending)
                    if self.phase == "dying":  # killed while Docker was starting it
                        self.group.kill()
                case StreamsOver(ending, meddled):
                    self._streams_over = True
                    self._meddled = meddled
                    self._exit_code = ending.exit_code if ending else None
                case Meddled():
                    if not self._killed:
                        self._fail(EngineError(_BY_OTHERS, control="container"))
                case Broken(error):
                    self._streams_over = True
                    self._fail(error)

    def _step(self) -> list[Event]:
        if self.traced:
            if self.phase == "opening" and self.gate.state == "looking" and self._container:
                self._look()
            self.gate.step()
        if self.phase == "running" and not self.traced and self._start_returned:
            self._look_unseen()
        if self.phase == "running" and self._proofs is not None:
            proofs, self._proofs = self._proofs, None
            return [Started(tuple(proofs))]
        if self.phase == "dying":
            return self._finish()
        if self._has_ended():
            self._die()
            return self._finish()
        if self.phase == "opening":
            return self._try_open()
        return []

    def _look(self) -> None:
        if self.gate.look(self.group.starting()):
            self._init_pidfd = os.pidfd_open(self.gate.init)

    def _has_ended(self) -> bool:
        if self.gate.init_status is not None:
            return True
        if not self.traced and not self._told_started:
            return False  # it may be over already, and is reported in the usual order
        if self._unseen_end:
            return True
        return self._init_pidfd >= 0 and pidfd.has_ended(self._init_pidfd)

    def _try_open(self) -> list[Event]:
        if time.monotonic() > self._deadline:
            if not self._container:
                raise EngineError(
                    "Docker did not make the container in time",
                    "its image may be too large to be loaded while a call waits: call again",
                    control="docker",
                )
            raise EngineError(
                "the container did not open in time", control="docker", detail=self.gate.state
            )
        if not self.traced:
            return self._open_unseen() if self._attached else []
        if not self._start_returned:
            return []
        if self.gate.state == "looking" or self._is_late():
            raise EngineError("the program could not be held at its start", control="gate")
        if self.gate.state != "held":
            return []
        self._tool_pidfd = os.pidfd_open(self.gate.tool)
        self._outputs = _outputs_of(self.gate.tool)
        self.group.at_start(self.gate.tool)
        gate = self.gate
        proofs = [
            *docker_proof.prove(gate.tool, gate.init, self.plan, self.host_namespaces, self._binds),
            *self.group.read_back(gate.tool, self._container, tool=True),
        ]
        self.group.read_back(gate.init, self._container)
        self.phase = "opened"
        self._proofs = [Proof("gate", "held at its first instruction", f"ptrace {gate.tool}")]
        return [Opened(tuple(proofs))]

    def _is_late(self) -> bool:
        """Looked at for a moment: its stop for us comes just after its new program does."""
        if not self.gate.is_late(self.init):
            self._late = 0.0
            return False
        self._late = self._late or time.monotonic()
        return time.monotonic() - self._late > LATE_SECONDS

    # --- runtimes that show nothing

    def _adopt(self, ending: Ending) -> None:
        """Bring the processes of a runtime that ignores cgroups into ours, all of them."""
        try:
            self._init_pidfd = os.pidfd_open(ending.pid) if ending.pid > 0 else -1
            top = proc.parent(ending.pid)
            shim = proc.command(top)
        except ProcessLookupError:
            shim = ""
        if self._init_pidfd < 0 or pidfd.has_ended(self._init_pidfd):
            self._unseen_end = True  # quicker than we; that is what `gate` being missing means
            return
        if not shim.startswith("containerd-shim"):
            raise EngineError(
                "the runtime's processes cannot be told from others", control="cgroup", detail=shim
            )
        for _ in range(100):
            outside = sorted(set(proc.descendants(top)) - set(self.group.members()))
            if not outside:
                return
            self.group.take(outside)
        raise EngineError("the runtime's processes escape their cgroup", control="cgroup")

    def _open_unseen(self) -> list[Event]:
        """The container exists, and nothing of it runs: such a program cannot be held at its start,
        and what cannot be said of it is said."""
        self.phase = "opened"
        return [
            Opened(
                tuple(Proof(f"unproven.{name}", why, "docs") for name, why in self.unproven.items())
            )
        ]

    def _look_unseen(self) -> None:
        """The program runs, unfed: prove what can be proven, and count from here."""
        if self._told_started:
            return
        self._told_started = True
        self._unseen_end = self._unseen_end or pidfd.has_ended(self._init_pidfd)
        self._proofs = [] if self._unseen_end else self._read_back_unseen()
        self.group.begin()

    def _read_back_unseen(self) -> list[Proof]:
        members = self.group.members()
        if not members:
            raise EngineError("the sandbox is not in its cgroup", control="cgroup")
        # A runtime that heeds Docker's parent group makes one of its own in it.
        paths = proc.cgroups(members[0]).values()
        own = any(path.endswith(f"/{self._container}") for path in paths)
        return self.group.read_back(members[0], self._container if own else "")

    # --- the end

    def _fail(self, error: EngineError) -> None:
        self._failure = self._failure or Failed(error.control, error.cause, error.detail)
        self._die()

    def _die(self) -> None:
        if self.phase != "over":
            self.phase = "dying"
            self.group.kill()

    def _finish(self) -> list[Event]:
        """Wait for death, then for what Docker still has to deliver, then report."""
        now = time.monotonic()
        # Looked at each time until it is so, and once more below: walking all groups costs 1 ms.
        if not self._died:
            if not self._all_dead():
                self.group.kill()
                return []
            self._died = now
            # Who ended well was not ended: dockerd, which takes its time, need not be asked.
            self.worker.dead(doubted=not self._killed and self.gate.init_status != 0)
        self._mark_outputs()
        if self._failure is None and not self._streams_over:
            if now - self._died < DELIVERY_SECONDS:
                return []
            self._failure = Failed(
                "docker", "Docker Engine does not deliver what the container wrote", ""
            )
        if not self._all_dead():  # somebody with Docker's socket put a process in
            self.group.kill()
            return []
        last = self._failure or self._killed_by_others() or self._ended()
        if self._failure is not None:  # its worker may wait for a dockerd that hangs
            self.group.remove()
        self._release()
        return [last]

    def _mark_outputs(self) -> None:
        """Write behind everything that the dead have written (see docker_stream)."""
        if self._outputs and not self._mark:
            self._mark = new_mark()
            self.worker.expect(self._mark)
        for fd in tuple(self._outputs):
            try:
                os.write(fd, self._mark)
            except BlockingIOError:
                continue  # full: the supervisor reads slowly
            except BrokenPipeError:
                pass  # nobody reads; what Docker says of its end counts
            self._outputs.remove(fd)
            os.close(fd)

    def _all_dead(self) -> bool:
        """The death of a PID namespace's init is reported only once all its processes are dead
        (zap_pid_ns_processes); the cgroup speaks for what is not in the namespace."""
        for fd in (self._init_pidfd, self._tool_pidfd):
            if fd >= 0 and not pidfd.has_ended(fd):
                return False
        if self.gate.init >= 0 and self.gate.init_status is None:
            return False
        return not self.group.members()

    def _killed_by_others(self) -> Failed | None:
        """A container's init cannot be killed from inside its PID namespace, so whoever sent
        SIGKILL is outside: us, the kernel for want of memory, or somebody with Docker's socket.
        Other signals, and what became of a runtime that hides its processes, Docker tells of."""
        status = self.gate.init_status
        if self._killed:
            return None
        if self._meddled:
            return Failed("container", _BY_OTHERS, "Docker told of a signal or a removal")
        if status is None or not os.WIFSIGNALED(status):
            return None
        if self.group.oom_kills():
            return None
        return Failed(
            "container",
            _BY_OTHERS,
            f"its init ended by signal {os.WTERMSIG(status)}",
        )

    def _ended(self) -> Ended:
        executed = self._executed()
        code, ended_by = self._exit() if executed else (None, None)
        directory = os.open(f"{self.scratch}/out", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            artifacts = openat2.collect(
                directory, max_files=MAX_ARTIFACTS, max_bytes=self.plan.limits.output_bytes
            )
        finally:
            os.close(directory)
        oom_kills = self.group.oom_kills()
        return Ended(
            exit_code=code,
            signal=ended_by,
            executed=executed,
            cpu_seconds=self.group.cpu_seconds(),
            memory_peak_bytes=self.group.memory_peak(),
            pids_peak=self.group.pids_peak(),
            oom_kills=oom_kills,
            artifacts=tuple(artifacts),
            counters=self.group.counters(self.scratch, killed_for_memory=oom_kills > 0),
        )

    def _executed(self) -> bool:
        if self.traced:
            return self.gate.executed
        return self._start_returned and self._exit_code != _NOT_EXECUTED

    def _exit(self) -> tuple[int | None, int | None]:
        """The kernel's word where it gives one (Linux 6.15); else the init's or Docker's, which
        report a signal as 128 + number. Only SIGSYS is taken for one then, as under bubblewrap: a
        program may exit with 137 as well, and that alone proves nothing. Where no filter of ours
        is loaded none is: nothing of ours sent it."""
        if self._tool_pidfd >= 0:
            status = pidfd.wait_status(self._tool_pidfd)
            if status is not None:
                return pidfd.exit_code_and_signal(status)
        status = self.gate.init_status
        if status is not None and os.WIFSIGNALED(status):
            return None, os.WTERMSIG(status)
        code = self._exit_code if status is None else os.WEXITSTATUS(status)
        if code == 128 + signal.SIGSYS and self.traced:
            return None, signal.SIGSYS
        return code, None

    def release(self) -> None:
        """Nothing is left to the loop: the worker removes the container, then our groups, inside
        which Docker removes its own meanwhile."""

    def _release(self) -> None:
        self.phase = "over"
        self.released(self.name)
        for fd in (self._init_pidfd, self._tool_pidfd, *self._outputs):
            if fd >= 0:
                os.close(fd)
        self._outputs.clear()
        self._init_pidfd = self._tool_pidfd = -1
        self.worker.close()


def _outputs_of(tool: int) -> list[int]:
    """Writing ends of our own of the pipes that a held program has as stdout and stderr, by which
    its output reaches Docker; none where they are something else. It has not run, so they are what
    the runtime gave it."""
    paths = [f"/proc/{tool}/fd/{number}" for number in (1, 2)]
    found: list[int] = []
    try:
        if all(stat.S_ISFIFO(os.stat(path).st_mode) for path in paths):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            found.extend(os.open(path, flags) for path in paths)
    except OSError:  # then Docker's word counts, as for runtimes that show no process
        for fd in found:
            os.close(fd)
        return []
    return found


_BY_OTHERS: Final = "the container was killed or removed by somebody else"
_NOT_EXECUTED: Final = 127
"""tini's exit status when it cannot execute the program."""
