"""Signals become incidents, incidents become actions, and nothing is told that is secret."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fumehood.audit.incident import Incident, opened_capture, read_incident
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import KeyringError, Stopped, UnknownIncident, UsageError
from fumehood.model.incident_rules import DEFAULT_RULES, IncidentRule
from fumehood.model.outcome import Notice, Status
from fumehood.model.request import Caller, Request
from fumehood.model.result import Finding, Result
from fumehood.scan import pipeline
from fumehood.supervisor.incidents import Incidents, signals
from fumehood.supervisor.response import Response
from fumehood.supervisor.stops import Stops
from support.scan import plan

CALLER = Caller(7, 7, 1, "ann")
CANARY = Finding("canary", "secret", "high", "stdout", "redact")
INJECTED = Finding("override", "injection", "medium", "stdout", "flag")


def live(tool: str = "echo", text: bytes = b"out") -> Any:
    request = Request("01a2002f-a269-716f-a068-95ee26d21dae", tool, {}, b'{"secret":1}', CALLER, 0)
    stream = SimpleNamespace(last=lambda most: text[-most:])
    return SimpleNamespace(request=request, stdout=stream, stderr=None, plan=plan(), proofs=())


def result(status: Status = "ok", *findings: Finding) -> Result:
    return Result("01a2002f-a269-716f-a068-95ee26d21dae", "echo", "1", "d", status,
                  findings=findings)  # fmt: skip


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return open_ring(tmp_path, Periods())


def incidents(tmp_path: Path, ring: Ring, *rules: IncidentRule) -> Incidents:
    return Incidents(tmp_path / "incidents", rules or DEFAULT_RULES, ring)


def test_a_killing_call_opens_one_incident_and_the_next_is_on_its_timeline(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((first, rule, new),) = book.see(live(), result("syscall_killed"), 1.0)
    assert (first.signal, rule.signal, new) == ("tripwire", "tripwire", True)
    ((again, _, new),) = book.see(live(), result("syscall_killed"), 2.0)
    assert (again.incident, new, len(again.timeline)) == (first.incident, False, 2)
    assert [item.incident for item in book.listed(closed=False)] == [first.incident]


def test_an_ordinary_call_opens_none(tmp_path: Path, ring: Ring) -> None:
    book = incidents(tmp_path, ring)
    for given in (result(), result("tool_error"), result("timeout")):
        assert list(book.see(live(), given, 1.0)) == []


def test_a_rule_counts_within_its_time_for_one_tool_and_caller(tmp_path: Path, ring: Ring) -> None:
    rule = IncidentRule.model_validate({"signal": "injection", "count": 3, "within": "10s"})
    book = incidents(tmp_path, ring, rule)
    times = [0.0, 9.0, 18.0, 19.0, 20.0]
    opened = [len(list(book.see(live(), result("ok", INJECTED), time))) for time in times]
    assert opened == [0, 0, 0, 0, 1]
    assert list(book.see(live("other"), result("ok", INJECTED), 21.0)) == []


def test_what_was_captured_opens_with_the_ring_only_and_stands_nowhere_plain(
    tmp_path: Path, ring: Ring
) -> None:
    book = incidents(tmp_path, ring)
    ((incident, _, _),) = book.see(live(text=b"leaked"), result("ok", CANARY), 1.0)
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
    ((first, _, _),) = book.see(live(), result("syscall_killed"), 1.0)
    closed = book.close(first.incident, by="uid 0", note="a test")
    assert (closed.closed_by, closed.note) == ("uid 0", "a test")
    with pytest.raises(UsageError, match="was closed"):
        book.close(first.incident, by="uid 0", note="")
    ((second, _, new),) = book.see(live(), result("syscall_killed"), 2.0)
    assert new
    assert second.incident != first.incident
    assert len(book.listed(closed=True)) == 2


@pytest.mark.parametrize("name", ["", "x", "../../etc/passwd", "0" * 36])
def test_what_is_no_incident_is_unknown(tmp_path: Path, ring: Ring, name: str) -> None:
    with pytest.raises(UnknownIncident):
        incidents(tmp_path, ring).get(name)


class Scene:
    """A response with fakes of what runs, and real stops and incidents."""

    def __init__(self, tmp_path: Path, ring: Ring, *rules: IncidentRule, notify: str = "") -> None:
        self.killed: list[str] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.recorded = asyncio.Event()
        self.running = [self._running("echo"), self._running("other")]
        pool: Any = SimpleNamespace(drop_all=lambda: self.killed.append("pool"))
        registry: Any = self.running
        self.stops = Stops(tmp_path / "stops")
        argv = (sys.executable, "-c", notify) if notify else ()
        self.response = Response(
            self.stops, incidents(tmp_path, ring, *rules), registry, pool, self._append,
            self._record, self._record_refusal, argv,
        )  # fmt: skip

    def _running(self, tool: str) -> Any:
        def cancel(by: str) -> None:
            self.killed.append(f"{tool} by {by}")

        sandbox = SimpleNamespace(kill=lambda: self.killed.append(f"{tool} killed"))
        return SimpleNamespace(
            request=live(tool).request, sandbox=sandbox, cancel=cancel, task=None, result=None
        )

    def _append(self, event: str, fields: Mapping[str, Any]) -> Future[Any]:
        self.events.append((event, fields))
        self.recorded.set()
        return Future()

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


NOTE = "import sys; open({!r}, 'wb').write(sys.stdin.buffer.read()); sys.exit({})"


@pytest.mark.parametrize("status", [0, 3])
def test_a_program_is_told_and_its_failure_is_recorded(
    tmp_path: Path, ring: Ring, status: int
) -> None:
    async def scene() -> None:
        file = str(tmp_path / "note")
        rule = IncidentRule(signal="canary", actions=("notify",))
        at = Scene(tmp_path, ring, rule, notify=NOTE.format(file, status))
        at.response.ended(live(), result("ok", CANARY))
        await asyncio.wait(set(at.response._telling), timeout=60)
        with open(file, "rb") as note:  # noqa: ASYNC230  (nothing else runs here)
            told = json.load(note)
        assert (told["signal"], told["tool"]) == ("canary", "echo")
        assert "secret" not in json.dumps(told)
        events = [event for event, _ in at.events]
        assert events == ["incident.opened", *(["incident.untold"] if status else [])]

    asyncio.run(scene())


def test_an_incident_holds_no_capture_in_its_repr() -> None:
    shown = repr(Incident("i", "s", "t", "d", 1, "o", "v", capture={"data": "x"}))
    assert "data" not in shown


def test_what_the_pipeline_tells_of_abnormal_behaviour_is_a_signal() -> None:
    noticed = pipeline._noticed(Notice("unusual-duration", "low", "12 s, usually 1 s"))
    assert signals(result("ok", noticed)) == {"behaviour"}
    assert signals(result("syscall_killed")) == {"tripwire"}
    assert signals(result("withheld")) == {"withheld"}
    assert signals(result("ok", CANARY, INJECTED)) == {"canary", "injection"}
    assert signals(result("ok")) == set()
