"""How much one caller may have at once."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission.quota import Quota
from fumehood.errors import OverQuota


def test_one_too_many_is_refused_and_says_when_to_come_back() -> None:
    quota = Quota(per_caller=2)
    with quota.hold("uid:1"), quota.hold("uid:1"):
        with pytest.raises(OverQuota, match="2 of your calls") as caught:
            quota.check("uid:1")
        assert caught.value.retry_after > 0
        with pytest.raises(OverQuota), quota.hold("uid:1"):
            pass
        quota.check("uid:2")
    quota.check("uid:1")


def test_what_was_held_is_given_back_however_the_block_ends() -> None:
    quota = Quota(per_caller=1)
    for error in (KeyError, KeyboardInterrupt, GeneratorExit):
        with contextlib.suppress(error), quota.hold("uid:1"):
            raise error
    assert quota.callers == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_counts_are_exact_and_forgotten(steps: list[tuple[int, bool]]) -> None:
    quota = Quota(per_caller=3)
    held: dict[str, list[contextlib.ExitStack]] = {f"uid:{uid}": [] for uid in range(4)}
    for number, take in steps:
        uid = f"uid:{number}"
        if take and len(held[uid]) < 3:
            stack = contextlib.ExitStack()
            stack.enter_context(quota.hold(uid))
            held[uid].append(stack)
        elif take:
            with pytest.raises(OverQuota):
                quota.check(uid)
        elif held[uid]:
            held[uid].pop().close()
        assert [quota.held(u) for u in held] == [len(stacks) for stacks in held.values()]
    assert quota.callers == sum(map(bool, held.values()))
