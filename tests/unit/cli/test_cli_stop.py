"""`fumehood stop`, `resume` and `incident`, as the command line shows them."""

from __future__ import annotations

import json

import pytest

from support.cli import Cli
from support.gateway import FakeSupervisor

INCIDENT = {
    "incident": "one", "signal": "tripwire", "tool": "echo", "tool_digest": "d", "uid": 7,
    "opened": "2026", "invocation": "i", "actions": ["notify"], "closed": "", "closed_by": "",
    "note": "", "captured": True, "timeline": [["2026", "tripwire: i syscall_killed"]],
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind", "name"),
    [(["echo"], "tool", "echo"), (["--all"], "all", ""), (["--caller", "7"], "caller", "7")],
)
def test_something_is_stopped_listed_and_resumed(
    cli: Cli, supervisor: FakeSupervisor, words: list[str], kind: str, name: str
) -> None:
    ended = cli("stop", *words, "--reason", "odd")
    assert ended.status == 0, ended.err
    assert ended.out == f"stopped: {kind} {name}".rstrip() + "; 2 calls ended\n"
    (stop,) = json.loads(cli("stop", "--list", "--json").out)
    assert (stop["kind"], stop["name"], stop["reason"]) == (kind, name, "odd")
    assert kind in cli("stop", "--list").out
    assert cli("resume", *words).status == 0
    assert "nothing is stopped" in cli("stop", "--list").err
    assert cli("resume", *words).status == 2


def test_a_stop_of_no_tool_that_is_there_warns(cli: Cli, supervisor: FakeSupervisor) -> None:
    ended = cli("stop", "nosuch")
    assert (ended.status, "there is no tool 'nosuch'" in ended.err) == (1, True)
    assert [stop["name"] for stop in json.loads(cli("stop", "--list", "--json").out)] == ["nosuch"]
    ended = cli("stop", "nosuch", "--json")
    assert (ended.status, json.loads(ended.out)["known"]) == (1, False)


@pytest.mark.parametrize("words", [[], ["echo", "--all"], ["--all", "--caller", "7"]])
def test_one_thing_must_be_named(cli: Cli, supervisor: FakeSupervisor, words: list[str]) -> None:
    for command in ("stop", "resume"):
        ended = cli(command, *words)
        assert (ended.status, "name one" in ended.err) == (2, True)
    assert supervisor.response.stops == []


def test_incidents_are_listed_shown_and_closed(cli: Cli, supervisor: FakeSupervisor) -> None:
    assert cli("incident", "list").status == 0
    supervisor.response.open["one"] = dict(INCIDENT)
    ended = cli("incident", "list")
    assert (ended.status, "tripwire" in ended.out) == (1, True)
    damaged = {**INCIDENT, "incident": "two", "signal": "unreadable", "unreadable": "torn"}
    supervisor.response.open["two"] = damaged
    assert "  unreadable  notify" in cli("incident", "list").out
    del supervisor.response.open["two"]
    shown = cli("incident", "show", "one")
    assert "2026  tripwire: i syscall_killed" in shown.out
    assert ("tool: echo" in shown.out, shown.err) == (True, "")
    assert json.loads(cli("incident", "show", "one", "--json").out) == INCIDENT
    assert cli("incident", "close", "one").status == 2
    assert cli("incident", "close", "one", "--note", "harmless").status == 0
    assert cli("incident", "list").status == 0
    assert "closed" in cli("incident", "list", "--closed").out
    ended = cli("incident", "show", "two")
    assert (ended.status, "no such incident" in ended.err) == (1, True)
