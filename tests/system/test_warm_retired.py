"""A program that was started ahead of its call ends with what made it callable."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import yaml

from support.hood import Hood, comm, eventually, hood, processes_of

SOON = 15
"""Seconds; a ready sandbox that nobody drops waits for a minute."""


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    with hood(config={"accounts": {"first": 1_964_000_000, "count": 100}, "warm": 4}) as running:
        yield running


def add(running: Hood, name: str, version: str = "1.0.0") -> None:
    manifest = {
        "name": name, "version": version, "title": name, "description": f"A tool named {name}.",
        "inputSchema": {"type": "object"},
        "run": {"image": "host", "command": ["cat"], "warm": "started"},
        "limits": {"memory": "64MiB"},
    }  # fmt: skip
    with running.client() as client:
        client.add_tool(yaml.safe_dump(manifest), {})


def waiting(running: Hood, name: str) -> Callable[[], list[int]]:
    """The PIDs of the tool's program, as they are when they are asked for."""
    account = running.account(name)
    return lambda: [pid for pid in processes_of(account) if comm(pid) == "cat"]


def started(running: Hood, name: str) -> tuple[Callable[[], list[int]], set[int]]:
    """A tool whose program waits for its second call; and what waits."""
    add(running, name)
    assert running.call(name, {})["status"] == "ok"
    programs = waiting(running, name)
    eventually(lambda: bool(programs()), 20, "its program waits")
    return programs, set(programs())


def gone(programs: Callable[[], list[int]], before: set[int]) -> None:
    eventually(lambda: not before & set(programs()), SOON, "what waited has ended")


def test_a_new_version_ends_the_program_of_the_one_before(daemon: Hood) -> None:
    programs, before = started(daemon, "superseded")
    add(daemon, "superseded", "1.0.1")
    gone(programs, before)
    assert daemon.call("superseded", {})["status"] == "ok"
    daemon.cli("tool", "remove", "superseded", check=True)


def test_an_approved_version_ends_the_program_of_the_current_one(daemon: Hood) -> None:
    add(daemon, "approved", "0.9.0")
    programs, before = started(daemon, "approved")
    daemon.cli("tool", "approve", "approved", "0.9.0", check=True)
    gone(programs, before)
    daemon.cli("tool", "remove", "approved", check=True)


def test_a_removed_tool_has_no_program_left(daemon: Hood) -> None:
    programs, before = started(daemon, "removed")
    daemon.cli("tool", "remove", "removed", check=True)
    gone(programs, before)
    assert programs() == []


def test_a_reload_ends_what_waits(daemon: Hood) -> None:
    programs, before = started(daemon, "reloaded")
    daemon.cli("reload", check=True)
    gone(programs, before)
    assert daemon.call("reloaded", {})["status"] == "ok"
    daemon.cli("tool", "remove", "reloaded", check=True)
