"""Acts on incidents and on operators' stops: looks, refuses, kills, tells; within a second.

A stop is on disk before anything is killed, and holds at once; what the disk does not take is
killed all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from fumehood.audit.incident import Incident
from fumehood.audit.record import Field
from fumehood.errors import AuditError, FumehoodError, Unavailable, UsageError
from fumehood.launcher.client import STOP_ALL_SECONDS, STOP_SECONDS, Captured
from fumehood.model.incident_rules import OF_A_TOOL, Signal
from fumehood.model.request import Caller, RegisteredTool
from fumehood.model.result import Result
from fumehood.supervisor import evidence
from fumehood.supervisor.incidents import Incidents
from fumehood.supervisor.live import BY_A_RULE, Live, Registry
from fumehood.supervisor.pool import Pool
from fumehood.supervisor.signals import Case, signals
from fumehood.supervisor.stops import Kind, Stop, Stops

if TYPE_CHECKING:  # what only some daemons need costs the others nothing
    from fumehood.supervisor.notices import Notices, Waiting

log = structlog.get_logger(__name__)

DEAD_SECONDS: Final = 20.0
MAX_LOOKED: Final = 8
"""Of what an operator stops, the oldest; the rest is killed without a look."""


def _nobody(_seconds: float) -> Sequence[asyncio.Future[None]]:
    """There is no launcher to ask."""
    return ()


@dataclass(frozen=True, slots=True)
class Told:
    """Something for `to_json` of the gateway."""

    value: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return dict(self.value)


@dataclass(slots=True)
class Response:
    """append: puts a record into the audit log; record: the same, and returns once it is on disk.

    operator_only: returns for an operator, and records and refuses others. quarantine: takes a
    version, or, for None, all of a tool out of use; `catalog.Catalog.quarantine`. changed: is
    told that the catalog has. known: whether any version of a tool is in the catalog.
    """

    stops: Stops
    incidents: Incidents
    registry: Registry
    pool: Pool
    append: Callable[[str, Mapping[str, Field]], object]
    record: Callable[[str, Mapping[str, Field]], Awaitable[object]]
    operator_only: Callable[[Caller, str], Awaitable[object]]
    quarantine: Callable[[str, str | None, str], Sequence[RegisteredTool]]
    changed: Callable[[], None]
    known: Callable[[str], bool]
    notices: Notices | None = None
    """Tells somebody; None when the configuration names nobody."""
    count: Callable[[str], None] | None = None
    """Is told the signal of each new incident."""
    acknowledged: Callable[[float], Sequence[asyncio.Future[None]]] = _nobody
    """Done for each launcher that has acted on what it was told; `Launchers.acknowledged`."""
    _working: set[asyncio.Task[None]] = field(default_factory=set)

    # --- operators

    async def stop(
        self, caller: Caller, kind: Kind, name: str, reason: str, *, capture: bool = False
    ) -> Told:
        """Stop a tool, a caller or everything, also what runs; survives a restart.

        capture: look at what runs before it is killed, and open an incident for each.

        Answers with the stop, how many calls were `killed` and `left`, how many of them were killed
        without a look (`unlooked`), and whether there is such a tool now (`known`): a tool may come
        later, and is stopped then.

        Raises Unavailable when no restart would know of it: what runs is killed then too.
        """
        await self.operator_only(caller, "stop.refused")
        _check(kind, name)
        by = f"uid {caller.uid}"
        most = MAX_LOOKED if capture else 0
        stop, killed, heeded, unkept = self._stopped(kind, name, by=by, reason=reason, look=most)
        looked = [live for live in killed[:most] if live.runs]
        for live in looked:
            self._tell_look(live, by, reason)
        unlooked = len(killed) - len(looked) if capture else 0
        fields: dict[str, Field] = {**_named(stop), **stop.to_json(), "killed": len(killed)}
        if unlooked:
            fields["unlooked"] = unlooked
        if unkept is None:
            await self.record(_event(kind, "stopped"), fields)
        else:  # the log may have the same disk: not waited for
            self._append(_event(kind, "stopped"), fields)
        tasks = [live.task for live in killed if live.task is not None]
        waits: list[asyncio.Future[Any]] = [*tasks, *heeded]
        if waits:
            await asyncio.wait(waits, timeout=DEAD_SECONDS)
        if unkept is not None:
            raise unkept
        left = sum(not task.done() for task in tasks)
        known = kind != "tool" or bool(killed) or self.known(name)
        counts = {"killed": len(killed), "left": left, "unlooked": unlooked}
        return Told({**stop.to_json(), **counts, "known": known})

    def _tell_look(self, live: Live, by: str, reason: str) -> None:
        """Open the incident of a look that is under way: what it writes to disk keeps no kill
        waiting."""
        what = f"stopped by {by}" + (f": {reason[:200]}" if reason else "")
        case = self._case("stopped", live, what)
        case = replace(case, capture=partial(evidence.known, live))
        incident, new = self.incidents.open(case)
        live.incidents["stopped"] = incident.incident
        if new:
            self._append(
                "incident.opened", {**_fields(incident), "actions": list(incident.actions)}
            )
            self._act_all(incident.actions, incident, case, live)
        self._capture(live, incident.incident, kill=True)

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
        return Told({"incidents": await self.incidents.listed(closed=closed)})

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

    # --- what is seen

    def ended(self, live: Live, result: Result) -> None:
        """A call has ended: open incidents, and do what the rules say."""
        quiet = result.syscalls is None or not result.syscalls.seen
        if result.status == "ok" and quiet and not result.findings and not live.incidents:
            return
        for name in live.incidents.values():
            found = evidence.ended(live, result)
            self.incidents.tell(name, f"{result.invocation} ended: {result.status}", found)
        for signal in sorted(signals(result) - live.signalled):
            live.signalled.add(signal)
            case = self._case(signal, live, f"{signal}: {result.invocation} {result.status}")
            self._signal(replace(case, capture=partial(evidence.ended, live, result)), live)

    def running(self, live: Live, signal: Signal, what: str) -> None:
        """Something was seen of a call that goes on; once for each signal."""
        if signal not in live.signalled and live.result is None:
            live.signalled.add(signal)
            case = self._case(signal, live, f"{signal}: {live.request.invocation} {what}")
            self._signal(replace(case, capture=partial(evidence.known, live)), live)

    def tripped(self, live: Live) -> None:
        """A process of a call was killed for a system call, and others of it may go on."""
        self.running(live, "tripwire", "a process was killed for a system call")

    def tripped_ahead(self, tool: RegisteredTool) -> None:
        """A process of a tool was killed for a system call before it had any call: no caller's."""
        manifest = tool.manifest
        what = f"{manifest.name} {manifest.version}: killed for a system call before any call"
        self._signal(Case("tripwire", what, manifest.name, manifest.version, tool.digest))

    def broken(self, tool: RegisteredTool, why: str) -> None:
        """The files of a tool are not what was registered."""
        manifest = tool.manifest
        self._signal(
            Case("integrity", f"{manifest.name} {manifest.version}: {why}", manifest.name,
                 manifest.version, tool.digest)
        )  # fmt: skip

    def keys_broken(self, what: str) -> None:
        """The keys of the host are not what they were, or others can reach them."""
        self._signal(Case("integrity", what))

    def gap(self, what: str) -> None:
        """Something is missing from the audit log, or from what was forwarded of it."""
        self._signal(Case("audit_gap", what))

    def _case(self, signal: Signal, live: Live, what: str) -> Case:
        request, tool = live.request, live.tool
        version, digest = (tool.manifest.version, tool.digest) if tool else ("", "")
        return Case(
            signal, what, request.tool, version, digest, request.caller.uid, request.invocation,
            evidence.story(live),
        )  # fmt: skip

    def _signal(self, case: Case, live: Live | None = None) -> None:
        now = asyncio.get_running_loop().time()
        for incident, rule, new in self.incidents.see(case, now):
            if not new:  # somebody knows of it, and it is ended all the same
                self._act_again(rule.actions, incident, case, live)
                continue
            if live is not None:  # one incident holds the evidence of one call
                live.incidents[case.signal] = incident.incident
            # An overflow tells somebody, whatever the rule does that ran into it.
            actions = tuple(dict.fromkeys((*rule.actions, *incident.actions)))
            self._append("incident.opened", {**_fields(incident), "actions": list(actions)})
            log.warning("incident opened", **_fields(incident))
            if self.count is not None:
                self.count(incident.signal)
            if live is not None and live.runs:  # before anything that kills it
                self._capture(live, incident.incident, kill=_ends(actions))
            self._act_all(actions, incident, case, live)

    def _capture(self, live: Live, incident: str, *, kill: bool) -> None:
        """Have the launcher look at its sandbox; what is found goes to the incident."""
        if live.sandbox is None:
            return
        found = live.sandbox.capture(kill=kill)
        found.add_done_callback(partial(self._captured, live, incident))

    def _captured(self, live: Live, incident: str, found: asyncio.Future[Captured]) -> None:
        if not found.cancelled():
            seen = evidence.seen(found.result())
            self.incidents.tell(incident, evidence.summary(seen), {**evidence.known(live), **seen})

    # --- what is done

    def _act_all(
        self, actions: Iterable[str], incident: Incident, case: Case, live: Live | None
    ) -> None:
        for action in actions:
            self._act(action, incident, case, live)

    def _act_again(
        self, actions: Iterable[str], incident: Incident, case: Case, live: Live | None
    ) -> None:
        """What an open incident's rule wants and what does not hold any more, for an operator let
        it go on before the incident was closed."""
        if "kill" in actions and live is not None and live.runs:
            _end(live, BY_A_RULE)  # not told: each signal is on the timeline, a line a second
        for action in actions:
            held = {
                "notify": True,
                "kill": True,
                "stop_tool": self.stops.holds("tool", case.tool),
                "suspend_caller": case.uid < 0 or self.stops.holds("caller", str(case.uid)),
                "stop_all": self.stops.holds("all", ""),
            }
            if not held.get(action, False):
                self._act(action, incident, case, live)

    def _act(self, action: str, incident: Incident, case: Case, live: Live | None) -> None:
        try:
            done = self._done(action, incident, case, live)
        except FumehoodError as error:
            self._failed(action, incident, error)
            return
        if done:
            self.incidents.tell(incident.incident, done)

    def _done(self, action: str, incident: Incident, case: Case, live: Live | None) -> str:
        """Do it; says what was done. Raises FumehoodError."""
        reason = f"incident {incident.incident}: {incident.signal}"
        kinds: dict[str, tuple[Kind, str]] = {
            "stop_tool": ("tool", case.tool),
            "suspend_caller": ("caller", str(case.uid)),
            "stop_all": ("all", ""),
        }
        if action == "notify":
            return self._notified(incident)
        if action == "kill":
            return self._killed(live)
        if action == "suspend_caller" and case.uid < 0:
            return "suspend_caller: it was no caller's doing"
        if action in OF_A_TOOL and not case.tool:
            return f"{action}: it is about no tool"
        if action.startswith("quarantine_"):
            self._quarantine_soon(action, incident, case, reason)
            return ""
        kind, name = kinds[action]
        stop, killed, _, unkept = self._stopped(kind, name, by=BY_A_RULE, reason=reason)
        fields: dict[str, Field] = {**stop.to_json(), "killed": len(killed)}
        self._append(_event(kind, "stopped"), {**_named(stop), **fields})
        if unkept is not None:
            raise unkept
        return f"stopped: {kind} {name}".rstrip() + f"; {len(killed)} calls ended"

    def _killed(self, live: Live | None) -> str:
        if live is None or not live.runs:
            return "kill: it had ended"
        _end(live, BY_A_RULE)
        return "killed"

    def _quarantine_soon(self, action: str, incident: Incident, case: Case, reason: str) -> None:
        """What runs of it ends at once, and what waits to. The catalog may be busy storing a tool:
        not waited for."""
        version = case.version if action == "quarantine_version" else None
        killed = self._calls_of(case.tool, version)
        for live in killed:
            _end(live, BY_A_RULE)
        work = self._quarantine(incident, case.tool, version, reason, killed)
        task = asyncio.get_running_loop().create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _quarantine(
        self,
        incident: Incident,
        name: str,
        version: str | None,
        reason: str,
        killed: list[Live],
    ) -> None:
        """Nobody can call it until an operator approves a version of it again."""
        note = f"quarantined by {reason}"
        try:
            bad = await asyncio.to_thread(self.quarantine, name, version, note)
        except FumehoodError as error:
            self._failed("quarantine", incident, error)
            return
        for tool in bad:
            found: dict[str, Field] = {
                "tool": tool.manifest.name, "tool_version": tool.manifest.version,
                "tool_digest": tool.digest, "changed": tool.notes,
            }  # fmt: skip
            self._append("tool.quarantined", found)
            log.error("tool quarantined", tool=tool.manifest.name, reason=reason)
        self.changed()
        late = [one for one in self._calls_of(name, version) if one not in killed]
        for live in late:
            _end(live, BY_A_RULE)
        if bad:
            names = ", ".join(tool.manifest.version for tool in bad)
            what = f"quarantined: {name} {names}; {len(killed) + len(late)} calls ended"
            self.incidents.tell(incident.incident, what)

    def _calls_of(self, tool: str, version: str | None) -> list[Live]:
        """Those without a result. One that has its result runs no more: it is left to answer."""
        return [one for one in self.registry if one.result is None and one.of(tool, version)]

    def _failed(self, action: str, incident: Incident, error: FumehoodError) -> None:
        log.error("an action of an incident failed", action=action, error=error.cause)
        self._append("incident.action_failed", {**_fields(incident), "action": action})
        self.incidents.tell(incident.incident, f"{action} failed: {error.cause}")

    def _stopped(
        self, kind: Kind, name: str, *, by: str, reason: str, look: int = 0
    ) -> tuple[Stop, list[Live], Sequence[asyncio.Future[None]], Unavailable | None]:
        """On disk first; then whatever runs of it is killed, without its grace, also when the
        disk does not take it. Raises UsageError when nothing more can be stopped.

        look: at so many, the oldest, the launcher looks before it kills them; it is told of all
        looks before the first kill, so that they end together (`launcher.look`).

        A launcher that does not heed this is replaced, and what it held dies with it.
        """
        stop = self.stops.hold(kind, name, by=by, reason=reason)
        unkept: Unavailable | None = None
        try:
            self.stops.keep()
        except Unavailable as error:
            log.error("a stop is not on disk: it ends with a restart", kind=kind, name=name)  # noqa: TRY400
            unkept = error
        # One that has its result runs no more: its record and its answer are under way.
        running = (live for live in self.registry if live.result is None)
        killed = [live for live in running if _is_of(live, kind, name)]
        for live in killed[:look]:
            if live.runs and live.sandbox is not None:
                live.sandbox.capture(kill=True)
        for live in killed:
            _end(live, by)
        self.pool.drop_all()  # what was started ahead of calls runs the tool's program already
        heeded = self.acknowledged(STOP_ALL_SECONDS if kind == "all" else STOP_SECONDS)
        return stop, killed, heeded, unkept

    def _append(self, event: str, fields: Mapping[str, Field]) -> None:
        with contextlib.suppress(AuditError):  # the log's own failure refuses all calls
            self.append(event, fields)

    def _notified(self, incident: Incident) -> str:
        if self.notices is None:
            return "notify: the configuration names nobody to tell"
        self.notices.add(incident)
        return "notices are under way"

    def told(self, waiting: Waiting, why: str) -> None:
        """A notice was taken, or not yet."""
        event = "incident.untold" if why else "incident.told"
        self._append(event, {"incident": waiting.incident, "channel": waiting.channel,
                             **({"reason": why} if why else {})})  # fmt: skip
        if why:
            log.error("nobody was notified of an incident yet", incident=waiting.incident,
                      channel=waiting.channel, reason=why)  # fmt: skip
        what = f"{waiting.channel}: {why}" if why else f"told by {waiting.channel}"
        self.incidents.tell(waiting.incident, what)

    def close(self) -> None:
        if self.notices is not None:
            self.notices.close()


def _end(live: Live, by: str) -> None:
    live.cancel(by)
    if live.sandbox is not None:
        live.sandbox.kill()


def _ends(actions: Iterable[str]) -> bool:
    """Whether the call that caused an incident does not survive its actions."""
    return any(action != "notify" for action in actions)


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
