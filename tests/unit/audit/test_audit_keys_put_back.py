"""A log is not continued with keys that were put back to before it was written last."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.known import Known, known_path
from fumehood.audit.opening import STANDING
from fumehood.audit.replay import STARTED
from fumehood.crypto.keyring import open_ring, rotate_master
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import AuditError
from support.audit import records


def ring_of(state: Path) -> Ring:
    return open_ring(state, Periods(), create=not (state / "keys").exists())


def start(state: Path) -> int:
    """Open the log as a start does, write a record and close it; how many records it has."""
    ring = ring_of(state)
    known = Known(known_path(state), ring)
    with AuditLog.open(state / "audit", RingCustody(ring), known=known) as log:
        return log.append("test", {}).result(10).seq


def contents(state: Path) -> dict[str, bytes]:
    return {str(p.relative_to(state)): p.read_bytes() for p in state.rglob("*") if p.is_file()}


def refused(state: Path) -> AuditError:
    """What a start says that changes nothing."""
    before = contents(state)
    with pytest.raises(AuditError) as error:
        start(state)
    assert contents(state) == before
    return error.value


@pytest.mark.parametrize("by", ["revoke", "rotate"])
def test_a_ring_put_back_while_the_daemon_was_down_is_refused(tmp_path: Path, by: str) -> None:
    start(tmp_path)
    file = tmp_path / "keys" / "ring.json"
    old, ring = file.read_bytes(), ring_of(tmp_path)
    if by == "revoke":
        ring.revoke(ring.secret("content", 256)[0])
    else:
        ring.rotate("content")
    start(tmp_path)
    new = file.read_bytes()
    file.write_bytes(old)
    error = refused(tmp_path)
    assert "the key ring was put back to an earlier state" in error.cause
    assert "fumehood audit search --event key.revoked" in error.remedy
    file.write_bytes(new)
    assert start(tmp_path) == 3


def test_a_ring_put_back_is_not_made_right_by_changing_it_as_often(tmp_path: Path) -> None:
    start(tmp_path)
    file = tmp_path / "keys" / "ring.json"
    old, ring = file.read_bytes(), ring_of(tmp_path)
    ring.revoke(ring.secret("content", 256)[0])
    start(tmp_path)
    file.write_bytes(old)
    for _ in range(3):
        ring_of(tmp_path).rotate("digest")
        assert "put back to an earlier state" in refused(tmp_path).cause


def test_a_ring_put_back_together_with_the_head_is_told_by_the_records_behind_it(
    tmp_path: Path,
) -> None:
    start(tmp_path)
    file, head = tmp_path / "keys" / "ring.json", tmp_path / "audit" / "head"
    old, ring = (file.read_bytes(), head.read_bytes()), ring_of(tmp_path)
    ring.revoke(ring.secret("content", 256)[0])
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:
        log.append(STARTED, {"keys": {STANDING: ring.standing}}).result(10)
        log.append("key.revoked", {"key_id": "a"}).result(10)
    file.write_bytes(old[0])
    head.write_bytes(old[1])
    assert "put back to an earlier state" in refused(tmp_path).cause


def test_what_is_done_with_keys_while_no_daemon_runs_keeps_none_from_starting(
    tmp_path: Path,
) -> None:
    start(tmp_path)
    ring_of(tmp_path).rotate("content")
    ring = ring_of(tmp_path)
    ring.revoke(ring.signer("receipt").id)
    assert start(tmp_path) == 2
    rotate_master(ring_of(tmp_path), tmp_path / "keys")
    assert start(tmp_path) == 3
    ring_of(tmp_path).rotate("chain")
    assert start(tmp_path) == 4


def test_a_crash_between_the_change_and_its_record_keeps_none_from_starting(
    tmp_path: Path,
) -> None:
    start(tmp_path)
    ring = ring_of(tmp_path)
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as log:
        log.append("test", {}).result(10)
        ring.revoke(ring.secret("content", 256)[0])
        early = (tmp_path / "audit" / "head").read_bytes()
        log.append("key.revoked", {STANDING: ring.standing}).result(10)
    (tmp_path / "audit" / "head").write_bytes(early)  # as a power cut leaves it
    assert start(tmp_path) == 4


def test_a_whole_state_from_a_backup_starts(tmp_path: Path) -> None:
    state, backup = tmp_path / "state", tmp_path / "backup"
    start(state)
    shutil.copytree(state, backup)
    ring = ring_of(state)
    ring.revoke(ring.secret("content", 256)[0])
    start(state)
    shutil.rmtree(state)
    backup.rename(state)
    assert start(state) == 2


def test_the_way_out_where_the_newest_ring_is_lost(tmp_path: Path) -> None:
    start(tmp_path)
    file = tmp_path / "keys" / "ring.json"
    old, ring = file.read_bytes(), ring_of(tmp_path)
    name = ring.secret("content", 256)[0]
    ring.revoke(name)
    start(tmp_path)
    file.write_bytes(old)
    refused(tmp_path)
    (tmp_path / "audit").rename(tmp_path / "evidence")
    ring_of(tmp_path).revoke(name)
    start(tmp_path)
    assert records(tmp_path / "audit")[0]["event"] == "audit.begun"
