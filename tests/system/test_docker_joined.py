"""Two engines in one daemon: each tool on its own, and one engine's trouble is not the other's."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fumehood.errors import FumehoodError
from support.docker import Engine, beside_bubblewrap
from support.hood import Hood, cgroups, children, eventually, hood, processes_of

ACCOUNTS = (1_960_000_000, 60)
TOOL = {"main.py": "import sys; print('said', sys.stdin.read())"}


@pytest.fixture
def two(own_docker_engine: Engine) -> Iterator[Hood]:
    config = {
        "accounts": {"first": ACCOUNTS[0], "count": ACCOUNTS[1]},
        **beside_bubblewrap(own_docker_engine),
        "sandboxes": 8,
        "warm": 4,
    }
    with hood(config=config) as running:
        for name, run in (
            ("embedded", {}),
            ("contained", {"engine": "docker", "runtime": "runc"}),
            ("sleeper", {"engine": "docker"}),
        ):
            command = ["sleep", "60"] if name == "sleeper" else ["python3", "/tool/main.py"]
            running.register(
                None,
                name,
                command=command,
                files=TOOL,
                run={"command": command, "files": ".", **run},
                limits={"timeout": "60s"},
            )
        yield running


def test_an_engine_that_does_not_run_is_refused_at_registration(hood: Hood) -> None:
    with pytest.raises(FumehoodError, match="docker does not run here"):
        hood.register(
            None, "elsewhere", command=["true"], run={"command": ["true"], "engine": "docker"}
        )


@pytest.mark.parametrize("victim", ["launcher", "dockerd", "supervisor"])
def test_a_death_ends_the_calls_it_must_and_no_others(
    two: Hood, own_docker_engine: Engine, victim: str
) -> None:
    ends: list[dict[str, Any] | FumehoodError] = []

    def call() -> None:
        try:
            ends.append(two.call("sleeper"))
        except FumehoodError as error:
            ends.append(error)

    account = two.account("sleeper")
    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(sleeping()) == 3, 30, "all calls run")
    launcher = int(two.status()["engines"]["docker"])
    if victim == "launcher":
        os.kill(launcher, signal.SIGKILL)
    elif victim == "dockerd":
        own_docker_engine.signal(signal.SIGKILL)
    else:
        os.kill(supervisor_of(two), signal.SIGKILL)
    eventually(lambda: not sleeping(), 20, "every container is dead")
    for thread in threads:
        thread.join(30)
    assert len(ends) == 3
    assert account
    if victim == "supervisor":
        assert all(isinstance(end, FumehoodError) for end in ends)
        assert two.process.wait(30) != 0
        assert processes_of(*ACCOUNTS) == []
        return
    assert all(
        not isinstance(end, FumehoodError) and end["status"] == "engine_error" for end in ends
    )
    assert two.call("embedded")["status"] == "ok"
    if victim == "dockerd":
        assert two.call("contained")["status"] == "engine_error"
        own_docker_engine.start()
    eventually(lambda: two.call("contained")["status"] == "ok", 20, "containers again")
    assert cgroups(f"fumehood-{launcher}-") == []


def supervisor_of(running: Hood) -> int:
    launchers = running.status()["engines"].values()
    return next(pid for pid in children(running.process.pid) if pid not in launchers)


def sleeping() -> list[int]:
    found = []
    for pid in processes_of(*ACCOUNTS):
        try:
            with open(f"/proc/{pid}/comm") as file:
                if file.read() == "sleep\n":
                    found.append(pid)
        except OSError:
            continue
    return found
