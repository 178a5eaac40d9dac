"""The benchmark waits for our refill, and no longer than it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from bench import quiet


class Machine:
    """A clock, processors and a daemon: each look takes from `busy` and `ready`."""

    def __init__(self, busy: Iterator[float], ready: Iterator[int]) -> None:
        self.now, self.used, self._busy, self._ready = 0.0, 0.0, busy, ready

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.used += next(self._busy)

    def steal_and_busy(self) -> tuple[float, float]:
        return 0.0, self.used

    def connect(self, socket: Path, *, timeout: float) -> Self:
        return self

    def status(self) -> dict[str, int]:
        return {"ready": next(self._ready)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held."""


def put(monkeypatch: pytest.MonkeyPatch, busy: list[float], ready: list[int]) -> Machine:
    def endless(values: list[Any]) -> Iterator[Any]:
        yield from values
        while True:
            yield values[-1]

    machine = Machine(endless(busy), endless(ready))
    monkeypatch.setattr(quiet, "time", machine)
    monkeypatch.setattr(quiet, "steal_and_busy", machine.steal_and_busy)
    monkeypatch.setattr(quiet, "Client", machine)
    return machine


def test_it_waits_for_the_refill_and_for_idle_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    it, socket = quiet.Quiet(), Path("socket")
    put(monkeypatch, [0.0], [3])
    assert it.wait(socket)
    machine = put(monkeypatch, [0.0, 0.0, 0.05, 0.0], [1, 1, 2, 3])
    assert it.wait(socket)
    assert machine.now == pytest.approx(4 * quiet.LOOK_SECONDS), "two lacked, then it was busy"


def test_a_machine_that_stays_busy_is_soon_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    it, socket = quiet.Quiet(), Path("socket")
    machine = put(monkeypatch, [1.0], [0])
    for _ in range(quiet.IN_VAIN):
        assert not it.wait(socket)
    assert machine.now >= quiet.IN_VAIN * quiet.MOST_SECONDS
    before = machine.now
    assert not it.wait(socket)
    assert machine.now - before < 2 * quiet.SHORT_SECONDS
