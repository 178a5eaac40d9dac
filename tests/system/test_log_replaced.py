"""A daemon whose audit log was exchanged while it was stopped tells, and forwards the new one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.hood import eventually, hood, remove
from support.receiver import Receiver


def records(audit: Path, event: str) -> list[dict[str, Any]]:
    """Of the log as it stands, without an unfinished line."""
    text = b"".join(path.read_bytes() for path in sorted(audit.glob("segment-*.jsonl")))
    found = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    return [record for record in found if record["event"] == event]


def has_opened(audit: Path) -> bool:
    """Whether the log tells of an incident about the evidence."""
    return any(item["rule"] == "audit_gap" for item in records(audit, "incident.opened"))


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
        # As the documentation says it: stopped, moved away, begun anew.
        audit.rename(tmp_path / "state" / "moved")
        assert daemon.cli("audit", "init").returncode == 0
        with hood(tmp_path):
            (again,) = records(audit, "audit.begun")
            assert again["deliberate"] is True
            assert again["earlier"] == begun["key"]
            assert records(audit, "supervisor.started")
            assert not has_opened(audit)
    finally:
        receiver.close()
