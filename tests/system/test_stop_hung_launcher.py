"""A stop acts also where the launcher hangs: everything of it is dead when it has answered."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from fumehood.errors import FumehoodError
from support.hood import Hood, comm, eventually, hood, processes_of
from support.ledger import Ledger

ACCOUNTS = (1_966_000_000, 400)
WAIT = "import time; print('up', flush=True); time.sleep(600)"
CALLS = 3


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    config = {"accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]}, "warm": 4}
    with hood(config=config) as running:
        for name in ("sleepy", "other"):
            running.register(
                None, name, command=["/usr/bin/python3", "-c", WAIT], limits={"timeout": "5m"}
            )
        running.register(None, "echo", command=["cat"])
        assert running.call("echo", {"a": 1})["status"] == "ok"
        yield running


def running_now(daemon: Hood) -> int:
    with daemon.client() as client:
        return sum(item["stdout_bytes"] > 0 for item in client.invocations()["invocations"])


def tools() -> list[int]:
    """Processes of any sandbox, but for those that bubblewrap has waiting and that run nothing."""
    return [pid for pid in processes_of(*ACCOUNTS) if comm(pid) not in ("bwrap", "")]


def records(daemon: Hood, tool: str) -> list[dict[str, object]]:
    lines = daemon.cli("audit", "export", "--format", "jsonl", check=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    return [one for one in found if one["event"] == "invocation.ended" and one["tool"] == tool]


@pytest.mark.parametrize(
    ("words", "resumed"), [(("--all",), ("--all",)), (("sleepy",), ("sleepy",))]
)
def test_nothing_lives_when_a_stop_past_a_hung_launcher_has_answered(
    daemon: Hood, words: tuple[str, ...], resumed: tuple[str, ...]
) -> None:
    before = len(records(daemon, "sleepy"))
    with concurrent.futures.ThreadPoolExecutor(CALLS) as pool:
        calls = [pool.submit(daemon.call, "sleepy") for _ in range(CALLS)]
        eventually(lambda: running_now(daemon) == CALLS, 60, "all run")
        assert len(tools()) >= CALLS, "what is looked for below can be seen"
        hung = daemon.launcher
        os.kill(hung, signal.SIGSTOP)
        began = time.monotonic()
        stopped = daemon.cli("stop", *words)
        print(f"stop {' '.join(words)}: {time.monotonic() - began:.2f} s with a hung launcher")
        assert tools() == []
        assert (stopped.returncode, f"{CALLS} calls ended" in stopped.stdout) == (0, True)
        for call in calls:  # as for any launcher that dies
            assert call.result(60)["status"] == "engine_error"
    ended = records(daemon, "sleepy")[before:]
    assert [one["status"] for one in ended] == ["engine_error"] * CALLS
    assert {one["cancelled_by"] for one in ended} == {f"uid {os.geteuid()}"}
    assert daemon.launcher != hung
    assert daemon.call("sleepy")["status"] == "rejected"
    daemon.cli("resume", *resumed, check=True)
    assert daemon.call("echo", {"a": 2})["status"] == "ok"
    Ledger.of(daemon.state).check()


def test_a_stop_of_one_tool_costs_others_nothing_where_the_launcher_answers(daemon: Hood) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        other, sleepy = pool.submit(daemon.call, "other"), pool.submit(daemon.call, "sleepy")
        eventually(lambda: running_now(daemon) == 2, 60, "both run")
        launcher = daemon.launcher
        daemon.cli("stop", "sleepy", check=True)
        assert isinstance(sleepy.exception(60), FumehoodError)
        assert daemon.launcher == launcher
        assert not other.done()
        daemon.cli("stop", "--all", check=True)
        assert isinstance(other.exception(60), FumehoodError)
        assert daemon.launcher == launcher
    daemon.cli("resume", "--all", check=True)
    daemon.cli("resume", "sleepy", check=True)
    assert daemon.call("echo", {"a": 3})["status"] == "ok"
