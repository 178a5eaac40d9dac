"""Processes held by descriptor: a signal or a wait can never hit a recycled PID.

Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct

# linux/pidfd.h: PIDFD_GET_INFO is _IOWR(0xFF, 11, struct pidfd_info), 64 bytes in its first
# version; the exit status came with Linux 6.15.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_EXIT = 1 << 3
_INFO = struct.Struct("=QQ12I")


def kill(pidfd: int) -> None:
    """SIGKILL; a process that is already gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def terminate(pidfd: int) -> None:
    """SIGTERM, and SIGCONT so that a stopped process gets it; one that is gone is fine."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def has_ended(pidfd: int) -> bool:
    """True once the process is a zombie or gone."""
    return is_ready(pidfd, select.POLLIN)


def is_ready(fd: int, events: int) -> bool:
    """Whether a descriptor is ready for that, or for nothing any more; never waits."""
    poller = select.poll()
    poller.register(fd, events)
    return bool(poller.poll(0))


def wait_status(pidfd: int) -> int | None:
    """The wait status of a process that was reaped by anybody, or None where the kernel cannot
    tell (before Linux 6.15)."""
    request = bytearray(_INFO.pack(_PIDFD_INFO_EXIT, *([0] * 13)))
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    fields = _INFO.unpack(request)
    if not fields[0] & _PIDFD_INFO_EXIT:
        return None
    return int(fields[-1])


def exit_code_and_signal(status: int) -> tuple[int | None, int | None]:
    """Split a wait status into (exit code, None) or (None, signal number)."""
    if os.WIFSIGNALED(status):
        return None, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), None
