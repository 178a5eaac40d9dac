"""Invocation ids follow RFC 9562 and sort by creation."""

from __future__ import annotations

import time
import uuid

from fumehood.model.ids import uuid7


def test_an_id_is_a_canonical_uuid_of_version_7() -> None:
    text = uuid7()
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122


def test_an_id_carries_its_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    stamp = uuid.UUID(uuid7()).int >> 80
    assert before <= stamp <= time.time_ns() // 1_000_000


def test_ids_sort_by_creation_and_never_repeat() -> None:
    ids = []
    for _ in range(2000):
        ids.append(uuid7())
        end = time.time_ns() + 1000  # a tick is 0.25 µs
        while time.time_ns() < end:
            pass
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_ids_of_one_instant_differ() -> None:
    assert len({uuid7() for _ in range(1000)}) == 1000
