"""Which limit stood behind an end, from counters alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fumehood.launcher.messages import EndedMessage
from fumehood.model.outcome import Counters, Usage
from fumehood.supervisor import attribution
from fumehood.supervisor.watch import conclude
from support.launcher import LIMITS, plan

MIB = 1 << 20
ENDED = EndedMessage("x", 1, None, True, 0.1, 64 * MIB, 32, 0, ())
KILLED = replace(ENDED, exit_code=None, signal=9, oom_kills=1)
FULL = Usage(memory_peak_bytes=64 * MIB)


@pytest.mark.parametrize(
    ("scratch", "kernel", "begins"),
    [
        (60 * MIB, 1 * MIB, "tmpfs: 60.0 MiB"),
        (0, 60 * MIB, "kernel: 60.0 MiB"),
        (1 * MIB, 1 * MIB, "heap: the rest, 62.0 MiB"),
        (1 * MIB, None, "heap or kernel: the rest, 63.0 MiB"),
    ],
)
def test_what_the_memory_went_into(scratch: int, kernel: int | None, begins: str) -> None:
    counters = Counters(scratch_bytes=scratch, kernel_memory_peak_bytes=kernel)
    breach = attribution.memory(LIMITS, replace(KILLED, counters=counters), FULL)
    assert (breach.control, breach.limit, breach.observed) == ("memory", 64 * MIB, 64 * MIB)
    assert breach.detail.startswith(begins)
    assert breach.detail.endswith("1 killed")


def test_a_child_that_alone_was_killed_is_told_apart() -> None:
    end = replace(ENDED, exit_code=0, oom_kills=2)
    assert "2 killed, but not the tool itself" in attribution.memory(LIMITS, end, FULL).detail


def test_what_was_killed_for_memory_before_we_ended_the_tool_is_a_notice() -> None:
    stopped = conclude(plan(), KILLED, FULL, "timeout", exceeded=False)
    assert stopped.breach is not None
    assert (stopped.status, stopped.breach.control) == ("timeout", "timeout")
    (notice,) = attribution.notices(LIMITS, KILLED, FULL, stopped.breach)
    assert notice.rule == "limit-memory"
    assert f"limits.memory of {64 * MIB} was reached (peak {64 * MIB})" in notice.message
    assert notice.message.endswith("processes: 1 killed")
    alone = conclude(plan(), KILLED, FULL, None, exceeded=False)
    assert alone.status == "memory_exceeded"
    assert attribution.notices(LIMITS, KILLED, FULL, alone.breach) == ()


def test_refused_processes_are_a_breach_of_a_tool_that_failed_and_a_notice_otherwise() -> None:
    failed = replace(ENDED, counters=Counters(pids_refused=3))
    conclusion = conclude(plan(), failed, FULL, None, exceeded=False)
    assert conclusion.status == "tool_error"
    assert conclusion.breach is not None
    assert (conclusion.breach.control, conclusion.breach.limit) == ("pids", 32)
    assert conclusion.breach.detail == "refused 3 times"
    assert attribution.notices(LIMITS, failed, FULL, conclusion.breach) == ()
    went_on = replace(failed, exit_code=0)
    conclusion = conclude(plan(), went_on, FULL, None, exceeded=False)
    assert (conclusion.status, conclusion.breach) == ("ok", None)
    (notice,) = attribution.notices(LIMITS, went_on, FULL, None)
    assert notice.rule == "limit-pids"
    assert "refused 3 processes" in notice.message


def test_where_refusals_are_not_told_reaching_the_limit_is() -> None:
    """As with containers on cgroup v1."""
    full = replace(FULL, pids_peak=LIMITS.pids)
    breach = conclude(plan(), ENDED, full, None, exceeded=False).breach
    assert breach is not None
    assert (breach.control, breach.observed) == ("pids", LIMITS.pids)
    assert "is not told here" in breach.detail
    (notice,) = attribution.notices(LIMITS, replace(ENDED, exit_code=0), full, None)
    assert notice.rule == "limit-pids"
    told = replace(ENDED, counters=Counters(pids_refused=0))
    assert conclude(plan(), told, full, None, exceeded=False).breach is None
    below = replace(FULL, pids_peak=LIMITS.pids - 1)
    assert conclude(plan(), ENDED, below, None, exceeded=False).breach is None


@pytest.mark.parametrize(
    ("counters", "control", "observed"),
    [
        (Counters(scratch_bytes=8 * MIB, scratch_inodes=1), "scratch", 8 * MIB),
        (Counters(scratch_bytes=8 * MIB - 100), "scratch", 8 * MIB - 100),
        (Counters(scratch_bytes=4096, scratch_inodes=2048), "scratch_inodes", 2048),
    ],
)
def test_full_scratch_space(counters: Counters, control: str, observed: int) -> None:
    end = replace(ENDED, counters=counters)
    breach = conclude(plan(), end, FULL, None, exceeded=False).breach
    assert breach is not None
    assert (breach.control, breach.observed) == (control, observed)
    assert breach.detail == "full at the end"
    (notice,) = attribution.notices(LIMITS, replace(end, exit_code=0), FULL, None)
    assert notice.rule == "limit-scratch"


def test_what_filled_scratch_space_before_the_call_is_told_apart() -> None:
    counters = Counters(scratch_bytes=8 * MIB, scratch_bytes_before=3 * MIB)
    breach = conclude(plan(), replace(ENDED, counters=counters), FULL, None, exceeded=False).breach
    assert breach is not None
    assert breach.detail == f"full at the end, {3 * MIB} bytes of it already before the call"


def test_standing_still_for_recorded_calls_is_told() -> None:
    end = replace(ENDED, exit_code=0, held_seconds=2.345)
    (notice,) = attribution.notices(LIMITS, end, FULL, None)
    assert (notice.rule, notice.severity) == ("held-back", "medium")
    assert notice.message.startswith("it stood still for 2.3 s: ")


def test_scratch_space_with_room_is_nothing() -> None:
    end = replace(ENDED, counters=Counters(scratch_bytes=8 * MIB - 4096, scratch_inodes=2047))
    assert conclude(plan(), end, FULL, None, exceeded=False).breach is None
    assert attribution.notices(LIMITS, end, FULL, None) == ()


def test_burnt_cpu_time_is_a_timeout_that_names_it() -> None:
    wanted = plan(limits=replace(LIMITS, cpu_time_ms=500))
    end = replace(ENDED, exit_code=None, signal=9, stopped="cpu_time")
    conclusion = conclude(wanted, end, Usage(cpu_seconds=0.51), None, exceeded=False)
    assert conclusion.status == "timeout"
    assert conclusion.breach is not None
    assert (conclusion.breach.control, conclusion.breach.limit) == ("cpu_time", 0.5)
    assert conclusion.breach.observed == 0.51


def test_a_deadline_that_only_the_launcher_held_is_a_timeout_too() -> None:
    end = replace(KILLED, oom_kills=0, executed=False, stopped="timeout")
    assert conclude(plan(), end, FULL, None, exceeded=False).status == "timeout"
