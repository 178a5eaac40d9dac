"""What happens to keys is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.queue import Queued
from fumehood.audit.record import Field
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.supervisor import keywatch
from support.audit import KEYS


def by_id(ring: Ring) -> dict[str, keywatch.Entry]:
    return {entry.id: entry for entry in ring.entries()}


def test_what_happened_to_keys_is_told_as_events(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    before, old = by_id(ring), ring.signer("receipt").id
    made = ring.rotate("receipt")
    rotated = by_id(ring)
    found = {(event, entry.id) for event, entry in keywatch.changes(before, rotated)}
    assert found == {("key.created", made.id), ("key.retired", old)}
    ring.revoke(old)
    found = {(event, entry.id) for event, entry in keywatch.changes(rotated, by_id(ring))}
    assert found == {("key.revoked", old)}


def test_a_running_daemon_records_changes_and_keys_that_end_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keywatch, "LOOK_SECONDS", 0.001)
    ring, other = (open_ring(tmp_path, Periods(active=5)) for _ in range(2))
    append = AuditLog.append

    async def scene(log: AuditLog) -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()

        def tell(self: AuditLog, event: str, fields: Mapping[str, Field]) -> Queued:
            told.put_nowait(f"{event} {fields['purpose']}")
            return append(self, event, fields)

        monkeypatch.setattr(AuditLog, "append", tell)
        watch = asyncio.create_task(keywatch.watch(ring, log))
        first = [await told.get() for _ in ring.entries()]
        other.rotate("digest")
        then = [await told.get() for _ in range(2)]
        watch.cancel()
        return [*first, *then]

    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        said = asyncio.run(asyncio.wait_for(scene(log), 60))
    assert {line.split()[0] for line in said[:-2]} == {"key.expiring"}
    assert set(said[-2:]) == {"key.created digest", "key.retired digest"}


def test_the_summary_names_states_and_no_secret(tmp_path: Path) -> None:
    found = keywatch.summary(open_ring(tmp_path, Periods()))
    assert found["generation"] == 1
    assert "audit:active" in str(found["states"])
