"""ptrace(2), as far as holding a program before its first instruction needs it.

Standard library only. It never reads or changes a tracee's memory or registers. All calls for
one tracee come from the thread that seized it: the kernel knows no other tracer.
"""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from typing import Literal

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long

# linux/ptrace.h
_PTRACE_CONT = 7
_PTRACE_DETACH = 17
_PTRACE_SETOPTIONS = 0x4200
_PTRACE_GETEVENTMSG = 0x4201
_PTRACE_SEIZE = 0x4206

TRACEFORK = 1 << 1
TRACEVFORK = 1 << 2
TRACECLONE = 1 << 3
TRACEEXEC = 1 << 4
EXITKILL = 1 << 20
"""The tracee gets SIGKILL when its tracer ends, however that ends (Linux 3.8)."""

_EVENTS: dict[int, Literal["fork", "exec", "stop"]] = {
    1: "fork",
    2: "fork",
    3: "fork",
    4: "exec",
    128: "stop",
}
_WALL = 0x40000000
"""__WALL: wait for threads and for processes that somebody else is the parent of."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A tracee stands still until `resume` or `detach`.

    event: `exec` after a new program was loaded; `fork` of a child, which is traced as well;
    `signal` before a signal is delivered; `stop` for the first stop of a new tracee.
    number: the signal.
    """

    event: Literal["exec", "fork", "stop", "signal"]
    number: int


@dataclass(frozen=True, slots=True)
class Gone:
    """The tracee ended, with this wait status; its real parent may see that from now on."""

    status: int


def _ptrace(request: int, pid: int, data: int = 0) -> None:
    """`data` is a number or an address; the request decides."""
    if _libc.ptrace(ctypes.c_long(request), pid, None, ctypes.c_void_p(data)) == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"ptrace({request:#x}): {os.strerror(code)}")


def seize(pid: int, options: int) -> None:
    """PTRACE_SEIZE: trace a running process without stopping it.

    Raises:
        OSError: it is gone, is traced already, or this host forbids it (EPERM).
    """
    _ptrace(_PTRACE_SEIZE, pid, options)


def set_options(pid: int, options: int) -> None:
    """PTRACE_SETOPTIONS on a stopped tracee; children born later inherit them."""
    _ptrace(_PTRACE_SETOPTIONS, pid, options)


def resume(pid: int, number: int = 0) -> None:
    """PTRACE_CONT, delivering signal `number` unless it is 0."""
    _ptrace(_PTRACE_CONT, pid, number)


def detach(pid: int) -> None:
    """PTRACE_DETACH: a stopped tracee goes on, untraced."""
    _ptrace(_PTRACE_DETACH, pid)


def event_pid(pid: int) -> int:
    """PTRACE_GETEVENTMSG after `fork`: the child, as numbered in our own PID namespace."""
    message = ctypes.c_ulong()
    _ptrace(_PTRACE_GETEVENTMSG, pid, ctypes.addressof(message))
    return int(message.value)


def poll(pid: int) -> Stop | Gone | None:
    """What a tracee reports, without waiting; None: nothing new.

    Raises:
        ChildProcessError: it is no tracee of this thread any more.
    """
    found, status = os.waitpid(pid, os.WNOHANG | _WALL)
    if not found:
        return None
    if not os.WIFSTOPPED(status):
        return Gone(status)
    number = os.WSTOPSIG(status)
    event = _EVENTS.get(status >> 16)
    if event is not None:
        return Stop(event, number)
    return Stop("signal", signal.SIGTRAP if number == signal.SIGTRAP | 0x80 else number)
