"""Who may call what, through the front door: rules, approval by somebody else, and what is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ledger
from support.hood import Hood, eventually, hood
from support.stranger import GROUP, Stranger

FIRST_ACCOUNT = 1_953_000_000
ANN, BEN = 64_341, 64_342
CONFIG = {
    "socket_group": GROUP,
    "accounts": {"first": FIRST_ACCOUNT, "count": 200},
    "callers": {"users": [ANN, BEN]},
    "roles": {"ann": {"users": [ANN]}},
    "rules": [
        {"effect": "allow", "who": ["ann"], "tools": ["mine"], "arguments": {
            "required": ["path"],
            "properties": {"path": {"type": "string", "pattern": "^/data/[a-z]+$"}}}},
        {"effect": "ask", "who": ["ann", "operators"], "tools": ["careful"], "reason": "look"},
        {"effect": "allow", "tools": ["common"]},
        {"effect": "deny", "labels": {"area": "closed"}},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    """Four tools, each of which answers with its arguments."""
    with hood(config=CONFIG) as running:
        running.place.chmod(0o755)
        for name in ("mine", "careful", "common", "closed-common"):
            labels = {"labels": {"area": "closed"}} if name.startswith("closed") else {}
            running.register(None, name, command=["cat"], **labels)
        yield running


def records(daemon: Hood, event: str) -> list[dict[str, Any]]:
    """What the audit log has of an event."""
    return [record for record in ledger.records(daemon.state) if record["event"] == event]


def test_one_learns_of_no_tool_that_no_rule_gives_one(daemon: Hood) -> None:
    ann, ben = Stranger(daemon.socket, ANN), Stranger(daemon.socket, BEN)
    seen = set()
    for name in ("mine", "careful", "closed-common", "no-such-tool"):
        refused = ben.call(name)
        assert refused["code"] == "unknown_tool"
        seen.add(str(refused).replace(name, ""))
    assert len(seen) == 1
    assert ben.call("common", {"a": 1})["status"] == "ok"
    assert ann.call("mine", {"path": "/data/x"})["status"] == "ok"


def test_other_arguments_are_refused_without_telling_the_rule(daemon: Hood) -> None:
    for arguments in ({}, {"path": "/data/../etc"}, {"path": "/etc/passwd"}):
        refused = Stranger(daemon.socket, ANN).call("mine", arguments)
        assert refused["status"] == "rejected"
        assert refused["message"].startswith("you may not call this tool with these arguments")
        assert "data" not in refused["message"]
    last = records(daemon, "invocation.rejected")[-1]
    assert last["detail"] == "deny: no rule allows it"


def test_an_asking_call_runs_once_an_operator_approved_it(daemon: Hood) -> None:
    with Stranger(daemon.socket, ANN).calling("careful", {"n": 1}) as call:
        with daemon.client() as client:
            eventually(lambda: bool(client.approvals()), 30, "the call asks")
            (asked,) = client.approvals()
        shown = daemon.cli("approvals", check=True).stdout
        assert '"cat"' in shown
        assert '{"n":1}' in shown
        own = Stranger(daemon.socket, ANN).ask(
            "fumehood/approvals/answer", approval=asked["approval"], grant=True
        )
        assert own["error"]["data"]["code"] == "unauthorized"
        assert call.poll() is None
        done = daemon.cli("approve", asked["approval"])
        assert done.returncode == 0, done.stderr
        answer, _ = call.communicate(timeout=60)
    result = json.loads(answer)["result"]["_meta"]["fumehood/result"]
    assert result["status"] == "ok"
    again = daemon.cli("approve", asked["approval"], "--json")
    assert (again.returncode, json.loads(again.stdout)["error"]["code"]) == (3, "unknown_approval")
    invocation = result["invocation"]
    ended = next(r for r in records(daemon, "invocation.ended") if r["invocation"] == invocation)
    assert ended["rule"] == "ask:2 approved by uid:0"
    granted = [r for r in records(daemon, "approval.granted") if r["invocation"] == invocation]
    assert [record["by"] for record in granted] == ["uid:0"]
    assert [r["by"] for r in records(daemon, "approval.refused")][:1] == [f"uid:{ANN}"]


def test_a_denied_call_is_rejected_and_a_gone_caller_withdraws(daemon: Hood) -> None:
    with daemon.client() as client:
        with Stranger(daemon.socket, ANN).calling("careful") as call:
            eventually(lambda: bool(client.approvals()), 30, "the call asks")
            assert daemon.cli("deny", client.approvals()[0]["approval"]).returncode == 0
            answer, _ = call.communicate(timeout=60)
        result = json.loads(answer)["result"]["_meta"]["fumehood/result"]
        assert (result["status"], result["message"]) == (
            "rejected",
            "an operator denied the call",
        )
        with Stranger(daemon.socket, ANN).calling("careful"):
            eventually(lambda: bool(client.approvals()), 30, "the call asks")
        eventually(lambda: not client.approvals(), 30, "nothing waits for who is gone")
    eventually(lambda: bool(records(daemon, "approval.withdrawn")), 30, "that is on record")


def test_policy_explain_names_the_rule_and_is_for_operators(daemon: Hood) -> None:
    said = daemon.cli("policy", "explain", str(ANN), "mine", '{"path": "/etc"}', "--all", "--json")
    explained = json.loads(said.stdout)
    assert (said.returncode, explained["effect"], explained["rule"]) == (3, "deny", 0)
    first = next(rule for rule in explained["rules"] if rule["rule"] == 1)
    assert first["why"].startswith("arguments: /path: ")
    allowed = daemon.cli("policy", "explain", f"uid:{ANN}", "mine", '{"path": "/data/x"}')
    assert (allowed.returncode, allowed.stdout.split("\n")[0][:17]) == (0, "allow  by rule 1:")
    assert daemon.cli("policy", "explain", str(BEN), "careful").returncode == 3
    refused = Stranger(daemon.socket, ANN).ask("fumehood/policy/explain", who="root", tool="mine")
    assert refused["error"]["data"]["code"] == "unauthorized"


def test_policy_check_looks_at_the_file_and_at_the_tools(daemon: Hood, tmp_path: Path) -> None:
    checked = daemon.cli("policy", "check", "--config", str(daemon.place / "config.yaml"), "--json")
    remarks = json.loads(checked.stdout)
    assert (checked.returncode, remarks["tools_checked"]) == (0, True)
    said = {remark["check"]: remark["text"] for remark in remarks["remarks"]}
    assert said["for_nobody"] == "nobody may call closed-common"
    assert said["for_everybody"] == "every caller may call common"
    bad = tmp_path / "config.yaml"
    bad.write_text("rules:\n- effect: allow\n- {effect: allow, tools: [a]}\n")
    assert daemon.cli("policy", "check", "--config", str(bad)).returncode == 1
    bad.write_text("rules:\n- effect: allow\n  whom: [a]\n")
    refused = daemon.cli("policy", "check", "--config", str(bad))
    assert refused.returncode == 2
    assert f"{bad}:3: rules[0].whom: unknown key" in refused.stderr
