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
from fumehood.errors import KeyringError
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


def test_a_key_that_was_made_and_revoked_between_two_looks_is_both(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    before = by_id(ring)
    made = ring.rotate("tool").id
    ring.revoke(made)
    told = [event for event, entry in keywatch.changes(before, by_id(ring)) if entry.id == made]
    assert told == ["key.created", "key.revoked"]


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
        watch = asyncio.create_task(keywatch.watch(ring, log, print))
        first = [await told.get() for _ in ring.entries()]
        other.rotate("digest")
        then = [await told.get() for _ in range(2)]
        watch.cancel()
        return [*first, *then]

    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        said = asyncio.run(asyncio.wait_for(scene(log), 60))
    assert {line.split()[0] for line in said[:-2]} == {"key.expiring"}
    assert set(said[-2:]) == {"key.created digest", "key.retired digest"}


@pytest.mark.parametrize("name", ["ring.json", "root.json"])
def test_keys_that_others_can_reach_by_now_are_told_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(keywatch, "LOOK_SECONDS", 0.001)
    ring = open_ring(tmp_path, Periods())
    file = tmp_path / "keys" / name

    async def scene(log: AuditLog) -> None:
        told: asyncio.Queue[str] = asyncio.Queue()
        watch = asyncio.create_task(keywatch.watch(ring, log, told.put_nowait))
        await asyncio.sleep(0)
        for mode in (0o640, 0o604):
            file.chmod(mode)
            assert f"has mode {mode:04o}: others can reach it" in await told.get()
            with pytest.raises(KeyringError, match="others can reach"):
                ring.signer("receipt")
        file.chmod(0o600)
        while not _usable(ring):  # noqa: ASYNC110  (the watch says nothing of it)
            await asyncio.sleep(0.001)
        assert told.empty()
        file.rename(tmp_path / name)
        assert await told.get()
        (tmp_path / name).rename(file)
        watch.cancel()

    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        asyncio.run(asyncio.wait_for(scene(log), 60))


def test_a_fault_that_refused_a_use_is_told_though_no_look_saw_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the loop and on another thread; each time, when it came back between two looks."""
    monkeypatch.setattr(keywatch, "LOOK_SECONDS", 0.001)
    ring = open_ring(tmp_path, Periods())
    file = tmp_path / "keys" / "ring.json"

    async def scene(log: AuditLog) -> list[str]:
        told: asyncio.Queue[str] = asyncio.Queue()
        watch = asyncio.create_task(keywatch.watch(ring, log, told.put_nowait))
        await asyncio.sleep(0)
        file.chmod(0o644)
        usable = [_usable(ring)]
        file.chmod(0o600)  # nothing was awaited: the watch had no turn
        first = await told.get()
        looked = asyncio.Event()
        monkeypatch.setattr(ring, "look_at_master", looked.set)
        await looked.wait()
        looked.clear()
        await looked.wait()  # a look that began after the fault has ended
        monkeypatch.setattr(keywatch, "LOOK_SECONDS", 3600.0)
        looked.clear()
        await looked.wait()
        file.rename(tmp_path / "away")
        usable += [await asyncio.to_thread(_usable, ring), await asyncio.to_thread(_usable, ring)]
        (tmp_path / "away").rename(file)
        second = await told.get()
        assert usable == [False, False, False]
        assert (_usable(ring), told.empty()) == (True, True)
        watch.cancel()
        return [first, second]

    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        first, second = asyncio.run(asyncio.wait_for(scene(log), 60))
    assert "has mode 0644: others can reach it" in first
    assert "the key ring cannot be read: No such file or directory" in second


def _usable(ring: Ring) -> bool:
    try:
        return bool(ring.signer("receipt"))
    except KeyringError:
        return False


def test_the_summary_names_states_and_no_secret(tmp_path: Path) -> None:
    found = keywatch.summary(open_ring(tmp_path, Periods()))
    assert found["generation"] == 1
    assert "audit:active" in str(found["states"])
