"""A look at a sandbox before it is killed: in a process of its own, so that the launcher waits for
nothing, and with an end in time.

Standard library only. The sandbox stands still meanwhile and can be killed at any moment; whoever
looks is killed when the time is over, and what it had found by then is kept.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from typing import Final, Protocol

from fumehood.kernel import forensics, libc
from fumehood.kernel.forensics import Evidence

LOOK_SECONDS: Final = 0.3
"""A stop acts in under a second, the look included."""
TOGETHER_SECONDS: Final = 0.5
"""Of looks that are under way at once, from the beginning of the first to the end of the last: many
share the cores, and what waits for a look is not killed yet."""
MAX_LOOKS: Final = 8
"""At once; more are refused, and their sandboxes killed without."""


class Look:
    """One look under way. `fd` is readable when it is over; then `finish`, in any case once."""

    def __init__(self, name: str, evidence: Evidence, *, kill: bool, until: float) -> None:
        """kill: the sandbox is to be killed afterwards. until: the end at the latest. Raises
        OSError."""
        self.name = name
        self.kill = kill
        self.begun = time.monotonic()
        self.deadline = min(self.begun + LOOK_SECONDS, until)
        self._evidence = evidence
        self._memory = os.memfd_create("capture", os.MFD_CLOEXEC)
        try:
            self._frozen = forensics.freeze(evidence, frozen=True)
            self._pid = _forked(evidence, self._memory)
            self.fd = os.pidfd_open(self._pid)
        except OSError:
            os.close(self._memory)
            self.thaw()
            raise

    def thaw(self) -> None:
        """Let it go on; what is to be killed need not, and must not."""
        forensics.freeze(self._evidence, frozen=False)

    def finish(self) -> int:
        """End it; returns the descriptor of what was found, from its beginning."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self.fd)
        os.lseek(self._memory, 0, os.SEEK_SET)
        if not self.kill:
            self.thaw()
        return self._memory


class Told(Protocol):
    """Takes over the descriptor of what was found."""

    def __call__(self, name: str, found: int, *, kill: bool) -> None: ...


class Looks:
    """Those under way, for a loop that must not wait."""

    def __init__(self, epoll: select.epoll, told: Told) -> None:
        self._epoll = epoll
        self._told = told
        self._by_fd: dict[int, Look] = {}

    @property
    def deadlines(self) -> list[float]:
        return [look.deadline for look in self._by_fd.values()]

    def begin(self, name: str, evidence: Evidence, *, kill: bool) -> str:
        """Begin a look; why there is none, else empty."""
        if self.kill_after(name, kill=kill):
            return ""
        if len(self._by_fd) >= MAX_LOOKS:
            return f"{MAX_LOOKS} others are being looked at"
        try:
            first = min((look.begun for look in self._by_fd.values()), default=math.inf)
            look = Look(name, evidence, kill=kill, until=first + TOGETHER_SECONDS)
        except OSError as error:
            return f"no look is possible: {error.strerror}"
        self._by_fd[look.fd] = look
        self._epoll.register(look.fd, select.EPOLLIN)
        return ""

    def kill_after(self, name: str, *, kill: bool = True) -> bool:
        """Whether it is being looked at; then it is killed when that is over."""
        look = next((look for look in self._by_fd.values() if look.name == name), None)
        if look is not None:
            look.kill = look.kill or kill
        return look is not None

    def hear(self, fd: int) -> None:
        """Something may be said by a descriptor of ours."""
        if (look := self._by_fd.pop(fd, None)) is not None:
            self._epoll.unregister(fd)
            self._told(look.name, look.finish(), kill=look.kill)

    def hold(self) -> None:
        """End those whose time is over."""
        now = time.monotonic()
        for fd in [fd for fd, look in self._by_fd.items() if now >= look.deadline]:
            self.hear(fd)

    def close(self) -> None:
        """End all; nobody wants to know."""
        for look in self._by_fd.values():
            look.kill = True
            self._epoll.unregister(look.fd)
            os.close(look.finish())
        self._by_fd.clear()


def _forked(evidence: Evidence, memory: int) -> int:
    """Not started anew: an interpreter takes 20 ms, and the time is short."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            return os._exit(1)
        # The launcher's own descriptors must not live on here: their ends are awaited elsewhere.
        os.closerange(3, memory)
        os.closerange(memory + 1, os.sysconf("SC_OPEN_MAX"))
        forensics.collect(evidence, memory)
    except BaseException:  # noqa: BLE001  (nobody is above us who could hear of it)
        os._exit(1)
    os._exit(0)
