"""Signals become incidents, bounded and kept, and nothing is told that is secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fumehood.audit.incident import Incident, opened_capture, read_incident
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import (
    KeyringError,
    UnknownIncident,
    UnreadableIncident,
    UsageError,
)
from fumehood.model.incident_rules import IncidentRule
from fumehood.supervisor import counts as counts_of
from fumehood.supervisor import incidents as book_of
from fumehood.supervisor.counts import Counts
from fumehood.supervisor.signals import Case, signals
from support.incidents import (
    CANARY,
    INJECTED,
    case,
    incidents,
    listed,
    live,
    result,
    tripped,
)
from support.scan import plan


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return open_ring(tmp_path, Periods())


def test_a_killing_call_opens_one_incident_and_the_next_is_on_its_timeline(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((first, rule, new),) = book.see(case(live(), result("syscall_killed")), 1.0)
    assert (first.signal, rule.signal, new) == ("tripwire", "tripwire", True)
    ((again, _, new),) = book.see(case(live(), result("syscall_killed")), 2.0)
    assert (again.incident, new) == (first.incident, False)
    for now in (2.1, 2.2, 4.0):
        list(book.see(case(live(), result("syscall_killed")), now))
    told = [what for _, what in book.get(first.incident).timeline]
    assert told == ["tripwire", "tripwire", "tripwire; 2 more before it"], "a flood is few lines"
    assert [item.incident for item in listed(book, closed=False)] == [first.incident]


def test_an_ordinary_call_is_no_signal() -> None:
    for given in (result(), result("tool_error"), result("timeout")):
        assert signals(given) == set()


def test_what_is_open_is_found_again_after_a_restart(tmp_path: Path, ring: Ring) -> None:
    ((first, _, _),) = incidents(tmp_path, ring).see(case(live(), result("syscall_killed")), 1.0)
    ((again, _, new),) = incidents(tmp_path, ring).see(case(live(), result("syscall_killed")), 2.0)
    assert (again.incident, new) == (first.incident, False)


def test_a_rule_counts_within_its_time_for_one_tool_and_caller(tmp_path: Path, ring: Ring) -> None:
    rule = IncidentRule.model_validate({"signal": "injection", "count": 3, "within": "10s"})
    book = incidents(tmp_path, ring, rule)
    times = [0.0, 9.0, 18.0, 19.0, 20.0]
    opened = [len(list(book.see(case(live(), result("ok", INJECTED)), time))) for time in times]
    assert opened == [0, 0, 0, 0, 1]
    assert list(book.see(case(live("other"), result("ok", INJECTED)), 21.0)) == []


def test_a_flood_of_other_keys_does_not_reset_what_was_counted_just_now(
    tmp_path: Path, ring: Ring
) -> None:
    rule = IncidentRule.model_validate({"signal": "injection", "count": 3, "within": "10s"})
    book = incidents(tmp_path, ring, rule)

    def seen(tool: str, now: float) -> int:
        signal = Case("injection", "injected", tool, uid=7)
        return len(list(book.see(signal, now)))

    assert [seen("echo", 1.0), seen("echo", 2.0)] == [0, 0]
    for number in range(3_000):
        seen(f"other-{number}", 3.0)
    assert seen("echo", 4.0) == 1


def test_of_more_than_can_be_counted_what_was_seen_last_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seen(tool: str) -> int:
        return counts.seen((0, tool, 7), 1.0, within=10.0, most=3)

    monkeypatch.setattr(counts_of, "MAX_KEYS", 3)
    counts = Counts()
    assert [seen(tool) for tool in "abcada"] == [1, 1, 1, 2, 1, 3], "b went, and not a"
    assert seen("b") == 1
    monkeypatch.setattr(counts_of, "MAX_MOMENTS", 4)
    counts = Counts()
    assert [seen(tool) for tool in "aabbab"] == [1, 2, 1, 2, 3, 1]


def test_a_list_of_many_incidents_holds_nobody_up_and_is_bounded(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_of, "READ_AT_ONCE", 2)
    monkeypatch.setattr(book_of, "MAX_LISTED", 5)
    book = incidents(tmp_path, ring)
    names = [next(book.see(tripped(name), 1.0))[0].incident for name in "abcdef"]
    for number in range(30):
        book.tell(names[-1], f"line {number}")
    (tmp_path / "incidents" / f"{names[2]}.json").unlink()
    here, entered, go_on = threading.get_ident(), threading.Event(), threading.Event()
    readers: set[int] = set()

    def slow(folder: Path, name: str) -> Incident:
        readers.add(threading.get_ident())
        entered.set()
        assert go_on.wait(30)
        return read_incident(folder, name)

    monkeypatch.setattr(book_of, "read_incident", slow)

    async def scene() -> list[dict[str, Any]]:
        listing = asyncio.create_task(book.listed(closed=True))
        assert await asyncio.to_thread(entered.wait, 30)
        assert not listing.done(), "the loop goes on while a file is read"
        go_on.set()
        return await listing

    found = asyncio.run(scene())
    assert here not in readers
    assert [item["incident"] for item in found] == [*names[:2:-1], names[1]], "one was taken away"
    told = [what for _, what in found[0]["timeline"]]
    assert told == ["killed", *(f"line {number}" for number in range(21, 30))]
    assert "capture" not in found[0]


def test_what_was_captured_opens_with_the_ring_only_and_stands_nowhere_plain(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((incident, _, _),) = book.see(case(live(text=b"leaked"), result("ok", CANARY)), 1.0)
    path = tmp_path / "incidents" / f"{incident.incident}.json"
    assert path.stat().st_mode & 0o077 == 0
    assert b"secret" not in path.read_bytes()
    kept = read_incident(tmp_path / "incidents", incident.incident)
    captured = opened_capture(kept, ring)
    assert base64.b64decode(captured["stdout"]) == b"leaked"
    assert captured["arguments"] == '{"secret":1}'
    assert captured["plan"]["seccomp"] == plan().seccomp
    assert "capture" not in book.get(incident.incident).to_json()
    ring.revoke(ring.entries()[-1].id)
    with pytest.raises(KeyringError, match="revoked"):
        opened_capture(kept, ring)


def test_a_closed_incident_stays_closed_and_the_next_signal_opens_another(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((first, _, _),) = book.see(case(live(), result("syscall_killed")), 1.0)
    closed = book.close(first.incident, by="uid 0", note="a test")
    assert (closed.closed_by, closed.note) == ("uid 0", "a test")
    with pytest.raises(UsageError, match="was closed"):
        book.close(first.incident, by="uid 0", note="")
    ((second, _, new),) = book.see(case(live(), result("syscall_killed")), 2.0)
    assert new
    assert second.incident != first.incident
    assert len(listed(book, closed=True)) == 2


def test_of_a_bound_on_one_incident_counts_what_is_more(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_of, "MAX_OPEN", 2)
    book = incidents(tmp_path, ring)
    seen = [next(book.see(tripped(name), 1.0)) for name in "abcdcb"]
    assert [(found.signal, new) for found, _, new in seen] == [
        ("tripwire", True), ("tripwire", True), ("overflow", True), ("overflow", False),
        ("overflow", False), ("tripwire", False),
    ], "what was known before the bound is known behind it"  # fmt: skip
    list(book.see(tripped("e"), 9.0))
    opened = listed(book, closed=False)
    assert sorted(item.signal for item in opened) == ["overflow", "tripwire", "tripwire"]
    (more,) = (item for item in opened if item.signal == "overflow")
    told = [what for _, what in more.timeline]
    assert told[1:] == [
        "tripwire of c, uid 7: killed", "tripwire of d, uid 7: killed",
        "tripwire of e, uid 7: killed; 1 more before it",
    ]  # fmt: skip

    later = incidents(tmp_path, ring)
    assert next(later.see(tripped("f"), 1.0))[0].incident == more.incident
    first = seen[0][0].incident
    later.close(first, by="uid 0", note="")
    later.close(more.incident, by="uid 0", note="")
    assert next(later.see(tripped("f"), 2.0))[0].signal == "tripwire", "there is room again"


def test_no_file_is_read_to_make_room(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_of, "MAX_KEPT", 3)
    book = incidents(tmp_path, ring)
    names = [next(book.see(tripped(name), 1.0))[0].incident for name in "abc"]
    for name in names[1:]:
        book.close(name, by="uid 0", note="")
    monkeypatch.setattr(book_of, "read_incident", None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", None)
        (newest,) = (found.incident for found, _, _ in book.see(tripped("d"), 2.0))
    kept = {path.name.removesuffix(".json") for path in (tmp_path / "incidents").iterdir()}
    assert kept == {names[0], names[2], newest}, "the oldest closed one went"


def test_what_the_disk_does_not_take_is_on_record_and_goes_on(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, Any]] = []

    def append(event: str, fields: Mapping[str, Any]) -> None:
        events.append((event, fields))

    monkeypatch.setattr(book_of, "MAX_UNKEPT_CAPTURES", 1)
    (tmp_path / "incidents").write_text("no folder")
    book = incidents(tmp_path, ring, append=append)
    ((first, _, _),) = book.see(case(live(), result("syscall_killed")), 1.0)
    ((again, _, new),) = book.see(case(live(), result("syscall_killed")), 3.0)
    assert (again.incident, new) == (first.incident, False)
    (event, fields) = events[0]
    assert (event, fields["incident"], len(events)) == ("incident.unkept", first.incident, 1)
    assert fields["reason"] in ("Not a directory", "File exists")
    assert len(book.get(first.incident).timeline) == 2
    assert book.get(first.incident).capture is not None
    ((second, _, _),) = book.see(case(live("other"), result("syscall_killed")), 3.0)
    assert book.get(second.incident).capture is None
    assert not events[1][1]["captured"]
    assert len(listed(book, closed=False)) == 2
    book.close(second.incident, by="uid 0", note="")

    (tmp_path / "incidents").unlink()
    ((third, _, _),) = book.see(case(live("third"), result("syscall_killed")), 4.0)
    found = {item.incident: item for item in listed(incidents(tmp_path, ring), closed=True)}
    assert set(found) == {first.incident, second.incident, third.incident}
    assert found[second.incident].closed
    assert len(events) == 2


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def retyped(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "signal": ["tripwire"]}))


def renamed(path: Path) -> None:
    path.write_text(path.read_text().replace("01", "02", 1))


def made_public(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize("harm", [torn, emptied, retyped, renamed, made_public])
@pytest.mark.parametrize("restarted", ["before a restart", "while it is known"])
def test_an_incident_whose_file_is_damaged_is_not_forgotten(
    tmp_path: Path, ring: Ring, harm: Callable[[Path], None], restarted: str
) -> None:
    events: list[tuple[str, Any]] = []

    def append(event: str, fields: Mapping[str, Any]) -> None:
        events.append((event, fields))

    book = incidents(tmp_path, ring, append=append)
    ((first, _, _),) = book.see(tripped("a"), 1.0)
    path = tmp_path / "incidents" / f"{first.incident}.json"
    whole = path.read_bytes()
    harm(path)
    damaged = path.read_bytes()
    if restarted == "before a restart":
        book = incidents(tmp_path, ring, append=append)
    for closed in (False, True):
        (shown,) = asyncio.run(book.listed(closed=closed))
        assert (shown["incident"], shown["signal"]) == (first.incident, "unreadable")
        assert shown["unreadable"]
        assert not shown["closed"]
        assert book.count() == {"unreadable": 1}
    ((second, _, new),) = book.see(tripped("a"), 2.0)
    assert new, "somebody hears of the next one"
    book.tell(first.incident, "more")
    with pytest.raises(UnreadableIncident, match="cannot be read"):
        book.close(first.incident, by="uid 0", note="")
    assert path.read_bytes() == damaged, "what is left of it is kept"
    assert [(event, fields["incident"]) for event, fields in events] == [
        ("incident.unreadable", first.incident)
    ]

    path.write_bytes(whole)
    path.chmod(0o600)
    found = asyncio.run(book.listed(closed=False))
    assert [item["signal"] for item in found] == ["tripwire", "tripwire"]
    ((again, _, new),) = book.see(tripped("a"), 9.0)
    assert (again.incident, new) == (second.incident, False)
    book.close(first.incident, by="uid 0", note="")


def test_a_damaged_incident_is_forgotten_when_its_file_is_taken_away(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((first, _, _),) = book.see(tripped("a"), 1.0)
    path = tmp_path / "incidents" / f"{first.incident}.json"
    torn(path)
    assert len(asyncio.run(book.listed(closed=False))) == 1
    path.unlink()
    assert asyncio.run(book.listed(closed=False)) == []
    with pytest.raises(UnknownIncident, match="no incident"):
        book.get(first.incident)


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 36])
def test_what_is_no_incident_is_unknown(tmp_path: Path, ring: Ring, name: str) -> None:
    with pytest.raises(UnknownIncident):
        incidents(tmp_path, ring).get(name)


def test_a_long_timeline_keeps_how_it_began(tmp_path: Path, ring: Ring) -> None:
    book = incidents(tmp_path, ring)
    ((first, _, _),) = book.see(case(live(), result("syscall_killed")), 1.0)
    for number in range(300):
        book.tell(first.incident, f"line {number}")
    told = [what for _, what in book.get(first.incident).timeline]
    assert (len(told), told[0], told[19], told[-1]) == (200, "tripwire", "line 18", "line 299")
    book.close(first.incident, by="uid 0", note="")
    told = [what for _, what in book.get(first.incident).timeline]
    assert (len(told), told[0], told[-1]) == (200, "tripwire", "closed by uid 0")
