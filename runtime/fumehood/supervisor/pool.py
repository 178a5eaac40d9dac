"""Sandboxes ready before the call: each complete, proven, single use, and for one plan only.

What can be paid before a call arrives is paid before: account, namespaces, mounts, cgroup,
limits and read-back. An opened sandbox has executed nothing of the tool, so it is safe for
every tool. Must never hand one sandbox to two invocations, nor one plan's to another's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from fumehood.errors import FumehoodError
from fumehood.launcher.client import LauncherClient, Sandbox
from fumehood.model.plan import Plan

log = structlog.get_logger(__name__)

IDLE_SECONDS = 60.0
"""A plan that was not called for this long keeps no sandbox ready."""
RECYCLE_SECONDS = 600.0
"""A ready sandbox that nobody took is replaced by a fresh one after this time."""
OPENING_SECONDS = 0.03
"""What opening costs at most on a small host: with the arrival rate it tells how many to keep."""
RATE_WEIGHT = 0.2
"""Weight of the newest interval in the moving average of the arrival rate."""


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


@dataclass(frozen=True, slots=True)
class Ready:
    """A sandbox, opened or still opening, with our ends of its pipes; the taker owns both."""

    sandbox: Sandbox
    pipes: Pipes
    since: float

    @property
    def alive(self) -> bool:
        """Not known to have ended or failed."""
        sandbox = self.sandbox
        failed = sandbox.opened.done() and sandbox.opened.exception() is not None
        return not failed and not sandbox.ended.done()

    def discard(self) -> None:
        """Give up a sandbox that no invocation will use."""
        self.sandbox.kill()
        self.pipes.close_ours()


@dataclass(slots=True)
class _Shelf:
    """The ready sandboxes of one plan, and how often it is called."""

    plan: Plan
    ready: list[Ready] = field(default_factory=list)
    called: float = 0.0
    interval: float = IDLE_SECONDS


class Pool:
    """Hands out sandboxes; keeps some ready for plans that are in demand.

    most: ready ones altogether; most_each: of one plan. Zero switches the pool off.
    """

    def __init__(
        self, launcher: LauncherClient, new_name: Callable[[], str], most: int, most_each: int
    ) -> None:
        self._launcher = launcher
        self._new_name = new_name
        self._most = most
        self._most_each = min(most, most_each)
        self._shelves: dict[str, _Shelf] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def ready(self) -> int:
        """How many sandboxes wait for a call."""
        return sum(len(shelf.ready) for shelf in self._shelves.values())

    def take(self, plan: Plan) -> Ready:
        """A sandbox for one invocation, the oldest ready one first.

        Raises:
            EngineError, ProtocolError: none could be asked for.
        """
        now = time.monotonic()
        shelf = self._shelves.setdefault(plan.digest(), _Shelf(plan))
        if shelf.called:
            gap = min(now - shelf.called, IDLE_SECONDS)
            shelf.interval += RATE_WEIGHT * (gap - shelf.interval)
        shelf.called = now
        found = None
        while shelf.ready and found is None:
            candidate = shelf.ready.pop(0)
            if candidate.alive:
                found = candidate
            else:
                candidate.discard()
        taken = found or self._open(plan)
        asyncio.get_running_loop().call_soon(self._tend)
        return taken

    def wanted(self, shelf: _Shelf, now: float) -> int:
        """How many to keep: one for the next call, and what arrives while one is opened."""
        if now - shelf.called > IDLE_SECONDS:
            return 0
        arriving = OPENING_SECONDS / max(shelf.interval, OPENING_SECONDS / self._most_each)
        return min(1 + int(arriving), self._most_each)

    def _open(self, plan: Plan) -> Ready:
        pipes = Pipes()
        try:
            sandbox = self._launcher.open(self._new_name(), plan, pipes.theirs)
        except FumehoodError:
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        return Ready(sandbox, pipes, time.monotonic())

    def _tend(self) -> None:
        """Fill up, recycle and drain; comes again by itself while there is anything to do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or not self._most:
            return
        now = time.monotonic()
        for key, shelf in list(self._shelves.items()):
            self._weed(shelf, now)
            missing = self.wanted(shelf, now) - len(shelf.ready)
            self._fill(shelf, min(missing, self._most - self.ready))
            if not shelf.ready and now - shelf.called > IDLE_SECONDS:
                del self._shelves[key]
        if self._shelves:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS / 4, self._tend)

    def _fill(self, shelf: _Shelf, missing: int) -> None:
        for _ in range(missing):
            try:
                shelf.ready.append(self._open(shelf.plan))
            except FumehoodError as error:
                log.warning("no sandbox could be opened ahead", error=str(error))
                return

    def _weed(self, shelf: _Shelf, now: float) -> None:
        keep = self.wanted(shelf, now)
        fresh = [r for r in shelf.ready if r.alive and now - r.since < RECYCLE_SECONDS]
        for item in shelf.ready:
            if item not in fresh[:keep]:
                item.discard()
        shelf.ready = fresh[:keep]

    def drop_all(self) -> None:
        """Discard everything ready: the catalog changed, the host is short, or we stop."""
        for shelf in self._shelves.values():
            for item in shelf.ready:
                item.discard()
        self._shelves.clear()

    def close(self) -> None:
        self._closed = True
        self.drop_all()
        if self._timer is not None:
            self._timer.cancel()
