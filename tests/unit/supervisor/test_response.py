"""Incidents and operators become actions: kills, stops, quarantine, suspension."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fumehood.audit.incident import Incident, opened_capture
from fumehood.crypto.keyring import open_ring
from fumehood.crypto.ring import Periods, Ring
from fumehood.errors import (
    CatalogError,
    Stopped,
    UsageError,
)
from fumehood.launcher.client import Captured
from fumehood.model.incident_rules import IncidentRule
from fumehood.model.outcome import Notice, SyscallCount, Syscalls
from fumehood.model.request import Caller, RegisteredTool
from fumehood.scan import pipeline
from fumehood.supervisor import incidents as book_of
from fumehood.supervisor import response
from fumehood.supervisor.response import Response
from fumehood.supervisor.signals import signals
from fumehood.supervisor.stops import Stops
from support.gateway import registered
from support.incidents import (
    CANARY,
    INJECTED,
    incidents,
    listed,
    live,
    result,
)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return open_ring(tmp_path, Periods())


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


def test_what_waits_for_a_sandbox_ends_with_its_version(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        rule = IncidentRule(signal="canary", actions=("quarantine_version",))
        at = Scene(tmp_path, ring, rule)
        waiting, answered = at.running
        waiting.sandbox, waiting.runs = None, False
        answered.tool, answered.result = waiting.tool, result()
        seen = live()
        seen.tool = waiting.tool
        at.response.ended(seen, result("ok", CANARY))
        await asyncio.gather(*at.response._working)
        assert at.killed == ["echo by a rule for incidents", "retired"]

    asyncio.run(scene())


def test_a_way_out_that_was_refused_is_an_incident_of_a_call_that_ends_well(
    tmp_path: Path, ring: Ring
) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="egress", actions=("notify",)))
        seen = Syscalls(seen=(SyscallCount("socket", "x86_64", "errno", 1),))
        at.response.ended(live(), replace(result(), syscalls=seen))
        assert [fields["rule"] for _, fields in at.events] == ["egress"]

    asyncio.run(scene())


def test_an_incident_holds_the_evidence_of_its_own_call_only(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        at = Scene(tmp_path, ring, IncidentRule(signal="tripwire", actions=("kill", "notify")))
        first, second = live(text=b"the first"), live(text=b"another")
        at.response.tripped(first)
        for other in (second, *(live() for _ in range(300))):
            at.response.tripped(other)
            at.response.ended(other, result("syscall_killed"))
        at.response.ended(first, result("syscall_killed"))
        (incident,) = listed(at.book, closed=False)
        kept = base64.b64decode(opened_capture(incident, ring)["stdout"])
        assert kept == b"the first"
        assert len(at.told) < 10, "a flood is few lines"
        assert at.told[-1].endswith("ended: syscall_killed")

    asyncio.run(scene())


def test_a_rule_counts_calls_and_not_what_each_does(tmp_path: Path, ring: Ring) -> None:
    async def scene() -> None:
        rule = IncidentRule(signal="tripwire", actions=("notify",), count=2)
        at = Scene(tmp_path, ring, rule)
        for number in range(2):
            assert at.events == [], number
            call = live()
            for _ in range(5):
                at.response.tripped(call)
            at.response.ended(call, result("syscall_killed"))
        assert [event for event, _ in at.events] == ["incident.opened"]

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
