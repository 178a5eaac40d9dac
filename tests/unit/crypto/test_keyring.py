"""The key ring of a state: begun once, and never in the place of one that is gone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.custody import RingCustody
from fumehood.crypto.keyring import open_ring, refusal
from fumehood.crypto.ring import Periods
from fumehood.errors import KeyringError


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state that a daemon has used."""
    with AuditLog.open(tmp_path / "audit", RingCustody(open_ring(tmp_path, Periods()))) as log:
        log.append("test", {}).result(10)
    return tmp_path


def contents(state: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in state.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["root.json", "ring.json"])
@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_gone_is_named_and_nothing_is_written_in_its_place(
    state: Path, name: str, *, create: bool
) -> None:
    gone = state / "keys" / name
    gone.rename(state / "away")
    before = contents(state)
    with pytest.raises(KeyringError) as refused:
        open_ring(state, Periods(), create=create)
    assert str(gone) in refused.value.cause + refused.value.remedy
    assert "back from a backup" in refused.value.remedy
    other = {"root.json": "ring.json", "ring.json": "root.json"}[name]
    assert other not in refused.value.cause + refused.value.remedy, "the wrong file is blamed"
    assert contents(state) == before
    (state / "away").rename(gone)
    assert refusal(open_ring(state, Periods())) == ""


def test_a_ring_under_a_master_key_of_elsewhere_is_not_replaced_either(tmp_path: Path) -> None:
    passed = base64.b64encode(b"k" * 48).decode()
    ring = open_ring(tmp_path, Periods(), passed, "a test")
    with AuditLog.open(tmp_path / "audit", RingCustody(ring)):
        (tmp_path / "keys" / "ring.json").unlink()
    with pytest.raises(KeyringError, match="is missing"):
        open_ring(tmp_path, Periods(), passed, "a test")
    assert not (tmp_path / "keys" / "ring.json").exists()


def test_a_start_that_was_cut_short_after_the_master_key_goes_on(tmp_path: Path) -> None:
    ring = open_ring(tmp_path, Periods())
    (tmp_path / "keys" / "ring.json").unlink()
    assert open_ring(tmp_path, Periods()).master.id == ring.master.id


def test_why_no_call_is_taken_is_said_to_be_the_keys(state: Path) -> None:
    ring = open_ring(state, Periods())
    assert refusal(ring) == ""
    os.rename(state / "keys" / "ring.json", state / "away")
    assert refusal(ring).startswith("keys: the key ring cannot be read")
