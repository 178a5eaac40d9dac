"""The configuration is read again while calls are answered; what is refused changes nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ledger
from support.hood import Hood, eventually, hood
from support.stranger import GROUP, Stranger

ANN = 64_371
CONFIG = {
    "socket_group": GROUP,
    "accounts": {"first": 1_956_000_000, "count": 200},
    "callers": {"users": [ANN]},
}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Hood]:
    with hood(config=CONFIG) as running:
        running.register(None, "echo", command=["cat"])
        yield running


def write(daemon: Hood, **changes: object) -> None:
    (daemon.place / "config.yaml").write_text(json.dumps({**CONFIG, **changes}))


def test_rules_change_while_the_daemon_runs_and_a_bad_file_changes_nothing(daemon: Hood) -> None:
    ann, path = Stranger(daemon.socket, ANN), daemon.place / "config.yaml"
    assert ann.call("echo")["status"] == "ok"
    write(daemon, rules=[{"effect": "deny"}], sandboxes=8)
    done = daemon.cli("reload")
    assert (done.returncode, done.stdout) == (0, "reloaded\n")
    assert "waiting for a restart: sandboxes" in done.stderr
    assert ann.call("echo")["code"] == "unknown_tool"

    path.write_text("rules:\n- effect: allow\n  whom: [a]\n")
    refused = daemon.cli("reload")
    assert refused.returncode == 2
    assert f'{path}:3: rules[0].whom: unknown key "whom"' in refused.stderr
    assert ann.call("echo")["code"] == "unknown_tool"
    assert daemon.status()["configuration"]["problem"].startswith(f"{path}:3: ")
    own = ann.ask("fumehood/status")["result"]["status"]["configuration"]
    assert own["problem"] == "refused", "its text is for operators"

    write(daemon)
    lost = daemon.cli("reload")
    assert (lost.returncode, "had `rules`, and names none any more" in lost.stderr) == (2, True)
    assert ann.call("echo")["code"] == "unknown_tool"
    checked = daemon.cli("policy", "check", "--config", str(path))
    assert (checked.returncode, "lost_key" in checked.stdout) == (1, True)

    write(daemon, rules=[{"effect": "allow"}])
    path.chmod(0o666)
    assert "can be written by others" in daemon.cli("reload").stderr
    assert ann.call("echo")["code"] == "unknown_tool"
    path.chmod(0o644)
    denied = ann.ask("fumehood/reload")
    assert denied["error"]["data"]["code"] == "unauthorized"

    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: not daemon.status()["configuration"]["problem"], 30, "SIGHUP reloads")
    assert ann.call("echo")["status"] == "ok"
    path.unlink()
    assert "does not exist" in daemon.cli("reload").stderr
    events = [r["event"] for r in ledger.records(daemon.state) if r["event"].startswith("config.")]
    assert events == [
        "config.reloaded", "config.refused", "config.refused", "config.refused",
        "config.reload_refused",
        "config.reloaded", "config.refused",
    ]  # fmt: skip


def test_reloads_are_on_record_by_keys_digests_and_asker_without_a_value(daemon: Hood) -> None:
    secret, path = "hunter2-of-the-vault", daemon.place / "config.yaml"
    write(daemon, rules=[{"effect": "allow"}], per_session=7)
    daemon.cli("reload", check=True)
    write(daemon, rules=[{"effect": "allow", "tools": [secret]}, {"effect": "allow"}])
    daemon.cli("reload", check=True)
    write(daemon, rules=[{"effect": "allow"}], per_session=9)
    daemon.process.send_signal(signal.SIGHUP)

    def reloads() -> list[dict[str, Any]]:
        return [r for r in ledger.records(daemon.state) if r["event"] == "config.reloaded"]

    eventually(lambda: reloads()[-1]["by"] == "SIGHUP", 30, "SIGHUP is on record")
    named, signalled = reloads()[-2:]
    assert (named["by"], sorted(named["changed"])) == (
        f"uid {os.getuid()}",
        ["per_session", "rules"],
    )
    assert sorted(signalled["changed"]) == ["per_session", "rules"]
    first, second = named["configuration"], signalled["configuration"]
    assert first["digest"] != second["digest"]
    assert named["changed"]["rules"][1] == first["keys"]["rules"] != second["keys"]["rules"]

    faulty = {
        f'{{"sandboxes": "{secret}"}}': "sandboxes",
        f'{{"publishers": {{"{secret}!": {{"keys": []}}}}}}': "publishers",
        f'{{"{secret}": 1}}': "the file",
        f'{{"callers": {{"users": ["{secret}"]}}, "rules": []}}': "callers",
        f'{{"rules": [{{"effect": "allow", "who": ["{secret}"]}}], "callers": {{}}}}': "rules",
        f"rules: *{secret}\n": "not YAML as it is read here",
    }
    for text, told in faulty.items():
        path.write_text(text)
        refused = daemon.cli("reload")
        assert (refused.returncode, secret in refused.stderr) == (2, True), "operators see it"
        last = ledger.records(daemon.state)[-1]
        assert (last["event"], last["by"]) == ("config.refused", f"uid {os.getuid()}")
        assert told in last["cause"]
    assert secret not in json.dumps(ledger.records(daemon.state))
    write(daemon, rules=[{"effect": "allow"}])
    daemon.cli("reload", check=True)


MANIFEST = """\
name: signed-tool
version: 1.0.0
description: Answers with its arguments.
inputSchema: {type: object}
run: {command: [cat]}
"""


def test_a_tool_runs_while_the_key_that_signed_it_is_believed(daemon: Hood, tmp_path: Path) -> None:
    manifest, ann = tmp_path / "tool.yaml", Stranger(daemon.socket, ANN)
    manifest.write_text(MANIFEST)
    write(daemon, require_signature=True, rules=[{"effect": "allow"}])
    assert daemon.cli("reload", check=True).returncode == 0
    unsigned = daemon.cli("tool", "add", str(manifest))
    assert (unsigned.returncode, "is not signed" in unsigned.stderr) == (3, True)
    empty = tmp_path / "config.yaml"
    empty.write_text("{}")
    signed = daemon.cli("tool", "sign", str(manifest), "--config", str(empty), check=True)
    key_id = signed.stdout.split(" with ")[1].split()[0]
    unknown = daemon.cli("tool", "add", str(manifest))
    assert (unknown.returncode, "no key of a publisher" in unknown.stderr) == (3, True)

    exported = daemon.cli("key", "export-public", "tool", "--config", str(empty), check=True)
    pem = exported.stdout[exported.stdout.index("-----BEGIN") :]
    trust = {
        "publishers": {"acme": {"keys": [{"key": pem}]}},
        "require_signature": True,
        "rules": [{"effect": "allow", "publishers": ["acme"]}],
    }
    write(daemon, **trust)
    daemon.cli("reload", check=True)
    added = daemon.cli("tool", "add", str(manifest))
    assert added.returncode == 0, added.stderr
    assert ann.call("signed-tool")["status"] == "ok"
    assert ann.call("echo")["code"] == "unknown_tool", "nobody signed it"
    write(daemon, **trust, revoked_keys=[key_id])
    daemon.cli("reload", check=True)
    assert ann.call("signed-tool")["code"] == "unknown_tool"
    refused = [r for r in ledger.records(daemon.state) if r["event"] == "tool.signature_refused"]
    assert [record["tool"] for record in refused] == ["signed-tool"] * 2
