"""`fumehood reload`."""

from __future__ import annotations

import json

from support.cli import Cli
from support.gateway import FakeSupervisor


def test_what_waits_for_a_restart_is_named(cli: Cli, supervisor: FakeSupervisor) -> None:
    supervisor.reloaded = {"loaded": "now", "problem": "", "remedy": "", "restart": ["warm"],
                           "dropped": ["budgets"], "anew": ["budgets[1]"],
                           "loosened": ["rule 3 (deny)"]}  # fmt: skip
    ended = cli("reload")
    assert (ended.status, ended.out) == (0, "reloaded\n")
    assert "waiting for a restart: warm" in ended.err
    assert "at their defaults: budgets" in ended.err
    assert "begin anew: budgets[1]" in ended.err
    assert "rule 3 (deny)" in ended.err
    assert json.loads(cli("reload", "--json").out)["restart"] == ["warm"]


def test_a_refused_file_is_told_with_its_line(cli: Cli, supervisor: FakeSupervisor) -> None:
    ended = cli("reload")
    assert ended.status == 2
    assert "/etc/x:3: rules: no" in ended.err
    assert "mend it" in ended.err
