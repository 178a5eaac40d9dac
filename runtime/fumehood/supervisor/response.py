"""Acts on incidents and on operators' stops: refuses, kills, tells; within a second.

A stop is on disk before anything is killed, and holds at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from fumehood.audit.incident import Incident, notice
from fumehood.audit.record import Field
from fumehood.errors import AuditError, FumehoodError, UsageError
from fumehood.model.request import Caller
from fumehood.model.result import Result
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.live import Live, Registry
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.stops import Kind, Stop, Stops

log = structlog.get_logger(__name__)

NOTIFY_SECONDS: Final = 30.0
MAX_NOTICES: Final = 16
"""Notices under way; more are dropped, and said so in the log."""
DEAD_SECONDS: Final = 20.0
BY_A_RULE: Final = "a rule for incidents"
"""Who cancelled what a rule stopped."""


@dataclass(frozen=True, slots=True)
class Told:
    """Something for `to_json` of the gateway."""

    value: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.value)


@dataclass(slots=True)
class Response:
    """append: puts a record into the audit log; record: the same, and returns once it is on disk.

    operator_only: returns for an operator, and records and refuses others. notify: argv.
    """

    stops: Stops
    incidents: Incidents
    registry: Registry
    pool: Pool
    append: Callable[[str, Mapping[str, Field]], Future[Any]]
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[object]]
    notify: tuple[str, ...] = ()
    count: Callable[[str], None] | None = None
    """Is told the signal of each new incident."""
    _telling: set[asyncio.Task[None]] = field(default_factory=set)

    # --- operators

    async def stop(self, caller: Caller, kind: Kind, name: str, reason: str) -> Told:
        """Stop a tool, a caller or everything, also what runs; survives a restart."""
        await self.operator_only(caller, "stop.refused")
        _check(kind, name)
        by = f"uid {caller.uid}"
        stop, killed = self._stopped(kind, name, by=by, reason=reason)
        fields: dict[str, Field] = {**stop.to_json(), "killed": len(killed)}
        await self.record(_event(kind, "stopped"), {**_named(stop), **fields})
        tasks = [live.task for live in killed if live.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=DEAD_SECONDS)
        left = sum(not task.done() for task in tasks)
        return Told({**stop.to_json(), "killed": len(killed), "left": left})

    async def resume(self, caller: Caller, kind: Kind, name: str) -> Told:
        """Let it go on. Raises UsageError when it is not stopped."""
        await self.operator_only(caller, "resume.refused")
        stop = self.stops.remove(kind, name)
        fields: dict[str, Field] = {"kind": kind, "name": name, "by": f"uid {caller.uid}"}
        await self.record(_event(kind, "resumed"), {**_named(stop), **fields})
        return Told(stop.to_json())

    async def stopped(self, caller: Caller) -> Told:
        await self.operator_only(caller, "stops.refused")
        return Told({"stops": [stop.to_json() for stop in self.stops.listed()]})

    async def list_incidents(self, caller: Caller, *, closed: bool) -> Told:
        await self.operator_only(caller, "incidents.refused")
        found = self.incidents.listed(closed=closed)
        return Told({"incidents": [incident.to_json() for incident in found]})

    async def show_incident(self, caller: Caller, name: str) -> Told:
        """Raises UnknownIncident."""
        await self.operator_only(caller, "incidents.refused")
        return Told(self.incidents.get(name).to_json())

    async def close_incident(self, caller: Caller, name: str, note: str) -> Told:
        """Raises UnknownIncident, UsageError when it is closed."""
        await self.operator_only(caller, "incidents.refused")
        incident = self.incidents.close(name, by=f"uid {caller.uid}", note=note)
        await self.record("incident.closed", {**_fields(incident), "by": incident.closed_by})
        return Told(incident.to_json())

    # --- what is seen of calls

    def ended(self, live: Live, result: Result) -> None:
        """A call has ended: open incidents, and do what the rules say."""
        now = asyncio.get_running_loop().time()
        for incident, rule, new in self.incidents.see(live, result, now):
            if not new:
                continue
            self._append("incident.opened", {**_fields(incident), "actions": list(rule.actions)})
            log.warning("incident opened", **_fields(incident))
            if self.count is not None:
                self.count(rule.signal)
            reason = f"incident {incident.incident}: {rule.signal}"
            for action in rule.actions:
                self._act(action, incident, reason)

    def _act(self, action: str, incident: Incident, reason: str) -> None:
        kinds: dict[str, tuple[Kind, str]] = {
            "stop_tool": ("tool", incident.tool),
            "suspend_caller": ("caller", str(incident.uid)),
            "stop_all": ("all", ""),
        }
        if action == "notify":
            self._notify(incident)
            return
        kind, name = kinds[action]
        try:
            stop, killed = self._stopped(kind, name, by=BY_A_RULE, reason=reason)
        except FumehoodError as error:
            log.error("an action of an incident failed", action=action, error=error.cause)  # noqa: TRY400
            self._append("incident.action_failed", {**_fields(incident), "action": action})
            return
        fields: dict[str, Field] = {**stop.to_json(), "killed": len(killed)}
        self._append(_event(kind, "stopped"), {**_named(stop), **fields})

    def _stopped(self, kind: Kind, name: str, *, by: str, reason: str) -> tuple[Stop, list[Live]]:
        """On disk first; then whatever runs of it is killed, without its grace."""
        stop = self.stops.add(kind, name, by=by, reason=reason)
        # One that has its result runs no more: its record and its answer are under way.
        running = (live for live in self.registry if live.result is None)
        killed = [live for live in running if _is_of(live, kind, name)]
        for live in killed:
            live.cancel(by)
            if live.sandbox is not None:
                live.sandbox.kill()
        self.pool.drop_all()  # what was started ahead of calls runs the tool's program already
        return stop, killed

    def _append(self, event: str, fields: Mapping[str, Field]) -> None:
        with contextlib.suppress(AuditError):  # the log's own failure refuses all calls
            self.append(event, fields)

    # --- telling

    def _notify(self, incident: Incident) -> None:
        if not self.notify:
            return
        if len(self._telling) >= MAX_NOTICES:
            log.error("a notice is dropped: too many are under way", incident=incident.incident)
            return
        task = asyncio.get_running_loop().create_task(self._tell(incident))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, incident: Incident) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self.notify, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
        except OSError as error:
            self._untold(incident, error.strerror or "it cannot be started")
            return
        try:
            async with asyncio.timeout(NOTIFY_SECONDS):
                await process.communicate(notice(incident))
        except (TimeoutError, asyncio.CancelledError):
            process.kill()
            await process.wait()
        if process.returncode:
            self._untold(incident, f"it exited with {process.returncode}")

    def _untold(self, incident: Incident, why: str) -> None:
        log.error("nobody was notified of an incident", incident=incident.incident, reason=why)
        self._append("incident.untold", {**_fields(incident), "reason": why})

    def close(self) -> None:
        for task in self._telling:
            task.cancel()


def _check(kind: Kind, name: str) -> None:
    if (kind == "all") != (not name) or len(name) > 64:
        raise UsageError("name a tool or a caller, or stop all", "see `fumehood stop --help`")
    if kind == "caller" and not name.isdecimal():
        raise UsageError(f"{name!r} is no UID", "give the caller's number")


def _is_of(live: Live, kind: Kind, name: str) -> bool:
    if kind == "tool":
        return live.request.tool == name
    return kind == "all" or str(live.request.caller.uid) == name


def _event(kind: Kind, what: str) -> str:
    return {"all": "calls", "tool": "tool", "caller": "caller"}[kind] + f".{what}"


def _named(stop: Stop) -> dict[str, Field]:
    return {"tool": stop.name} if stop.kind == "tool" else {}


def _fields(incident: Incident) -> dict[str, Field]:
    return {
        "incident": incident.incident,
        "rule": incident.signal,
        "tool": incident.tool,
        "tool_digest": incident.tool_digest,
        "uid": incident.uid,
        "of": incident.invocation,
    }
