"""Taking the first key from a daemon that was started without `audit init` is on record."""

from __future__ import annotations

from pathlib import Path

from support.hood import eventually, hood
from support.ledger import records


def test_taking_the_first_key_of_a_running_daemon_is_on_record_within_a_second_or_two(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)

    def told() -> list[str]:
        found = [r for r in records(tmp_path / "state") if r["event"] == "audit.first_key_taken"]
        return [r["noticed"] for r in found]

    with hood(tmp_path) as daemon:
        assert daemon.status()["first_key"] != "kept elsewhere"
        daemon.cli("audit", "init", check=True)
        eventually(lambda: told() == ["running"], 30, "it is on record")
        assert daemon.status()["first_key"] == "kept elsewhere"
    with hood(tmp_path):
        assert told() == ["running"]
