"""The terminal status is decided by what is certain: our own act, the kernel's, the tool's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fumehood.launcher.messages import ArtifactMessage, EndedMessage
from fumehood.model.outcome import IN_FILES, SyscallCount, Syscalls, Usage
from fumehood.supervisor.conduct import Observed
from fumehood.supervisor.watch import Reason, Watch, conclude
from support.launcher import plan

END = EndedMessage("x", 0, None, True, 0.1, 5_000_000, 1, 0, ())
KILLED = replace(END, exit_code=None, signal=9, executed=False)
TRIPPED = replace(END, exit_code=None, signal=31)
TOLD = Syscalls(kills_visible=True, reason="no denials")
KILL = SyscallCount("ptrace", "x86_64", "kill", 1)


def status(end: EndedMessage, reason: Reason | None = None, *, exceeded: bool = False) -> str:
    return conclude(plan(), end, Usage(), reason, exceeded=exceeded).status


@pytest.mark.parametrize(
    ("end", "reason", "exceeded", "expected"),
    [
        (END, None, False, "ok"),
        (replace(END, exit_code=3), None, False, "tool_error"),
        (replace(END, exit_code=None, signal=11), None, False, "tool_error"),
        (TRIPPED, None, False, "syscall_killed"),
        (KILLED, "timeout", False, "timeout"),
        (KILLED, "output", True, "output_exceeded"),
        (END, None, True, "output_exceeded"),
        (KILLED, "cancelled", True, "cancelled"),
        (TRIPPED, "cancelled", False, "syscall_killed"),  # dead before anybody could cancel it
        (replace(KILLED, oom_kills=1), None, False, "memory_exceeded"),
        (replace(END, oom_kills=1), None, False, "memory_exceeded"),
        (replace(END, oom_kills=1), None, True, "memory_exceeded"),
        (replace(KILLED, oom_kills=1), "timeout", False, "timeout"),
        (replace(KILLED, oom_kills=1), "output", True, "output_exceeded"),
        (replace(KILLED, oom_kills=1, stopped="cpu_time"), None, False, "timeout"),
        (replace(KILLED, oom_kills=1, stopped="timeout"), None, False, "timeout"),
        (replace(KILLED, oom_kills=1), "cancelled", False, "cancelled"),
        (replace(END, exit_code=None, executed=False), None, False, "engine_error"),
        (replace(END, exit_code=137), None, False, "tool_error"),
    ],
)
def test_status(end: EndedMessage, reason: Reason | None, exceeded: bool, expected: str) -> None:  # noqa: FBT001
    assert status(end, reason, exceeded=exceeded) == expected


def test_a_program_that_is_missing_is_told_from_a_sandbox_that_a_stranger_killed() -> None:
    missing = replace(END, exit_code=None, executed=False)
    error = conclude(plan(), missing, Usage(), None, exceeded=False).error
    assert error.startswith("command: ")
    error = conclude(plan(), KILLED, Usage(), None, exceeded=False).error
    assert error.startswith("sandbox: ")


def test_a_breach_names_the_limit_and_what_was_observed() -> None:
    usage = Usage(wall_seconds=10.2, memory_peak_bytes=64 << 20, stdout_bytes=2 << 20)
    timeout = conclude(plan(), KILLED, usage, "timeout", exceeded=False).breach
    memory = conclude(plan(), replace(END, oom_kills=1), usage, None, exceeded=False).breach
    output = conclude(plan(), END, usage, None, exceeded=True).breach
    assert timeout is not None
    assert memory is not None
    assert output is not None
    assert (timeout.control, timeout.limit, timeout.observed) == ("timeout", 10.0, 10.2)
    assert (memory.control, memory.limit) == ("memory", 64 << 20)
    assert (output.control, output.limit, output.observed) == ("output", 1 << 20, 2 << 20)


def test_files_that_do_not_fit_exceed_the_output_limit_by_what_all_take() -> None:
    files = (ArtifactMessage("a", 1 << 19, ""), ArtifactMessage("b", 1 << 40, "too_large"))
    breach = conclude(plan(), replace(END, artifacts=files), Usage(), None, exceeded=True).breach
    assert breach is not None
    assert (breach.control, breach.observed) == ("output", (1 << 40) + (1 << 19))
    assert breach.detail == IN_FILES
    wrote_more = Usage(stdout_bytes=1 << 41)
    breach = conclude(plan(), replace(END, artifacts=files), wrote_more, None, exceeded=True).breach
    assert breach is not None
    assert (breach.observed, breach.detail) == (1 << 41, "")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (TOLD, "tool_error"),
        (replace(TOLD, seen=(replace(KILL, action="log"),)), "tool_error"),
        (replace(TOLD, seen=(KILL,)), "syscall_killed"),
        (replace(TOLD, others=1), "syscall_killed"),
        (replace(TOLD, complete=False), "syscall_killed"),
        (replace(TOLD, kills_visible=False), "syscall_killed"),
    ],
)
def test_a_tool_that_sends_itself_sigsys_broke_no_rule_where_that_is_certain(
    told: Syscalls, expected: str
) -> None:
    conclusion = conclude(plan(), replace(TRIPPED, syscalls=told), Usage(), None, exceeded=False)
    assert conclusion.status == expected
    assert (conclusion.breach is not None) == (expected == "syscall_killed")


def test_a_sign_that_ended_it_is_told_although_a_child_was_killed_for_memory() -> None:
    seen = Observed("spinning", 1.0, 2.0, "it spins")
    end = replace(KILLED, oom_kills=1)
    ended = conclude(plan(), end, Usage(), "spinning", exceeded=False, signs={"spinning": seen})
    assert ended.breach is not None
    assert (ended.status, ended.breach.control) == ("timeout", "spinning")
    only_seen = conclude(plan(), end, Usage(), None, exceeded=False, signs={"spinning": seen})
    assert only_seen.status == "memory_exceeded"


def test_the_first_reason_to_kill_is_kept() -> None:
    watch = Watch()
    assert watch.note("timeout")
    assert not watch.note("cancelled")
    assert watch.reason == "timeout"
