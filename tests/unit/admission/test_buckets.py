"""How often something may happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission import buckets as module
from fumehood.admission.buckets import Buckets, want
from fumehood.admission.quota import Quota
from fumehood.errors import OverQuota
from fumehood.model.quotas import Rates


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_its_size_and_fills_again_evenly() -> None:
    clock = Clock()
    held, one = Buckets(clock), want("a", "10/s", "rates.caller")
    assert [held.take([one]) for _ in range(10)] == [None] * 10
    short = held.take([one])
    assert short is not None
    assert short.retry_after == pytest.approx(0.1)
    assert held.left(one) == 0
    clock.now += 0.25
    assert held.left(one) == 2
    assert [held.take([one]) is None for _ in range(3)] == [True, True, False]


def test_from_several_one_is_taken_from_each_or_from_none() -> None:
    held = Buckets(Clock())
    wide, narrow = want("wide", "100/s", "w"), want("narrow", "1/h", "n")
    assert held.take([wide, narrow]) is None
    short = held.take([wide, narrow])
    assert short is not None
    assert (short.want.limit, short.retry_after) == ("n", pytest.approx(3600))
    assert held.left(wide) == 99


@given(
    st.integers(1, 20),
    st.sampled_from("sm"),
    st.lists(st.floats(0, 2), min_size=1, max_size=80),
)
def test_no_window_ever_sees_more_than_its_size_and_what_came_back(
    size: int, unit: str, steps: list[float]
) -> None:
    clock = Clock()
    held, one = Buckets(clock), want("a", f"{size}/{unit}", "rates.caller")
    taken = []
    for step in steps:
        clock.now += step
        if held.take([one]) is None:
            taken.append(clock.now)
    for start, first in enumerate(taken):
        for end in range(start, len(taken)):
            allowed = size + (taken[end] - first) * one.size / one.seconds
            assert end - start + 1 <= allowed + 1e-6


def test_buckets_are_bounded_and_the_emptiest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BUCKETS", 8)
    held = Buckets(Clock())
    empty = want("empty", "1/h", "x")
    held.take([empty])
    for number in range(100):
        held.take([want(number, "100/s", "x")])
    assert held.left(empty) == 0
    assert len(held._full_at) <= 9


def test_a_refusal_names_the_limit_and_tells_nothing_of_others() -> None:
    clock = Clock()
    quota = Quota(
        per_caller=9, rates=Rates(caller="2/m", session="1/m", tool="1/h", all="3/s"), clock=clock
    )
    quota.arrive("uid:1")
    quota.arrive("uid:1")
    with pytest.raises(OverQuota, match="your rate of 2 calls in 60 s is used up: 0 left") as one:
        quota.arrive("uid:1")
    assert (one.value.limit, one.value.retry_after) == ("rates.caller", pytest.approx(30))
    quota.arrive("uid:2", "session")
    with pytest.raises(OverQuota, match="everybody's rate of 3 calls"):
        quota.arrive("uid:3")
    clock.now += 2
    with pytest.raises(OverQuota, match="your session's rate") as two:
        quota.arrive("uid:2", "session")
    assert two.value.limit == "rates.session"
    quota.reach("t")
    with pytest.raises(OverQuota, match="the tool's rate of 1 calls in 3600 s") as three:
        quota.reach("t")
    assert three.value.limit == "rates.tool"


def test_one_session_may_not_take_all_that_its_caller_may_have_at_once() -> None:
    quota = Quota(per_caller=3, per_session=1)
    with quota.hold("uid:1", "a"):
        with pytest.raises(OverQuota, match="1 of your session's calls") as caught:
            quota.check("uid:1", "a")
        assert caught.value.limit == "per_session"
        with quota.hold("uid:1", "b"), quota.hold("uid:1"), pytest.raises(OverQuota):
            quota.check("uid:1", "c")
    assert quota.held("uid:1") == 0
