"""How the supervisor is: for `fumehood status`, and in numbers for metrics. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from fumehood.model.request import Caller
from fumehood.supervisor.approvals import Approvals
from fumehood.supervisor.live import Live
from fumehood.supervisor.reloading import Reloading
from fumehood.supervisor.rooms import Rooms

if TYPE_CHECKING:  # what only some daemons need costs the others nothing
    from fumehood.supervisor.forward import Status
    from fumehood.supervisor.metrics import State


BESIDE: Final = "beside the log, which can be rewritten: take it away with `fumehood audit init`"
ELSEWHERE: Final = "kept elsewhere"


@dataclass(frozen=True, slots=True)
class StatusReport:
    """How the supervisor is. Who is no operator is told of their own calls and of the tools that
    they may call, and nothing that tells of others: `ready` and `audit_seq` are 0. `not_enforced`
    maps a control to the reason it is missing here; `engines` an engine to its launcher's PID, 0
    when there is none just now; `refusing` says why no call is taken just now, empty when calls
    are; `asking` calls wait for approval; `configuration` tells what became of the last reload;
    `first_key` where the first sealing key of the audit log is; `ready_tools`, for operators, whose
    sandboxes wait: tool, version, level (at `started` the tool's program runs), count."""

    version: str
    engine: str
    cgroup_mode: str
    launcher_pid: int
    running: int
    waiting: int
    ready: int
    tools: int
    not_enforced: Mapping[str, str]
    audit_seq: int
    refusing: str = ""
    asking: int = 0
    configuration: Mapping[str, Any] = field(default_factory=dict)
    engines: Mapping[str, int] = field(default_factory=dict)
    first_key: str = ""
    ready_tools: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "engine": self.engine,
            "cgroup_mode": self.cgroup_mode,
            "launcher_pid": self.launcher_pid,
            "running": self.running,
            "waiting": self.waiting,
            "ready": self.ready,
            "tools": self.tools,
            "not_enforced": dict(self.not_enforced),
            "audit_seq": self.audit_seq,
            "asking": self.asking,
            "configuration": dict(self.configuration),
            "refusing": self.refusing,
            "engines": dict(self.engines),
            "first_key": self.first_key,
            "ready_tools": [dict(it) for it in self.ready_tools],
        }


@dataclass(frozen=True, slots=True)
class _Counts:
    """What is counted, as far as somebody may know."""

    running: int
    waiting: int
    asking: int
    tools: int
    ready: int = 0
    audit_seq: int = 0


@dataclass(slots=True)
class Reporting:
    """live: what runs and waits. forwarded: how forwarding is; None when nothing is forwarded.
    untraced: how many spans are lost."""

    rooms: Rooms
    version: str
    approvals: Approvals
    reloading: Reloading
    live: Iterable[Live]
    forwarded: Callable[[], Status] | None = None
    untraced: Callable[[], int] = int

    def now(self) -> State:
        """For metrics."""
        from fumehood.supervisor.metrics import State

        rooms = self.rooms
        forwarded = self.forwarded() if self.forwarded is not None else None
        return State(
            forward_behind=forwarded.behind if forwarded else 0,
            forward_failing=bool(forwarded and forwarded.failing),
            forward_rejected=forwarded.rejected if forwarded else 0,
            spans_dropped=self.untraced(),
            running=rooms.slots.taken,
            waiting=rooms.slots.waiting,
            ready=rooms.pool.ready,
            tools=len(rooms.catalog.list()),
            audit_seq=rooms.audit.last.seq,
            audit_broken=rooms.audit.broken is not None,
            refusing=bool(rooms.gate.look()),
            stops=len(rooms.stops.listed()),
            first_key_here=rooms.audit.keeps_first_key,
            incidents=rooms.incidents.count(),
        )

    def tools(self) -> set[str]:
        """Names of the registered ones, for metrics."""
        return {tool.manifest.name for tool in self.rooms.catalog.list()}

    def _ready_tools(self) -> tuple[Mapping[str, Any], ...]:
        tools = {it.digest: it.manifest for it in self.rooms.catalog.all()}
        return tuple(
            {
                "tool": tools[digest].name if digest in tools else digest,
                "version": tools[digest].version if digest in tools else "",
                "level": level,
                "count": count,
            }
            for digest, level, count in self.rooms.pool.waiting()
        )

    def status(self, caller: Caller) -> StatusReport:
        rooms, report = self.rooms, self.reloading.report
        operator = rooms.admission.authorizer.is_operator(caller)
        if not operator:
            # The text may hold what the operator wrote.
            report = replace(report, problem="refused" if report.problem else "", remedy="")
        own = self._own(caller)
        hellos = rooms.launchers.hellos()
        hello = hellos[rooms.launchers.engines[0]]
        return StatusReport(
            version=self.version,
            engine=hello.engine if hello else "none",
            cgroup_mode=hello.cgroup_mode if hello else "none",
            launcher_pid=hello.pid if hello else 0,
            running=own.running,
            waiting=own.waiting,
            ready=own.ready,
            tools=own.tools,
            not_enforced=dict(hello.unenforceable) if hello else {},
            audit_seq=own.audit_seq,
            refusing=rooms.gate.look(),
            asking=own.asking,
            configuration=report.to_json(),
            engines={name: said.pid if said else 0 for name, said in hellos.items()},
            first_key=BESIDE if rooms.audit.keeps_first_key else ELSEWHERE,
            ready_tools=self._ready_tools() if operator else (),
        )

    def _own(self, caller: Caller) -> _Counts:
        rooms, authorizer = self.rooms, self.rooms.admission.authorizer
        if authorizer.is_operator(caller):
            return _Counts(
                rooms.slots.taken, rooms.slots.waiting, self.approvals.count,
                len(rooms.catalog.list()), rooms.pool.ready, rooms.audit.last.seq,
            )  # fmt: skip
        states = [live.state for live in self.live if live.request.caller.uid == caller.uid]
        waiting, asking = states.count("waiting"), states.count("asking")
        tools = sum(authorizer.may_call(caller, tool) for tool in rooms.catalog.list())
        return _Counts(len(states) - waiting - asking, waiting, asking, tools)
