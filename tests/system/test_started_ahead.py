"""What a tool met and made before its call, while it was started ahead, is not the call's."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.docker import Engine, beside_bubblewrap
from support.hood import Hood, comm, eventually, hood, processes_of
from support.ledger import records
from support.on import On

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MIB = 1 << 20
LIMITS = {"memory": "64MiB", "pids": 8, "scratch": "8MiB", "timeout": "60s"}
EVENTFUL = f"""
import ctypes, os, signal, sys
def child(act):
    if os.fork() == 0:
        act(); os._exit(0)
    return os.wait()[1]
assert os.WTERMSIG(child(lambda: bytearray(200 << 20))) == signal.SIGKILL
born = []
try:
    while True:
        pid = os.fork()
        if pid == 0: signal.pause()
        born.append(pid)
except BlockingIOError:
    pass
for pid in born:
    os.kill(pid, 9); os.waitpid(pid, 0)
open("/tmp/ahead", "wb").write(b"x" * {3 * MIB})
sys.stdin.read()
{{after}}
print("ok")
"""


@pytest.fixture(scope="module")
def warm(docker_engine: Engine) -> Iterator[Hood]:
    config = {
        "accounts": {"first": 1_971_000_000, "count": 100},
        "warm": 4,
        **beside_bubblewrap(docker_engine),
    }
    with hood(config=config) as running:
        yield running


@pytest.fixture(params=["bubblewrap", "docker"])
def on(request: pytest.FixtureRequest, warm: Hood) -> On:
    return On(warm, request.param)


def called_when_it_waits(on: On, after: str) -> dict[str, Any]:
    """The result of a call that comes when the tool has done all that it does ahead."""
    tool = on.script(EVENTFUL.format(after=after), warm="started", **LIMITS)
    cold = on.hood.call(tool)
    assert cold["usage"]["oom_kills"] > 0, "who starts for a call is charged for it"
    eventually(lambda: waits(on.hood, tool), 30, "it waits for its call")
    result = on.hood.call(tool)
    assert result["content"][0]["text"] == "ok\n"
    return result


def waits(running: Hood, tool: str) -> bool:
    pids = processes_of(running.account(tool)) + processes_of(*running.leased)
    pythons = [pid for pid in pids if comm(pid).startswith("python")]
    return len(pythons) == 1 and "pipe" in wchan(pythons[0])


def wchan(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/wchan").read_text()
    return ""


def test_nothing_that_happened_before_the_call_is_the_calls(on: On) -> None:
    result = called_when_it_waits(on, "")
    assert (result["status"], result["breach"], result["findings"]) == ("ok", None, [])
    assert result["syscalls"]["seen"] == []
    used = result["usage"]
    assert (used["oom_kills"], used["scratch_bytes"], used["scratch_inodes"]) == (0, 0, 0)
    assert used["memory_peak_bytes"] is None or used["memory_peak_bytes"] < 40 * MIB
    assert used["pids_peak"] is None or used["pids_peak"] < 8
    assert used["held_seconds"] == 0


def test_what_happens_in_the_call_is(on: On) -> None:
    after = f"""
child(lambda: ctypes.CDLL(None).syscall({BPF}, 0, 0, 0))
child(lambda: bytearray(200 << 20))
open("/tmp/call", "wb").write(b"x" * {MIB})
"""
    result = called_when_it_waits(on, after)
    used = result["usage"]
    assert (used["oom_kills"], used["scratch_bytes"], used["scratch_inodes"]) == (1, MIB, 1)
    assert [(i["syscall"], i["count"]) for i in result["syscalls"]["seen"]] == [("bpf", 1)]
    assert used["memory_peak_bytes"] > 40 * MIB
    rules = {item["rule"] for item in result["findings"]}
    assert "limit-pids" not in rules


UNFIT = {
    "it wrote before it was fed": """
import json, sys
print("ahead", flush=True)
print(json.load(sys.stdin)["n"])
""",
    "it ended before it was fed": 'open("/out/answer", "w").write("42")',
}
"""Tools that must not run ahead of their call, by what `tool show` says of them."""


@pytest.mark.parametrize("reason", UNFIT)
def test_a_container_that_does_not_wait_is_only_opened_from_then_on(
    warm: Hood, reason: str
) -> None:
    """Its manifest wants it started; bubblewrap's is in test_warm.py."""
    on = On(warm, "docker")
    tool = on.script(UNFIT[reason], warm="started", **LIMITS)
    calls = iter(range(1_000))

    def right() -> None:
        number = next(calls)
        result = warm.call(tool, {"n": number})
        assert (result["status"], result["exit_code"]) == ("ok", 0), result
        if "wrote" in reason:
            assert result["content"][0]["text"] == f"ahead\n{number}\n"
        else:
            assert result["content"][-1]["resource"]["text"] == "42"

    right()
    eventually(lambda: bool(notes(warm, tool)), 30, "it was started ahead, and seen not to wait")
    for _ in range(2):
        eventually(lambda: held(warm, tool) != [], 30, "one is opened")
        waiting = held(warm, tool)
        assert on.call("print(1)")["content"][0]["text"] == "1\n"
        assert held(warm, tool) == waiting, "who is started ahead has been by now"
        right()
    assert notes(warm, tool) == [f"not started ahead of calls: {reason}"]


def notes(running: Hood, tool: str) -> list[str]:
    with running.client() as client:
        return [note for note in client.show_tool(tool)["notes"] if "started ahead" in note]


def held(running: Hood, tool: str) -> list[int]:
    """PIDs of the tool's programs, where each stands at its first instruction."""
    pids = processes_of(running.account(tool)) + processes_of(*running.leased)
    found = {pid: state(pid) for pid in pids if comm(pid).startswith("python")}
    return list(found) if set(found.values()) == {"t"} else []


def state(pid: int) -> str:
    """`t`: stopped by whoever traces it (proc(5)); empty when it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


PROBES = f"""
import ctypes, os, select, sys
if not select.select([0], [], [], 0.4)[0]:
    if os.fork() == 0:
        ctypes.CDLL(None).syscall({BPF}, 0, 0, 0)
        os._exit(0)
    os.wait()
sys.stdin.read()
print("ok")
"""
"""Behaves in its calls, and tries the host when nobody calls."""


def test_what_a_program_attempts_while_nobody_calls_stands_on_record(on: On) -> None:
    tool = on.script(PROBES, warm="started", **LIMITS)
    first = on.hood.call(tool)
    assert (first["status"], first["syscalls"]["seen"]) == ("ok", [])

    def told(event: str) -> list[dict[str, Any]]:
        found = records(on.hood.state)
        return [it for it in found if it["event"] == event and it.get("tool") == tool]

    eventually(lambda: told("tool.tripped_ahead") != [], 30, "the kill is on record")
    assert len(told("tool.started_ahead")) == 1
    eventually(lambda: told("tool.uncalled") != [], 10, "so is the program that nobody called")
    assert told("tool.uncalled")[0]["reason"] == "it was killed for a system call while it waited"
    opened = [it for it in told("incident.opened") if it["rule"] == "tripwire"]
    assert [it["uid"] for it in opened] == [-1], "no caller did it"
    ends = [it for it in records(on.hood.state) if it["event"] == "invocation.ended"]
    assert [it["findings"] for it in ends if it["tool"] == tool] == [[]]


def test_who_was_started_ahead_stands_on_record(on: On) -> None:
    tool = on.script("import sys; sys.stdin.read(); print('ok')", warm="started", **LIMITS)
    assert on.hood.call(tool)["timing"]["ahead_ms"] == 0
    level = [("started", 1)]
    eventually(lambda: ready(on.hood, tool) == level, 30, "it waits, and the operator sees it")
    result = on.hood.call(tool)
    assert result["timing"]["ahead_ms"] > 0
    ends = [it for it in records(on.hood.state) if it["event"] == "invocation.ended"]
    assert [it.get("ahead_ms", 0) > 0 for it in ends if it["tool"] == tool] == [False, True]


def ready(running: Hood, tool: str) -> list[tuple[str, int]]:
    told = running.status()["ready_tools"]
    return [(it["level"], it["count"]) for it in told if it["tool"] == tool]
