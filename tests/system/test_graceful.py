"""A tool that must end is asked first and killed after its grace, whatever it does about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fumehood.client import Client
from fumehood.errors import Cancelled
from support.docker import Engine, beside_bubblewrap
from support.hood import Hood, eventually, hood

FIRST_ACCOUNT = 1_951_000_000
GRACE = 1.0

POLITE = """
import signal, sys, time
def leave(number, frame):
    print("saved what there was", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
print("begun", flush=True)
time.sleep(60)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("begun", flush=True)
while True:
    time.sleep(60)
"""
STOPPED = """
import os, signal
print("begun", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
print("went on", flush=True)
signal.pause()
"""
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            time.sleep(60)
    os._exit(0)
os.wait()
print("begun", flush=True)
while True:
    os.kill(os.getpid(), signal.SIGSTOP)
"""
FLOOD = """
import os, signal, time
def flood(number, frame):
    while True:
        os.write(1, b"x" * 65536)
signal.signal(signal.SIGTERM, flood)
print("begun", flush=True)
while True:
    time.sleep(60)
"""
TOOLS = {"polite": POLITE, "deaf": DEAF, "stopped": STOPPED, "stubborn": STUBBORN, "flood": FLOOD}


@pytest.fixture(scope="module", params=["bubblewrap", "docker"])
def tools(request: pytest.FixtureRequest) -> Iterator[Hood]:
    """With accounts of its own: who lives as one of them is known to be a tool of this module."""
    config: dict[str, object] = {"accounts": {"first": FIRST_ACCOUNT, "count": 100}}
    if request.param == "docker":
        docker: Engine = request.getfixturevalue("docker_engine")
        config |= beside_bubblewrap(docker)
    with hood(config=config) as running:
        register(running, request.param)
        yield running


def register(running: Hood, engine: str) -> None:
    for name, code in TOOLS.items():
        for ending, limits in (
            ("late", {"timeout": "600ms"}),
            ("long", {"timeout": "60s"}),
        ):
            running.register(
                None,
                f"{name}-{ending}",
                command=(),
                run={
                    "command": ["/usr/bin/python3", "/tool/main.py"],
                    "files": ".",
                    "engine": engine,
                    "warm": "none",  # nothing of the account lives but the call itself
                },
                limits={**limits, "grace": "1s", "output": "64KiB"},
                files={"main.py": code},
            )


def test_a_tool_may_end_in_order_at_its_deadline(tools: Hood) -> None:
    result = tools.call("polite-late")
    assert result["status"] == "timeout"
    assert result["content"][0]["text"] == "begun\nsaved what there was\n"
    assert result["exit_code"] == 0, "it left by itself and was not killed"
    assert result["enforced"]["limits"]["grace_ms"] == 1000


@pytest.mark.parametrize("name", ["deaf", "stubborn"])
def test_a_tool_that_does_not_listen_is_killed_after_its_grace(tools: Hood, name: str) -> None:
    result = tools.call(f"{name}-late")
    assert result["status"] == "timeout"
    assert result["content"][0]["text"] == "begun\n"
    assert result["usage"]["wall_seconds"] >= 0.6 + GRACE
    assert tools.alive(f"{name}-late") == []


def test_a_stopped_tool_is_woken_to_hear_it(tools: Hood) -> None:
    result = tools.call("stopped-late")
    assert (result["status"], result["signal"]) == ("timeout", 15)


def test_a_flood_in_the_grace_is_killed_at_once(tools: Hood) -> None:
    result = tools.call("flood-late")
    assert (result["status"], result["truncated"]) == ("timeout", True)
    assert result["usage"]["stdout_bytes"] < 64 << 20


@pytest.fixture
def client(tools: Hood) -> Iterator[Client]:
    with tools.client() as client:
        yield client


@pytest.mark.parametrize("name", ["polite", "deaf", "stopped", "stubborn"])
def test_cancelling_ends_them_all(tools: Hood, client: Client, name: str) -> None:
    tool = f"{name}-long"
    ends: list[BaseException] = []

    def call() -> None:
        try:
            client.call(tool, {})
        except Cancelled as error:
            ends.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    eventually(lambda: bool(tools.alive(tool)), 10, "it runs")
    client.cancel()
    caller.join(50)  # less than the tool's own limit
    assert len(ends) == 1
    assert tools.alive(tool) == []
