"""`fumehood key …` on a state of its own, without a daemon."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.cli.key import PURPOSES
from fumehood.crypto import master, purposes
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.crypto.signing import PublicKey
from fumehood.errors import AuditError
from support.audit import records
from support.cli import Cli

OWNER = 54_321


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state with a ring, where another account may own it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        state = Path(folder) / "state"
        state.mkdir(mode=0o700)
        monkeypatch.setenv("FUMEHOOD_STATE", str(state))
        monkeypatch.delenv("FUMEHOOD_CONFIG", raising=False)
        open_ring(state, Periods())
        yield state


def listed(cli: Cli) -> dict[str, dict[str, str]]:
    ended = cli("key", "list", "--json")
    assert ended.status == 0, ended.err
    return {key["id"]: key for key in json.loads(ended.out)["keys"]}


def test_purposes_are_those_of_the_ring() -> None:
    assert tuple(purposes.PURPOSES) == PURPOSES


def test_keys_are_listed_without_their_secrets(cli: Cli, state: Path) -> None:
    ended = cli("key", "list")
    assert ended.status == 0
    assert [line.split()[1] for line in ended.out.splitlines()[1:]] == list(PURPOSES)
    assert "secret" not in cli("key", "list", "--json").out


def test_a_key_is_rotated_then_revoked(cli: Cli, state: Path) -> None:
    (old,) = [k for k in listed(cli).values() if k["purpose"] == "receipt"]
    assert cli("key", "rotate", "receipt").status == 0
    assert listed(cli)[old["id"]]["state"] == "verify-only"
    assert cli("key", "revoke", old["id"][:12], "--yes").status == 0
    assert listed(cli)[old["id"]]["state"] == "revoked"
    ended = cli("key", "revoke", old["id"], "--yes")
    assert (ended.status, "was revoked" in ended.err) == (1, True)


def test_public_keys_are_exported_as_pem(cli: Cli, state: Path) -> None:
    ended = cli("key", "export-public", "receipt")
    (receipt,) = [k for k in listed(cli).values() if k["purpose"] == "receipt"]
    assert PublicKey.from_pem(ended.out).id == receipt["id"]
    assert cli("key", "export-public").out.count("BEGIN PUBLIC KEY") == 3
    assert cli("key", "export-public", "digest").status == 1


def test_revoked_and_expired_keys_are_exported_only_when_all_are_asked_for(
    cli: Cli, state: Path
) -> None:
    (old,) = [k["id"] for k in listed(cli).values() if k["purpose"] == "receipt"]
    cli("key", "rotate", "receipt")
    assert cli("key", "export-public", "receipt").out.count("BEGIN PUBLIC KEY") == 2
    cli("key", "revoke", old, "--yes")
    for words in ((), ("receipt",), ("receipt", "--json")):
        assert old not in cli("key", "export-public", *words).out
    every = cli("key", "export-public", "receipt", "--all").out
    assert every.count("BEGIN PUBLIC KEY") == 2
    assert f"# {old} receipt revoked, " in every


def test_root_changes_the_ring_as_the_owner_of_the_state(cli: Cli, state: Path) -> None:
    if os.geteuid() == 0:
        for path in (state, *state.rglob("*")):
            os.chown(path, OWNER, OWNER)
    before = (state / "keys" / "ring.json").stat()
    assert cli("key", "rotate", "audit").status == 0
    after = (state / "keys" / "ring.json").stat()
    assert after.st_ino != before.st_ino
    assert after.st_uid == before.st_uid == state.stat().st_uid
    assert os.geteuid() == os.getuid()


def test_soon_expiring_keys_are_told_by_the_exit_status(cli: Cli, state: Path) -> None:
    (state / "keys" / "ring.json").unlink()
    open_ring(state, Periods(active=20))
    ended = cli("key", "list")
    assert ended.status == 1
    assert "rotate it" in ended.err


def test_a_master_key_of_the_configuration_is_used(
    cli: Cli, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, config = state.parent / "master.key", state.parent / "config.yaml"
    assert cli("key", "new", str(key)).status == 0
    config.write_text(json.dumps({"keys": {"master_file": str(key)}}))
    monkeypatch.setenv("FUMEHOOD_CONFIG", str(config))
    ended = cli("key", "list")
    assert (ended.status, "another master key" in ended.err) == (1, True)
    assert str(key) in ended.err + cli("key", "list", "--json").out


def test_without_a_state_the_remedy_is_named(cli: Cli, tmp_path: Path) -> None:
    ended = cli("key", "list", "--state", str(tmp_path / "none"))
    assert ended.status == 2
    assert "--state" in ended.err


def test_the_master_key_is_rotated_in_place_and_to_a_file(cli: Cli, state: Path) -> None:
    before = json.loads(cli("key", "list", "--json").out)
    ended = cli("key", "rotate", "master", "--json")
    assert ended.status == 0, ended.err
    after = json.loads(cli("key", "list", "--json").out)
    assert after["master"]["id"] == json.loads(ended.out)["master"]["id"] != before["master"]["id"]
    assert after["keys"] == before["keys"]
    file = state.parent / "elsewhere.key"
    assert cli("key", "rotate", "master", "--to", str(file)).status == 0
    ended = cli("key", "list")
    assert (ended.status, "another master key" in ended.err) == (1, True)
    config = state.parent / "config.yaml"
    config.write_text(f"keys: {{master_file: {file}}}\n")
    ended = cli("key", "list", "--json", "--config", str(config))
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)["keys"] == before["keys"]
    ended = cli("key", "rotate", "master", "--config", str(config))
    assert (ended.status, "cannot replace it" in ended.err) == (2, True)


def test_the_master_key_of_a_running_daemon_is_not_rotated(cli: Cli, state: Path) -> None:
    from fumehood.audit.segments import claim

    lock = claim(state / "audit")
    try:
        ended = cli("key", "rotate", "master", "--json")
        assert cli("key", "rotate", "content").status == 0
    finally:
        os.close(lock)
    assert ended.status != 0
    error = json.loads(ended.out)["error"]
    assert error["code"] == "key"
    assert "a daemon runs" in error["cause"]
    assert "systemctl stop" in error["remedy"]
    assert cli("key", "list").status == 0


def test_what_is_done_while_no_daemon_runs_is_on_record_and_cannot_be_undone_by_an_older_ring(
    cli: Cli, state: Path
) -> None:
    audit, ring = state / "audit", state / "keys" / "ring.json"
    with AuditLog.open(audit, RingCustody(open_ring(state, Periods()))) as log:
        log.append("test", {}).result(10)
    old = ring.read_bytes()
    (key,) = [k for k in listed(cli).values() if k["purpose"] == "content"]
    ended = cli("key", "revoke", key["id"], "--yes")
    assert (ended.status, ended.err) == (0, "")
    told = {(it["event"], it.get("key_id")) for it in records(audit)[1:]}
    assert ("key.revoked", key["id"]) in told
    assert {event for event, _ in told} == {"key.created", "key.revoked"}
    ring.write_bytes(old)
    with pytest.raises(AuditError, match="put back to an earlier state"):
        AuditLog.open(audit, RingCustody(open_ring(state, Periods())))
    ended = cli("key", "rotate", "content")
    assert ended.status == 0
    assert "not on record: the key ring was put back" in ended.err


def test_a_running_daemon_is_left_to_record_what_is_done(cli: Cli, state: Path) -> None:
    with AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods()))) as log:
        log.append("test", {}).result(10)
        ended = cli("key", "rotate", "receipt")
        assert (ended.status, ended.err) == (0, "")
    assert len(records(state / "audit")) == 1


def test_a_chain_key_that_is_revoked_under_a_log_is_revoked_all_the_same(
    cli: Cli, state: Path
) -> None:
    with AuditLog.open(state / "audit", RingCustody(open_ring(state, Periods()))) as log:
        log.append("test", {}).result(10)
    (key,) = [k for k in listed(cli).values() if k["purpose"] == "chain"]
    ended = cli("key", "revoke", key["id"], "--yes")
    assert (ended.status, listed(cli)[key["id"]]["state"]) == (0, "revoked")
    assert "not on record: the audit log cannot be continued" in ended.err


def test_keys_that_expired_under_a_log_are_rotated_one_after_the_other(
    cli: Cli, state: Path
) -> None:
    """A log that cannot be written keeps no key from being made, and goes on with the new ones."""
    file, audit = state / "keys" / "ring.json", state / "audit"
    file.unlink()
    root, past = master.from_file(state / "keys" / "root.json"), "2026-01-01T00:00:00Z"
    ring = Ring.open(file, root, Periods(active=1), clock=lambda: past)
    with AuditLog.open(audit, RingCustody(ring)) as log:
        log.append("test", {}).result(10)
    for purpose in PURPOSES:
        assert cli("key", "rotate", purpose).status == 0
    with AuditLog.open(audit, RingCustody(open_ring(state, Periods()))) as log:
        log.append("test", {}).result(10)
    made = {it["purpose"] for it in records(audit) if it["event"] == "key.created"}
    assert made >= {"chain", "content"}
    assert cli("audit", "verify").status == 0
