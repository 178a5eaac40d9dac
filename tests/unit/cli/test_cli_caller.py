"""`fumehood caller show` and `fumehood session`."""

from __future__ import annotations

import json

from support.cli import Cli
from support.gateway import FakeSupervisor


def test_a_caller_sees_what_is_left(cli: Cli, supervisor: FakeSupervisor) -> None:
    shown = cli("caller", "show", "7").out
    for part in (
        "uid:7",
        "1 of 80",
        "4 of 10 left, full in 60 s",
        "level 1: limits times 0.5 (21 points, tightened at 20; 3 rejected, 2 guessed)",
        "3 of 9 invocations, 1.5 of 60 s of CPU time, new in 1m00s",
        "ab, ends in 5.0s",
    ):
        assert part in shown
    assert json.loads(cli("caller", "show", "--json").out)["at_once"]["of"] == 80


def test_a_session_is_opened_used_and_closed(cli: Cli, supervisor: FakeSupervisor) -> None:
    handle = cli("session", "open").out.strip()
    assert cli("call", "echo", "{}", "--session", handle).status == 0
    assert supervisor.requests[-1].session == handle
    assert cli("call", "echo", "{}").status == 0
    assert supervisor.requests[-1].session is None
    assert cli("session", "close", handle).status == 0
    closed = cli("session", "close", handle)
    assert (closed.status, "no such session" in closed.err) == (3, True)
