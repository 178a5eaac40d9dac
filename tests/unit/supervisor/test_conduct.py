"""Abnormal behaviour is named from what is seen one look after the other, and once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fumehood.kernel.gauge import Reading
from fumehood.launcher.messages import EndedMessage
from fumehood.model.behaviour import Behaviour
from fumehood.model.live import Sign
from fumehood.model.outcome import Status, Usage
from fumehood.supervisor import attribution
from fumehood.supervisor.conduct import Conduct, Observed, Seen
from fumehood.supervisor.watch import conclude
from support.launcher import plan

LIMITS = replace(plan().limits, cpu_millis=500, pids=32)
SETTINGS = Behaviour.model_validate(
    {"spinning": "5s", "fork_storm": 100, "denials": 50, "output_flood": "1MiB"}
)
START = Seen(100.0, Reading(1.0, 1 << 20, 4, 0), 0, 0, LIMITS)
KILLED = EndedMessage("x", None, 9, False, 0.1, 5_000_000, 1, 0, ())


def later(seen: Seen, *, cpu: float = 0.0, written: int = 0, denied: int = 0) -> Seen:
    used = None if seen.reading.cpu_seconds is None else seen.reading.cpu_seconds + cpu
    return replace(
        seen, when=seen.when + 1, reading=replace(seen.reading, cpu_seconds=used),
        written=seen.written + written, denied=seen.denied + denied,
    )  # fmt: skip


def signs(conduct: Conduct, seen: Seen) -> list[Sign]:
    return [found.sign for found in conduct.look(seen)]


def looks(conduct: Conduct, count: int, seen: Seen = START, **each: int) -> list[Sign]:
    found = signs(conduct, seen)
    for _ in range(count):
        seen = later(seen, cpu=0.5, **each)
        found += signs(conduct, seen)
    return found


def test_all_its_cpu_and_nothing_written_is_spinning_and_told_once() -> None:
    conduct = Conduct(SETTINGS)
    assert looks(conduct, 4) == []
    assert looks(Conduct(SETTINGS), 5) == ["spinning"]
    assert looks(Conduct(SETTINGS), 20) == ["spinning"]
    conduct = Conduct(SETTINGS)
    looks(conduct, 5)
    message = conduct.signs["spinning"].message
    assert message == "2.5 s of CPU time in 5 s, and nothing written"


def test_a_tool_that_writes_or_waits_does_not_spin() -> None:
    assert looks(Conduct(SETTINGS), 20, written=1) == []
    conduct, seen = Conduct(SETTINGS), START
    for number in range(20):
        assert signs(conduct, seen) == []
        seen = later(seen, cpu=0.0 if number % 4 == 3 else 0.5)


def test_many_cores_are_not_needed_to_spin() -> None:
    """One thread that turns is all that a spinning program is, whatever it may use."""
    seen = replace(START, limits=replace(LIMITS, cpu_millis=8_000))
    conduct, found = Conduct(SETTINGS), []
    for _ in range(6):
        found += signs(conduct, seen)
        seen = later(seen, cpu=0.95)
    assert found == ["spinning"]


def test_on_a_busy_host_what_waits_for_a_cpu_spins_and_what_sleeps_does_not() -> None:
    for waited, expected in ((0.75, ["spinning"]), (0.5, []), (None, [])):
        conduct, seen, found = Conduct(SETTINGS), START, []
        for number in range(8):
            told = None if waited is None else number * waited
            seen = later(seen, cpu=0.2)
            seen = replace(seen, reading=replace(seen.reading, waited_seconds=told))
            found += signs(conduct, seen)
        assert found == expected, waited


def test_where_cpu_is_not_told_nothing_spins() -> None:
    seen = replace(START, reading=Reading())
    assert looks(Conduct(SETTINGS), 20, seen) == []


def test_processes_refused_again_and_again_are_a_fork_storm() -> None:
    conduct = Conduct(SETTINGS)
    assert signs(conduct, replace(START, reading=replace(START.reading, pids_refused=99))) == []
    storm = replace(START, reading=replace(START.reading, pids_refused=4_000))
    (found,) = conduct.look(storm)
    assert found == Observed(
        "fork_storm", 100, 4_000, "limits.pids refused 4000 processes or threads"
    )


def test_standing_at_the_limit_is_one_where_refusals_are_not_told() -> None:
    seen = replace(START, reading=Reading(1.0, 1, 34, None, pids_full=True))
    assert looks(Conduct(SETTINGS), 3, seen, written=1) == []
    assert looks(Conduct(SETTINGS), 4, seen, written=1) == ["fork_storm"]
    told = replace(seen, reading=replace(seen.reading, pids_refused=0))
    assert looks(Conduct(SETTINGS), 9, told, written=1) == [], "as many as it may, and none refused"


def test_calls_it_is_killed_for_again_and_again() -> None:
    assert looks(Conduct(SETTINGS), 4, written=1, denied=12) == []
    assert looks(Conduct(SETTINGS), 5, written=1, denied=12) == ["denials"]


def test_output_without_end_is_a_flood_and_one_large_write_is_none() -> None:
    conduct = Conduct(SETTINGS)
    assert signs(conduct, START) == []
    assert signs(conduct, once := later(START, written=50 << 20)) == []
    assert signs(conduct, later(once, written=10)) == []
    assert looks(Conduct(SETTINGS), 2, written=1 << 20) == ["output_flood"]


@pytest.mark.parametrize(
    ("sign", "status"),
    [
        ("spinning", "timeout"),
        ("fork_storm", "tool_error"),
        ("denials", "syscall_killed"),
        ("output_flood", "output_exceeded"),
    ],
)
def test_what_is_killed_for_it_says_so(sign: Sign, status: Status) -> None:
    seen = Observed(sign, 5.0, 7.5, "in words")
    end = conclude(plan(), KILLED, Usage(), sign, exceeded=False, signs={sign: seen})
    assert end.status == status
    assert end.breach is not None
    assert (end.breach.control, end.breach.limit, end.breach.observed, end.breach.detail) == (
        sign, 5.0, 7.5, "in words",
    )  # fmt: skip
    assert attribution.notices(LIMITS, KILLED, Usage(), end.breach, [seen]) == ()


def test_what_is_not_killed_for_it_is_told_all_the_same() -> None:
    seen = Observed("fork_storm", 100, 4_000, "in words")
    (notice,) = attribution.notices(LIMITS, KILLED, Usage(), None, [seen])
    assert (notice.rule, notice.severity, notice.message) == (
        "fork-storm", "medium", "while it ran: in words",
    )  # fmt: skip
