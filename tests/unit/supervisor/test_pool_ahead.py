"""What the pool makes of programs that ran and had no call: fitness, records, memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from fumehood.kernel import cgroup
from fumehood.launcher.client import End, LauncherClient, Sandbox
from fumehood.launcher.messages import EndedMessage
from fumehood.model.outcome import SyscallCount, Syscalls
from fumehood.model.plan import Plan
from fumehood.supervisor import pool as pools
from fumehood.supervisor import pressure
from fumehood.supervisor import ready as readies
from fumehood.supervisor.leases import Leases
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.ready import TRIPPED
from support.launcher import plan

TOOL = "sha384:tool"
KILLED = EndedMessage("x", 137, None, True, 0.1, 1 << 20, 1, 0, ())
BPF = Syscalls((SyscallCount("bpf", "x86_64", "kill", 1),), kills_visible=True)


class Scene:
    """A pool over a launcher of memory that starts at once; what the pool told."""

    def __init__(self) -> None:
        self.opened: list[Sandbox] = []
        self.held: list[int] = []
        """As a launcher holds its ends of the pipes."""
        self.told: list[tuple[str, Mapping[str, Any]]] = []
        names = iter(f"name-{n}" for n in range(1_000))
        self.pool = Pool(
            cast("LauncherClient", self), names.__next__, 16, 4, Leases(1_900_009_000, 100),
            memory=1 << 40,
        )  # fmt: skip
        self.pool.tell = lambda event, _tool, fields: self.told.append((event, fields))

    def open(self, name: str, wanted: Plan, stdio: tuple[int, int, int]) -> Sandbox:
        self.held += [os.dup(fd) for fd in stdio]
        new = asyncio.get_running_loop().create_future
        sandbox = Sandbox(name, wanted, new(), new(), new(), new(), lambda _: None)
        sandbox.opened.set_result(())
        self.opened.append(sandbox)
        return sandbox

    async def call(self) -> None:
        """Take one, and refill."""
        ready = self.pool.take(plan(), tool=TOOL, warm="started")
        ready.pipes.close_ours()
        self.pool._tend()
        await self.settled()

    async def settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end(self, sandbox: Sandbox, message: EndedMessage) -> None:
        sandbox.ended.set_result(End(message, []))
        await self.settled()

    def events(self) -> list[str]:
        return [event for event, _ in self.told]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setattr(pools, "short_of_memory", lambda: False)

    def run(act: Callable[[Scene], Awaitable[None]]) -> None:
        async def main() -> None:
            scene = Scene()
            try:
                await act(scene)
            finally:
                scene.pool.close()
                for fd in scene.held:
                    os.close(fd)

        asyncio.run(main())

    return run


def test_a_system_call_that_kills_while_nobody_calls_is_told_and_makes_unfit(
    play: Callable[..., None],
) -> None:
    async def act(scene: Scene) -> None:
        await scene.call()
        waiting = scene.opened[-1]
        assert waiting.on_killed_ahead is not None
        waiting.on_killed_ahead()
        waiting.on_killed_ahead()
        assert scene.events().count("tripped_ahead") == 1
        assert scene.pool.unfit(TOOL) == TRIPPED
        assert scene.pool.ready == 0

    play(act)


def test_one_that_is_known_only_from_its_end_is_told_too(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.call()
        await scene.end(scene.opened[-1], replace(KILLED, syscalls=BPF))
        assert scene.events() == ["started_ahead", "tripped_ahead", "uncalled"]
        assert scene.told[-1][1]["reason"] == TRIPPED

    play(act)


def test_one_that_keeps_dying_while_it_waits_is_only_opened(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.call()
        for times in range(1, pools.DEATHS + 1):
            assert scene.pool.unfit(TOOL) == ""
            await scene.end(scene.opened[-1], KILLED)
            assert scene.events().count("uncalled") == times
            scene.pool._tend()
            await scene.settled()
        assert scene.pool.unfit(TOOL) == "it ended 3 times while it waited"

    play(act)


def test_a_death_now_and_then_is_somebody_elses_doing(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(2 * pools.DEATHS):
            await scene.call()
            await scene.end(scene.opened[-1], KILLED)
            scene.pool._tend()
            await scene.settled()
        assert scene.pool.unfit(TOOL) == ""

    play(act)


def test_one_that_closed_its_output_is_kept_until_that_is_judged(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readies, "CLOSED_SECONDS", 0.0)

    async def act(scene: Scene) -> None:
        await scene.call()
        (shelf,) = scene.pool._shelves.values()
        waiting = shelf.ready[0]
        os.set_blocking(waiting.pipes.stdout, False)
        read, write = os.pipe()
        os.close(write)
        waiting._readable(read)  # the end of a stream
        os.close(read)
        assert waiting.in_doubt
        scene.pool._tend()
        assert waiting in shelf.ready, "its end would be nobody's then"
        assert scene.pool.take(plan(), tool=TOOL, warm="started") is not waiting
        await asyncio.sleep(0.01)
        assert scene.pool.unfit(TOOL) == "it closed its output before it was fed"
        scene.pool._tend()
        assert waiting not in shelf.ready

    play(act)


def test_what_waits_is_told_by_tool_and_level(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        await scene.call()
        assert scene.pool.waiting() == [(TOOL, "started", 1)]

    play(act)


def test_calls_without_a_pause_do_not_put_off_the_look_at_memory(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(pools, "MEMORY_SECONDS", 0.0)

    async def act(scene: Scene) -> None:
        await scene.call()
        await scene.call()
        monkeypatch.setattr(pools, "short_of_memory", lambda: True)
        scene.pool.tend_soon()
        await asyncio.sleep(0.02)
        assert scene.pool.ready > 0, "the next pause has not come"
        scene.pool._tended -= pools.LOOK_SECONDS
        scene.pool.tend_soon()
        await asyncio.sleep(0.02)
        assert scene.pool.ready == 0

    play(act)


def test_a_container_that_waits_counts_as_what_it_needs(play: Callable[..., None]) -> None:
    async def act(scene: Scene) -> None:
        scene.pool._memory = 28 << 20
        for _ in range(4):
            scene.pool.take(plan(engine="docker"), tool=TOOL, warm="opened").pipes.close_ours()
        scene.pool._tend()
        assert scene.pool.ready == 2

    play(act)


def test_a_cgroup_above_us_that_has_little_left_is_short_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "memory.max").write_text("314572800\n")
    (own / "memory.current").write_text("302000000\n")
    (own / "memory.stat").write_text("anon 1\ninactive_file 2000000\n")
    layout = cgroup.Layout(tmp_path, frozenset({"memory"}), {})
    monkeypatch.setattr(pressure.cgroup, "discover", lambda: layout)
    monkeypatch.setattr(pressure.proc, "cgroups", lambda _: {"": "/own"})
    assert pressure.memory_total() == 314_572_800
    assert pools.short_of_memory()
    (own / "memory.current").write_text("100000000\n")
    assert pressure.memory_left() == pytest.approx((314_572_800 - 98_000_000) / 314_572_800)
