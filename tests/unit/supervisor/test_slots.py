"""Slots for sandboxes: bounded, fair between callers, and never lost."""

from __future__ import annotations

import asyncio

import pytest

from fumehood.errors import OverQuota, Unavailable
from fumehood.supervisor.slots import Slots


async def hold(slots: Slots, caller: int, order: list[int], gate: asyncio.Event) -> None:
    async with slots.slot(caller):
        order.append(caller)
        await gate.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_free_places_go_round_the_callers() -> None:
    async def scenario() -> list[int]:
        slots, order, gate = Slots(1, 100, 10), list[int](), asyncio.Event()
        first = asyncio.create_task(hold(slots, 1, order, gate))
        await settle()
        tasks = [asyncio.create_task(hold(slots, 1, order, gate)) for _ in range(20)]
        await settle()
        tasks.append(asyncio.create_task(hold(slots, 2, order, gate)))
        await settle()
        gate.set()
        await asyncio.gather(first, *tasks)
        assert (slots.taken, slots.waiting) == (0, 0)
        return order

    order = asyncio.run(scenario())
    assert order.index(2) <= 2, "one caller's twenty calls starved another's one"


def test_beyond_the_queue_the_refusal_is_immediate_and_says_when() -> None:
    async def scenario() -> None:
        slots, gate = Slots(1, 2, 10), asyncio.Event()
        tasks = [asyncio.create_task(hold(slots, 1, [], gate)) for _ in range(3)]
        await settle()
        with pytest.raises(OverQuota, match="queue of 2") as caught:
            async with slots.slot(1):
                pass
        assert caught.value.retry_after > 0
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_waiting_ends_with_a_refusal() -> None:
    async def scenario() -> None:
        slots, gate = Slots(1, 2, 0.01), asyncio.Event()
        holder = asyncio.create_task(hold(slots, 1, [], gate))
        await settle()
        with pytest.raises(OverQuota, match=r"within 0\.01 seconds"):
            async with slots.slot(1):
                pass
        gate.set()
        await holder
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_cancelled_waiter_loses_no_place_even_when_it_was_just_given_one() -> None:
    async def scenario() -> None:
        slots, gate = Slots(1, 10, 10), asyncio.Event()
        holder = asyncio.create_task(hold(slots, 1, [], gate))
        await settle()
        waiter = asyncio.create_task(hold(slots, 2, [], asyncio.Event()))
        await settle()
        gate.set()
        await holder  # the place is handed to the waiter, which has not run yet
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        async with asyncio.timeout(5), slots.slot(3):
            assert slots.taken == 1

    asyncio.run(scenario())


async def use(slots: Slots, caller: int, tool: str, memory: int, order: list[str]) -> None:
    async with slots.slot(caller, tool, memory):
        order.append(f"{caller}{tool}")
        await asyncio.sleep(0)


def test_calls_beyond_a_tools_own_limit_wait_and_those_of_other_tools_pass_them() -> None:
    async def scenario() -> list[str]:
        slots, order, gate = Slots(3, 100, 10, per_tool=1), list[str](), asyncio.Event()

        async def hog() -> None:
            async with slots.slot(1, "a"):
                await gate.wait()

        first = asyncio.create_task(hog())
        await settle()
        tasks = [asyncio.create_task(use(slots, 1, "a", 0, order)) for _ in range(3)]
        await settle()
        tasks.append(asyncio.create_task(use(slots, 1, "b", 0, order)))
        await settle()
        gate.set()
        await asyncio.gather(first, *tasks)
        assert (slots.taken, slots.waiting) == (0, 0)
        return order

    assert asyncio.run(scenario()) == ["1b", "1a", "1a", "1a"]


def test_memory_is_promised_once_and_a_large_call_is_not_passed_by_small_ones() -> None:
    async def scenario() -> list[str]:
        slots, order, gate = Slots(10, 100, 10, memory=100), list[str](), asyncio.Event()

        async def hog() -> None:
            async with slots.slot(1, "hog", 60):
                await gate.wait()

        first = asyncio.create_task(hog())
        await settle()
        tasks = [asyncio.create_task(use(slots, 2, "large", 90, order))]
        await settle()
        tasks += [asyncio.create_task(use(slots, 3, "small", 10, order)) for _ in range(3)]
        await settle()
        assert order == []
        gate.set()
        await asyncio.gather(first, *tasks)
        return order

    assert asyncio.run(scenario())[0] == "2large"


def test_a_call_that_wants_more_memory_than_there_is_runs_alone() -> None:
    async def scenario() -> None:
        slots = Slots(10, 100, 1, memory=100)
        async with slots.slot(1, "huge", 1000):
            assert slots.taken == 1
            with pytest.raises(OverQuota):
                async with asyncio.timeout(5), slots.slot(2, "small", 1):
                    pass
        async with slots.slot(2, "small", 1):
            assert slots.taken == 1

    asyncio.run(scenario())


def test_closing_refuses_those_who_wait_and_those_who_come() -> None:
    async def scenario() -> None:
        slots, gate = Slots(1, 10, 10), asyncio.Event()
        holder = asyncio.create_task(hold(slots, 1, [], gate))
        await settle()
        waiter = asyncio.create_task(hold(slots, 2, [], gate))
        await settle()
        slots.close()
        with pytest.raises(Unavailable, match="stopping"):
            await waiter
        with pytest.raises(Unavailable, match="stopping"):
            await hold(slots, 3, [], gate)
        gate.set()
        await holder
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_queue_that_one_caller_fills_is_not_full_for_another() -> None:
    async def scenario() -> None:
        slots, gate, order = Slots(1, 4, 10), asyncio.Event(), list[int]()
        greedy = [asyncio.create_task(hold(slots, 1, order, gate)) for _ in range(5)]
        await settle()
        other = asyncio.create_task(hold(slots, 2, order, gate))
        await settle()
        assert slots.waiting == 4
        with pytest.raises(OverQuota, match="queue of 4"):
            await greedy[-1]
        third = [asyncio.create_task(hold(slots, 3, order, gate)) for _ in range(3)]
        await settle()
        assert slots.waiting == 4, "two callers with two each and one with one would be no fairer"
        gate.set()
        ends = await asyncio.gather(*greedy, other, *third, return_exceptions=True)
        assert sum(isinstance(end, OverQuota) for end in ends) == 4
        assert (slots.taken, slots.waiting) == (0, 0)
        assert set(order) == {1, 2, 3}

    asyncio.run(scenario())


def test_a_caller_whose_calls_run_long_leaves_a_place_for_another() -> None:
    async def scenario() -> None:
        slots, order, gate = Slots(4, 12, 10), list[int](), asyncio.Event()
        greedy = [asyncio.create_task(hold(slots, 1, order, gate)) for _ in range(15)]
        await settle()
        assert (slots.taken, slots.waiting) == (3, 12)
        async with asyncio.timeout(10), slots.slot(2):  # nobody ends, and the queue is full
            assert slots.taken == 4
        await settle()
        assert (slots.taken, slots.waiting) == (3, 12), "its place stays for others"
        gate.set()
        await asyncio.gather(*greedy)
        assert (slots.taken, slots.waiting) == (0, 0)

    asyncio.run(scenario())


@pytest.mark.parametrize(("size", "share"), [(1, 1), (2, 1), (8, 7), (15, 14), (64, 56)])
def test_what_one_caller_may_hold(size: int, share: int) -> None:
    async def scenario() -> None:
        slots, gate = Slots(size, 100, 10), asyncio.Event()
        tasks = [asyncio.create_task(hold(slots, 1, [], gate)) for _ in range(size + 1)]
        await settle()
        assert slots.taken == share
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(scenario())


def test_a_caller_leaves_memory_too_and_its_large_call_is_not_passed_by_its_small_ones() -> None:
    async def scenario() -> list[str]:
        slots, order, gate = Slots(10, 100, 10, memory=80), list[str](), asyncio.Event()

        async def hog() -> None:
            async with slots.slot(1, "hog", 40):
                await gate.wait()

        first = asyncio.create_task(hog())
        await settle()
        tasks = [asyncio.create_task(use(slots, 1, "large", 40, order))]
        tasks += [asyncio.create_task(use(slots, 1, "small", 1, order)) for _ in range(3)]
        await settle()
        assert order == []
        async with asyncio.timeout(10):
            await use(slots, 2, "other", 40, order)
        gate.set()
        await asyncio.gather(first, *tasks)
        return order

    assert asyncio.run(scenario())[:2] == ["2other", "1large"]
