"""How bad conduct tightens a caller, and time gives it back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.admission import conduct as module
from fumehood.admission.conduct import DRAIN_SECONDS, MOST, TIGHTEN_AT, Change, Conduct, Sign
from fumehood.admission.quota import Quota
from fumehood.errors import OverQuota
from fumehood.model.quotas import Rates

SIGNS: Sequence[Sign] = ("rejected", "over_quota", "syscall_killed", "injection")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_many_rejections_tighten_step_by_step_and_time_gives_back() -> None:
    clock = Clock()
    watched = Conduct(clock)
    changes = [watched.note("a", "rejected") for _ in range(85)]
    assert [(c.before, c.level) for c in changes if c] == [(0, 1), (1, 2), (2, 3)]
    assert changes[19] == Change("a", 0, 1, {"rejected": 20})
    assert (watched.factor("a"), watched.factor("b")) == (0.125, 1.0)
    levels = []
    while (due := watched.due()) is not None:
        clock.now += due
        levels += [(change.before, change.level) for change in watched.ease()]
    assert levels == [(3, 2), (2, 1), (1, 0)]
    clock.now += 60
    watched.ease()
    assert watched.to_json("a") == {
        "level": 0, "factor": 1.0, "points": 0.0, "tighten_at": TIGHTEN_AT, "signs": {},
    }  # fmt: skip


def test_the_operator_says_from_when_also_while_it_runs() -> None:
    clock = Clock()
    watched = Conduct(clock, tighten_at=100)
    assert [watched.note("a", "guessed") for _ in range(99)] == [None] * 99
    assert watched.note("a", "guessed") == Change("a", 0, 1, {"guessed": 100})
    watched.adopt(enabled=True, tighten_at=25)
    change = watched.note("a", "guessed")
    assert change is not None
    assert change.level == 3
    clock.now += (100 + MOST) * DRAIN_SECONDS
    assert [(change.before, change.level) for change in watched.ease()] == [(3, 0)]


def test_an_honest_caller_with_a_mistake_now_and_then_is_left_alone() -> None:
    clock = Clock()
    watched = Conduct(clock)
    for _ in range(1_000):
        clock.now += DRAIN_SECONDS
        assert watched.note("a", "rejected") is None


def test_a_killed_system_call_counts_more_than_a_mistake() -> None:
    watched = Conduct(Clock())
    changes = [watched.note("a", "syscall_killed") for _ in range(4)]
    assert [change is None for change in changes] == [True, True, True, False]


def test_switched_off_it_notes_nothing() -> None:
    watched = Conduct(Clock(), enabled=False)
    assert not any(watched.note("a", "injection") for _ in range(100))
    assert watched.level("a") == 0


def test_a_tightened_caller_has_less_at_once_and_a_smaller_rate() -> None:
    clock = Clock()
    watched = Conduct(clock)
    quota = Quota(per_caller=8, rates=Rates(caller="8/m"), conduct=watched, clock=clock)
    watched.note("a", "rejected", 20)
    assert (quota.most("a"), quota.most("b")) == (4, 8)
    for _ in range(4):
        quota.arrive("a")
    with pytest.raises(OverQuota, match="your rate of 4 calls"):
        quota.arrive("a")
    watched.note("a", "rejected", 1_000)
    assert quota.most("a") == 1


def test_what_is_remembered_is_bounded_and_keeps_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CALLERS", 8)
    watched = Conduct(Clock())
    watched.note("bad", "rejected", 90)
    for number in range(100):
        watched.note(str(number), "rejected")
    assert watched.level("bad") == 3
    assert len(watched._states) <= 8


@given(st.lists(st.tuples(st.sampled_from(SIGNS), st.integers(1, 30), st.floats(0, 60))))
def test_everything_is_given_back_in_the_end(noted: list[tuple[Sign, int, float]]) -> None:
    clock = Clock()
    watched = Conduct(clock)
    for sign, count, step in noted:
        clock.now += step
        watched.note("a", sign, count)
        assert 0.125 <= watched.factor("a") <= 1.0
    clock.now += MOST * TIGHTEN_AT * DRAIN_SECONDS
    watched.ease()
    assert watched.factor("a") == 1.0
