"""Sandboxes ready before the call: used once, for one plan, and no other promise is weaker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hood import Hood, comm, eventually, hood, processes_of

STARTED = """
import json, os, sys, time
began = time.monotonic()
arguments = json.load(sys.stdin)
print(json.dumps({"waited": time.monotonic() - began, "pid": os.getpid(), "got": arguments}))
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[Hood]:
    with hood(config={"accounts": {"first": 1_960_000_000, "count": 100}, "warm": 4}) as running:
        yield running


def answer(result: dict[str, object]) -> dict[str, object]:
    assert result["status"] == "ok", result
    content = result["content"]
    assert isinstance(content, list)
    return dict(json.loads(content[0]["text"]))


def register(running: Hood, name: str, code: str, warm: str, **limits: object) -> None:
    running.register(
        None,
        name,
        command=["python3", "-c", code],
        limits={"memory": "64MiB", **limits},
        run={"image": "host", "command": ["python3", "-c", code], "warm": warm},
    )


def own(running: Hood, tool: str) -> list[int]:
    """PIDs of the tool's account, its bubblewraps left out. Of what else is kept of it, as many as
    were called at once, each has a leased account that might as well be another tool's."""
    return [pid for pid in processes_of(running.account(tool)) if comm(pid) not in ("bwrap", "")]


def ready(running: Hood) -> int:
    return int(running.status()["ready"])


def test_a_started_tool_waits_for_its_call_and_is_used_once(warm: Hood) -> None:
    register(warm, "eager", STARTED, "started")
    warm.call("eager", {"n": 0})
    account = warm.account("eager")
    eventually(lambda: len(own(warm, "eager")) >= 1, 10, "its program runs ahead of the call")
    first = answer(warm.call("eager", {"n": 1}))
    eventually(lambda: len(own(warm, "eager")) >= 1, 10, "another one takes its place")
    second = answer(warm.call("eager", {"n": 2}))
    assert (first["got"], second["got"]) == ({"n": 1}, {"n": 2})
    assert float(str(second["waited"])) > 0
    eventually(lambda: bool(processes_of(account)), 10, "and another")


def test_a_deadline_counts_from_the_call_and_not_from_the_start(warm: Hood) -> None:
    register(warm, "patient", STARTED, "started", timeout="1s")
    warm.call("patient", {})
    eventually(lambda: _idle(warm, "patient"), 10, "it runs ahead")
    (pid,) = own(warm, "patient")
    began = _age(pid)
    eventually(lambda: _age(pid) - began > 1.5, 10, "it waits longer than its limit")
    assert answer(warm.call("patient", {"late": True}))["got"] == {"late": True}


def _age(pid: int) -> float:
    """Seconds since a process started (proc(5), field 22, in clock ticks)."""
    with open(f"/proc/{pid}/stat") as file:
        started = int(file.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as file:
        return float(file.read().split()[0]) - started / os.sysconf("SC_CLK_TCK")


def test_cpu_of_the_start_is_not_charged(warm: Hood) -> None:
    code = (
        "import json, sys, time\nx = sum(range(3_000_000))\nstart = time.process_time()\n"
        "sys.stdin.read()\nprint(json.dumps({'start': start}))"
    )
    register(warm, "thinker", code, "started")
    cold = warm.call("thinker", {})
    eventually(lambda: _idle(warm, "thinker"), 20, "it has done its thinking ahead")
    warmed = warm.call("thinker", {})
    assert cold["usage"]["cpu_seconds"] >= answer(cold)["start"], (
        "who starts for a call is charged for it"
    )
    assert warmed["usage"]["cpu_seconds"] < answer(warmed)["start"], (
        "not even what the start alone took"
    )


def _idle(running: Hood, tool: str) -> bool:
    pids = own(running, tool)
    if len(pids) != 1:
        return False
    try:
        return "pipe" in Path(f"/proc/{pids[0]}/wchan").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("chatty", "import sys; print('hello', flush=True); sys.stdin.read()"),
        ("hasty", "print('done')"),
    ],
)
def test_a_tool_that_does_not_wait_falls_back_and_tool_show_says_why(
    warm: Hood, name: str, code: str
) -> None:
    register(warm, name, code, "started")
    for _ in range(4):
        result = warm.call(name, {})
        assert result["status"] == "ok", result
    eventually(lambda: unfit(warm, name), 20, "it was seen not to wait")
    assert warm.call(name, {})["status"] == "ok"


def notes(running: Hood, tool: str) -> list[str]:
    with running.client() as client:
        return list(client.show_tool(tool)["notes"])


def unfit(running: Hood, tool: str) -> bool:
    """Whether `tool show` says that it is not started ahead any more."""
    return any("not started ahead" in note for note in notes(running, tool))


def test_an_opened_sandbox_has_executed_nothing_of_the_tool(warm: Hood) -> None:
    register(warm, "plain", STARTED, "opened")
    warm.call("plain", {})
    eventually(lambda: ready(warm) > 0, 10, "one is ready")
    assert own(warm, "plain") == []
    assert answer(warm.call("plain", {"a": 1}))["got"] == {"a": 1}


def test_none_keeps_nothing_ready(warm: Hood) -> None:
    register(warm, "cold", STARTED, "none")
    warm.call("cold", {})
    assert processes_of(warm.account("cold")) == []


def test_a_killed_ready_sandbox_is_not_handed_out(warm: Hood) -> None:
    register(warm, "victim", STARTED, "opened")
    warm.call("victim", {})
    account = warm.account("victim")
    eventually(lambda: bool(processes_of(account)), 10, "one is ready")
    before = ready(warm)
    for pid in processes_of(account):
        with contextlib.suppress(ProcessLookupError):  # the first took the others along
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not processes_of(account), 10, "it is dead")
    known = lambda: ready(warm) < before or bool(processes_of(account))  # noqa: E731
    eventually(known, 10, "that is known, or another one is there already")
    for number in range(3):
        assert answer(warm.call("victim", {"n": number}))["got"] == {"n": number}


@pytest.mark.parametrize("level", ["opened", "started"])
def test_a_sandbox_that_dies_as_its_call_comes_is_replaced(warm: Hood, level: str) -> None:
    """Nobody can have told the supervisor yet: the launcher stands still until the call has it."""
    name = f"unlucky-{level}"
    register(warm, name, STARTED, level)
    warm.call(name, {})
    account = warm.account(name)
    running = (lambda: own(warm, name)) if level == "started" else lambda: processes_of(account)
    eventually(lambda: bool(running()), 10, "one is ready")
    eventually(lambda: "read" in wchans(account), 10, "and waits")
    results = list[dict[str, object]]()
    os.kill(warm.launcher, signal.SIGSTOP)
    try:
        for pid in processes_of(account):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        calling = threading.Thread(target=lambda: results.append(warm.call(name, {"n": 1})))
        calling.start()
        eventually(lambda: has_sandbox(warm, name), 10, "the call has taken one")
    finally:
        os.kill(warm.launcher, signal.SIGCONT)
    calling.join(30)
    assert answer(results[0])["got"] == {"n": 1}
    events = [record["event"] for record in records(warm, str(results[0]["invocation"]))]
    assert events == ["invocation.launched", "invocation.ended"]
    told = [line for line in warm.log.read_text().splitlines() if "another one takes it" in line]
    # The pipes of a started one may have ended before the call came: seen without a launcher.
    assert level == "started" or any(str(results[0]["invocation"]) in line for line in told)


def has_sandbox(running: Hood, tool: str) -> bool:
    with running.client() as client:
        live = client.invocations()["invocations"]
    return any(one["tool"] == tool and one["state"] == "opening" for one in live)


def wchans(account: int) -> str:
    """Where the processes of an account wait in the kernel."""
    found = []
    for pid in processes_of(account):
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/wchan").read_text())
    return " ".join(found)


def records(running: Hood, invocation: str) -> list[dict[str, object]]:
    mark = f'"invocation":"{invocation}"'
    paths = sorted((running.state / "audit").glob("segment-*.jsonl"))
    lines = [line for path in paths for line in path.read_text().splitlines() if mark in line]
    return [json.loads(line) for line in lines]


def test_no_more_are_kept_than_configured(warm: Hood) -> None:
    for number in range(6):
        register(warm, f"many-{number}", STARTED, "opened")
        warm.call(f"many-{number}", {})
    assert ready(warm) <= 4


def test_a_tool_that_computes_instead_of_waiting_is_stopped(
    warm: Hood,
) -> None:
    code = "import sys, os\nif os.fork():\n sys.stdin.read()\nelse:\n while True: pass"
    register(warm, "spinner", code, "started", timeout="2s")
    warm.call("spinner", {})
    eventually(lambda: unfit(warm, "spinner"), 150, "its spinning was seen")
    assert any("it computed while it waited" in note for note in notes(warm, "spinner"))
    assert len(own(warm, "spinner")) == 0


@pytest.mark.parametrize("whom", ["program", "launcher"])
def test_a_death_from_outside_is_not_taken_for_the_tools_doing(warm: Hood, whom: str) -> None:
    name = f"slain-{whom}"
    register(warm, name, STARTED, "started")
    warm.call(name, {})
    eventually(lambda: _idle(warm, name), 10, "it runs ahead")
    (pid,) = own(warm, name)
    os.kill(pid if whom == "program" else warm.launcher, signal.SIGKILL)
    eventually(lambda: pid not in own(warm, name), 10, "it is dead")
    for number in range(30):
        with contextlib.suppress(Exception):  # none until the next launcher is there
            if warm.call(name, {"n": number})["status"] == "ok":
                break
        time.sleep(0.2)
    eventually(lambda: _idle(warm, name), 20, "another one is started ahead")
    assert not unfit(warm, name), notes(warm, name)
    (waiting,) = own(warm, name)
    assert answer(warm.call(name, {"n": 0}))["got"] == {"n": 0}
    assert waiting not in own(warm, name), "that one has served the call"
