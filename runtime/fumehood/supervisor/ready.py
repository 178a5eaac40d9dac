"""A sandbox that waits for its call, with our ends of its pipes, and what it does meanwhile.

Must never let what a tool did before its call pass for the call's, nor what others did to it for
the tool's doing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

from fumehood.errors import FumehoodError
from fumehood.launcher.client import End, Sandbox
from fumehood.launcher.messages import EndedMessage
from fumehood.model.outcome import Proof

CLOSED_SECONDS = 5.0
"""A stream has ended and its sandbox has not, for so long: the tool closed it."""
TRIPPED = "it was killed for a system call while it waited"
"""Why a tool is unfit of which a process tripped unfed."""


class Pipes:
    """stdin, stdout and stderr of a sandbox: three are ours, three go to the launcher."""

    def __init__(self) -> None:
        self._stdin_read, self.stdin = os.pipe()
        self.stdout, self._stdout_write = os.pipe()
        self.stderr, self._stderr_write = os.pipe()

    @property
    def theirs(self) -> tuple[int, int, int]:
        return self._stdin_read, self._stdout_write, self._stderr_write

    def close_theirs(self) -> None:
        """The launcher has its own duplicates."""
        for fd in self.theirs:
            os.close(fd)

    def close_ours(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            os.close(fd)


class Ready:
    """A sandbox, opened or on its way there, with our ends of its pipes; the taker owns both."""

    def __init__(
        self,
        sandbox: Sandbox,
        pipes: Pipes,
        *,
        ahead: Callable[[str], None] | None,
        uncalled: Callable[[Ready, End], None] | None = None,
    ) -> None:
        """ahead: start the tool's program as soon as the sandbox is open, and call this when the
        tool turns out not to be fit for that. uncalled: is told of the end of a program that was
        started and that no call had."""
        self.sandbox = sandbox
        self.pipes = pipes
        self.since = time.monotonic()
        self.launched = False
        """The tool's program has been started ahead of any call."""
        self.unfit = ""
        """Why a tool that was started ahead must not be: it wrote, or ended, unfed."""
        self._launched_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._watched = False
        self._taken = False
        self._used = False
        self._hung_up = False
        """A stream of it has ended; its end, or CLOSED_SECONDS, tell why."""
        self._given_up = self._has_tripped = False
        self._on_unfit = ahead
        self._uncalled = uncalled
        if ahead is not None:
            sandbox.on_killed_ahead = self._tripped
            sandbox.opened.add_done_callback(self._start_ahead)

    @property
    def ran(self) -> float:
        """Seconds that the tool's program has been running; 0 when it has not."""
        return time.monotonic() - self._launched_at if self.launched else 0.0

    @property
    def in_doubt(self) -> bool:
        """A stream of it has ended, and it is not known yet whose doing that was."""
        return self._hung_up and not (self.unfit or self.sandbox.ended.done())

    @property
    def alive(self) -> bool:
        """Not known to have ended, failed or written."""
        sandbox = self.sandbox
        failed = sandbox.opened.done() and sandbox.opened.exception() is not None
        return not (failed or sandbox.ended.done() or self.unfit or self._hung_up)

    def _start_ahead(self, opened: asyncio.Future[tuple[Proof, ...]]) -> None:
        # A callback that is already scheduled is not removed by `take`.
        if self._taken or opened.cancelled() or opened.exception() is not None:
            return
        self.launched = True
        self._launched_at = time.monotonic()
        self._watched = True
        for fd in (self.pipes.stdout, self.pipes.stderr):
            self._loop.add_reader(fd, self._readable, fd)
        self.sandbox.ended.add_done_callback(self._ended_ahead)
        try:
            self.sandbox.start(begin=False)
        except FumehoodError as error:
            self.unfit = str(error)

    def _readable(self, fd: int) -> None:
        """Output of a program that was not fed yet, or the end of it, which says nothing: whoever
        kills the program, its engine or the launcher ends it, too."""
        self._unwatch()
        if os.read(fd, 1):
            self._judged("it wrote before it was fed")
        else:
            self._hung_up = True
            self._loop.call_later(CLOSED_SECONDS, self._still_there)

    def _still_there(self) -> None:
        if not self._taken and not self.sandbox.ended.done():
            self._judged("it closed its output before it was fed")

    def _ended_ahead(self, ended: asyncio.Future[End]) -> None:
        """Its end, unless an invocation has it; or that of a launcher, which is not its doing."""
        if self._used or ended.cancelled() or ended.exception() is not None:
            return
        end = ended.result()
        reason = _own_doing(end.message)
        if reason == TRIPPED:
            self._tripped()
        elif reason and not self._given_up:
            self._judged(reason)
        if self._uncalled is not None:
            self._uncalled(self, end)

    def _judged(self, reason: str) -> None:
        if not self.unfit:
            self.unfit = reason
            if self._on_unfit is not None:
                self._on_unfit(reason)

    def _tripped(self) -> None:
        """Once, also of one that a call has taken meanwhile: what it did before is not the
        call's."""
        told, self._has_tripped = self._has_tripped, True
        self.unfit = self.unfit or TRIPPED
        if not told and self._on_unfit is not None:
            self._on_unfit(TRIPPED)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            for fd in (self.pipes.stdout, self.pipes.stderr):
                self._loop.remove_reader(fd)

    def take(self) -> None:
        """An invocation owns it from now on."""
        self._used = True
        self._let_go()

    def _let_go(self) -> None:
        self._taken = True
        self._unwatch()
        self.sandbox.opened.remove_done_callback(self._start_ahead)

    @property
    def died(self) -> bool:
        """It ended while it waited, and not because it was given up."""
        return self.sandbox.ended.done() and not self._given_up

    def discard(self) -> None:
        """Give up a sandbox that no invocation will use. From now on its program's end is our
        doing: that of its input may reach it before the kill does."""
        self._given_up = self._given_up or self.alive
        self._let_go()
        self.sandbox.kill()
        self.pipes.close_ours()


def _own_doing(end: EndedMessage) -> str:
    """Why a tool that ended unfed is not fit to wait; empty: somebody else may have ended it."""
    if any(item.action.startswith("kill") for item in end.syscalls.seen):
        return TRIPPED
    if end.stopped == "cpu_time":
        return "it computed while it waited"
    if end.oom_kills:
        return "it used more memory than it may before it was fed"
    if not end.executed and end.signal is None:
        return "its program could not be executed"
    # Where the kernel tells no signals, 128 + 9 is all there is of one.
    killed = end.signal == signal.SIGKILL or end.exit_code == 128 + signal.SIGKILL
    return "" if killed else "it ended before it was fed"
