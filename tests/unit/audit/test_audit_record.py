"""One record: every byte of it is sealed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fumehood.audit.head import START
from fumehood.audit.record import MAX_RECORD, RESERVED, Epoch, Sealer, Unsealed, encode_fields, read
from fumehood.errors import AuditError

SEALER = Sealer("0123456789abcdef", Epoch(3, 17), b"k" * 48)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)  # fmt: skip
NAMES = st.text(max_size=10).filter(lambda name: name not in RESERVED)


def sealed(fields: dict[str, Any]) -> bytes:
    line, _ = SEALER.seal(START, "2026-01-01T00:00:00.000000Z", "x", encode_fields("x", fields))
    return line


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_sealed_comes_back(fields: dict[str, Any]) -> None:
    line = sealed(fields)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    entry = read(line[:-1])
    assert SEALER.sealed(line[:-1])
    assert (entry.key, entry.epoch, str(entry.epoch)) == (SEALER.chain, Epoch(3, 17), "3.17")
    assert entry.position.seq == 1
    record = json.loads(line)
    assert {name: record[name] for name in fields} == fields
    assert set(record) == set(fields) | RESERVED


@given(st.dictionaries(NAMES, VALUES, max_size=2), st.data())
def test_no_byte_can_change_unnoticed(fields: dict[str, Any], data: st.DataObject) -> None:
    line = bytearray(sealed(fields)[:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert not SEALER.sealed(bytes(line))


@given(st.binary(max_size=300))
def test_garbage_is_unsealed_and_nothing_else(line: bytes) -> None:
    assert not SEALER.sealed(line)
    with pytest.raises(Unsealed):
        read(line)


def test_a_tuple_is_written_as_a_list() -> None:
    assert json.loads(sealed({"rules": ("a", "b")}))["rules"] == ["a", "b"]


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_field_cannot_pose_as_the_chains_own(name: str) -> None:
    with pytest.raises(AuditError, match=name):
        encode_fields("x", {name: 1})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), b"bytes", object(), {1, 2}, {"a": object()}]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(AuditError, match="no JSON"):
        encode_fields("x", {"field": value})


def test_a_circle_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(AuditError):
        encode_fields("x", {"field": circle})


def test_a_record_is_bounded() -> None:
    with pytest.raises(AuditError, match=str(MAX_RECORD)):
        encode_fields("x", {"field": "y" * MAX_RECORD})


@pytest.mark.parametrize("event", ["", "A", 'x"', "x\n", "x" * 65, "1"])
def test_an_event_name_is_plain(event: str) -> None:
    with pytest.raises(AuditError):
        encode_fields(event, {})
