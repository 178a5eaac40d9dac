"""Signals become incidents, incidents become actions, and nothing is told that is secret."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fumehood.audit.incident import Incident, opened_capture, read_incident
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import (
    CatalogError,
    KeyringError,
    Stopped,
    UnknownIncident,
    UnreadableIncident,
    UsageError,
)
from fumehood.launcher.client import Captured
from fumehood.model.incident_rules import DEFAULT_RULES, IncidentRule
from fumehood.model.outcome import Notice, Status, SyscallCount, Syscalls
from fumehood.model.request import Caller, RegisteredTool, Request
from fumehood.model.result import Finding, Result
from fumehood.scan import pipeline
from fumehood.supervisor import counts as counts_of
from fumehood.supervisor import evidence, response
from fumehood.supervisor import incidents as book_of
from fumehood.supervisor.counts import Counts
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.response import Response
from fumehood.supervisor.signals import Case, signals
from fumehood.supervisor.stops import Stops
from support.gateway import registered
from support.scan import plan

CALLER = Caller(7, 7, 1, "ann")
CANARY = Finding("canary", "secret", "high", "stdout", "redact")
INJECTED = Finding("override", "injection", "medium", "stdout", "flag")


def live(tool: str = "echo", text: bytes = b"out") -> Any:
    request = Request("01a2002f-a269-716f-a068-95ee26d21dae", tool, {}, b'{"secret":1}', CALLER, 0)
    stream = SimpleNamespace(last=lambda most: text[-most:])
    return SimpleNamespace(
        request=request, stdout=stream, stderr=None, plan=plan(), proofs=(), tool=None, started=1.0,
        incidents={}, result=None, runs=False, sandbox=None,
    )  # fmt: skip


def case(at: Any, given: Result) -> Case:
    """The one signal of a result."""
    (signal,) = signals(given)
    return Case(
        signal, signal, at.request.tool, uid=at.request.caller.uid,
        invocation=at.request.invocation, capture=lambda: evidence.ended(at, given),
    )  # fmt: skip


def result(status: Status = "ok", *findings: Finding) -> Result:
    return Result("01a2002f-a269-716f-a068-95ee26d21dae", "echo", "1", "d", status,
                  findings=findings)  # fmt: skip


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return open_ring(tmp_path, Periods())


def incidents(
    tmp_path: Path, ring: Ring, *rules: IncidentRule, append: Any = lambda *_: None
) -> Incidents:
    return Incidents(tmp_path / "incidents", rules or DEFAULT_RULES, ring, append)


def listed(book: Incidents, *, closed: bool) -> list[Incident]:
    """Also while a loop runs here."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(asyncio.run, book.listed(closed=closed)).result(30)
    return [book.get(item["incident"]) for item in found]


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


def tripped(name: str, uid: int = 7) -> Case:
    return Case("tripwire", "killed", name, "1.0.0", "d", uid)


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


def test_what_runs_into_the_bound_is_acted_on_and_somebody_is_told(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_of, "MAX_OPEN", 0)
    actions: tuple[Any, ...] = ("stop_tool", "suspend_caller", "quarantine_version")

    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=actions))
        for tool in ("echo", "other"):
            at.response.ended(live(tool), result("syscall_killed"))
        await asyncio.gather(*at.response._working)
        assert [stop.name for stop in at.stops.listed() if stop.kind == "tool"] == ["echo", "other"]
        assert at.stops.holds("caller", "7")
        assert [name for name, _, _ in at.quarantined] == ["echo", "other"]
        opened = [fields for event, fields in at.events if event == "incident.opened"]
        assert [(each["rule"], each["actions"]) for each in opened] == [
            ("overflow", [*actions, "notify"])
        ]
        assert "notify: the configuration names nobody to tell" in at.told
        (more,) = listed(at.book, closed=False)
        at.book.tell(more.incident, "a look", {"stdout": "another call's"})
        assert at.book.get(more.incident).capture is None

    asyncio.run(scene())


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


class Scene:
    """A response with fakes of what runs, and real stops and incidents."""

    def __init__(self, tmp_path: Path, ring: Ring, *rules: IncidentRule) -> None:
        self.killed: list[str] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.recorded = asyncio.Event()
        self.running = [self._running("echo"), self._running("other")]
        pool: Any = SimpleNamespace(drop_all=lambda: self.killed.append("pool"))
        registry: Any = self.running
        self.stops = Stops(tmp_path / "stops")
        self.book = incidents(tmp_path, ring, *rules, append=self._append)
        self.quarantined: list[tuple[str, str | None, str]] = []
        self.response = Response(
            self.stops, self.book, registry, pool, self._append,
            self._record, self._record_refusal, self._quarantine,
            lambda: self.killed.append("retired"), lambda name: name in ("echo", "other"),
        )  # fmt: skip

    def _quarantine(self, name: str, version: str | None, note: str) -> list[RegisteredTool]:
        self.quarantined.append((name, version, note))
        return [registered(name)]

    @property
    def told(self) -> list[str]:
        """The timeline of the newest incident."""
        return [what for _, what in listed(self.book, closed=True)[0].timeline]

    def _running(self, tool: str) -> Any:
        def cancel(by: str) -> None:
            self.killed.append(f"{tool} by {by}")

        sandbox = SimpleNamespace(kill=lambda: self.killed.append(f"{tool} killed"))
        at = live(tool)
        at.sandbox, at.cancel, at.task, at.tool = sandbox, cancel, None, registered(tool)
        sandbox.capture = lambda *, kill: self._captured(tool, kill=kill)
        at.runs = True
        at.of = lambda name, version: name == tool and version in (None, "1.0.0")
        return at

    def _captured(self, tool: str, *, kill: bool) -> Any:
        self.killed.append(f"{tool} captured" + (" first" if kill else ""))
        found: asyncio.Future[Captured] = asyncio.get_running_loop().create_future()
        found.set_result(Captured("", LOOK, Syscalls()))
        return found

    def _append(self, event: str, fields: Mapping[str, Any]) -> None:
        self.events.append((event, fields))
        self.recorded.set()

    async def _record(self, event: str, fields: Mapping[str, Any]) -> None:
        self._append(event, fields)

    async def _record_refusal(self, caller: Caller, event: str) -> None:
        assert caller.uid == 0, event


ROOT = Caller(0, 0, 1, "root")


def test_an_operator_stops_a_tool_and_nothing_else(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring)
        told = await at.response.stop(ROOT, "tool", "echo", "looks odd")
        assert at.killed == ["echo by uid 0", "echo killed", "pool"]
        assert told.to_json()["killed"] == 1
        with pytest.raises(Stopped):
            at.stops.check("echo", 7)
        at.stops.check("other", 7)
        await at.response.resume(ROOT, "tool", "echo")
        at.stops.check("echo", 7)
        assert [event for event, _ in at.events] == ["tool.stopped", "tool.resumed"]
        assert at.events[0][1]["reason"] == "looks odd"

    asyncio.run(scene())


def test_a_stop_of_a_tool_that_is_not_there_says_so_and_holds(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring)
        told = (await at.response.stop(ROOT, "tool", "nosuch", "")).to_json()
        assert (told["known"], told["killed"]) == (False, 0)
        with pytest.raises(Stopped):
            at.stops.check("nosuch", 7)
        for kind, name in (("tool", "echo"), ("caller", "4711"), ("all", "")):
            assert (await at.response.stop(ROOT, kind, name, "")).to_json()["known"]

    asyncio.run(scene())


def test_what_is_stopped_with_a_look_is_refused_and_looked_at_before_the_first_kill(
    tmp_path: Path, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(response, "MAX_LOOKED", 1)

    async def scene() -> None:
        at = Scene(tmp_path, ring)
        told = (await at.response.stop(ROOT, "all", "", "odd", capture=True)).to_json()
        assert (told["killed"], told["unlooked"]) == (2, 1)
        first = at.killed.index("echo captured first")
        assert first < at.killed.index("echo by uid 0") < at.killed.index("other killed")
        events = [event for event, _ in at.events]
        assert events == ["incident.opened", "calls.stopped"]
        assert at.events[-1][1]["unlooked"] == 1
        await asyncio.sleep(0)  # the look's own callback
        assert any(what.startswith("captured") for what in at.told)

    asyncio.run(scene())


def test_a_call_that_has_its_result_is_left_to_answer(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring)
        at.running[0].result = result("syscall_killed")
        told = await at.response.stop(ROOT, "all", "", "")
        assert told.to_json()["killed"] == 1
        assert at.killed == ["other by uid 0", "other killed", "pool"]

    asyncio.run(scene())


@pytest.mark.parametrize(("kind", "name"), [("all", "x"), ("tool", ""), ("caller", "ann")])
def test_a_stop_must_name_what_it_means(tmp_path: Path, ring: Ring, kind: Any, name: str) -> None:
    with pytest.raises(UsageError):
        asyncio.run(Scene(tmp_path, ring).response.stop(ROOT, kind, name, ""))


@pytest.mark.parametrize(
    ("action", "stopped", "killed"),
    [
        ("stop_tool", ("tool", "echo"), 1),
        ("suspend_caller", ("caller", "7"), 2),
        ("stop_all", ("all", ""), 2),
    ],
)
def test_a_rule_acts_by_itself(
    tmp_path: Path, ring: Ring, action: Any, stopped: tuple[str, str], killed: int
) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=(action,)))
        at.response.ended(live(), result("syscall_killed"))
        (stop,) = at.stops.listed()
        assert (stop.kind, stop.name) == stopped
        assert stop.reason.startswith("incident ")
        assert len([line for line in at.killed if line.endswith("killed")]) == killed
        assert [event.partition(".")[2] for event, _ in at.events] == ["opened", "stopped"]
        at.response.ended(live(), result("syscall_killed"))
        assert len(at.events) == 2  # once for each incident

    asyncio.run(scene())


@pytest.mark.parametrize("action", ["stop_tool", "suspend_caller", "stop_all"])
def test_a_rules_stop_that_no_disk_takes_kills_all_the_same(
    tmp_path: Path, ring: Ring, action: Any
) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=(action,)))
        (tmp_path / "stops").mkdir()  # where the list would be put
        at.response.ended(live(), result("syscall_killed"))
        assert "echo killed" in at.killed
        with pytest.raises(Stopped):
            at.stops.check("echo", 7)
        assert "the list of stops cannot be written" in at.told[-1]
        events = [event.partition(".")[2] for event, _ in at.events]
        assert events == ["opened", "stopped", "action_failed"]

    asyncio.run(scene())


LOOK = b"\n".join(
    json.dumps(line).encode()
    for line in (
        {"frozen": True},
        {"process": {"pid": 7, "files": {"3": "/tmp/x"}}},
        {"file": {"path": "/tmp/x", "sha384": "ab"}},
        {"end": {"cut": []}},
    )
)


def test_what_runs_is_looked_at_before_it_is_killed(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=("kill",)))
        at.response.tripped(at.running[0])
        assert at.killed == ["echo captured first", "echo by a rule for incidents", "echo killed"]
        await asyncio.sleep(0)  # the future's callbacks
        assert at.told[-2:] == [
            "killed", "captured (frozen): 1 processes, 1 files of its scratch space",
        ]  # fmt: skip
        (incident,) = listed(at.book, closed=False)
        captured = opened_capture(incident, ring)
        assert captured["sandbox"]["processes"][0]["files"] == {"3": "/tmp/x"}
        assert captured["arguments"] == '{"secret":1}'
        at.response.ended(at.running[0], result("cancelled"))
        assert at.told[-1].endswith("ended: cancelled")
        kept = opened_capture(at.book.get(incident.incident), ring)
        assert kept["sandbox"] == captured["sandbox"]
        assert kept["usage"] is not None

    asyncio.run(scene())


def test_a_signal_while_running_is_not_told_again_at_the_end(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=("notify",)))
        at.response.tripped(at.running[0])
        at.response.tripped(at.running[0])
        at.response.ended(at.running[0], result("syscall_killed"))
        assert at.killed == ["echo captured"], "looked at once, and not killed"
        assert [event for event, _ in at.events] == ["incident.opened"]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("action", "version"), [("quarantine_tool", None), ("quarantine_version", "1.0.0")]
)
def test_a_rule_takes_a_tool_or_one_version_out_of_use(
    tmp_path: Path, ring: Ring, action: Any, version: str | None
) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="canary", actions=(action,)))
        at.response.ended(at.running[0], result("ok", CANARY))
        await asyncio.gather(*at.response._working)
        ((name, found, note),) = at.quarantined
        assert (name, found) == ("echo", version)
        assert "incident" in note
        assert [event for event, _ in at.events] == ["incident.opened", "tool.quarantined"]
        assert "echo killed" in at.killed
        assert "other killed" not in at.killed

    asyncio.run(scene())


@pytest.mark.parametrize("action", ["quarantine_tool", "quarantine_version", "stop_tool"])
def test_keys_are_of_no_tool_and_none_is_taken_out_of_use_for_them(
    tmp_path: Path, ring: Ring, action: Any
) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="integrity", actions=(action,)))
        at.response.keys_broken("the key ring has mode 0644")
        assert f"{action}: it is about no tool" in at.told
        assert (at.quarantined, at.killed) == ([], [])
        assert [event for event, _ in at.events] == ["incident.opened"]

    asyncio.run(scene())


def test_what_is_about_no_call_is_an_incident_too(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring)
        at.response.broken(registered("echo"), "its files changed: a.py")
        assert at.told[0] == "echo 1.0.0: its files changed: a.py"
        at.response.tripped_ahead(registered("echo"))
        assert "echo 1.0.0: killed for a system call before any call" in at.told
        at.response.gap("records are missing")
        found = {item.signal: item for item in listed(at.book, closed=False)}
        assert sorted(found) == ["audit_gap", "integrity", "tripwire"]
        assert (found["audit_gap"].tool, found["audit_gap"].uid) == ("", -1)

    asyncio.run(scene())


def test_nobody_is_suspended_for_what_no_caller_did(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        rule = IncidentRule(signal="tripwire", actions=("suspend_caller", "quarantine_version"))
        at = Scene(tmp_path, ring, rule)
        at.response.tripped_ahead(registered("echo"))
        await asyncio.gather(*at.response._working)
        assert "suspend_caller: it was no caller's doing" in at.told
        assert at.response.stops.listed() == []
        assert [(name, version) for name, version, _ in at.quarantined] == [("echo", "1.0.0")]

    asyncio.run(scene())


def test_an_operator_may_look_before_stopping(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring)
        await at.response.stop(ROOT, "tool", "echo", "odd", capture=True)
        assert at.killed[0] == "echo captured first"
        ended = [what for what in at.killed if "captured" not in what]
        assert ended == ["echo by uid 0", "echo killed", "pool"]
        (incident,) = listed(at.book, closed=False)
        assert (incident.signal, incident.tool) == ("stopped", "echo")

    asyncio.run(scene())


def test_a_failing_action_is_recorded_and_keeps_no_other_from_being_done(
    tmp_path: Path, ring: Ring
) -> None:
    async def scene() -> None:
        rule = IncidentRule(signal="canary", actions=("quarantine_tool", "stop_tool"))
        at = Scene(tmp_path, ring, rule)

        def full(*_: object) -> list[RegisteredTool]:
            raise CatalogError("the disk is full")

        at.response.quarantine = full
        at.response.ended(at.running[0], result("ok", CANARY))
        await asyncio.gather(*at.response._working)
        events = [event for event, _ in at.events]
        assert events == ["incident.opened", "tool.stopped", "incident.action_failed"]
        assert "quarantine failed: the disk is full" in at.told

    asyncio.run(scene())


def test_an_incident_holds_no_capture_in_its_repr() -> None:
    shown = repr(Incident("i", "s", "t", "d", 1, "o", "v", capture={"data": "x"}))
    assert "data" not in shown


def test_what_the_pipeline_tells_is_a_signal() -> None:
    noticed = pipeline._noticed(Notice("unusual-duration", "low", "12 s, usually 1 s"))
    assert signals(result("ok", noticed)) == {"unusual"}
    spinning = pipeline._noticed(Notice("spinning", "medium", "while it ran"))
    assert signals(result("ok", spinning)) == {"behaviour"}
    assert signals(result("syscall_killed")) == {"tripwire"}
    assert signals(result("withheld")) == {"withheld"}
    assert signals(result("ok", CANARY, INJECTED)) == {"canary", "injection"}
    assert signals(result("ok")) == set()


def test_a_child_that_was_killed_and_a_way_out_that_was_refused_are_signals() -> None:
    tripped = pipeline._noticed(Notice("syscall-killed", "high", "ptrace"))
    assert signals(result("ok", tripped)) == {"tripwire"}
    seen = SyscallCount("connect", "x86_64", "kill", 1)
    reached = replace(result("syscall_killed"), syscalls=Syscalls(seen=(seen,)))
    assert signals(reached) == {"tripwire", "egress"}
    allowed = replace(result(), syscalls=Syscalls(seen=(replace(seen, action="log"),)))
    assert signals(allowed) == set()


@pytest.mark.parametrize(
    ("signal", "action"),
    [("audit_gap", "kill"), ("audit_gap", "stop_tool"), ("integrity", "suspend_caller")],
)
def test_a_rule_that_could_do_nothing_is_refused(signal: str, action: str) -> None:
    with pytest.raises(ValueError, match="cannot follow"):
        IncidentRule.model_validate({"signal": signal, "actions": [action]})
