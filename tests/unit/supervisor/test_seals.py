"""Trees are stored a few at once, one of each caller, and too many registrations are refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from fumehood.errors import OverQuota
from fumehood.supervisor.seals import ALL, AT_ONCE, EACH, Seals


class Desk:
    """Registrations that store until they are told to end; who does, in order."""

    def __init__(self) -> None:
        self.seals = Seals()
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, name: str, principal: str | None = None) -> asyncio.Task[None]:
        task = asyncio.create_task(self._register(name, principal or name))
        await asyncio.sleep(0)
        if task.done():
            task.result()
        return task

    async def _register(self, name: str, principal: str) -> None:
        async with self.seals.turn(principal):
            self.begun.append(name)
            self._ends[name] = asyncio.Event()
            await self._ends[name].wait()

    async def end(self, name: str, task: asyncio.Task[None]) -> None:
        self._ends[name].set()
        await task
        await asyncio.sleep(0)


def run(test: Callable[[Desk], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await test(Desk())

    asyncio.run(asyncio.wait_for(bounded(), 30))


def test_so_many_store_at_once_and_each_caller_one_of_them() -> None:
    async def test(desk: Desk) -> None:
        first = await desk.begin("mallory-1", "mallory")
        await desk.begin("mallory-2", "mallory")
        assert desk.begun == ["mallory-1"]
        ann = await desk.begin("ann")
        assert (desk.begun, AT_ONCE) == (["mallory-1", "ann"], 2)
        await desk.begin("bob")
        await desk.end("ann", ann)
        assert desk.begun[2:] == ["bob"], "mallory's second waits for mallory's first"
        await desk.end("mallory-1", first)
        assert desk.begun[3:] == ["mallory-2"]

    run(test)


def test_too_many_of_one_caller_are_refused_and_others_are_not() -> None:
    async def test(desk: Desk) -> None:
        for number in range(EACH):
            await desk.begin(f"mallory-{number}", "mallory")
        with pytest.raises(OverQuota, match=f"{EACH} of your registrations") as refused:
            await desk.begin("more", "mallory")
        assert (refused.value.limit, refused.value.retry_after > 0) == ("registrations", True)
        await desk.begin("ann")
        assert desk.begun == ["mallory-0", "ann"]

    run(test)


def test_all_together_are_bounded_and_told_nothing_of_each_other() -> None:
    async def test(desk: Desk) -> None:
        for number in range(ALL):
            await desk.begin(f"caller-{number}")
        with pytest.raises(OverQuota, match=r"^too many registrations"):
            await desk.begin("ann")

    run(test)


def test_who_gives_up_leaves_the_line_and_who_fails_leaves_the_turn() -> None:
    async def test(desk: Desk) -> None:
        tasks = [await desk.begin(name) for name in ("ann", "bob", "carol", "dave")]
        tasks[2].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[2]
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        await asyncio.sleep(0)
        assert desk.begun == ["ann", "bob", "dave"]
        await desk.begin("carol")
        await desk.end("bob", tasks[1])
        assert desk.begun[3:] == ["carol"]

    run(test)
