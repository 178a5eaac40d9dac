"""The gate of a container: its program is held before the first instruction, and lives no longer
than we do.

Docker has no such gate, so this one is ptrace: the container's first process is seized while the
runtime still sets it up, followed through the init to the tool, and the tool is stopped when its
program was just loaded. Everything is final there (identity, filter, mounts), so that it can be
read back from a sandbox in which nothing has run. The tool is then let go, untraced; the init
stays traced with PTRACE_O_EXITKILL, so that the kernel kills the container should this process
end in any way: Docker's containers outlive their dockerd, their shim and us otherwise.

It must never let a program go that was not proven. Standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fumehood.errors import EngineError
from fumehood.kernel import ptrace

MAX_SIGNALS = 256
"""Signals that a tool may send to its init until it is killed: each one costs the launcher time.
The init (tini) blocks what programs really send, and blocked signals do not stop it."""

State = Literal["looking", "setup", "init", "forked", "held", "open"]


@dataclass(slots=True)
class Gate:
    """One container's gate. init, tool: PIDs as the launcher counts them, -1 when unknown."""

    init: int = -1
    tool: int = -1
    state: State = "looking"
    init_status: int | None = None
    """Wait status of the init, once it ended."""
    executed: bool = False
    """Whether the tool's own program was loaded."""
    _tool_traced: bool = False
    _signals: int = 0

    def look(self, candidates: Iterable[int]) -> bool:
        """Seize the container's first process among `candidates`; True when it was found.

        Raises:
            EngineError: control `gate`, when this host forbids tracing.
        """
        for pid in candidates:
            if not _is_first_of_namespace(pid):
                continue
            try:
                ptrace.seize(pid, ptrace.TRACEEXEC | ptrace.EXITKILL)
            except ProcessLookupError:
                continue
            except OSError as error:
                raise EngineError(
                    "the container's program cannot be held at its start",
                    "root needs CAP_SYS_PTRACE, and kernel.yama.ptrace_scope must be below 3",
                    control="gate",
                    detail=str(error),
                ) from error
            self.init = pid
            self.state = "setup"
            return True
        return False

    def step(self) -> None:
        """Handle whatever the tracees report; never waits.

        Raises:
            EngineError: control `gate`, when the tool floods its init with signals.
        """
        while self._step_init():
            pass
        while self._step_tool():
            pass

    def _step_init(self) -> bool:
        report = self._poll(self.init) if self.init_status is None else None
        match report:
            case None:
                return False
            case ptrace.Gone(status):
                self.init_status = status
                return False
            case ptrace.Stop("exec", _) if self.state == "setup":
                children = ptrace.TRACEFORK | ptrace.TRACEVFORK | ptrace.TRACECLONE
                self._go_on(self.init, options=ptrace.EXITKILL | ptrace.TRACEEXEC | children)
                self.state = "init"
            case ptrace.Stop("fork", _) if self.state == "init":
                self.tool = ptrace.event_pid(self.init)
                self._go_on(self.init, options=ptrace.EXITKILL)
                self._tool_traced = True
                self.state = "forked"
            case ptrace.Stop("signal", number):
                self._count_signal()
                self._go_on(self.init, number)
            case _:
                self._go_on(self.init)
        return True

    def _step_tool(self) -> bool:
        """Also after a kill: the init's end waits for ours to be collected."""
        report = self._poll(self.tool) if self._tool_traced else None
        match report:
            case None:
                return False
            case ptrace.Gone():  # killed, or the program could not be executed
                self._tool_traced = False
                return False
            case ptrace.Stop("exec", _):
                self.executed = True
                self.state = "held" if self.state == "forked" else self.state
                return False
            case ptrace.Stop("signal", number):
                self._go_on(self.tool, number)
            case _:
                self._go_on(self.tool)
        return True

    def _poll(self, pid: int) -> ptrace.Stop | ptrace.Gone | None:
        if pid < 0:
            return None
        try:
            return ptrace.poll(pid)
        except ChildProcessError:
            return None

    def _go_on(self, pid: int, number: int = 0, *, options: int | None = None) -> None:
        with contextlib.suppress(ProcessLookupError):  # it is being killed
            if options is not None:
                ptrace.set_options(pid, options)
            ptrace.resume(pid, number)

    def _count_signal(self) -> None:
        """Before the gate opened they are the runtime's own (Go preempts itself by SIGURG)."""
        if self.state != "open":
            return
        self._signals += 1
        if self._signals > MAX_SIGNALS:
            raise EngineError(
                f"the tool sent its init more than {MAX_SIGNALS} signals", control="gate"
            )

    def is_late(self, init: str) -> bool:
        """Whether the container's init runs its program (the file `init`) already, and did not
        stop for it: it was seized too late, and never will be held."""
        if self.state != "setup":
            return False
        try:
            found, wanted = os.stat(f"/proc/{self.init}/exe"), os.stat(init)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)

    def release(self) -> None:
        """Let the held tool run, untraced."""
        if self.state != "held":
            raise EngineError("only a held program can be let go", control="gate")
        self.state = "open"
        self._tool_traced = False
        with contextlib.suppress(ProcessLookupError):
            ptrace.detach(self.tool)


def _is_first_of_namespace(pid: int) -> bool:
    """PID 1 of a PID namespace below ours: NSpid has one number for each level (proc(5))."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    numbers = line.split()[1:]
                    return len(numbers) > _own_depth() and numbers[-1] == "1"
    except (FileNotFoundError, ProcessLookupError):
        pass
    return False


@functools.cache
def _own_depth() -> int:
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(len(line.split()) - 1 for line in file if line.startswith("NSpid:"))
