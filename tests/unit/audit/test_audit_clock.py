"""What the clock of the host says is believed as far as the log supports it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fumehood.audit import clock
from fumehood.audit.chain import AuditLog
from fumehood.audit.clock import Steady
from support.audit import KEYS, verify

DAY = 86_400.0
BEGAN = 1_800_000_000.0
NEWEST = "2027-01-15T08:00:00.000000Z"


class Host:
    """Its clock, and how long it has been up."""

    def __init__(self) -> None:
        self.wall, self.up = BEGAN, 1000.0

    def steady(self, newest: str = NEWEST) -> Steady:
        return Steady(newest, lambda: self.wall, lambda: self.up)

    def runs(self, seconds: float) -> None:
        self.wall += seconds
        self.up += seconds


def test_days_that_go_by_are_days() -> None:
    host = Host()
    steady = host.steady()
    for _ in range(500):
        host.runs(DAY)
        assert steady.now() == host.wall


@pytest.mark.parametrize("newest", [NEWEST, ""])
def test_a_clock_that_jumps_ahead_is_believed_after_a_day(newest: str) -> None:
    host = Host()
    steady = host.steady(newest)
    host.runs(5 * DAY)
    assert steady.now() == host.wall
    host.wall += 400 * DAY
    for hours in range(24):
        assert steady.now() == BEGAN + 5 * DAY + hours * 3600
        host.runs(3600)
    assert steady.now() == host.wall


def test_a_jump_that_is_taken_back_was_never_believed() -> None:
    host = Host()
    steady = host.steady()
    host.wall += 400 * DAY
    assert steady.now() == BEGAN
    host.runs(3600)
    host.wall -= 400 * DAY
    assert steady.now() == host.wall
    host.wall += 400 * DAY
    host.runs(23.5 * 3600)
    assert steady.now() == BEGAN + 24.5 * 3600, "the day begins anew"


def test_a_start_long_after_the_newest_record_waits_too() -> None:
    host = Host()
    host.wall += 30 * DAY
    steady = host.steady()
    assert steady.now() == BEGAN
    host.runs(DAY)
    assert steady.now() == host.wall


def test_a_clock_behind_is_a_clock_behind() -> None:
    host = Host()
    steady = host.steady()
    host.wall -= 400 * DAY
    assert steady.now() == host.wall, "less is removed"


def test_a_clock_that_was_wrong_once_removes_no_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(count: int) -> int:
        with AuditLog.open(tmp_path, KEYS, segment_bytes=2000, keep_days=365) as log:
            for n in range(count):
                log.append("test", {"n": n}).result(10)
        return len(list(tmp_path.glob("segment-*.jsonl")))

    before = write(40)
    assert before > 3
    steady = clock.Steady
    ahead = clock.time.time() + 400 * DAY
    monkeypatch.setattr(
        clock, "Steady", lambda newest: steady(newest, lambda: ahead, clock.time.monotonic)
    )
    assert write(12) > before
    monkeypatch.setattr(clock, "HELD_SECONDS", 0.0)
    assert write(12) < before, "believed, it does"
    assert verify(tmp_path).ok
