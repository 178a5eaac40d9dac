"""`fumehood policy`, `approvals`, `approve` and `deny`: what a person sees and a script gets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from support.cli import Cli
from support.gateway import FakeSupervisor

ASKING: dict[str, Any] = {
    "approval": "ab12", "invocation": "i", "caller": {"principal": "uid:7", "name": "ann"},
    "reason": "look\x1b[2J", "rule": "ask:2", "tool": "echo", "version": "1.0.0",
    "digest": "sha384:00", "command": ["cat", "-n"], "image": "host", "network": "none",
    "limits": {"timeout": "10s"}, "arguments": '{"a":"b"}', "arguments_bytes": 9,
    "arguments_digest": "sha384:" + "ab" * 48, "expires_seconds": 12.0,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("FUMEHOOD_CONFIG", str(path))
    return path


def test_what_waits_is_shown_exactly_and_steers_no_terminal(
    cli: Cli, supervisor: FakeSupervisor
) -> None:
    assert "no call waits" in cli("approvals").err
    supervisor.asking = ASKING
    shown = cli("approvals").out
    for part in ("ab12  expires in 12s", "uid:7 (ann)", '["cat", "-n"]', '{"a":"b"}', "ask:2"):
        assert part in shown
    assert "\x1b" not in shown
    supervisor.asking = {**ASKING, "arguments_bytes": 100_000}
    assert '{"a":"b"} … (100000 bytes in all; ' in cli("approvals").out
    assert json.loads(cli("approvals", "--json").out)[0]["approval"] == "ab12"


def test_arguments_that_are_not_listed_whole_are_shown_or_saved_with_their_digest(
    cli: Cli, supervisor: FakeSupervisor, tmp_path: Path
) -> None:
    whole = json.dumps({"a": "é\u202e" * 2_000}, ensure_ascii=False).encode()
    digest = "sha384:" + hashlib.sha384(whole).hexdigest()
    total = {"arguments_bytes": len(whole), "arguments_digest": digest}
    supervisor.asking, supervisor.arguments = {**ASKING, **total}, whole
    assert "fumehood approvals ab12 --full" in cli("approvals").out
    shown = cli("approvals", "ab12", "--full").out
    assert shown.count("é\\u202e") == 2_000, "all of it, and it steers no terminal"
    assert digest in shown
    file = tmp_path / "arguments.json"
    saved = cli("approvals", "ab12", "--output", str(file))
    assert (saved.status, file.read_bytes()) == (0, whole)
    assert digest in saved.out
    assert file.stat().st_mode & 0o7777 == 0o600
    again = cli("approvals", "ab12", "--output", str(file))
    assert (again.status, file.read_bytes()) == (2, whole)
    assert cli("approvals", "--full").status == 2
    assert cli("approvals", "other", "--full").status == 3
    assert cli("approve", "ab12", "--digest", digest).status == 0
    assert supervisor.digest == digest


@pytest.mark.parametrize("word", ["approve", "deny"])
def test_an_answer_reaches_the_supervisor(cli: Cli, supervisor: FakeSupervisor, word: str) -> None:
    grant = word == "approve"
    supervisor.asking = ASKING
    ended = cli(word, "ab12")
    assert (ended.status, supervisor.answered) == (0, ("ab12", grant))
    assert ended.out.startswith(("approved" if grant else "denied") + " ab12")
    assert cli(word, "other").status == 3


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ({}, 0),
        ({"effect": "ask"}, 1),
        ({"effect": "deny"}, 3),
        ({"effect": "allow", "fault": "/a: expected string"}, 3),
    ],
)
def test_explain_tells_by_its_exit_status_what_would_happen(
    cli: Cli, supervisor: FakeSupervisor, arguments: dict[str, str], status: int
) -> None:
    ended = cli("policy", "explain", "ann", "echo", json.dumps(arguments))
    assert ended.status == status
    assert ended.out.startswith(arguments.get("effect", "allow") + "  by rule 2: because")
    assert ("tools: it is for x" in ended.out) is False
    assert "tools: it is for x" in cli("policy", "explain", "ann", "echo", "--all").out


def test_check_reads_the_file_with_or_without_a_daemon(
    cli: Cli, supervisor: FakeSupervisor, config: Path
) -> None:
    config.write_text("rules:\n- {effect: allow, tools: [echo]}\n")
    assert (cli("policy", "check").status, cli("policy", "check").out) == (
        0,
        "the rules are fine\n",
    )
    supervisor.remarks = [
        {"severity": "note", "check": "for_nobody", "rule": 0, "text": "nobody may call wait"}
    ]
    assert "nobody may call wait" in cli("policy", "check").out
    ended = cli("policy", "check", "--socket", "/nowhere/socket", "--json")
    assert json.loads(ended.out) == {"remarks": [], "tools_checked": False}


def test_check_fails_for_a_warning_and_for_a_file_that_is_refused(cli: Cli, config: Path) -> None:
    config.write_text("rules:\n- effect: deny\n- {effect: allow, tools: [a]}\n")
    ended = cli("policy", "check", "--socket", "/nowhere/socket")
    assert ended.status == 1
    assert "never decides: rule 1 (deny) covers all of it" in ended.out
    config.write_text("rules:\n- {effect: allow, who: [nosuch]}\n")
    ended = cli("policy", "check", "--socket", "/nowhere/socket")
    assert (ended.status, ":2: rules[0].who[0]: there is no role" in ended.err) == (2, True)
