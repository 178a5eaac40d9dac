"""What records keep of arguments and output: only where it is wanted, and never in plain text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fumehood.audit.chain import AuditLog
from fumehood.audit.content import MAX_BYTES, Content, opened
from fumehood.audit.record import MAX_RECORD
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import KeyringError
from support.audit import KEYS, verify

ONE, OTHER = "01a2002f-a269-716f-a068-95ee26d21dae", "01a2002f-a269-716f-a068-000000000000"


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return open_ring(tmp_path, Periods())


def test_nothing_is_kept_of_a_tool_that_is_not_named(ring: Ring) -> None:
    for tools in ((), ("other",)):
        assert Content(ring, tools).kept("echo", ONE, b"{}", b"{}") == {}


@pytest.mark.parametrize("tools", [("echo",), ("*",)])
def test_what_is_kept_opens_with_the_ring_and_for_its_invocation_only(
    ring: Ring, tools: tuple[str, ...]
) -> None:
    fields = Content(ring, tools).kept("echo", ONE, b'{"word":"private"}', b'{"content":[]}')
    assert "private" not in json.dumps(fields)
    found = opened({"invocation": ONE, **fields}, ring)
    assert found == {"arguments": '{"word":"private"}', "result": '{"content":[]}', "cut": False}
    with pytest.raises(KeyringError):
        opened({"invocation": OTHER, **fields}, ring)
    assert opened({"invocation": ONE}, ring) is None


def test_the_most_that_is_kept_fits_into_a_record(ring: Ring, tmp_path: Path) -> None:
    data = "\u00e9".encode() * MAX_BYTES
    fields = Content(ring, ("*",)).kept("echo", ONE, data, b"\xff" * (4 * MAX_BYTES))
    assert len(json.dumps(fields)) < MAX_RECORD
    found = opened({"invocation": ONE, **fields}, ring)
    assert found is not None
    assert found["cut"]


def test_destroying_the_key_erases_it_and_leaves_the_log_whole(ring: Ring, tmp_path: Path) -> None:
    fields = Content(ring, ("*",)).kept("echo", ONE, b"private", b"")
    with AuditLog.open(tmp_path / "audit", KEYS) as log:
        log.append("invocation.ended", {"invocation": ONE, **fields}).result(10)
    (line,) = next((tmp_path / "audit").glob("*.jsonl")).read_bytes().splitlines()
    record = json.loads(line)
    assert opened(record, ring) is not None
    ring.revoke(record["content"]["key"])
    with pytest.raises(KeyringError, match="revoked"):
        opened(record, ring)
    assert verify(tmp_path / "audit").ok
