"""What the host is short of, and how that is told."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.crypto.keyring import open_ring, refusal
from fumehood.crypto.ring import Periods
from fumehood.errors import AuditError, Unavailable
from fumehood.model.host import Pressure, Storage
from fumehood.supervisor import pressure
from fumehood.supervisor.pressure import Gate, Sample, look, memory_total, short_of
from support.audit import KEYS

ROOM = Sample(
    memory_free=50.0,
    memory_stall=0.0,
    io_stall=10.0,
    load=2.0,
    disk_free=1 << 40,
    disk_inodes=1 << 20,
)


def short(**changed: float | None) -> str:
    return short_of(replace(ROOM, **changed), Pressure(), Storage())  # type: ignore[arg-type]


def test_a_host_with_room_is_short_of_nothing() -> None:
    assert short() == ""
    assert short(memory_stall=None, io_stall=None, disk_inodes=None) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"memory_free": 4.9}, "memory: 4.9 % available, pressure.memory_free is 5"),
        ({"memory_stall": 41.0}, "memory: stalled 41 % of the time, pressure.memory_stall is 40"),
        ({"io_stall": 96.0}, "io: stalled 96 % of the time, pressure.io_stall is 95"),
        ({"load": 65.0}, "cpu: load 65 for each CPU, pressure.cpu_load is 64"),
        ({"disk_free": 1000}, "disk: 1000 bytes free, storage.free is 67108864"),
        ({"disk_inodes": 9}, "disk: 9 inodes free, 1000 are needed"),
    ],
)
def test_each_shortage_is_told_with_both_numbers(changed: dict[str, float], told: str) -> None:
    assert short(**changed) == told


def test_this_host_can_be_looked_at(tmp_path: Path) -> None:
    sample = look(tmp_path)
    assert 0 < sample.memory_free <= 100
    assert sample.disk_free > 0
    assert (sample.memory_stall is None) == (not (pressure.PSI / "memory").exists())
    assert memory_total() > 1 << 20


def test_a_host_without_psi_has_no_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pressure, "PSI", tmp_path / "none")
    assert look(tmp_path).memory_stall is None


def test_psi_is_read_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory").write_text(
        "some avg10=50.00 avg60=1.00 avg300=0.00 total=1\n"
        "full avg10=12.50 avg60=1.00 avg300=0.00 total=1\n"
    )
    monkeypatch.setattr(pressure, "PSI", tmp_path)
    assert look(tmp_path).memory_stall == 12.5


def test_a_closed_gate_refuses_at_once_records_once_and_opens_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "LOOK_SECONDS", 0.0)
    reasons = ["", "disk: 5 bytes free", "disk: 4 bytes free", "memory: 1 % available", ""]
    with AuditLog.open(tmp_path, KEYS) as audit:
        gate = Gate(audit, lambda: reasons.pop(0))
        gate.check()
        for word in ("disk", "disk", "memory"):
            with pytest.raises(Unavailable, match=f"short of {word}") as refused:
                gate.check()
            assert refused.value.retry_after > 0
            assert "bytes" not in str(refused.value), "a caller learns no numbers of the host"
        gate.check()
    lines = next(tmp_path.glob("segment-*")).read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert [(r["event"], r["reason"][:6], r["refused"]) for r in found] == [
        ("admission.closed", "disk: ", 0),
        ("admission.opened", "memory", 3),
    ]


def test_callers_are_not_told_of_a_disk_where_keys_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr("fumehood.audit.custody.LOOK_SECONDS", 0.0)
    ring = open_ring(tmp_path, Periods())
    file = tmp_path / "keys" / "ring.json"
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)) as audit:
        gate = Gate(audit, lambda: refusal(ring))
        file.chmod(0o644)
        os.utime(file)  # looked at again when its time is another
        for _ in range(2):
            with pytest.raises(Unavailable) as refused:
                gate.check()
            assert "keys of the host cannot be used" in refused.value.cause
            assert "disk" not in str(refused.value)
            with pytest.raises(AuditError):
                audit.append("test", {}).result(10)
            assert audit.broken is not None, "the second look is at the log"
        assert "0644" in gate.reason
        file.chmod(0o600)


def test_a_stopping_supervisor_takes_no_calls(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, KEYS) as audit:
        gate = Gate(audit, lambda: "")
        gate.stop()
        with pytest.raises(Unavailable, match="stopping"):
            gate.check()
