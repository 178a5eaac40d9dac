"""Who is refused all the time waits for it, and nobody else does."""

from __future__ import annotations

import pytest

from fumehood.supervisor.pacing import BURST, EACH_SECONDS, MAX_HELD, Pacing


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_free_and_then_each_waits_its_turn() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    assert {pacing.wait("mallory") for _ in range(BURST)} == {0.0}
    waits = [pacing.wait("mallory") for _ in range(5)]
    assert waits == pytest.approx([EACH_SECONDS * number for number in range(1, 6)])
    assert pacing.wait("ann") == 0.0
    clock.now += 5 * EACH_SECONDS
    assert pacing.wait("mallory") == pytest.approx(EACH_SECONDS)
    clock.now += 2 * BURST * EACH_SECONDS
    assert {pacing.wait("mallory") for _ in range(BURST)} == {0.0}


def test_those_who_owe_nothing_are_forgotten() -> None:
    clock = Clock()
    pacing = Pacing(clock)
    for number in range(MAX_HELD):
        pacing.wait(f"uid:{number}")
    clock.now += 2 * EACH_SECONDS
    pacing.wait("one more")
    assert len(pacing._paid) == 1
