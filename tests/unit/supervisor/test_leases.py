"""No two sandboxes share an account while there is another one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fumehood.model.plan import Ceilings
from fumehood.supervisor.leases import Leases, divide
from support.launcher import CEILING, plan

OWN, FIRST, COUNT = 1_900_000_777, 1_900_009_000, 3
CEILINGS = Ceilings(1_900_000_000, 10_000, -1, "", "", ("host",), CEILING, 80)


def leases() -> Leases:
    return Leases(FIRST, COUNT)


def test_a_tool_has_its_own_account_as_long_as_that_is_free() -> None:
    book = leases()
    for _ in range(3):
        leased = book.lease(plan())
        assert leased == plan()
        book.give_back(leased.uid)
    assert book.leased == 0


def test_at_once_each_sandbox_has_another_account_and_nothing_else_differs() -> None:
    book = leases()
    plans = [book.lease(plan()) for _ in range(4)]
    assert [p.uid for p in plans] == [OWN, FIRST, FIRST + 1, FIRST + 2]
    for leased in plans:
        assert leased.gid == leased.uid
        assert replace(leased, uid=OWN, gid=OWN) == plan()
    assert book.leased == 3


def test_what_came_back_first_is_given_out_first() -> None:
    book = leases()
    book.lease(plan())
    used = [book.lease(plan()).uid for _ in range(3)]
    for uid in (used[2], used[0]):
        book.give_back(uid)
    assert book.lease(plan()).uid == used[2]


def test_with_no_account_left_the_own_one_is_shared() -> None:
    book = leases()
    uids = [book.lease(plan()).uid for _ in range(6)]
    assert uids[4:] == [OWN, OWN]
    for uid in uids[1:]:
        book.give_back(uid)
    assert book.lease(plan()).uid != OWN, "one sandbox still has it"


def test_rootless_all_share() -> None:
    book = Leases(0, 0)
    assert [book.lease(plan()).uid for _ in range(3)] == [OWN] * 3


def test_the_range_is_divided_without_overlap() -> None:
    assert divide(CEILINGS) == ((1_900_000_000, 9_920), (1_900_009_920, 80))
    assert divide(replace(CEILINGS, uid_count=10)) == (
        (1_900_000_000, 5),
        (1_900_000_005, 5),
    )
    assert divide(replace(CEILINGS, uid_count=1)) == ((1_900_000_000, 1), (1_900_000_001, 0))


@given(st.lists(st.integers(0, 3), max_size=60))
def test_whatever_comes_and_goes_no_leased_account_is_given_twice(steps: list[int]) -> None:
    """A step of 0 ends the oldest sandbox, any other opens one of that tool."""
    book, running = leases(), []
    for step in steps:
        if step:
            running.append(book.lease(plan(uid=OWN + step, gid=OWN + step)).uid)
        elif running:
            book.give_back(running.pop(0))
        spare = [uid for uid in running if uid >= FIRST]
        assert len(spare) == len(set(spare)) == book.leased
    for uid in running:
        book.give_back(uid)
    assert book.leased == 0
