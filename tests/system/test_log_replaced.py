"""A daemon whose audit log was exchanged while it was stopped tells, and forwards the new one."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.hood import Hood, eventually, hood, remove
from support.receiver import Receiver


def records(audit: Path, event: str) -> list[dict[str, Any]]:
    """Of the log as it stands, without an unfinished line."""
    text = b"".join(path.read_bytes() for path in sorted(audit.glob("segment-*.jsonl")))
    found = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    return [record for record in found if record["event"] == event]


def has_opened(audit: Path) -> bool:
    """Whether the log tells of an incident about the evidence."""
    return any(item["rule"] == "audit_gap" for item in records(audit, "incident.opened"))


def until_answered(daemon: Hood) -> list[str]:
    """What is on record before the first request that a daemon answers, which is behind the look
    that it takes at its log once it runs."""
    daemon.register(None, "first", command=["cat"])
    text = b"".join(path.read_bytes() for path in (daemon.state / "audit").glob("segment-*.jsonl"))
    events = [json.loads(line)["event"] for line in text.splitlines()]
    return events[: events.index("tool.added")]


def close_incidents(daemon: Hood) -> None:
    for item in json.loads(daemon.cli("incident", "list", "--json").stdout):
        daemon.cli("incident", "close", item["incident"], "--note", "a test", check=True)


def begin_another(daemon: Hood) -> None:
    """As the documentation says it: stopped, moved away, begun anew."""
    (daemon.state / "audit").rename(daemon.state / "moved")
    assert daemon.cli("audit", "init").returncode == 0


def test_a_log_that_was_exchanged_is_told_and_forwarded(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    audit = tmp_path / "state" / "audit"
    receiver = Receiver()
    config = {"forward": {"to": receiver.address, "format": "jsonl"}}
    try:
        with hood(tmp_path, config=config):
            receiver.until(1)
        remove(audit)
        with receiver.changed:
            receiver.events.clear()
        with hood(tmp_path, config=config) as daemon:
            eventually(lambda: "forward.gap" in receiver.events, 30, "the new log is forwarded")
            assert receiver.events[0] == "audit.begun"
            eventually(lambda: has_opened(audit), 30, "an incident is opened")
            (begun,) = records(audit, "audit.begun")
            assert begun["deliberate"] is False
            assert "the audit log is not the one that this state had" in daemon.log.read_text()
            close_incidents(daemon)
        begin_another(daemon)
        with hood(tmp_path, config=config) as daemon:
            eventually(lambda: has_opened(audit), 30, "a gap for the receiver, begun on purpose")
            (again,) = records(audit, "audit.begun")
            assert (again["deliberate"], again["earlier"]) == (True, begun["key"])
            told = json.loads(daemon.cli("incident", "list", "--json").stdout)[0]["timeline"]
            assert "forwarding began anew behind record" in told[0][1]
    finally:
        receiver.close()


def test_a_log_that_was_begun_on_purpose_opens_no_incident(tmp_path: Path) -> None:
    """Where one that was exchanged does, by the same look, also when the note of it goes along."""
    tmp_path.chmod(0o755)
    audit = tmp_path / "state" / "audit"
    with hood(tmp_path):
        pass
    remove(audit)
    (tmp_path / "state" / "keys" / "audit-chain.json").unlink()
    with hood(tmp_path) as daemon:
        assert "incident.opened" in until_answered(daemon)
        close_incidents(daemon)  # or it would go to the timeline of the open one
    begin_another(daemon)
    with hood(tmp_path) as daemon:
        seen = until_answered(daemon)
        assert "incident.opened" not in seen
        assert "supervisor.started" in seen
        assert json.loads(daemon.cli("incident", "list", "--json").stdout) == []


@pytest.mark.parametrize("back", ["nothing", "a copy"])
def test_a_state_moved_away_under_a_running_daemon_is_noticed_and_nothing_runs(
    tmp_path: Path, back: str
) -> None:
    """The supervisor's own mount of it goes where the folder goes; the keeper sees its path."""
    tmp_path.chmod(0o755)
    state, away, copy = (tmp_path / name for name in ("state", "away", "copy"))
    with hood(tmp_path) as daemon:
        daemon.register(None, "echo", command=["cat"])
        subprocess.run(["cp", "-a", state, copy], check=True)
        assert daemon.call("echo")["status"] == "ok"
        state.rename(away)
        if back == "a copy":
            copy.rename(state)
        eventually(lambda: daemon.status()["refusing"].startswith("log: "), 30, "it is noticed")
        assert "changed or moved away" in daemon.call("echo")["message"]
        eventually(lambda: "audit_gap" in daemon.cli("incident", "list").stdout, 30, "it is told")
        assert "the state directory was moved away" in daemon.log.read_text()


def test_a_log_moved_away_under_a_running_daemon_is_noticed_and_nothing_runs(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    audit, away, copy = (tmp_path / "state" / name for name in ("audit", "away", "copy"))
    with hood(tmp_path) as daemon:
        daemon.register(None, "echo", command=["cat"])
        assert daemon.call("echo")["status"] == "ok"
        subprocess.run(["cp", "-a", audit, copy], check=True)
        audit.rename(away)
        copy.rename(audit)
        eventually(lambda: "audit_gap" in daemon.cli("incident", "list").stdout, 30, "idle or not")
        refused = daemon.call("echo")
        assert refused["status"] == "rejected"
        assert "changed or moved away" in refused["message"]
        assert "its log says what to do" in refused["message"]
        assert daemon.status()["refusing"].startswith("log: ")
        assert "the operator must stop the daemon, find out" in daemon.log.read_text()
    assert records(audit, "invocation.launched") == records(away, "invocation.launched")
    remove(audit)
    away.rename(audit)
    with hood(tmp_path) as daemon:
        assert daemon.call("echo")["status"] == "ok"
        assert daemon.cli("audit", "verify").returncode == 0
        assert "audit_gap" in daemon.cli("incident", "list").stdout
