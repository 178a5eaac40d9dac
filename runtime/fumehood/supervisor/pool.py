"""Sandboxes ready before the call: each complete, proven, single use, and for one plan only.

What can be paid before a call arrives is paid before: account, namespaces, mounts, cgroup,
limits and read-back (*opened*), or also the tool's own start (*started*). Must never hand one
sandbox to two invocations, nor one plan's to another's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from fumehood.errors import EngineError, FumehoodError
from fumehood.launcher.client import End, LauncherClient
from fumehood.launcher.clients import Launchers
from fumehood.model.manifest import Warm
from fumehood.model.outcome import Proof
from fumehood.model.plan import Plan
from fumehood.supervisor.leases import Leases
from fumehood.supervisor.pressure import memory_left, memory_total
from fumehood.supervisor.ready import TRIPPED, Pipes, Ready

log = structlog.get_logger(__name__)

IDLE_SECONDS = 60.0
"""A plan that was not called for this long keeps no sandbox ready."""
RECYCLE_SECONDS = 600.0
"""A ready sandbox that nobody took is replaced by a fresh one after this time."""
OPENING_SECONDS = 0.03
"""What opening is taken to cost until it was seen (10-30 ms with bubblewrap, 150-400 ms with
Docker Engine): with the arrival rate it tells how many to keep."""
COST_WEIGHT = 0.2
"""Weight of the newest opening in the moving average of their cost."""
RATE_WEIGHT = 0.2
"""Weight of the newest interval in the moving average of the arrival rate."""
BURST_SECONDS = 0.1
"""Calls of one plan that follow each other within this time are a burst: as many are kept ready."""
PAUSE_SECONDS = 0.02
"""While some are left, new ones are opened only when no call has come for so long: opening keeps
both the launcher and a CPU busy, which the next call of a burst would wait for."""
LEAVING_SECONDS = 0.001
"""What the answer of a call that is on record takes to leave, at least: where none are left the
next one is opened after this time, or the launcher would be at work before the answer is out."""
MEMORY_SECONDS = 1.0
"""How old the last look at the host's memory may be: 0.1 ms each."""
MEMORY_LEAST = 0.1
"""Below this part of the host's memory still available, nothing is kept ready."""
MEMORY_MOST = 0.25
"""What all that waits ready may use together, as a part of the host's memory: of a tool that was
started ahead its whole limit counts, of an opened sandbox OPENED_BYTES."""
OPENED_BYTES = {"bubblewrap": 1 << 20, "docker": 14 << 20}
"""By engine: an opened bubblewrap has 0.15 MB of its own, a container's shim and init 13.1 MB."""
DEATHS = 3
"""One that is killed while it waits was somebody's doing, or its own, where the kernel does not
tell; so many in a row without a call between them are the tool's."""
UNFIT_SECONDS = 600.0
"""What made a tool unfit may have been chance: after this time it is tried again."""
LOOK_SECONDS = 5.0
"""While anything is ready, the host's memory is looked at this often, calls or none."""


def _untold(_event: str, _tool: str, _fields: Mapping[str, Any]) -> None:
    """Nobody listens."""


@dataclass(slots=True)
class _Shelf:
    """The ready sandboxes of one plan, and how often it is called."""

    plan: Plan
    tool: str
    ahead: bool
    ready: list[Ready] = field(default_factory=list)
    called: float = 0.0
    deaths: int = 0
    """Of its programs that ended while they waited, since the last call that one was fed for."""
    told: bool = False
    """That its programs are started ahead is on record."""
    interval: float = IDLE_SECONDS
    run: int = 0
    burst: int = 1
    cost: float = OPENING_SECONDS
    """Seconds from asking for one of its sandboxes to its being open, or started where that is
    wanted, as seen lately."""

    def discard(self) -> None:
        while self.ready:
            self.ready.pop().discard()

    def note_opened(self, seconds: float) -> None:
        self.cost += COST_WEIGHT * (seconds - self.cost)

    def note_call(self, now: float) -> None:
        """Learn from a call: how often they come, and how many at once. A longer burst counts at
        once, shorter ones bring the number down by one each."""
        gap = now - self.called
        if self.called:
            self.interval += RATE_WEIGHT * (min(gap, IDLE_SECONDS) - self.interval)
        if gap <= BURST_SECONDS:
            self.run += 1
        else:
            self.burst = max(self.run, self.burst - 1, 1)
            self.run = 1
        self.called = now


class Pool:
    """Hands out sandboxes; keeps some ready for plans that are in demand.

    most: ready ones altogether; most_each: of one plan. Zero switches the pool off. memory: bytes
    that all of them may use, see MEMORY_MOST; None: of this host.
    """

    def __init__(
        self,
        launcher: Launchers | LauncherClient,
        new_name: Callable[[], str],
        most: int,
        most_each: int,
        leases: Leases,
        *,
        memory: int | None = None,
    ) -> None:
        self._launcher = launcher
        self._memory = int(memory_total() * MEMORY_MOST) if memory is None else memory
        self._leases = leases
        self._new_name = new_name
        self._most = most
        self._most_each = min(most, most_each)
        self._shelves: dict[str, _Shelf] = {}
        self._unfit: dict[str, tuple[str, float]] = {}
        self.tell: Callable[[str, str, Mapping[str, Any]], None] = _untold
        """Is told what tools do ahead of calls, with the tool's digest: `started_ahead`, the first
        time for a plan; `uncalled`, a program that ran and had no call; `tripped_ahead`."""
        self._current: frozenset[str] | None = None
        self._tended = -LOOK_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._tending = False
        self.refilling = False
        """Something ended, and what was taken for it is not replaced yet."""
        self._looked = -MEMORY_SECONDS
        self._short = False
        self._closed = False

    @property
    def ready(self) -> int:
        """How many sandboxes wait for a call; those that have ended meanwhile do not."""
        return sum(one.alive for shelf in self._shelves.values() for one in shelf.ready)

    def waiting(self) -> list[tuple[str, str, int]]:
        """Tools by digest, `opened` or `started`, and how many sandboxes of theirs wait so."""
        found: dict[tuple[str, str], int] = {}
        for shelf in self._shelves.values():
            for one in shelf.ready:
                if one.alive:
                    key = shelf.tool, "started" if one.launched else "opened"
                    found[key] = found.get(key, 0) + 1
        return [(tool, level, count) for (tool, level), count in sorted(found.items())]

    @property
    def trees(self) -> set[str]:
        """Digests of the files that ready sandboxes have mounted."""
        plans = [shelf.plan for shelf in self._shelves.values() if shelf.ready]
        return {mount.source for plan in plans for mount in plan.mounts if mount.kind == "tool"}

    def unfit(self, tool: str) -> str:
        """Why the tool with this digest is not started ahead any more; empty when it may be."""
        reason, until = self._unfit.get(tool, ("", 0.0))
        return reason if time.monotonic() < until else ""

    def take(self, plan: Plan, *, tool: str, warm: Warm) -> Ready:
        """A sandbox for one invocation, the oldest ready one first.

        tool: the tool's digest. warm: how much its manifest wants paid ahead.

        Raises:
            EngineError, ProtocolError: none could be asked for.
        """
        if warm == "none" or not self._most or not self._is_current(tool):
            return self._open(plan)
        now = time.monotonic()
        key = plan.digest()
        shelf = self._shelves.get(key)
        ahead = warm == "started" and not self.unfit(tool)
        if shelf is None:
            shelf = self._shelves[key] = _Shelf(plan, tool, ahead)
        shelf.ahead = ahead
        shelf.note_call(now)
        taken = self._from(shelf) or self._open(plan)
        taken.take()
        return taken

    def _is_current(self, tool: str) -> bool:
        return self._current is None or tool in self._current

    def keep_only(self, tools: Iterable[str]) -> None:
        """The catalog has changed: discard what is ready for any but these tools, by digest, and
        keep nothing ready for a call of another one that was admitted before."""
        self._current = frozenset(tools)
        for key, shelf in list(self._shelves.items()):
            if shelf.tool not in self._current:
                del self._shelves[key]
                shelf.discard()

    def _from(self, shelf: _Shelf) -> Ready | None:
        for candidate in list(shelf.ready):
            if candidate.in_doubt:
                continue
            shelf.ready.remove(candidate)
            if candidate.alive:
                shelf.deaths = 0
                return candidate
            candidate.discard()
        return None

    def _note_uncalled(self, shelf: _Shelf, ready: Ready, end: End) -> None:
        """A program ran, and no call had it: on record, whoever ended it."""
        message = end.message
        self.tell(
            "uncalled",
            shelf.tool,
            {
                "sandbox": ready.sandbox.name,
                "seconds": round(ready.ran, 3),
                "cpu_seconds": message.cpu_seconds,
                "reason": ready.unfit or ("it ended by itself" if ready.died else "not needed"),
            },
        )
        if ready.died and not ready.unfit:
            shelf.deaths += 1
            if shelf.deaths >= DEATHS:
                self._note_unfit(shelf, f"it ended {shelf.deaths} times while it waited")

    def _note_unfit(self, shelf: _Shelf, reason: str) -> None:
        """A tool's own doing, not an engine's failure: for a while it is only opened."""
        if reason == TRIPPED:
            self.tell("tripped_ahead", shelf.tool, {"plan": shelf.plan.digest()})
        if shelf.ahead:
            shelf.ahead = False
            now = time.monotonic()
            self._unfit = {tool: told for tool, told in self._unfit.items() if told[1] > now}
            self._unfit[shelf.tool] = reason, now + UNFIT_SECONDS
            log.warning("tool is not started ahead any more", tool=shelf.tool, reason=reason)
            self.tend_soon()

    def _wanted(self, shelf: _Shelf, now: float) -> int:
        """How many to keep: one for the next call, what arrives while one is opened, and what
        comes at once."""
        if now - shelf.called > IDLE_SECONDS:
            return 0
        arriving = shelf.cost / max(shelf.interval, shelf.cost / self._most_each)
        return min(max(1 + int(arriving), shelf.burst, shelf.run), self._most_each)

    def _open(
        self,
        plan: Plan,
        ahead: Callable[[str], None] | None = None,
        uncalled: Callable[[Ready, End], None] | None = None,
    ) -> Ready:
        plan = self._leases.lease(plan)
        pipes = Pipes()
        try:
            sandbox = self._launcher.open(self._new_name(), plan, pipes.theirs)
        except FumehoodError:
            self._leases.give_back(plan.uid)
            pipes.close_ours()
            raise
        finally:
            pipes.close_theirs()
        sandbox.ended.add_done_callback(lambda _: self._leases.give_back(plan.uid))
        return Ready(sandbox, pipes, ahead=ahead, uncalled=uncalled)

    def tend_soon(self) -> None:
        """A sandbox ended, and its end is on record. Opening the next one keeps the launcher busy
        (10-18 ms on an idle host), so it comes after the call, never between its start and its
        answer; and where there are more for the next calls, in the next pause."""
        if self._tending or self._closed:
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.refilling = True
        # Calls without a pause must not put off the look at memory, and at what is idle.
        due = time.monotonic() - self._tended >= LOOK_SECONDS
        if due or any(not shelf.ready for shelf in self._shelves.values()):
            self._tending = True
            self._timer = loop.call_later(LEAVING_SECONDS, self._tend)
        else:
            self._timer = loop.call_later(PAUSE_SECONDS, self._tend)

    def _tend(self) -> None:
        """Fill up, recycle and drain; comes again by itself while there is anything to do."""
        self._tending = self.refilling = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        now = self._tended = time.monotonic()
        if now - self._looked >= MEMORY_SECONDS:
            self._looked = now
            self._short = short_of_memory()
        if self._short:
            self.drop_all()
            return
        # The plans called last come first; what they need is taken from those called long ago.
        shelves = sorted(self._shelves.items(), key=lambda item: -item[1].called)
        left, memory = self._most, self._memory
        for key, shelf in shelves:
            each = _bytes_each(shelf)
            keep = min(self._wanted(shelf, now), left, memory // each)
            left -= keep
            memory -= keep * each
            self._weed(shelf, keep, now)
            self._fill(shelf, keep - sum(one.alive for one in shelf.ready))
            if not shelf.ready and now - shelf.called > IDLE_SECONDS:
                del self._shelves[key]
        if self._shelves:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._tend)

    def _fill(self, shelf: _Shelf, missing: int) -> None:
        for _ in range(missing):
            try:
                if shelf.ahead and not shelf.told:
                    shelf.told = True
                    self.tell("started_ahead", shelf.tool, {"plan": shelf.plan.digest()})
                ahead = partial(self._note_unfit, shelf) if shelf.ahead else None
                uncalled = partial(self._note_uncalled, shelf) if shelf.ahead else None
                one = self._open(shelf.plan, ahead, uncalled)
                over = one.sandbox.opened if ahead is None else one.sandbox.started
                over.add_done_callback(partial(_note_opened, shelf, time.monotonic()))
                shelf.ready.append(one)
            except (EngineError, OSError) as error:  # OSError: no descriptors for its pipes
                log.warning("no sandbox could be opened ahead", error=str(error))
                return

    def _weed(self, shelf: _Shelf, keep: int, now: float) -> None:
        """Drop the dead, the old and the surplus."""
        fresh = [r for r in shelf.ready if r.alive and now - r.since < RECYCLE_SECONDS][:keep]
        fresh += [r for r in shelf.ready if r.in_doubt]
        for item in shelf.ready:
            if item not in fresh:
                item.discard()
        shelf.ready = fresh

    def drop_all(self) -> None:
        """Discard everything ready: who may what has changed, the host is short, or we stop."""
        for shelf in self._shelves.values():
            shelf.discard()
        self._shelves.clear()

    def close(self) -> None:
        """Keep nothing ready any more; sandboxes can still be taken."""
        self._closed = True
        self.drop_all()
        if self._timer is not None:
            self._timer.cancel()


def _note_opened(shelf: _Shelf, asked: float, opened: asyncio.Future[tuple[Proof, ...]]) -> None:
    if not opened.cancelled() and opened.exception() is None:
        shelf.note_opened(time.monotonic() - asked)


def _bytes_each(shelf: _Shelf) -> int:
    """What one sandbox of a shelf may use. Programs that wait still, of a tool that is only opened
    by now, count as what they are."""
    if shelf.ahead or any(one.launched for one in shelf.ready):
        return shelf.plan.limits.memory_bytes
    return OPENED_BYTES[shelf.plan.engine]


def short_of_memory() -> bool:
    """Whether the host, or a cgroup that we are in, needs what ready sandboxes hold."""
    return memory_left() < MEMORY_LEAST
