"""A key ring that was put back while the daemon was down makes no revoked key active again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.hood import Hood, hood


def content_key(daemon: Hood) -> str:
    keys = json.loads(daemon.cli("key", "list", "--json").stdout)["keys"]
    return str(
        next(it["id"] for it in keys if (it["purpose"], it["state"]) == ("content", "active"))
    )


def test_a_start_with_a_ring_that_was_put_back_is_refused_and_says_what_to_do(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    ring, audit = tmp_path / "state" / "keys" / "ring.json", tmp_path / "state" / "audit"
    with hood(tmp_path) as daemon:
        daemon.register(None, "echo", command=["cat"])
        old = ring.read_bytes()
        name = content_key(daemon)
        daemon.cli("key", "revoke", name, "--yes", check=True)
        assert daemon.call("echo")["status"] == "ok"
    new = ring.read_bytes()
    ring.write_bytes(old)
    before = {path.name: path.read_bytes() for path in audit.iterdir()}
    with pytest.raises(AssertionError, match="did not start") as refused, hood(tmp_path):
        pass
    said = str(refused.value)
    assert "error: the key ring was put back to an earlier state" in said
    assert "remedy: revoked keys would be used again" in said
    assert {path.name: path.read_bytes() for path in audit.iterdir()} == before
    assert ring.read_bytes() == old
    ring.write_bytes(new)
    with hood(tmp_path) as daemon:
        assert daemon.call("echo")["status"] == "ok"
        keys = json.loads(daemon.cli("key", "list", "--json").stdout)["keys"]
        assert [it["state"] for it in keys if it["id"] == name] == ["revoked"]
