"""That the first key was taken away is on record, whenever that was."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.audit.chain import FIRST_KEY_TAKEN, AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.audit.first_key import take_first_key
from fumehood.audit.head import HEAD_BYTES, parse_first_key, read_head, render_head
from fumehood.audit.ratchet import Ratchet
from fumehood.audit.record import Epoch, Position
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods
from fumehood.supervisor import gapwatch
from support.audit import KEYS, records, verify


def told(directory: Path) -> list[object]:
    return [it["noticed"] for it in records(directory) if it["event"] == FIRST_KEY_TAKEN]


def test_a_first_key_that_is_taken_from_a_running_daemon_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gapwatch, "LOOK_SECONDS", 0.001)

    async def scene(log: AuditLog) -> None:
        watch = asyncio.create_task(gapwatch.watch(log, print))
        log.append("test", {}).result(10)
        take_first_key(tmp_path, KEYS)
        while log.last.seq < 2:  # noqa: ASYNC110  (the watch says nothing of it)
            await asyncio.sleep(0.001)
        watch.cancel()

    with AuditLog.open(tmp_path, KEYS) as log:
        asyncio.run(asyncio.wait_for(scene(log), 60))
        for _ in range(3):
            log.look()
        log.append("test", {}).result(10)
    with AuditLog.open(tmp_path, KEYS):
        pass
    assert told(tmp_path) == ["running"]


@pytest.mark.parametrize("by", ["init", "removal"])
def test_a_first_key_that_was_taken_while_no_daemon_ran_is_on_record_with_the_next_start(
    tmp_path: Path, by: str
) -> None:
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {}).result(10)
    if by == "init":
        take_first_key(tmp_path, KEYS)
    else:
        (tmp_path / "first.key").unlink()
    for _ in range(2):
        with AuditLog.open(tmp_path, KEYS) as log:
            log.append("test", {}).result(10)
    assert told(tmp_path) == ["start"]
    assert verify(tmp_path).ok


def test_one_that_was_taken_before_the_first_start_is_the_first_record(tmp_path: Path) -> None:
    key = parse_first_key(take_first_key(tmp_path, KEYS))
    with AuditLog.open(tmp_path, KEYS) as log:
        log.append("test", {}).result(10)
    assert [it["event"] for it in records(tmp_path)] == [FIRST_KEY_TAKEN, "test"]
    assert verify(tmp_path, first_key=key).ok


def test_it_is_not_forgotten_where_the_daemon_was_killed_before_it_noticed(tmp_path: Path) -> None:
    """Records in between do not make the head say that it was told."""
    with AuditLog.open(tmp_path, KEYS) as log:
        take_first_key(tmp_path, KEYS)
        log.append("test", {}).result(10)
    assert told(tmp_path) == []
    with AuditLog.open(tmp_path, KEYS):
        pass
    assert told(tmp_path) == ["start"]


def test_one_that_nobody_took_is_not_told(tmp_path: Path) -> None:
    for _ in range(2):
        with AuditLog.open(tmp_path, KEYS) as log:
            log.look()
            log.append("test", {}).result(10)
    assert told(tmp_path) == []


def test_the_longest_head_is_one_sector(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    ring._snapshot = replace(ring._snapshot, generation=999_999_999)
    ratchet = Ratchet.first(b"k" * 48)
    ratchet.epoch = Epoch((1 << 20) - 1, (1 << 18) - 1)
    last = Position(10**15 - 1, "a" * 96)
    head = render_head(ratchet, ratchet.sealer(), last, RingCustody(ring), first_key=True)
    (tmp_path / "head").write_bytes(head)
    assert len(head) == HEAD_BYTES
    found = read_head(tmp_path)
    assert found is not None
    assert (found.first_key, found.ring) == (True, ring.standing)
    assert found.opened(RingCustody(ring)).epoch == ratchet.epoch
