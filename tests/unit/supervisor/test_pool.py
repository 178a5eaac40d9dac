"""How many sandboxes are kept ready, and when they are opened. A launcher of memory; no sandbox."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from fumehood.launcher.client import End, LauncherClient, Sandbox
from fumehood.launcher.messages import EndedMessage, Kill, Start, ToLauncher
from fumehood.model.plan import Plan
from fumehood.supervisor import pool as pools
from fumehood.supervisor import ready as readies
from fumehood.supervisor.leases import Leases
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.ready import Ready
from support.launcher import plan

TOOL = "sha384:tool"
ENDED = (0.0, 0, 1, 0, ())
MOST_EACH = 4


class Launcher:
    """Opens at once; remembers what it was told."""

    def __init__(self) -> None:
        self.slow = False
        """Leaves it to the test when what it opens is open."""
        self.opened: list[Sandbox] = []
        self.told: list[ToLauncher] = []

    def open(self, name: str, wanted: Plan, _stdio: tuple[int, int, int]) -> Sandbox:
        new = asyncio.get_running_loop().create_future
        sandbox = Sandbox(name, wanted, new(), new(), new(), new(), self.told.append)
        if not self.slow:
            sandbox.opened.set_result(())
        self.opened.append(sandbox)
        return sandbox


class Clock:
    """What the pool takes for the time; timers keep the loop's own."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Scene:
    """A pool, its launcher, and calls that end as soon as they are made."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.launcher = Launcher()
        names = (f"name-{n}" for n in itertools.count())
        launcher = cast("LauncherClient", self.launcher)
        leases = Leases(1_900_009_000, 100)
        self.pool = Pool(launcher, names.__next__, 16, MOST_EACH, leases, memory=1 << 40)
        self.taken: list[Ready] = []

    def call(self, after: float = 0.0, **kind: Any) -> Ready:
        self.clock.now += after
        ready = self.pool.take(plan(), tool=TOOL, warm=kind.get("warm", "opened"))
        self.taken.append(ready)
        self.pool.tend_soon()
        return ready

    async def burst(self, calls: int, *, after: float = 10.0) -> None:
        self.call(after)
        for _ in range(calls - 1):
            await asyncio.sleep(0)
            self.call(0.001)
        await self.pause()

    async def pause(self) -> None:
        """Until what a pause is waited for with has been done."""
        while self.pool.refilling:  # noqa: ASYNC110  (the pool tells nobody else of it)
            await asyncio.sleep(0)

    def close(self) -> None:
        self.pool.close()
        for ready in self.taken:
            ready.pipes.close_ours()


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    clock = Clock()
    monkeypatch.setattr(pools, "time", clock)
    monkeypatch.setattr(readies, "time", clock)
    monkeypatch.setattr(pools, "short_of_memory", lambda: False)
    monkeypatch.setattr(pools, "PAUSE_SECONDS", 0.0)

    def run(act: Callable[[Scene], Awaitable[None]]) -> None:
        async def main() -> None:
            scene = Scene(clock)
            try:
                await act(scene)
            finally:
                scene.close()

        asyncio.run(main())

    return run


def test_no_sandbox_is_handed_out_twice(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(10):
            await scene.burst(3)
        names = [ready.sandbox.name for ready in scene.taken]
        assert len(set(names)) == len(names) == 30

    play(act)


def test_one_is_kept_for_calls_that_come_one_by_one(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(5):
            await scene.burst(1)
            assert scene.pool.ready == 1

    play(act)


def test_as_many_are_kept_as_come_at_once_up_to_the_bound(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(3)
        assert scene.pool.ready == 3
        opened = len(scene.launcher.opened)
        await scene.burst(3)
        names = [ready.sandbox.name for ready in scene.taken[-3:]]
        assert names == [sandbox.name for sandbox in scene.launcher.opened[opened - 3 : opened]]
        await scene.burst(20)
        assert scene.pool.ready == MOST_EACH

    play(act)


def test_single_calls_bring_the_number_down_again(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(4)
        for _ in range(6):
            await scene.burst(1)
        assert scene.pool.ready == 1

    play(act)


def test_while_some_are_left_new_ones_wait_for_a_pause(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(3)
        monkeypatch.setattr(pools, "PAUSE_SECONDS", 3600.0)
        opened = len(scene.launcher.opened)
        scene.call(10.0)
        scene.call(0.001)
        assert len(scene.launcher.opened) == opened, "two of three are taken"
        scene.call(0.001)
        await asyncio.sleep(0)
        assert len(scene.launcher.opened) == opened, "the answer leaves first"
        await scene.pause()
        assert len(scene.launcher.opened) > opened, "none is left: no pause is waited for"

    play(act)


def test_nothing_is_kept_when_the_tool_wants_none(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        scene.call(warm="none")
        await scene.pause()
        assert scene.pool.ready == 0

    play(act)


def test_an_idle_plan_keeps_nothing(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(3)
        scene.clock.now += pools.IDLE_SECONDS + 1
        scene.pool.tend_soon()
        await scene.pause()
        assert scene.pool.ready == 0

    play(act)


def test_what_is_slow_to_open_is_kept_in_greater_number(play: Callable[..., None]) -> None:
    """A call every half second: one is enough where opening takes no time, not where it takes
    longer than that, as a container may."""

    async def act(scene: Scene) -> None:
        for _ in range(30):
            await scene.burst(1, after=0.5)
        assert scene.pool.ready == 1
        scene.pool._shelves[plan().digest()].cost = 1.2
        await scene.burst(1, after=0.5)
        assert scene.pool.ready == 2

    play(act)


def test_the_cost_of_opening_is_learnt(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        scene.launcher.slow = True
        for _ in range(30):
            await scene.burst(1)
            scene.clock.now += 0.4
            scene.launcher.opened[-1].opened.set_result(())
            await asyncio.sleep(0)
        assert scene.pool._shelves[plan().digest()].cost == pytest.approx(0.4, rel=0.05)

    play(act)


def test_an_old_one_is_replaced(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(1)
        waiting = scene.launcher.opened[-1]
        for _ in range(20):
            scene.clock.now += pools.RECYCLE_SECONDS / 20
            scene.pool._shelves[plan().digest()].called = scene.clock.now
            scene.pool._tend()
        scene.pool._tend()
        assert Kill(waiting.name) in scene.launcher.told
        assert scene.pool.ready == 1
        assert scene.launcher.opened[-1] is not waiting

    play(act)


def test_an_old_one_whose_program_ends_with_its_pipes_is_no_reason_against_its_tool(
    play: Callable[..., None],
) -> None:
    """The kill and the end of its input race: a tool that reads to the end may win."""

    async def act(scene: Scene) -> None:
        scene.call(10.0, warm="started")
        await scene.pause()
        waiting = scene.launcher.opened[-1]
        await asyncio.sleep(0)
        assert Start(waiting.name, begin=False) in scene.launcher.told
        scene.clock.now += pools.RECYCLE_SECONDS
        scene.pool._shelves[plan().digest()].called = scene.clock.now
        scene.pool._tend()
        assert Kill(waiting.name) in scene.launcher.told
        waiting.ended.set_result(End(EndedMessage(waiting.name, 0, None, True, *ENDED), []))
        await asyncio.sleep(0)
        assert scene.pool.unfit(TOOL) == ""

    play(act)


def test_memory_that_the_host_needs_is_given_back(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(3)
        assert scene.pool.ready == 3
        monkeypatch.setattr(pools, "short_of_memory", lambda: True)
        scene.clock.now += pools.LOOK_SECONDS
        scene.pool._tend()  # its timer does, calls or none
        assert scene.pool.ready == 0
        assert sum(isinstance(message, Kill) for message in scene.launcher.told) == 3

    play(act)


def test_what_waits_started_stays_within_a_part_of_the_hosts_memory(
    play: Callable[..., None],
) -> None:
    async def act(scene: Scene) -> None:
        scene.pool._memory = 2 * plan().limits.memory_bytes
        for _ in range(4):
            scene.call(0.001, warm="started")
        await scene.pause()
        assert scene.pool.ready == 2

    play(act)


def test_what_is_ready_of_a_tool_that_nobody_can_call_goes(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.burst(3)
        scene.pool.keep_only([TOOL, "sha384:other"])
        assert scene.pool.ready == 3
        waiting = {sandbox.name for sandbox in scene.launcher.opened[-3:]}
        scene.pool.keep_only(["sha384:other"])
        assert scene.pool.ready == 0
        killed = {told.sandbox for told in scene.launcher.told if isinstance(told, Kill)}
        assert waiting <= killed
        await scene.burst(2)  # calls that were admitted just before
        assert scene.pool.ready == 0

    play(act)


def test_auto_keeps_them_opened_and_none_started(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        scene.call(warm="auto")
        await scene.pause()
        for _ in range(5):  # what is open would be started now
            await asyncio.sleep(0)
        assert scene.pool.waiting() == [(TOOL, "opened", 1)]
        assert not any(isinstance(told, Start) for told in scene.launcher.told)

    play(act)


def test_it_comes_again_by_itself_while_anything_waits(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "LOOK_SECONDS", 0.001)

    async def act(scene: Scene) -> None:
        await scene.burst(2)
        assert scene.pool.ready == 2
        scene.clock.now += pools.IDLE_SECONDS + 1
        async with asyncio.timeout(10):
            while scene.pool.ready:  # noqa: ASYNC110  (nobody calls: its own timer has to do it)
                await asyncio.sleep(0.001)

    play(act)


def test_all_that_waits_has_a_quarter_of_the_memory(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(scene: Scene) -> None:
        each = plan().limits.memory_bytes
        monkeypatch.setattr(pools, "memory_total", lambda: 12 * each)
        launcher = cast("LauncherClient", scene.launcher)
        names = (f"other-{n}" for n in itertools.count())
        scene.pool = Pool(launcher, names.__next__, 16, 16, Leases(1_900_009_500, 100))
        for _ in range(8):
            scene.call(0.001, warm="started")
        await scene.pause()
        assert scene.pool.ready == 3

    play(act)


def test_the_plan_called_last_comes_first(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        scene.pool._most = 1
        scene.call()
        await scene.pause()
        scene.clock.now += 1
        scene.taken.append(scene.pool.take(plan("true"), tool="sha384:other", warm="opened"))
        scene.pool._tend()
        assert scene.pool.waiting() == [("sha384:other", "opened", 1)]

    play(act)
