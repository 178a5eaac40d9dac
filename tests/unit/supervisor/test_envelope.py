"""What is usual is learnt from many calls; only what lies far above it is called unusual."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fumehood.model.outcome import Artifact, Breach, Outcome, SyscallCount, Syscalls, Usage
from fumehood.supervisor.envelope import SAMPLES, Envelope, sample, teaches, told

OUTCOME = Outcome("ok", 0, None, None, Usage(0.5, 0.2, 9_000_000, 1, 100, 20), b"", b"", False)
LEAST, DEVIATIONS = 20, 8


def learnt(metric: str, values: list[float]) -> Envelope:
    envelope = Envelope()
    for value in values:
        envelope.learn({metric: value})
    return envelope


def rules(envelope: Envelope, **one: float) -> list[str]:
    return [n.rule for n in envelope.unusual(one, least=LEAST, deviations=DEVIATIONS)]


def around(middle: float, spread: float, count: int = SAMPLES) -> list[float]:
    chance = random.Random(7)
    return [max(chance.gauss(middle, spread), 0.0) for _ in range(count)]


def test_a_sample_is_what_the_host_can_tell() -> None:
    told_calls = Syscalls(
        seen=(SyscallCount("bpf", "x86_64", "kill", 3),), others=2, kills_visible=True
    )
    full = replace(OUTCOME, artifacts=(Artifact("a", b"12345"),), syscalls=told_calls)
    assert sample(full) == {
        "duration": 0.5, "cpu": 0.2, "memory": 9_000_000, "output": 125, "denials": 5,
    }  # fmt: skip
    blind = replace(OUTCOME, usage=Usage(0.5), syscalls=Syscalls())
    assert sample(blind) == {"duration": 0.5, "output": 0}


def test_nothing_is_unusual_before_enough_calls_are_known() -> None:
    envelope = learnt("cpu", [0.1] * (LEAST - 1))
    assert rules(envelope, cpu=1000.0) == []
    envelope.learn({"cpu": 0.1})
    assert rules(envelope, cpu=1000.0) == ["unusual-cpu"]


@pytest.mark.parametrize("metric", ["duration", "cpu", "memory", "output"])
def test_what_varies_by_chance_is_not_unusual(metric: str) -> None:
    middle, spread = 1e8, 2e7
    envelope = learnt(metric, around(middle, spread))
    assert [rules(envelope, **{metric: value}) for value in around(middle, spread, 1_000)] == (
        [[]] * 1_000
    )
    assert rules(envelope, **{metric: middle + 12 * spread}) == [f"unusual-{metric}"]


def test_equal_calls_have_room_for_noise() -> None:
    """A MAD of zero is no reason to flag a scheduler's whim or one more page."""
    envelope = learnt("duration", [0.01] * 40)
    assert rules(envelope, duration=0.2) == []
    assert rules(envelope, duration=1.0) == ["unusual-duration"]


def test_a_few_wild_calls_do_not_hide_the_next_one() -> None:
    """A mean and a standard deviation would be carried away by these."""
    envelope = learnt("memory", [*around(1e7, 1e5, 40), *[1e10] * 15])
    assert rules(envelope, memory=1e10) == ["unusual-memory"]


def test_new_ways_become_usual() -> None:
    envelope = learnt("output", [1_000.0] * SAMPLES)
    assert rules(envelope, output=1e6) == ["unusual-output"]
    for _ in range(SAMPLES):
        envelope.learn({"output": 1e6})
    assert rules(envelope, output=1e6) == []
    assert len(envelope.values["output"]) == SAMPLES


def test_using_less_is_not_told() -> None:
    assert rules(learnt("cpu", around(10.0, 0.1)), cpu=0.0) == []


def test_the_finding_has_the_numbers() -> None:
    (notice,) = learnt("memory", [8 << 20] * 30).unusual(
        {"memory": 96 << 20}, least=LEAST, deviations=DEVIATIONS
    )
    assert (notice.rule, notice.severity) == ("unusual-memory", "low")
    assert notice.message == (
        "its memory peak was 96.0 MiB, 88 deviations of 1.0 MiB above the 8.0 MiB that are usual "
        "(median of 30 calls of this version)"
    )


def test_one_killed_call_of_a_tool_that_never_had_one_is_unusual() -> None:
    envelope = learnt("denials", [0.0] * 30)
    assert rules(envelope, denials=1) == []
    assert rules(envelope, denials=3) == ["unusual-denials"]


def test_what_was_cut_short_teaches_nothing() -> None:
    assert teaches(OUTCOME)
    assert teaches(replace(OUTCOME, status="tool_error"))
    assert not teaches(replace(OUTCOME, status="timeout"))
    assert not teaches(replace(OUTCOME, status="tool_error", breach=Breach("pids", 3, 3)))


def test_what_is_usual_in_words() -> None:
    assert told({}) == ""
    assert told(learnt("cpu", [0.25] * 3).usual()) == "usual for 3 calls: cpu 0.25 s"
